"""Random erasing: noise over a random box of some images.

Source: Z. Zhong, L. Zheng, G. Kang, S. Li, Y. Yang, "Random Erasing Data Augmentation", arXiv:1708.04896, 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hardware_models.errors import InputError

AREA = (0.02, 0.4)  # share of the image's area that is erased; this and the ratio are the paper's
RATIO = 0.3  # least height over width, and least width over height


@dataclass(frozen=True)
class RandomErasing:
    """A box of random pixels in each image, with a probability.

    The ratio is drawn evenly in its logarithm, so that flat boxes are as frequent as high ones, and one box is drawn
    and cut to the image, where the paper tries again until one fits: an image takes a fixed count of random numbers.

    Attributes:
        probability: share of the images that lose a box, 0 to 1.
        area: smallest and largest share of the image's area.
    """

    probability: float
    area: tuple[float, float] = AREA
    draws: int = 6

    def __post_init__(self) -> None:
        """Raise InputError for a probability outside 0 to 1, or areas that are no shares in rising order."""
        if not (0 <= self.probability <= 1 and 0 < self.area[0] <= self.area[1] <= 1):
            raise InputError(
                f"random erasing cannot take a probability of {self.probability} and areas of {self.area}; give a "
                "probability from 0 to 1, and shares of the area in rising order, above 0 and up to 1."
            )

    def __call__(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Return the changed images `[B, C, H, W]`, bytes or in 0..1; `uniform` is `[B, 6]` in [0, 1)."""
        happens, share, ratio, row, column, noise = uniform.unbind(1)
        height, width = images.shape[-2:]
        area = (self.area[0] + share * (self.area[1] - self.area[0])) * (height * width)
        ratio = RATIO ** (1 - 2 * ratio)
        rows = _span((area * ratio).sqrt(), row, height)
        columns = _span((area / ratio).sqrt(), column, width)
        erased = (happens < self.probability)[:, None, None] & rows[:, :, None] & columns[:, None, :]
        return torch.where(erased[:, None], _noise(noise, images), images)

    def __str__(self) -> str:
        return (
            f"random pixels over {self.area[0]:.0%} to {self.area[1]:.0%} of the area of {self.probability:.0%} of "
            "the images"
        )


def _span(length: Tensor, place: Tensor, side: int) -> Tensor:
    """Return which of `side` pixels lie within an interval of `length [B]` at `place [B]` in [0, 1): `[B, side]`."""
    length = length.round().clamp(1, side)
    first = (place * (side - length + 1)).floor()
    pixels = torch.arange(side)
    return (pixels >= first[:, None]) & (pixels < (first + length)[:, None])


def _noise(seed: Tensor, images: Tensor) -> Tensor:
    """Return even noise of the images' shape and dtype, a hash of each one's `seed` and of the pixel's number.

    Drawing every pixel would take as many random numbers as the data set has pixels.
    """
    pixels = torch.arange(images[0].numel()).view(1, *images.shape[1:])
    mixed = _mix(_mix((seed * (1 << 24)).long()).view(-1, 1, 1, 1) + pixels)
    return (mixed & 255).to(torch.uint8) if images.dtype == torch.uint8 else (mixed & 0xFFFF).to(images.dtype) / 0xFFFF


def _mix(values: Tensor) -> Tensor:
    """Return a hash of 32 bits of each value (the finalizer of MurmurHash3, in 64-bit integers)."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        values = ((values ^ (values >> shift)) * factor) & 0xFFFFFFFF
    return values
