"""Images of every kind as upright 8-bit RGB squares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from hardware_models.errors import InputError
from neuro.data.images import centre_box, read_square, training_box

RED, WHITE = [255, 0, 0], [255, 255, 255]


def pixel(path: Path) -> list[int]:
    return read_square(path, 4)[0, 0].tolist()


@pytest.mark.parametrize("ending", ["png", "bmp", "gif", "tiff", "webp", "ppm", "tga"])
def test_formats(tmp_path: Path, ending: str) -> None:
    options = {"lossless": True} if ending == "webp" else {}
    Image.new("RGB", (9, 9), (255, 0, 0)).save(tmp_path / f"a.{ending}", **options)
    assert pixel(tmp_path / f"a.{ending}") == RED


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, WHITE),
        ("L", 77, [77, 77, 77]),
        ("LA", (77, 255), [77, 77, 77]),
        ("LA", (77, 0), WHITE),
        ("RGBA", (255, 0, 0, 255), RED),
        ("RGBA", (255, 0, 0, 0), WHITE),
        ("RGBA", (0, 0, 0, 51), [204, 204, 204]),
    ],
)
def test_modes_of_png(tmp_path: Path, mode: str, colour: object, expected: list[int]) -> None:
    Image.new(mode, (9, 9), colour).save(tmp_path / "a.png")
    assert pixel(tmp_path / "a.png") == expected


def test_palette_with_and_without_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (9, 9), 3)
    image.putpalette([0, 0, 0, 1, 1, 1, 2, 2, 2, 255, 0, 0])
    image.save(tmp_path / "plain.png")
    image.save(tmp_path / "clear.png", transparency=3)
    assert pixel(tmp_path / "plain.png") == RED
    assert pixel(tmp_path / "clear.png") == WHITE


def test_cmyk_jpeg(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    np.testing.assert_allclose(pixel(tmp_path / "a.jpg"), RED, atol=3)


@pytest.mark.parametrize(("ending", "value"), [("png", 0x4D12), ("tiff", 0x4DFF), ("png", 0x0012)])
def test_sixteen_bits_keep_their_upper_byte(tmp_path: Path, ending: str, value: int) -> None:
    Image.fromarray(np.full((9, 9), value, dtype=np.uint16)).save(tmp_path / f"a.{ending}")
    assert pixel(tmp_path / f"a.{ending}") == [value >> 8] * 3


def test_pixels_without_a_known_range_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((9, 9), 0.5, dtype=np.float32)).save(tmp_path / "a.tiff")
    Image.fromarray(np.full((9, 9), 70_000, dtype=np.int32)).save(tmp_path / "b.tiff")
    for name in ("a.tiff", "b.tiff"):
        with pytest.raises(InputError, match="save it with 8 or 16 bits"):
            read_square(tmp_path / name, 4)


def test_camera_orientation_is_applied(tmp_path: Path) -> None:
    """Orientation 6: the camera was turned, the picture is to be shown turned clockwise."""
    stored = np.zeros((16, 16, 3), dtype=np.uint8)
    stored[:, :8] = RED  # left half as stored is the upper half as seen
    image = Image.fromarray(stored)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    seen = read_square(tmp_path / "a.png", 14)
    assert (seen[:6, :, 0] > 200).all()
    assert (seen[8:, :, 0] < 50).all()


def test_evaluation_is_resize_of_the_shorter_side_and_centre_crop(tmp_path: Path) -> None:
    photo = Image.fromarray(load_sample_image("china.jpg"))  # 640x427
    photo = photo.resize((768, 512))  # where resizing to 256 has no rounding, both ways agree to the bit
    photo.save(tmp_path / "a.png")
    usual = photo.resize((384, 256), Image.Resampling.BICUBIC).crop((80, 16, 80 + 224, 16 + 224))
    difference = read_square(tmp_path / "a.png", 224).astype(int) - np.asarray(usual).astype(int)
    assert abs(difference).max() <= 1


def test_evaluation_crop_of_a_wide_and_a_high_image() -> None:
    assert centre_box(1000, 256) == (388, 16, 612, 240)
    assert centre_box(256, 1000) == (16, 388, 240, 612)


def test_training_box_stays_inside_and_in_its_bounds() -> None:
    draws = np.random.default_rng(0).random((2000, 5))
    draws = np.vstack([draws, np.zeros(5), np.full(5, np.nextafter(1, 0))])
    for width, height in ((640, 427), (1, 1), (3, 900)):
        for uniform in draws:
            left, upper, right, lower = training_box(width, height, tuple(uniform))
            assert 0 <= left < right <= width
            assert 0 <= upper < lower <= height
            assert (right - left) * (lower - upper) >= min(1, 0.079 * width * height * (width == 640))


def test_training_flip(tmp_path: Path) -> None:
    stored = np.zeros((16, 16, 3), dtype=np.uint8)
    stored[:, :8] = 255
    Image.fromarray(stored).save(tmp_path / "a.png")
    whole = (1 - 1e-9, 0.5, 0.0, 0.0)
    plain = read_square(tmp_path / "a.png", 16, (*whole, 0.9))
    flipped = read_square(tmp_path / "a.png", 16, (*whole, 0.1))
    assert plain[8, 0, 0] > 200
    assert plain[8, -1, 0] < 50
    np.testing.assert_array_equal(flipped, plain[:, ::-1])


def test_a_one_pixel_image(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (255, 0, 0)).save(tmp_path / "a.png")
    assert pixel(tmp_path / "a.png") == RED
