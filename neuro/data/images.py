"""Reading one image of any kind that Pillow knows, as upright 8-bit RGB, and cutting it to a square."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from hardware_models.errors import InputError

# Pillow's names of formats that hold no picture of pixels, or need another program to draw one.
NOT_PIXELS = {"EPS", "WMF", "MPEG", "HDF5", "GRIB", "BUFR"}
SIXTEEN_BITS = 65535

EVALUATION_SHARE = 224 / 256  # side of the centre crop over the shorter side: resize to 256, crop 224
CROP_AREA = (0.08, 1.0)  # share of the image's area that a training crop takes
CROP_RATIO = (3 / 4, 4 / 3)  # width over height of a training crop
CROP_DRAWS = 5  # random numbers that one training crop takes: area, ratio, x, y, flip

Box = tuple[float, float, float, float]


@cache
def suffixes() -> frozenset[str]:
    """Return the file name endings of the formats that Pillow reads here, such as `.jpg`."""
    known = Image.registered_extensions()
    return frozenset(ending for ending, name in known.items() if name in Image.OPEN and name not in NOT_PIXELS)


def check_header(path: Path) -> None:
    """Refuse a file that is no image by its first bytes; fast, because no pixel is decoded.

    Raises:
        InputError: names the file and what to do.
    """
    try:
        with Image.open(path):
            pass
    except Exception as error:
        raise unreadable(path, error) from error


def read_square(
    file: Path | IO[bytes],
    size: int,
    uniform: tuple[float, ...] | None = None,
    area: tuple[float, float] = CROP_AREA,
    name: str | None = None,
) -> np.ndarray:
    """Return an image as `[size, size, 3]` uint8 RGB.

    Args:
        file: any format that Pillow reads; the first frame of several.
        size: side of the result in pixels.
        uniform: five numbers in [0, 1) that choose a training crop and its flip; None cuts the centre.
        area: smallest and largest share of the image's area that a training crop takes.
        name: what to call the image in messages; None takes its path.

    Raises:
        InputError: the file is corrupt or cannot be shown in RGB; names it and says what to do.
    """
    try:
        with Image.open(file) as opened:
            image = to_rgb(ImageOps.exif_transpose(opened))
    except Exception as error:
        # On corrupt input Pillow's readers raise nearly anything: OSError, SyntaxError, struct.error ...
        raise unreadable(name or file, error) from error
    box = centre_box(*image.size) if uniform is None else training_box(*image.size, uniform, area)
    square = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    if uniform is not None and uniform[4] < 0.5:
        square = ImageOps.mirror(square)
    return np.asarray(square)


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an image of any mode as 8-bit RGB; transparent pixels show white, 16 bits keep their upper 8.

    Raises:
        ValueError: pixels whose range is not known (32-bit).
    """
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_upper_byte(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def centre_box(width: int, height: int) -> Box:
    """Return the centre square, 224/256 of the shorter side: resizing it is to resize to 256 and crop 224."""
    side = min(width, height) * EVALUATION_SHARE
    left, upper = (width - side) / 2, (height - side) / 2
    return left, upper, left + side, upper + side


def training_box(width: int, height: int, uniform: tuple[float, ...], area: tuple[float, float] = CROP_AREA) -> Box:
    """Return a random box by area and ratio (C. Szegedy et al., arXiv:1409.4842, 2014), cut to the image.

    One draw, where others try again until the box fits: an image then takes a fixed count of random numbers.
    """
    pixels = width * height * (area[0] + uniform[0] * (area[1] - area[0]))
    ratio = CROP_RATIO[0] * (CROP_RATIO[1] / CROP_RATIO[0]) ** uniform[1]
    box_width = min(width, max(1.0, (pixels * ratio) ** 0.5))
    box_height = min(height, max(1.0, (pixels / ratio) ** 0.5))
    left, upper = uniform[2] * (width - box_width), uniform[3] * (height - box_height)
    return left, upper, left + box_width, upper + box_height


def unreadable(name: object, error: Exception) -> InputError:
    """Return the error that names the image, what is wrong with it and what to do."""
    if isinstance(error, UnidentifiedImageError):
        reason = "its content is of no image format that Pillow knows"
    elif isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    else:
        reason = str(error).rstrip(".") or type(error).__name__
    return InputError(f"cannot read the image {name}: {reason}; replace it or take it out.")


def _upper_byte(pixels: np.ndarray) -> np.ndarray:
    """Return 16-bit grey pixels `[H, W]`, in whatever type Pillow gives them, as uint8."""
    if pixels.dtype.kind == "f" or pixels.min() < 0 or pixels.max() > SIXTEEN_BITS:
        raise ValueError("its pixels are of 32 bits, whose range is not known: save it with 8 or 16 bits")
    return (pixels.astype(np.uint32) >> 8).astype(np.uint8)
