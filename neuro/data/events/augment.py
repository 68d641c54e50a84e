"""Random changes of event data, without hidden randomness: the caller draws the numbers.

Changes of frames are those of `neuro.data.augment.Augment`, but of batches `[T, B, 2, H, W]`, and alike at all
timesteps of a sample; `uniform` is `[B, draws]` in [0, 1). Changes of single events act on a recording before its
frames are made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from neuro.data.events.recording import Events


@dataclass(frozen=True)
class FlipX:
    """Every second sample is flipped left to right."""

    draws: int = 1

    def __call__(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Return the changed frames; a draw below 0.5 flips."""
        return torch.where(_by_sample(uniform[:, 0] < 0.5), images.flip(-1), images)

    def __str__(self) -> str:
        return "flip of every second sample"


@dataclass(frozen=True)
class FlipPolarity:
    """Every second sample has its on and off channels exchanged."""

    draws: int = 1

    def __call__(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Return the changed frames; a draw below 0.5 exchanges."""
        return torch.where(_by_sample(uniform[:, 0] < 0.5), images.flip(2), images)

    def __str__(self) -> str:
        return "exchange of the polarities of every second sample"


@dataclass(frozen=True)
class Shift:
    """A shift by whole pixels in each direction; what comes from outside is 0, what leaves is lost.

    Attributes:
        pixels: largest shift to either side.
    """

    pixels: int
    draws: int = 2

    def __call__(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Return the changed frames; draws 0 and 1 are those of rows and columns, 0.5 is no shift."""
        height, width = images.shape[-2:]
        corner = (uniform * (2 * self.pixels + 1)).long()
        rows = corner[:, :1] + torch.arange(height)
        columns = corner[:, 1:] + torch.arange(width)
        padded = functional.pad(images, [self.pixels] * 4)
        sample = torch.arange(images.shape[1])[:, None, None]
        # Indexing with slices between and before the indices puts the indexed axes first: [B, H, W, T, 2].
        return padded[:, sample, :, rows[:, :, None], columns[:, None, :]].permute(3, 0, 4, 1, 2)

    def __str__(self) -> str:
        return f"shift by up to {self.pixels} pixels"


@dataclass(frozen=True)
class DropArea:
    """A rectangle, at the same random place in all timesteps of a sample, loses its events.

    Attributes:
        share: its height and width as a share of the frame's, rounded.
    """

    share: float
    draws: int = 2

    def __call__(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Return the changed frames; draws 0 and 1 place the rectangle's top and left."""
        inside = [self._covered(length, uniform[:, axis : axis + 1]) for axis, length in enumerate(images.shape[-2:])]
        area = inside[0][:, :, None] & inside[1][:, None, :]
        return images.masked_fill(area[None, :, None], 0)

    def _covered(self, length: int, uniform: Tensor) -> Tensor:
        """Return which places of an axis the rectangle covers, `[B, length]`."""
        covered = round(self.share * length)
        start = (uniform * (length - covered + 1)).long()
        place = torch.arange(length)
        return (place >= start) & (place < start + covered)

    def __str__(self) -> str:
        return f"a rectangle of {self.share:.0%} of each side emptied"


@dataclass(frozen=True)
class JitterTime:
    """Each event moves in time by a whole number of microseconds, all as probable; order follows time.

    Attributes:
        most_us: largest move to either side.
    """

    most_us: int

    def __call__(self, events: Events, uniform: NDArray[np.float64]) -> Events:
        """Return the changed events; `uniform` is `[N]` in [0, 1), 0.5 is no move."""
        moved = events.t_us + np.floor(uniform * (2 * self.most_us + 1)).astype(np.int64) - self.most_us
        return replace(events, t_us=moved).pick(np.argsort(moved, kind="stable"))


@dataclass(frozen=True)
class DropEvents:
    """Each event is lost with the same probability.

    Attributes:
        share: that probability.
    """

    share: float

    def __call__(self, events: Events, uniform: NDArray[np.float64]) -> Events:
        """Return the events that stay; `uniform` is `[N]` in [0, 1), and those below the share are lost."""
        return events.pick(uniform >= self.share)


def _by_sample(chosen: Tensor) -> Tensor:
    """Return `[B]` as `[1, B, 1, 1, 1]`."""
    return chosen[None, :, None, None, None]
