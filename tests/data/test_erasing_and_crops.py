"""Random erasing, resized crops, chains, and augmentations from settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from data_files import MakeImages
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_models.errors import InputError
from neuro.data import load_dataset
from neuro.data.augment import AffineJitter, Chain, CropFlip, resample
from neuro.data.augment_settings import build_augment
from neuro.data.batching import Chosen, Normalise
from neuro.data.file_split import FileSplit, ImageFiles
from neuro.data.images import training_box
from neuro.data.rand_augment import RandAugment
from neuro.data.random_erasing import RandomErasing
from neuro.data.resized_crop import ResizedCropFlip

draw = st.floats(0, 1, exclude_max=True, width=32)


def erased_box(draws: list[float], side: int = 20) -> torch.Tensor:
    """Which pixels of a white picture change."""
    white = torch.full((1, 1, side, side), 2.0)  # above any noise
    return (RandomErasing(1.0)(white, torch.tensor([draws])) != 2)[0, 0]


@settings(max_examples=100, deadline=None)
@given(st.lists(draw, min_size=6, max_size=6))
def test_what_is_erased_is_one_box_of_the_papers_areas(draws: list[float]) -> None:
    mask = erased_box(draws)
    rows, columns = mask.any(1), mask.any(0)
    assert torch.equal(mask, rows[:, None] & columns[None, :])
    for line in (rows, columns):
        assert int(line.int().diff().abs().sum()) <= 2  # in one piece
    assert 1 <= mask.sum() <= 0.45 * 400  # 0.4 and what rounding to pixels adds


def test_a_box_worked_out_by_hand() -> None:
    # Area 0.02 + 0.5 * 0.38 = 0.21 of 400 pixels = 84, ratio 0.3 ** 0 = 1: a square of 9.17, which is 9 pixels;
    # of 20 - 9 + 1 = 12 places along a side, 0.25 is the 3rd and 0.99 the 11th.
    mask = erased_box([0.0, 0.5, 0.5, 0.25, 0.99, 0.0])
    assert mask.nonzero().amin(0).tolist() == [3, 11]
    assert mask.nonzero().amax(0).tolist() == [11, 19]


def test_the_extreme_ratios() -> None:
    tall = erased_box([0.0, 0.0, 1 - 2**-24, 0.0, 0.0, 0.0], side=100)  # 200 pixels, height over width 1 / 0.3
    assert (int(tall.any(1).sum()), int(tall.any(0).sum())) == (26, 8)
    flat = erased_box([0.0, 0.0, 0.0, 0.0, 0.0, 0.0], side=100)
    assert (int(flat.any(1).sum()), int(flat.any(0).sum())) == (8, 26)


def test_erasing_happens_with_its_probability_and_is_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.full((400, 3, 16, 16), 7, dtype=torch.uint8)
    uniform = torch.rand(400, 6, generator=generator)
    changed = RandomErasing(0.25, (0.9, 1.0))(images, uniform)
    touched = (changed != images).flatten(1).any(1)
    assert torch.equal(touched, uniform[:, 0] < 0.25)
    noise = changed[changed != 7].float()
    assert abs(noise.mean() - 128) < 2
    assert abs(noise.std() - 73.9) < 1  # 256 / sqrt(12)
    assert not torch.equal(changed[touched][0], changed[touched][1])
    same = RandomErasing(0.25, (0.9, 1.0))(images, uniform)
    assert torch.equal(same, changed)


def test_noise_on_fractions() -> None:
    changed = RandomErasing(1.0, (1.0, 1.0))(torch.zeros(8, 1, 16, 16), torch.rand(8, 6, generator=torch.Generator()))
    assert changed.dtype == torch.float32
    assert 0 <= changed.min() <= changed.max() <= 1
    assert changed.std() > 0.2


@settings(max_examples=30, deadline=None)
@given(st.lists(draw, min_size=4, max_size=4))
def test_a_crop_in_memory_is_that_of_files(numbers: list[float]) -> None:
    """Along a ramp the sampled values tell the box: pixel centres of the result lie evenly in it."""
    side = 32
    ramp = torch.arange(side, dtype=torch.float32) + 0.5  # the coordinate of each pixel's centre
    across = ramp.expand(1, 1, side, side)
    uniform = torch.tensor([[*numbers, 0.9]])
    left, upper, right, lower = training_box(side, side, tuple(uniform[0].tolist()))
    for picture, first, past in ((across, left, right), (across.mT, upper, lower)):
        cropped = ResizedCropFlip()(picture, uniform)[0, 0]
        line = cropped[0] if picture is across else cropped[:, 0]
        expected = first + (past - first) * ramp / side
        torch.testing.assert_close(line, expected.clamp(0.5, side - 0.5), atol=1e-3, rtol=0)


def test_a_crop_is_flipped_by_its_last_number() -> None:
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    numbers = torch.tensor([[0.3, 0.5, 0.2, 0.7]]).expand(2, 4)
    plain = ResizedCropFlip()(images, torch.cat([numbers, torch.full((2, 1), 0.5)], 1))
    flipped = ResizedCropFlip()(images, torch.cat([numbers, torch.full((2, 1), 0.4)], 1))
    torch.testing.assert_close(flipped, plain.flip(-1), atol=1e-5, rtol=0)


def test_resampled_bytes_stay_bytes() -> None:
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    identity = torch.eye(2, 3).expand(2, 2, 3)
    assert torch.equal(resample(images, identity), images)
    moved = AffineJitter(0, 0, 0.25)(images, torch.tensor([[0.5, 0.5, 0.0, 0.5]] * 2))
    assert torch.equal(moved[..., 2:], images[..., :-2])


def test_a_chain_gives_each_its_own_numbers() -> None:
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    crop, erase = CropFlip(2), RandomErasing(0.5)
    chain = Chain((crop, erase))
    uniform = torch.rand(4, 9, generator=torch.Generator().manual_seed(1))
    assert chain.draws == 9
    assert torch.equal(chain(images, uniform), erase(crop(images, uniform[:, :3]), uniform[:, 3:]))
    assert str(chain) == f"{crop}, then {erase}"


def test_settings_name_augmentations() -> None:
    assert build_augment({}) is None
    assert build_augment({"crop_flip": 4}) == CropFlip(4)
    assert build_augment({"affine": [10, 0.1, 0.08]}) == AffineJitter(10, 0.1, 0.08)
    assert build_augment({"resized_crop": [0.2, 1]}) == ResizedCropFlip((0.2, 1))
    several = build_augment({"crop_flip": 4, "rand_augment": [2, 9], "random_erasing": 0.25})
    assert several == Chain((CropFlip(4), RandAugment(2, 9), RandomErasing(0.25)))


@pytest.mark.parametrize(
    ("given_settings", "words"),
    [
        ({"crop_flips": 4}, "unknown augmentation 'crop_flips'; did you mean 'crop_flip'"),
        ({"crop_flip": [4, 4]}, "takes a padding in pixels"),
        ({"crop_flip": -1}, "takes a padding"),
        ({"crop_flip": 1.5}, "give a whole number"),
        ({"crop_flip": True}, "takes a padding"),
        ({"rand_augment": 2}, r"takes \[operations, magnitude\], not 2"),
        ({"rand_augment": [2, 90]}, "magnitude 90"),
        ({"affine": "10"}, "not '10'"),
        ({"random_erasing": float("nan")}, "takes a probability"),
        ({"random_erasing": 2}, "a probability from 0 to 1"),
        ({"resized_crop": [0.5, 0.2]}, "rising order"),
        (["crop_flip"], r"such as \{crop_flip: 4\}"),
    ],
)
def test_wrong_settings_are_refused(given_settings: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        build_augment(given_settings)
    assert "\n" not in str(caught.value)


def test_data_sets_take_other_augmentations(fashion_folder: Path) -> None:
    spec = f"mnist:{fashion_folder}"
    own, none, other = (load_dataset(spec, augment=augment) for augment in (None, {}, {"random_erasing": 1.0}))
    assert own.train is not None
    assert none.train is not None
    assert other.train is not None
    assert "in training rotation" in own.preprocessing
    assert "in training no augmentation" in none.preprocessing
    assert "in training random pixels" in other.preprocessing
    plain = dict(zip((b := next(iter(none.train.batches(20, 1, 3))))[1].tolist(), b[0][0], strict=False))
    assert len(plain) == 10
    first = [next(iter(data.train.batches(20, 1, 3)))[0] for data in (own, none, other) if data.train]
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[1], first[2])
    with pytest.raises(InputError, match="takes no other augmentation than its own"):
        load_dataset("photos", augment={})
    with pytest.raises(InputError, match="unknown augmentation"):
        load_dataset("digits", augment={"flip": 1})


def test_a_folder_crops_while_reading_and_changes_the_rest_after(tmp_path: Path, make_images: MakeImages) -> None:
    """The pictures are of one colour, so that a crop changes nothing, and only a box of noise shows."""
    for name in ("a", "b"):
        make_images(tmp_path / name, 5, size=(120, 90))
    spec = f"folder:{tmp_path}"
    none = load_dataset(spec, image_size=16, augment={})
    erased = load_dataset(spec, image_size=16, augment={"resized_crop": [0.5, 1], "random_erasing": 1.0})
    assert none.train is not None
    assert erased.train is not None
    assert "then random pixels" in erased.preprocessing
    plain = {int(image[0].unique().numel()) for image in next(iter(none.train.batches(8, 1, 1)))[0][0]}
    assert plain == {1}
    images, _ = next(iter(erased.train.batches(8, 1, 1)))
    for image in images[0]:
        changed = (image != image.flatten(1).mode().values[:, None, None]).any(0)
        assert 0 < changed.sum() <= 0.45 * 256


def test_a_file_split_passes_on_the_numbers_after_the_crops(tmp_path: Path, make_images: MakeImages) -> None:
    """Noise is a hash of the picture's last number: the same whether the pixels were cropped before or not."""
    make_images(tmp_path, 2, size=(40, 40))
    images, labels = ImageFiles(sorted(tmp_path.iterdir())), torch.zeros(2, dtype=torch.int64)
    same = Normalise((0.0,) * 3, (1.0,) * 3)
    split = FileSplit(images, labels, 8, same, augment=Chain((ResizedCropFlip(), RandomErasing(1.0, (1.0, 1.0)))))
    uniform = torch.rand(2, 11, generator=torch.Generator().manual_seed(0))
    found, _ = split.gather(Chosen(torch.arange(2), uniform), 1)
    plain, _ = split.gather(Chosen(torch.arange(2), None), 1)
    expected = RandomErasing(1.0, (1.0, 1.0))(plain[0].to(torch.uint8), uniform[:, 5:])
    assert torch.equal(found[0], expected.float())
    assert not torch.equal(found, plain)
    with pytest.raises(InputError, match="0 threads"):
        FileSplit(images, labels, 8, same, workers=0)
