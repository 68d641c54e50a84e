"""One rank's share of every batch, for training on several devices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor

from hardware_models.errors import InputError
from neuro.data.base import Split
from neuro.data.batching import PlannedSplit, check_batching


def sharded(split: Split, rank: int, world: int) -> ShardedSplit:
    """Return the share of a split that belongs to one of several ranks.

    Args:
        split: the whole. One that plans its epochs (`PlannedSplit`) reads the samples of this rank alone; of any other
            the batches are read whole and cut.
        rank: 0 to `world` - 1.
        world: number of ranks.

    Raises:
        InputError: a rank outside its range.
    """
    if not 0 <= rank < world:
        raise InputError(f"there is no rank {rank} among {world}; give a rank from 0 to the number of ranks - 1.")
    return ShardedSplit(split, rank, world)


class ShardedSplit:
    """Of each batch the contiguous part of one rank, as `torch.tensor_split` cuts it.

    The parts of all ranks, one after the other, are the batch of the whole split, augmentation included.

    Args:
        split: the whole.
        rank: whose part.
        world: number of ranks.
    """

    def __init__(self, split: Split, rank: int, world: int) -> None:
        self.split, self.rank, self.world = split, rank, world
        self.normalise = split.normalise

    def __len__(self) -> int:
        """Return the number of samples of all ranks."""
        return len(self.split)

    def batches(
        self, batch_size: int, timesteps: int, shuffle_seed: int | None = None, *, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield this rank's part of each batch of `batch_size` samples, which may be of 0 samples.

        See `PlannedSplit.batches`. All ranks yield as many batches.
        """
        check_batching(batch_size, timesteps)
        if not isinstance(self.split, PlannedSplit):
            return self._cut(self.split.batches(batch_size, timesteps, shuffle_seed, start=start))
        planned = self.split.plan(batch_size, shuffle_seed, start)
        return self.split.gather_each((chosen.part(self.rank, self.world) for chosen in planned), timesteps)

    def _cut(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield this rank's part of batches that were read whole."""
        for images, labels in batches:
            yield images.tensor_split(self.world, dim=1)[self.rank], labels.tensor_split(self.world)[self.rank]
