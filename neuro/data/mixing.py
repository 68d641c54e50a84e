"""Mixing the images of a batch, with soft labels: mixup and CutMix.

Sources: H. Zhang, M. Cisse, Y. Dauphin, D. Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", arXiv:1710.09412,
2017; S. Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features",
arXiv:1905.04899, 2019. Both mix each image with another of its batch, by one share lambda for the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from hardware_models.errors import InputError
from neuro.data.beta import symmetric_beta


class BatchMix(Protocol):
    """A random mixture of the samples of a batch."""

    def __call__(
        self, images: Tensor, labels: Tensor, classes: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return mixed images and soft targets.

        Args:
            images: `[T, B, C, H, W]`; those that are the same at all timesteps (stride 0) stay so.
            labels: `[B]` int64, 0 to `classes` - 1.
            classes: K.
            generator: where all random numbers are drawn; it need not be on the device of the images.

        Returns:
            Images `[T, B, C, H, W]` and targets `[B, K]` float32, each row of which sums to 1.

        Raises:
            InputError: a label that is no class.
        """
        ...


@dataclass(frozen=True)
class Mixup:
    """`lambda x + (1 - lambda) x'` of images and of targets, lambda of Beta(alpha, alpha).

    Attributes:
        alpha: above 0; 1 draws lambda evenly, less keeps one of the two images in front.
    """

    alpha: float

    def __post_init__(self) -> None:
        """Raise InputError for an alpha that is not above 0."""
        _check_alpha("mixup", self.alpha)

    def __call__(
        self, images: Tensor, labels: Tensor, classes: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        targets = one_hot(labels, classes)
        share, others = symmetric_beta(self.alpha, generator), _permutation(labels, generator)
        frames = _frames(images)
        mixed = share * frames + (1 - share) * frames[:, others]
        return mixed.expand(images.shape), share * targets + (1 - share) * targets[others]

    def __str__(self) -> str:
        return f"mixup (alpha {self.alpha:g})"


@dataclass(frozen=True)
class CutMix:
    """A box of `1 - lambda` of the area from the other image, the same box in the batch, lambda of Beta(alpha, alpha).

    The middle of the box is anywhere in the image and the box is cut to it; targets are mixed by the area that is left.

    Attributes:
        alpha: above 0; 1 draws lambda evenly.
    """

    alpha: float

    def __post_init__(self) -> None:
        """Raise InputError for an alpha that is not above 0."""
        _check_alpha("CutMix", self.alpha)

    def __call__(
        self, images: Tensor, labels: Tensor, classes: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        targets = one_hot(labels, classes)
        share, others = symmetric_beta(self.alpha, generator), _permutation(labels, generator)
        height, width = images.shape[-2:]
        row, column = torch.rand(2, generator=generator, device=generator.device).tolist()
        top, bottom = _interval(row, sqrt(1 - share), height)
        left, right = _interval(column, sqrt(1 - share), width)
        frames = _frames(images)
        mixed = frames.clone()
        mixed[..., top:bottom, left:right] = frames[:, others, :, top:bottom, left:right]
        kept = 1 - (bottom - top) * (right - left) / (height * width)
        return mixed.expand(images.shape), kept * targets + (1 - kept) * targets[others]

    def __str__(self) -> str:
        return f"CutMix (alpha {self.alpha:g})"


@dataclass(frozen=True)
class Mix:
    """For each batch mixup or CutMix, as often the one as the other, or neither.

    Attributes:
        mixup_alpha: of mixup; 0 leaves mixup out.
        cutmix_alpha: of CutMix; 0 leaves CutMix out.
        probability: share of the batches that are mixed.
    """

    mixup_alpha: float
    cutmix_alpha: float
    probability: float = 1.0

    def __post_init__(self) -> None:
        """Raise InputError for negative alphas, for two of 0, or a probability outside 0 to 1."""
        if not 0 <= self.probability <= 1:
            raise InputError(f"batches are mixed with a probability of {self.probability}; give 0 to 1.")
        if not self._ways():
            raise InputError("neither mixup nor CutMix has an alpha above 0; give one, or leave mixing out.")

    def _ways(self) -> list[BatchMix]:
        mixup = [Mixup(self.mixup_alpha)] if self.mixup_alpha else []
        cutmix = [CutMix(self.cutmix_alpha)] if self.cutmix_alpha else []
        return [*mixup, *cutmix]

    def __call__(
        self, images: Tensor, labels: Tensor, classes: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        ways = self._ways()
        happens, which = torch.rand(2, generator=generator, device=generator.device).tolist()
        if happens >= self.probability:
            return images, one_hot(labels, classes)
        return ways[int(which * len(ways))](images, labels, classes, generator)

    def __str__(self) -> str:
        return f"{' or '.join(map(str, self._ways()))} of {self.probability:.0%} of the batches"


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Return targets `[B, K]` float32 of labels `[B]`.

    Raises:
        InputError: a label that is no class.
    """
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise InputError(
            f"the labels run from {int(labels.min())} to {int(labels.max())}, but the classes are 0 to {classes - 1}; "
            "mix labelled images only."
        )
    return functional.one_hot(labels, classes).float()


def _check_alpha(what: str, alpha: float) -> None:
    if not (isfinite(alpha) and alpha > 0):
        raise InputError(f"the alpha of {what} is {alpha}; give a number above 0.")


def _permutation(labels: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randperm(len(labels), generator=generator, device=generator.device).to(labels.device)


def _frames(images: Tensor) -> Tensor:
    """Return images `[T, B, C, H, W]` with T = 1 where all timesteps are one memory."""
    return images[:1] if images.stride(0) == 0 else images


def _interval(middle: float, share: float, side: int) -> tuple[int, int]:
    """Return the pixels `[first, past)` of `share` of the side around a middle in [0, 1), cut to the side."""
    length, middle_pixel = int(side * share), int(middle * side)
    return max(middle_pixel - length // 2, 0), min(middle_pixel + length - length // 2, side)
