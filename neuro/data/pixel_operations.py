"""Operations on the colours of byte images, vectorised over the batch; each has the meaning that Pillow gives its name.

Images are `[B, C, H, W]` uint8 with one or three channels, factors `[B]`. A factor of 1 keeps the image, 0 takes away
all colour, contrast, brightness or sharpness, and more than 1 overdoes it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

LEVELS = 256
_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel to 0..255: `(x - min) * 255 / (max - min)`; a channel of one value stays."""
    values = images.float()
    low, high = values.amin((2, 3), keepdim=True), values.amax((2, 3), keepdim=True)
    stretched = (values - low) * (LEVELS - 1) / (high - low).clamp(min=1)
    return torch.where(high > low, _to_bytes(stretched), images)


def equalize(images: Tensor) -> Tensor:
    """Map each channel so that its histogram becomes as even as it can: by its cumulated counts, as Pillow does."""
    planes = images.flatten(0, 1).flatten(1).long()
    histogram = torch.zeros(len(planes), LEVELS, dtype=torch.int64).scatter_add_(1, planes, torch.ones_like(planes))
    brightest = histogram.gather(1, planes.amax(1, keepdim=True))
    step = (planes.shape[1] - brightest) // (LEVELS - 1)
    below = histogram.cumsum(1) - histogram
    table = ((step // 2 + below) // step.clamp(min=1)).clamp(max=LEVELS - 1)
    table = torch.where(step > 0, table, torch.arange(LEVELS))
    return table.gather(1, planes).view(images.shape).to(torch.uint8)


def solarize(images: Tensor, threshold: float) -> Tensor:
    """Invert the pixels of at least `threshold`: `255 - x`."""
    return torch.where(images < threshold, images, LEVELS - 1 - images)


def posterize(images: Tensor, bits: int) -> Tensor:
    """Keep the upper `bits` (1 to 8) of each byte."""
    return images & (LEVELS - (1 << (8 - bits)))


def colour(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the grey image."""
    return _blend(_grey(images), images, factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the mean grey of each image."""
    mean = _grey(images).round().double().mean((1, 2, 3), keepdim=True)  # exact, so that no batch size matters
    return _blend(mean.round().float(), images, factor)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with black."""
    return _blend(torch.zeros(()), images, factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image smoothed by 3x3 (the middle weighs 5, its neighbours 1); the border pixels stay."""
    if min(images.shape[-2:]) < 3:
        return images
    weights = torch.ones(3, 3)
    weights[1, 1] = 5
    channels = images.shape[1]
    kernel = (weights / weights.sum()).expand(channels, 1, 3, 3)
    smooth = images.float()
    smooth[..., 1:-1, 1:-1] = functional.conv2d(images.float(), kernel, groups=channels).round()
    return _blend(smooth, images, factor)


def _grey(images: Tensor) -> Tensor:
    """Return the luma `[B, 1, H, W]` float32."""
    if images.shape[1] == 1:
        return images.float()
    red, green, blue = images.float().split(1, dim=1)
    return _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue


def _blend(other: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    """Return `other + factor * (images - other)` as bytes."""
    return _to_bytes(other + factor.view(-1, 1, 1, 1) * (images.float() - other))


def _to_bytes(values: Tensor) -> Tensor:
    return values.round().clamp(0, LEVELS - 1).to(torch.uint8)
