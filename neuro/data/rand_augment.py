"""RandAugment: a few random operations of one strength on each image.

Source: E. Cubuk, B. Zoph, J. Shlens, Q. Le, "RandAugment: Practical automated data augmentation with a reduced search
space", arXiv:1909.13719, 2019: its 14 operations, with the ranges of AutoAugment (arXiv:1805.09501, table 6).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from hardware_models.errors import InputError
from neuro.data import pixel_operations
from neuro.data.augment import resample

MOST = 10  # the strongest magnitude of the paper's scale
DEGREES = 30.0
SHEAR = 0.3
SHIFT = 150 / 331  # share of the side: AutoAugment's 150 pixels of images of 331
BLEND = 0.9  # factors of colour, contrast, brightness and sharpness: 0.1 to 1.9
POSTERIZED_BITS = 4  # most bits that are dropped of 8

Operation = Callable[[Tensor, float, Tensor], Tensor]
"""From images `[B, C, H, W]` uint8, the strength in 0..1, and a sign `[B]` for each image, to the changed images."""


@dataclass(frozen=True)
class RandAugment:
    """Some of 14 operations on each image, drawn independently and all of one strength; what comes from outside is 0.

    Attributes:
        operations: how many are applied to an image, one after the other; one may be drawn twice.
        magnitude: strength from 0 to 10, the end of each operation's range.
    """

    operations: int = 2
    magnitude: float = 9

    def __post_init__(self) -> None:
        """Raise InputError for a number of operations below 1, or a magnitude outside 0 to 10."""
        if self.operations < 1 or not 0 <= self.magnitude <= MOST:
            raise InputError(
                f"RandAugment cannot apply {self.operations} operations of magnitude {self.magnitude}; give at least "
                f"1 operation and a magnitude from 0 to {MOST}."
            )

    @property
    def draws(self) -> int:
        """Two for each operation: which, and its direction."""
        return 2 * self.operations

    def __call__(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Return the changed square images `[B, C, H, W]` uint8; `uniform` is `[B, draws]` in [0, 1).

        Raises:
            InputError: images of another dtype than bytes, or neither of one nor of three channels.
        """
        if images.dtype != torch.uint8 or images.shape[1] not in (1, 3):
            raise InputError(
                f"RandAugment changes images of bytes with 1 or 3 channels, not {images.shape[1]} channels of "
                f"{str(images.dtype).removeprefix('torch.')}; leave rand_augment out for these data."
            )
        for own in uniform.unflatten(1, (self.operations, 2)).unbind(1):
            images = self._apply(images, own[:, 0], own[:, 1])
        return images

    def _apply(self, images: Tensor, which: Tensor, direction: Tensor) -> Tensor:
        """Return the images after one operation each."""
        chosen = (which * len(OPERATIONS)).long()
        sign = torch.where(direction < 0.5, -1.0, 1.0)
        changed = images.clone()
        for number, operation in enumerate(OPERATIONS.values()):
            members = torch.nonzero(chosen == number).flatten()
            if len(members):
                changed[members] = operation(images[members], self.magnitude / MOST, sign[members])
        return changed

    def __str__(self) -> str:
        return f"RandAugment of {self.operations} operations of magnitude {self.magnitude:g} of {MOST}"


def _rotate(images: Tensor, strength: float, sign: Tensor) -> Tensor:
    angle = sign * (strength * DEGREES * pi / 180)
    return resample(images, _map(angle.cos(), -angle.sin(), angle.sin(), angle.cos()))


def _shear_x(images: Tensor, strength: float, sign: Tensor) -> Tensor:
    one = torch.ones_like(sign)
    return resample(images, _map(one, sign * (strength * SHEAR), 0 * sign, one))


def _shear_y(images: Tensor, strength: float, sign: Tensor) -> Tensor:
    one = torch.ones_like(sign)
    return resample(images, _map(one, 0 * sign, sign * (strength * SHEAR), one))


def _translate_x(images: Tensor, strength: float, sign: Tensor) -> Tensor:
    one, none = torch.ones_like(sign), torch.zeros_like(sign)
    return resample(images, _map(one, none, none, one, shift_x=sign * (strength * SHIFT)))


def _translate_y(images: Tensor, strength: float, sign: Tensor) -> Tensor:
    one, none = torch.ones_like(sign), torch.zeros_like(sign)
    return resample(images, _map(one, none, none, one, shift_y=sign * (strength * SHIFT)))


def _map(
    xx: Tensor, xy: Tensor, yx: Tensor, yy: Tensor, shift_x: Tensor | None = None, shift_y: Tensor | None = None
) -> Tensor:
    """Return the affine maps `[B, 2, 3]`; shifts are shares of the side, whose coordinates run from -1 to 1."""
    none = torch.zeros_like(xx)
    x, y = (none if shift is None else 2 * shift for shift in (shift_x, shift_y))
    return torch.stack([xx, xy, x, yx, yy, y], dim=1).view(-1, 2, 3)


def _blended(operation: Callable[[Tensor, Tensor], Tensor]) -> Operation:
    return lambda images, strength, sign: operation(images, 1 + sign * (strength * BLEND))


OPERATIONS: dict[str, Operation] = {
    "identity": lambda images, strength, sign: images,
    "autocontrast": lambda images, strength, sign: pixel_operations.autocontrast(images),
    "equalize": lambda images, strength, sign: pixel_operations.equalize(images),
    "rotate": _rotate,
    "solarize": lambda images, strength, sign: pixel_operations.solarize(images, 256 * (1 - strength)),
    "color": _blended(pixel_operations.colour),
    "posterize": lambda images, strength, sign: pixel_operations.posterize(
        images, 8 - round(strength * POSTERIZED_BITS)
    ),
    "contrast": _blended(pixel_operations.contrast),
    "brightness": _blended(pixel_operations.brightness),
    "sharpness": _blended(pixel_operations.sharpness),
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}
