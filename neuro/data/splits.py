"""Held-out splits and smaller subsets, drawn by class and the same on every machine.

The seed of a split is not the seed of a run: runs with different seeds must be judged on the same held-out
samples, or their accuracies cannot be compared.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hardware_models.errors import InputError

SPLIT_SEED = 0
HELD_OUT = 0.2


def held_out_split(labels: Tensor, seed: int = SPLIT_SEED, fraction: float = HELD_OUT) -> tuple[Tensor, Tensor]:
    """Return the indices `(train, test)` of a stratified split, each in stored order.

    Every class gives `fraction` of its samples to the test part, rounded, and has at least one in each part.

    Args:
        labels: class of each sample, `[N]` int64; every class needs two samples.
        seed: the split's own seed.
        fraction: share of the test part, in (0, 1).
    """
    size = torch.bincount(labels)
    wanted = (size * fraction).round().long().clamp(min=1)
    in_test = _rank_in_class(labels, seed) < torch.minimum(wanted, size - 1)[labels]
    return torch.nonzero(~in_test).flatten(), torch.nonzero(in_test).flatten()


def balanced_subset(labels: Tensor, limit: int | None, seed: int = SPLIT_SEED) -> Tensor:
    """Return the indices, in stored order, of at most `limit` samples with the classes as even as possible.

    Args:
        labels: class of each sample, `[N]` int64 (-1 for unlabelled samples, which count as one class).
        limit: samples to keep, at least 1; None keeps all.
        seed: the split's own seed.

    Raises:
        InputError: `limit` below 1.
    """
    if limit is None:
        return torch.arange(len(labels))
    if limit < 1:
        raise InputError(f"cannot keep {limit} samples of a data set; give a limit of at least 1.")
    first_of_each_class_first = torch.argsort(_rank_in_class(labels, seed), stable=True)
    return first_of_each_class_first[:limit].sort().values


def _rank_in_class(labels: Tensor, seed: int) -> Tensor:
    """Return, for each sample, its place `[N]` int64 in a random order of its own class."""
    generator = torch.Generator().manual_seed(seed)
    rank = torch.empty_like(labels)
    for label in labels.unique(sorted=True):
        members = torch.nonzero(labels == label).flatten()
        rank[members] = torch.randperm(len(members), generator=generator)
    return rank
