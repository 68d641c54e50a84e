"""Common corruptions of small images, each at five severities.

D. Hendrycks, T. Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR
2019, arXiv:1903.12261. The figures of every severity are those of its CIFAR-10-C (`make_cifar_c.py` of
github.com/hendrycks/robustness), meant for 32x32 pixels and taken as they are at other sizes. Written afresh, so the
images are not CIFAR-10-C's to the bit. Ours are: borders go on as their last pixel, shifts of the motion blur are whole
pixels, results are not rounded to 8 bits (but for JPEG), and random numbers are of one stream for each sample, the same
at all severities. Left out, since they need pictures or noise fields of their own: glass, zoom, snow, frost, fog,
elastic.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hardware_models.errors import InputError, unknown_name
from neuro.evaluation.blurs import defocus_blur, gaussian_blur, motion_blur

Draws = list[np.random.Generator]
"""The random numbers of each sample."""

SEVERITIES = (1, 2, 3, 4, 5)
MOTION_DEGREES = 45.0  # the largest angle of a motion to either side of level
ROUNDING = 1e-4  # by which undoing the normalisation may leave the range 0..1


@dataclass(frozen=True)
class Corruption:
    """One corruption.

    Attributes:
        levels: its figure, or figures, at severity 1 to 5.
        apply: `(images [B, C, H, W] in 0..1, level, draws of B)` to images of the same shape.
    """

    levels: tuple[Any, ...]
    apply: Callable[[Tensor, Any, Draws], Tensor]


def corrupt(images: Tensor, name: str, severity: int, seed: int = 0, first: int = 0) -> Tensor:
    """Return corrupted images, float32 in 0..1.

    Args:
        images: `[B, C, H, W]` float32 in 0..1, on the CPU.
        name: a key of `CORRUPTIONS`.
        severity: 1 (mild) to 5.
        seed: of the random numbers; with the number of a sample it decides them, whatever the batch.
        first: number of the first sample.

    Raises:
        InputError: an unknown corruption, a severity outside of 1 to 5, a seed below 0, images that are not
            `[B, C, H, W]` in 0..1.
    """
    check_corruption(name, severity, seed)
    corruption = CORRUPTIONS[name]
    draws = [np.random.default_rng([seed, crc32(name.encode()), first + i]) for i in range(len(images))]
    return corruption.apply(_pixels(images), corruption.levels[severity - 1], draws).clamp(0, 1)


def check_corruption(name: str, severity: int, seed: int) -> None:
    """Refuse a corruption that does not exist; see `corrupt`."""
    if name not in CORRUPTIONS:
        raise unknown_name("corruption", name, CORRUPTIONS)
    if severity not in SEVERITIES:
        raise InputError(f"the severity of {name} was {severity!r}; give a whole number from 1 to 5.")
    if seed < 0:
        raise InputError(f"the seed of {name} was {seed}; give a whole number of at least 0.")


def _pixels(images: Tensor) -> Tensor:
    if images.dim() != 4 or not images.numel():
        raise InputError(f"the images to corrupt have the shape {tuple(images.shape)}; give [B, C, H, W].")
    low, high = float(images.min()), float(images.max())
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        raise InputError(
            f"the images to corrupt hold values from {low:.4g} to {high:.4g}; corruptions are of pixels in 0..1, so "
            "give images of a camera with their normalisation undone."
        )
    return images.float().clamp(0, 1)


def _drawn(images: Tensor, draw: Callable[[np.random.Generator, np.ndarray], np.ndarray], draws: Draws) -> Tensor:
    """Return what `draw` makes of each image and its random numbers, float32."""
    made = [draw(generator, image) for generator, image in zip(draws, images.numpy(), strict=True)]
    return torch.from_numpy(np.stack(made).astype(np.float32))


def _gaussian_noise(images: Tensor, sigma: float, draws: Draws) -> Tensor:
    """`x + sigma n`, n of a standard normal distribution."""
    return images + sigma * _drawn(images, lambda generator, x: generator.standard_normal(x.shape), draws)


def _shot_noise(images: Tensor, photons: float, draws: Draws) -> Tensor:
    """`P(x c) / c`, P of a Poisson distribution: white is c photons."""
    return _drawn(images, lambda generator, x: generator.poisson(x * photons), draws) / photons


def _impulse_noise(images: Tensor, share: float, draws: Draws) -> Tensor:
    """Salt and pepper: a share of all values becomes 0 or 1, as often the one as the other."""
    uniform = _drawn(images, lambda generator, x: generator.random(x.shape), draws)
    return torch.where(uniform < share / 2, 0.0, torch.where(uniform < share, 1.0, images))


def _motion_blur(images: Tensor, level: tuple[int, float], draws: Draws) -> Tensor:
    degrees = np.array([generator.uniform(-MOTION_DEGREES, MOTION_DEGREES) for generator in draws])
    return motion_blur(images, *level, degrees)


def _brightness(images: Tensor, added: float, draws: Draws) -> Tensor:
    """`V + c` in hue, saturation and value: with V the largest channel, all channels grow by `V' / V`."""
    value = images.amax(1, keepdim=True)
    brighter = (value + added).clamp(max=1)
    return torch.where(value > 0, images * (brighter / value), brighter)


def _contrast(images: Tensor, factor: float, draws: Draws) -> Tensor:
    """`m + c (x - m)`, m the mean of a channel of an image."""
    mean = images.double().mean((-2, -1), keepdim=True).float()  # in float64: no order of the sum is seen in it
    return mean + factor * (images - mean)


def _pixelate(images: Tensor, share: float, draws: Draws) -> Tensor:
    """Shrink to a share of each side and grow back, both by boxes."""
    height, width = images.shape[-2:]
    small = max(1, int(width * share)), max(1, int(height * share))

    def coarse(plane: np.ndarray) -> np.ndarray:
        shrunk = Image.fromarray(plane).resize(small, Image.Resampling.BOX)
        return np.asarray(shrunk.resize((width, height), Image.Resampling.BOX))

    planes = [coarse(plane) for plane in images.flatten(0, 1).numpy()]
    return torch.from_numpy(np.stack(planes)).view_as(images)


def _jpeg(images: Tensor, quality: int, draws: Draws) -> Tensor:
    """Write as 8-bit JPEG and read again."""
    channels = images.shape[1]
    if channels not in (1, 3):
        raise InputError(f"images of {channels} channels cannot be JPEG; leave this corruption out of such data.")

    def read_again(image: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(image[..., 0] if channels == 1 else image).save(file, "JPEG", quality=quality)
        with Image.open(file) as written:
            return np.asarray(written).reshape(image.shape)

    bytes_ = (images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    read = np.stack([read_again(np.ascontiguousarray(image)) for image in bytes_])
    return torch.from_numpy(read).permute(0, 3, 1, 2).float() / 255


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": Corruption((0.04, 0.06, 0.08, 0.09, 0.10), _gaussian_noise),
    "shot_noise": Corruption((500, 250, 100, 75, 50), _shot_noise),
    "impulse_noise": Corruption((0.01, 0.02, 0.03, 0.05, 0.07), _impulse_noise),
    "gaussian_blur": Corruption((0.4, 0.6, 0.7, 0.8, 1.0), lambda x, sigma, _: gaussian_blur(x, sigma)),
    "defocus_blur": Corruption(
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)), lambda x, level, _: defocus_blur(x, *level)
    ),
    # Severity 4 has the sigma of 3, and its further reach weighs nothing.
    "motion_blur": Corruption(((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5)), _motion_blur),
    "brightness": Corruption((0.05, 0.1, 0.15, 0.2, 0.3), _brightness),
    "contrast": Corruption((0.75, 0.5, 0.4, 0.3, 0.15), _contrast),
    "pixelate": Corruption((0.95, 0.9, 0.85, 0.75, 0.65), _pixelate),
    "jpeg": Corruption((80, 65, 58, 50, 40), _jpeg),
}
"""The corruptions by name."""
