"""RandAugment: its operations against Pillow's of the same names, its draws by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from sklearn.datasets import load_sample_image

from hardware_models.errors import InputError
from neuro.data import pixel_operations as ops
from neuro.data.rand_augment import OPERATIONS, SHIFT, RandAugment

NAMES = list(OPERATIONS)


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    pictures = [Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
    dim = pictures[0].point(lambda value: 30 + value // 3)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8))
    return [
        *(picture.resize((64, 64)) for picture in (*pictures, dim)),
        noise,
        Image.new("RGB", (64, 64), (9, 90, 200)),
    ]


def stacked(pictures: list[Image.Image]) -> torch.Tensor:
    return torch.stack([torch.from_numpy(np.array(picture)).permute(2, 0, 1) for picture in pictures])


def worst(found: torch.Tensor, expected: list[Image.Image]) -> int:
    """Largest difference of a pixel."""
    return int((found.int() - stacked(expected).int()).abs().max())


def choose(operation: str, up: bool = True, count: int = 1) -> torch.Tensor:
    """The draws of one operation for each image."""
    which = (NAMES.index(operation) + 0.5) / len(NAMES)
    return torch.tensor([[which, 0.9 if up else 0.1]]).expand(count, 2)


def test_the_operations_are_those_of_the_paper() -> None:
    assert len(NAMES) == 14


@pytest.mark.parametrize(
    ("ours", "pillow", "tolerance"),
    [
        (ops.equalize, ImageOps.equalize, 0),
        (ops.autocontrast, ImageOps.autocontrast, 1),  # Pillow rounds down, ours to the nearest
        (lambda x: ops.solarize(x, 100), lambda x: ImageOps.solarize(x, 100), 0),
        (lambda x: ops.posterize(x, 3), lambda x: ImageOps.posterize(x, 3), 0),
        (lambda x: ops.posterize(x, 8), lambda x: x, 0),
    ],
    ids=["equalize", "autocontrast", "solarize", "posterize", "posterize8"],
)
def test_tables_are_those_of_pillow(
    photos: list[Image.Image], ours: Callable, pillow: Callable, tolerance: int
) -> None:
    assert worst(ours(stacked(photos)), [pillow(photo) for photo in photos]) <= tolerance


@pytest.mark.parametrize("factor", [0.0, 0.19, 1.0, 1.81])
@pytest.mark.parametrize(
    ("ours", "pillow"),
    [
        (ops.colour, ImageEnhance.Color),
        (ops.contrast, ImageEnhance.Contrast),
        (ops.brightness, ImageEnhance.Brightness),
        (ops.sharpness, ImageEnhance.Sharpness),
    ],
    ids=["colour", "contrast", "brightness", "sharpness"],
)
def test_blends_are_those_of_pillow(photos: list[Image.Image], ours: Callable, pillow: type, factor: float) -> None:
    factors = torch.full((len(photos),), factor)
    expected = [pillow(photo).enhance(factor) for photo in photos]
    assert worst(ours(stacked(photos), factors), expected) <= 2  # Pillow rounds the grey image and then down


def test_a_factor_of_one_keeps_the_image_and_each_image_has_its_own(photos: list[Image.Image]) -> None:
    images = stacked(photos[:2])
    for operation in (ops.colour, ops.contrast, ops.brightness, ops.sharpness):
        assert torch.equal(operation(images, torch.ones(2)), images)
        both = operation(images, torch.tensor([0.5, 1.0]))
        assert not torch.equal(both[0], images[0])
        assert torch.equal(both[1], images[1])


def test_grey_images() -> None:
    grey = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ops.colour(grey, torch.full((3,), 0.1)), grey)
    for operation in NAMES:
        changed = RandAugment(1, 9)(grey, choose(operation, count=3))
        assert (changed.shape, changed.dtype) == (grey.shape, torch.uint8)


def test_identity_and_no_strength_keep_the_image(photos: list[Image.Image]) -> None:
    images = stacked(photos)
    assert torch.equal(RandAugment(1, 10)(images, choose("identity", count=5)), images)
    for name in set(NAMES) - {"autocontrast", "equalize"}:  # these two have no strength
        assert torch.equal(RandAugment(1, 0)(images, choose(name, count=5)), images), name


def test_translation_moves_by_its_share_of_the_side_both_ways() -> None:
    image = torch.zeros(1, 1, 331, 331, dtype=torch.uint8)
    image[..., 160:170, 160:170] = 200
    assert round(SHIFT * 331) == 150
    for up, way in ((True, -1), (False, 1)):
        right = RandAugment(1, 10)(image, choose("translate_x", up))
        assert torch.equal(right, image.roll(150 * way, 3))
        assert torch.equal(RandAugment(1, 10)(image, choose("translate_y", up)), image.roll(150 * way, 2))


@pytest.mark.parametrize("up", [True, False])
def test_rotation_is_pillows(photos: list[Image.Image], up: bool) -> None:
    images = stacked(photos[:1])
    turned = RandAugment(1, 5)(images, choose("rotate", up))
    expected = photos[0].rotate(15 if up else -15, Image.Resampling.BILINEAR)
    difference = (turned.int() - stacked([expected]).int()).abs()[..., 8:-8, 8:-8]
    assert difference.max() <= 2


@pytest.mark.parametrize("up", [True, False])
def test_shear_is_pillows(photos: list[Image.Image], up: bool) -> None:
    images = stacked(photos[:1])
    shear = 0.3 if up else -0.3
    # Pillow's coordinates start at the corner; the middle, 32, stays where it is.
    across = photos[0].transform(
        (64, 64), Image.Transform.AFFINE, (1, shear, -32 * shear, 0, 1, 0), Image.Resampling.BILINEAR
    )
    down = photos[0].transform(
        (64, 64), Image.Transform.AFFINE, (1, 0, 0, shear, 1, -32 * shear), Image.Resampling.BILINEAR
    )
    for name, expected in (("shear_x", across), ("shear_y", down)):
        sheared = RandAugment(1, 10)(images, choose(name, up))
        difference = (sheared.int() - stacked([expected]).int()).abs()[..., 14:-14, 14:-14]
        assert difference.max() <= 2


def test_strengths_at_nine() -> None:
    flat = torch.full((1, 3, 4, 4), 100, dtype=torch.uint8)

    def value(name: str, up: bool = True) -> int:
        return int(RandAugment(1, 9)(flat, choose(name, up))[0, 0, 1, 1])

    assert value("brightness", True) == 181  # 100 * (1 + 0.9 * 0.9)
    assert value("brightness", False) == 19
    assert value("solarize") == 155  # inverted from 256 * 0.1 on
    assert value("posterize") == 96  # 8 - round(3.6) = 4 bits: 0b01100100 keeps 0b0110


def test_every_image_has_its_own_operation_and_the_second_follows_the_first(photos: list[Image.Image]) -> None:
    images = stacked(photos)
    draws = torch.rand(5, 4, generator=torch.Generator().manual_seed(1))
    whole = RandAugment(2, 9)(images, draws)
    for index in range(5):
        one = images[index : index + 1]
        for which in (draws[index : index + 1, :2], draws[index : index + 1, 2:]):
            one = RandAugment(1, 9)(one, which)
        assert torch.equal(whole[index], one[0])
    assert RandAugment(2, 9).draws == 4
    assert torch.equal(images, stacked(photos)), "the given images are not changed"


def test_each_operation_is_drawn_equally_often() -> None:
    black = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    inverted = [
        bool((RandAugment(1, 10)(black, torch.tensor([[draw, 0.0]])) == 255).any()) for draw in np.arange(0, 1, 1 / 140)
    ]
    assert sum(inverted) == 10  # solarize alone makes black white


def test_refusals(photos: list[Image.Image]) -> None:
    with pytest.raises(InputError, match="0 operations of magnitude 9"):
        RandAugment(0, 9)
    with pytest.raises(InputError, match="a magnitude from 0 to 10"):
        RandAugment(2, 11)
    with pytest.raises(InputError, match="3 channels of float32"):
        RandAugment()(stacked(photos).float(), torch.zeros(5, 4))
    with pytest.raises(InputError, match="2 channels of uint8"):
        RandAugment()(stacked(photos)[:, :2], torch.zeros(5, 4))
    assert str(RandAugment()) == "RandAugment of 2 operations of magnitude 9 of 10"
