"""Which rows are dominated: the sorting at the heart of every front. All columns are minimised.

A source a dominates a query q where a <= q in every column and a < q in one. Values become dense ranks first, so
that everything below compares whole numbers, and equal rows become one row. In lexicographic order only an earlier
row can dominate a later one, which leaves one column less to look at:

- 2 columns: a running minimum of the second, O(N log N).
- 3 columns: the smallest third among earlier rows whose second is no larger, by divide and conquer on the order,
  O(N log^2 N) whatever the front looks like (Kung, Luccio, Preparata, J. ACM 22(4), 1975).
- more: blocks of rows against the front so far, O(N F M) for a front of F rows.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
Ranks = npt.NDArray[np.int64]

BLOCK: Final = 256
"""Rows compared with each other at once, beyond three columns."""

CHUNK: Final = 16384
"""Rows of the front that a block is compared with at once."""


def dominated(sources: Array, queries: Array) -> Bools:
    """Return which of `queries` `[Q, M]` some row of `sources` `[S, M]` dominates, `[Q]`; neither may hold NaN."""
    if not len(sources) or not len(queries):
        return np.zeros(len(queries), dtype=bool)
    both = np.concatenate([sources, queries])
    ranks = np.stack([_dense_ranks(column) for column in both.T], axis=1)
    rows, place = _distinct(ranks)
    is_source = np.zeros(len(rows), dtype=bool)
    is_source[place[: len(sources)]] = True
    beaten = {1: _one, 2: _two, 3: _three}.get(rows.shape[1], _many)(rows, is_source)
    return beaten[place[len(sources) :]]


def _dense_ranks(column: Array) -> Ranks:
    return np.unique(column, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _distinct(ranks: Ranks) -> tuple[Ranks, Ranks]:
    """Return the distinct rows in lexicographic order, and for each row of `ranks` where it stands among them."""
    order = np.lexsort(ranks.T[::-1])
    ordered = ranks[order]
    new = np.ones(len(ordered), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.cumsum(new) - 1
    return ordered[new], place


def _one(rows: Ranks, is_source: Bools) -> Bools:
    return np.arange(len(rows)) > (is_source.argmax() if is_source.any() else len(rows))


def _two(rows: Ranks, is_source: Bools) -> Bools:
    second = rows[:, 1]
    lowest = np.minimum.accumulate(np.where(is_source, second, len(rows)))
    beaten = np.zeros(len(rows), dtype=bool)
    beaten[1:] = lowest[:-1] <= second[1:]
    return beaten


def _three(rows: Ranks, is_source: Bools) -> Bools:
    """Split the order in halves again and again; in each pair the left half's sources meet the right half's rows.

    `turn` lists the rows by their second column within each part, and is parted further, stably, at every level. The
    running minimum of the third starts afresh in every part, because each part's values lie below the last one's.
    """
    count = len(rows)
    third = np.where(is_source, rows[:, 2], count)
    turn = np.argsort(rows[:, 1], kind="stable")
    beaten = np.zeros(count, dtype=bool)
    for level in reversed(range((count - 1).bit_length())):
        right = (turn >> level & 1).astype(bool)
        shift = (turn >> (level + 1)) * (count + 1)
        lowest = np.minimum.accumulate(np.where(right, count, third[turn]) - shift) + shift
        beaten[turn[right]] |= lowest[right] <= rows[turn[right], 2]
        turn = _parted(turn, level)
    return beaten


def _parted(turn: Ranks, level: int) -> Ranks:
    """Return `turn` with each part of 2**(level + 1) row numbers parted into its halves, order kept within each.

    Row numbers are 0 to N - 1, each once, so that a half begins where its first row number says.
    """
    half = turn >> level
    right = (half & 1).astype(bool)
    rights_before = np.cumsum(right) - right
    start = half >> 1 << (level + 1)
    place = np.empty_like(turn)
    # Every part before this one gives half of its rows, 2**level, to the right: it is whole.
    place[right] = (half[right] << level) + rights_before[right] - (start[right] >> 1)
    left = ~right
    lefts_before = np.cumsum(left) - left
    place[left] = start[left] + lefts_before[left] - (start[left] >> 1)
    result = np.empty_like(turn)
    result[place] = turn
    return result


def _many(rows: Ranks, is_source: Bools) -> Bools:
    """Go through the rows in order of the sum of their ranks, which grows strictly under dominance."""
    order = np.argsort(rows.sum(axis=1), kind="stable")
    beaten = np.zeros(len(rows), dtype=bool)
    front = np.empty((0, rows.shape[1]), dtype=np.int64)
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        open_rows = block[~_beaten_by(front, rows[block])]
        inside = _beaten_by(rows[open_rows[is_source[open_rows]]], rows[open_rows])
        beaten[block] = True
        beaten[open_rows] = inside
        front = np.concatenate([front, rows[open_rows[~inside & is_source[open_rows]]]])
    return beaten


def _beaten_by(front: Ranks, rows: Ranks) -> Bools:
    """Return which of `rows` `[N, M]` another row of `front` `[F, M]` is no larger than in every column, `[N]`."""
    beaten = np.zeros(len(rows), dtype=bool)
    for start in range(0, len(front), CHUNK):
        chunk = front[start : start + CHUNK]
        no_larger = np.ones((len(rows), len(chunk)), dtype=bool)
        larger = np.zeros_like(no_larger)
        for column in range(rows.shape[1]):
            no_larger &= chunk[:, column] <= rows[:, column, None]
            larger |= chunk[:, column] < rows[:, column, None]
        beaten |= (no_larger & larger).any(axis=1)
    return beaten
