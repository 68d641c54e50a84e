"""Held-out splits and balanced subsets."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_models.errors import InputError
from neuro.data.splits import balanced_subset, held_out_split

labels_with_two_of_each = st.lists(st.integers(2, 30), min_size=1, max_size=6).flatmap(
    lambda sizes: st.permutations([label for label, size in enumerate(sizes) for _ in range(size)])
)


@settings(max_examples=40, deadline=None)
@given(labels_with_two_of_each, st.integers(0, 5))
def test_parts_are_disjoint_complete_and_stratified(values: list[int], seed: int) -> None:
    labels = torch.tensor(values)
    train, test = held_out_split(labels, seed)
    assert sorted(train.tolist() + test.tolist()) == list(range(len(values)))
    for label in labels.unique():
        size, held = int((labels == label).sum()), int((labels[test] == label).sum())
        assert 1 <= held < size
        assert abs(held - 0.2 * size) <= 1


@settings(max_examples=40, deadline=None)
@given(labels_with_two_of_each, st.integers(1, 40))
def test_subset_is_balanced_and_in_stored_order(values: list[int], limit: int) -> None:
    labels = torch.tensor(values)
    kept = balanced_subset(labels, limit)
    assert len(kept) == min(limit, len(values))
    assert kept.tolist() == sorted(set(kept.tolist()))
    counts = torch.bincount(labels[kept], minlength=int(labels.max()) + 1)
    unfinished = counts < torch.bincount(labels)  # a class may have fewer only when it has no more
    if unfinished.any():
        assert counts.max() - counts[unfinished].min() <= 1


def test_split_is_the_same_every_time_and_depends_on_the_seed() -> None:
    labels = torch.arange(200) % 4
    assert torch.equal(held_out_split(labels, 3)[1], held_out_split(labels, 3)[1])
    assert not torch.equal(held_out_split(labels, 3)[1], held_out_split(labels, 4)[1])


def test_no_limit_keeps_all_and_a_limit_of_nothing_is_refused() -> None:
    labels = torch.tensor([-1, -1, -1])
    assert balanced_subset(labels, None).tolist() == [0, 1, 2]
    assert len(balanced_subset(labels, 2)) == 2
    with pytest.raises(InputError, match="at least 1"):
        balanced_subset(labels, 0)
