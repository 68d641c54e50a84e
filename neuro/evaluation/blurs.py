"""Blurs as weighted sums of shifted images; beyond its border an image goes on as its last pixel.

Sums of shifted images, and no convolution, since a convolution may round differently in a batch of another size.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

GAUSSIAN_REACH = 4.0  # standard deviations after which a Gaussian is cut


def shifted(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Return `images[b, c, y + down_b, x + right_b]` for images `[B, C, H, W]` and whole shifts `[B]` or `[1]`."""
    samples, _, height, width = images.shape
    rows = (torch.arange(height) + down[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width) + right[:, None]).clamp(0, width - 1)
    sample = torch.arange(samples)[:, None, None]
    # Indexing with the channel slice in the middle puts the channels last.
    return images[sample, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def filtered(images: Tensor, kernel: Tensor) -> Tensor:
    """Return `sum_(i,j) k_ij images[y + i, x + j]` for a kernel of odd sides, i and j counted from its middle."""
    middle_row, middle_column = (side // 2 for side in kernel.shape)
    result = torch.zeros_like(images)
    for row, column in kernel.nonzero().tolist():
        moved = shifted(images, torch.tensor([row - middle_row]), torch.tensor([column - middle_column]))
        result += float(kernel[row, column]) * moved
    return result


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Convolve with `exp(-(i^2 + j^2) / 2 sigma^2)`, cut after four standard deviations, its sum 1."""
    line = gaussian_line(int(GAUSSIAN_REACH * sigma + 0.5), sigma)
    return filtered(filtered(images, line[None, :]), line[:, None])


def defocus_blur(images: Tensor, radius: float, sigma: float) -> Tensor:
    """Convolve with a disk, `i^2 + j^2 <= radius^2`, whose edge a Gaussian over 3x3 pixels softens, its sum 1."""
    reach = int(radius)
    square = torch.arange(-reach, reach + 1).square()
    disk = (square[:, None] + square[None, :] <= radius**2).float()
    line = gaussian_line(1, sigma)
    padded = torch.nn.functional.pad(disk, (1, 1, 1, 1))[None, None]
    softened = torch.nn.functional.conv2d(padded, (line[:, None] * line[None, :])[None, None], padding=1)[0, 0]
    return filtered(images, softened / softened.sum())


def motion_blur(images: Tensor, radius: int, sigma: float, degrees: np.ndarray) -> Tensor:
    """Smear each image `[B, C, H, W]` to one side along its own direction `[B]`.

    `sum_i w_i images[y + round(i sin a), x + round(i cos a)]`, `w_i ~ exp(-i^2 / 2 sigma^2)`, i = 0..2 radius, their
    sum 1: half a Gaussian, as of a camera that comes to rest.
    """
    result = torch.zeros_like(images)
    for weight, down, right in _steps(radius, sigma, np.deg2rad(degrees)):
        result += weight * shifted(images, down, right)
    return result


def gaussian_line(reach: int, sigma: float) -> Tensor:
    """Return `exp(-i^2 / 2 sigma^2)` for i = -reach..reach, its sum 1."""
    weights = (-0.5 * (torch.arange(-reach, reach + 1).double() / sigma).square()).exp()
    return (weights / weights.sum()).float()


def _steps(radius: int, sigma: float, angle: np.ndarray) -> Iterator[tuple[float, Tensor, Tensor]]:
    place = np.arange(2 * radius + 1)
    weights = np.exp(-0.5 * (place / sigma) ** 2)
    for i, weight in zip(place, weights / weights.sum(), strict=True):
        down, right = (torch.from_numpy(np.rint(i * part).astype(np.int64)) for part in (np.sin(angle), np.cos(angle)))
        yield float(weight), down, right
