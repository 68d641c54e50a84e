"""A split that tells how far it was read, for the bar of a long evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from neuro.data.base import Split


class WatchedSplit:
    """A split as it is; `told` hears the number of samples of each batch once it was used."""

    def __init__(self, split: Split, told: Callable[[int], Any]) -> None:
        self.split, self.told = split, told
        self.normalise = split.normalise

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.split)

    def batches(
        self, batch_size: int, timesteps: int, shuffle_seed: int | None = None, *, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield time-first batches; see `Split.batches`."""
        for images, labels in self.split.batches(batch_size, timesteps, shuffle_seed, start=start):
            yield images, labels
            self.told(len(labels))
