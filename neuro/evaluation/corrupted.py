"""A split whose images are corrupted on the fly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from hardware_models.errors import InputError
from neuro.data.base import Split
from neuro.data.batching import present
from neuro.evaluation.corruptions import check_corruption, corrupt


class CorruptedSplit:
    """The images of a split, corrupted: its normalisation is undone, and done again afterwards."""

    def __init__(self, split: Split, name: str, severity: int, seed: int) -> None:
        self.split, self.name, self.severity, self.seed = split, name, severity, seed
        self.normalise = split.normalise

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.split)

    def batches(
        self, batch_size: int, timesteps: int, shuffle_seed: int | None = None, *, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield time-first batches; see `Split.batches`.

        Raises:
            InputError: a shuffled order, in which samples have no number to draw by; images that change in time, or
                are not in 0..1.
        """
        if shuffle_seed is not None:
            raise InputError(
                f"corrupted images are to evaluate on and keep their stored order; give no seed, not {shuffle_seed}."
            )
        return self._batches(self.split.batches(batch_size, timesteps, start=start), start * batch_size)

    def _batches(self, batches: Iterator[tuple[Tensor, Tensor]], first: int) -> Iterator[tuple[Tensor, Tensor]]:
        # Stored pixels may be bytes; what is normalised again is in 0..1 already.
        normalise = replace(self.normalise, scale=1.0)
        for images, labels in batches:
            pixels = self.normalise.undo(_still(images))
            changed = corrupt(pixels, self.name, self.severity, self.seed, first)
            yield present(normalise(changed), len(images)), labels
            first += len(labels)


def corrupted(split: Split, name: str, severity: int, seed: int = 0) -> CorruptedSplit:
    """Return `split` with corrupted images.

    Args:
        split: static images, normalised from 0..1.
        name: a key of `CORRUPTIONS`.
        severity: 1 (mild) to 5.
        seed: of the random numbers; each sample has its own, so that the batch size does not matter.

    Raises:
        InputError: what `corrupt` refuses.
    """
    check_corruption(name, severity, seed)
    return CorruptedSplit(split, name, severity, seed)


def is_still(images: Tensor) -> bool:
    """Whether a batch `[T, B, C, H, W]` shows the same images in every timestep."""
    return images.stride(0) == 0 or torch.equal(images, images[:1].expand_as(images))


def _still(images: Tensor) -> Tensor:
    """Return the one image `[B, C, H, W]` that a batch shows in every timestep."""
    if not is_still(images):
        raise InputError("the images to corrupt change from timestep to timestep; give static images.")
    return images[0]
