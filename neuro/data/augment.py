"""Random changes of training images, vectorised over the batch and without hidden randomness.

An augmentation says how many random numbers it needs for one image and is given them: the caller draws them,
so the change of each image depends on the seed alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional


class Augment(Protocol):
    """A random change of images."""

    @property
    def draws(self) -> int:
        """Random numbers that one image takes."""
        ...

    def __call__(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Return the changed images `[B, C, H, W]`; `uniform` is `[B, draws]` in [0, 1)."""
        ...


@dataclass(frozen=True)
class AffineJitter:
    """A small rotation, scaling and shift, sampled bilinearly; what comes from outside is 0.

    Attributes:
        degrees: largest rotation to either side.
        scaling: largest relative growth or shrinkage.
        shift: largest shift in each direction, as a share of the image's side.
    """

    degrees: float
    scaling: float
    shift: float
    draws: int = 4

    def __call__(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Return the changed images `[B, C, H, W]`; `uniform` is `[B, 4]` in [0, 1)."""
        angle, growth, x, y = (2 * uniform - 1).unbind(1)
        angle = angle * (self.degrees * pi / 180)
        # affine_grid maps places of the result to places of the source: to grow an image is to read closer.
        reach = 1 / (1 + growth * self.scaling)
        cos, sin = reach * angle.cos(), reach * angle.sin()
        shift_x, shift_y = 2 * self.shift * x, 2 * self.shift * y  # its coordinates run from -1 to 1
        theta = torch.stack([cos, -sin, shift_x, sin, cos, shift_y], dim=1).view(-1, 2, 3)
        return resample(images, theta)

    def __str__(self) -> str:
        return (
            f"rotation up to {self.degrees:g} degrees, scaling up to {self.scaling:.0%}, "
            f"shift up to {self.shift:.3g} of the side"
        )


@dataclass(frozen=True)
class CropFlip:
    """A random crop of the zero-padded image and a left-right flip of every second image, on any dtype.

    Attributes:
        padding: pixels added to each side, which is also the largest shift.
    """

    padding: int
    draws: int = 3

    def __call__(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Return the changed images `[B, C, H, W]`; `uniform` is `[B, 3]` in [0, 1)."""
        height, width = images.shape[-2:]
        corner = (uniform[:, :2] * (2 * self.padding + 1)).long()
        rows = corner[:, :1] + torch.arange(height)
        columns = corner[:, 1:] + torch.arange(width)
        columns = torch.where(uniform[:, 2:] < 0.5, columns.flip(1), columns)
        padded = functional.pad(images, [self.padding] * 4)
        sample = torch.arange(len(images))[:, None, None]
        # Indexing with the channel slice in the middle puts the channels last.
        return padded[sample, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    def __str__(self) -> str:
        return f"random crop after padding by {self.padding} pixels, flip of every second image"


@dataclass(frozen=True)
class Chain:
    """Several augmentations, one after the other.

    Attributes:
        augments: in the order of their use, at least one.
    """

    augments: tuple[Augment, ...]

    @property
    def draws(self) -> int:
        """Random numbers that one image takes."""
        return sum(augment.draws for augment in self.augments)

    def __call__(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Return the changed images `[B, C, H, W]`; `uniform` is `[B, draws]` in [0, 1)."""
        own = uniform.split([augment.draws for augment in self.augments], dim=1)
        for augment, numbers in zip(self.augments, own, strict=True):
            images = augment(images, numbers)
        return images

    def __str__(self) -> str:
        return ", then ".join(map(str, self.augments))


def resample(images: Tensor, theta: Tensor, outside: str = "zeros") -> Tensor:
    """Sample images `[B, C, H, W]` bilinearly where the affine maps `theta [B, 2, 3]` point; the dtype is kept.

    Args:
        images: floating point, or bytes, which are rounded.
        theta: from places of the result to places of the source, both in coordinates from -1 to 1.
        outside: what lies outside the image: `zeros`, or `border` for its nearest pixel.
    """
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    if images.is_floating_point():
        return functional.grid_sample(images, grid, padding_mode=outside, align_corners=False)
    sampled = functional.grid_sample(images.float(), grid, padding_mode=outside, align_corners=False)
    return sampled.round().to(images.dtype)
