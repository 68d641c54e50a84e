"""A random crop of random area, resized to the whole image, and a flip: the usual augmentation of photographs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hardware_models.errors import InputError
from neuro.data.augment import resample
from neuro.data.images import CROP_AREA, CROP_DRAWS, CROP_RATIO


@dataclass(frozen=True)
class ResizedCropFlip:
    """A crop of random area and ratio, resized, and a flip of every second image (arXiv:1409.4842).

    Images in files are cropped and resized while they are read, at their full resolution (`images.training_box`);
    images in memory are sampled here, bilinearly, by the same box.

    Attributes:
        area: smallest and largest share of the image's area.
    """

    area: tuple[float, float] = CROP_AREA
    draws: int = CROP_DRAWS

    def __post_init__(self) -> None:
        """Raise InputError for areas that are no shares in rising order."""
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise InputError(
                f"a random crop cannot take areas of {self.area}; give shares in rising order, above 0 and up to 1."
            )

    def __call__(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Return the changed images `[B, C, H, W]`; `uniform` is `[B, 5]` in [0, 1)."""
        share, ratio, x, y, flip = uniform.unbind(1)
        height, width = images.shape[-2:]
        pixels = width * height * (self.area[0] + share * (self.area[1] - self.area[0]))
        ratio = CROP_RATIO[0] * (CROP_RATIO[1] / CROP_RATIO[0]) ** ratio
        # In coordinates from -1 to 1 a box of half the width spans 0.5, and its middle moves by what it leaves.
        wide = ((pixels * ratio).sqrt().clamp(1, width)) / width
        high = ((pixels / ratio).sqrt().clamp(1, height)) / height
        centre_x, centre_y = (2 * x - 1) * (1 - wide), (2 * y - 1) * (1 - high)
        wide = torch.where(flip < 0.5, -wide, wide)
        none = torch.zeros_like(wide)
        theta = torch.stack([wide, none, centre_x, none, high, centre_y], dim=1).view(-1, 2, 3)
        return resample(images, theta, outside="border")

    def __str__(self) -> str:
        return (
            f"a random crop of {self.area[0]:.0%} to {self.area[1]:.0%} of the area instead, and a flip of every "
            "second image"
        )
