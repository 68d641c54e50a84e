"""Fronts: the points that no other point beats, exactly, within a tolerance, or whatever their bands hide."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from hardware_models.errors import InputError, unknown_name
from hardware_models.studies.dominance import dominated

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Sense = Literal["minimise", "maximise"]

SIGNS: Final = {"minimise": 1.0, "maximise": -1.0}


def minimised(values: npt.ArrayLike, senses: Sequence[Sense] | None = None) -> Floats:
    """Return `values` `[N, M]` with maximised objectives negated; `senses` is None where all are minimised.

    Raises:
        InputError: not a table of numbers, NaN in it, or senses that do not fit it.
    """
    try:
        table = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("objectives are no table of numbers; give one row [M] for each point.") from None
    if table.ndim != 2 or not table.shape[1]:
        raise InputError(f"objectives have shape {table.shape}; expected [N, M], so give one row for each point.")
    if np.isnan(table).any():
        row = int(np.isnan(table).any(axis=1).argmax())
        raise InputError(f"the objectives of point {row} hold NaN, which has no order; leave that point out.")
    given = ["minimise"] * table.shape[1] if senses is None else list(senses)
    for sense in given:
        if sense not in SIGNS:
            raise unknown_name("sense", sense, SIGNS)
    if len(given) != table.shape[1]:
        raise InputError(f"{len(given)} senses were given for {table.shape[1]} objectives; give one for each.")
    return table * np.array([SIGNS[sense] for sense in given])


def non_dominated(values: npt.ArrayLike, senses: Sequence[Sense] | None = None) -> Bools:
    """Return which points no other dominates, `[N]`.

    a dominates b where a is no worse in every objective and better in one; equal points stay or go together.

    Args:
        values: `[N, M]`; infinite ones are allowed.
        senses: `minimise` or `maximise` for each objective.

    Raises:
        InputError: NaN, or shapes that do not fit.
    """
    table = minimised(values, senses)
    return ~dominated(table, table)


def robust_front(low: npt.ArrayLike, high: npt.ArrayLike, senses: Sequence[Sense] | None = None) -> Bools:
    """Return which points no other dominates for certain, whatever values their bands hold, `[N]`.

    With all objectives minimised, a dominates b for certain where

        high_a[m] <= low_b[m] for every m, and high_a[m] < low_b[m] for one m:

    the worst of a is no worse than the best of b. Bands that overlap in any objective leave both points on the front.
    Whatever values inside the bands are the true ones, their plain front is part of this one; bands of width zero
    make the two equal.

    Args:
        low: lower ends, `[N, M]`.
        high: upper ends, `[N, M]`.
        senses: `minimise` or `maximise` for each objective.

    Raises:
        InputError: NaN, shapes that do not fit, or a low end above its high end.
    """
    lower, upper = minimised(low), minimised(high)
    if lower.shape != upper.shape:
        raise InputError(f"low ends have shape {lower.shape} and high ends {upper.shape}; give bands with both ends.")
    if (lower > upper).any():
        row = int((lower > upper).any(axis=1).argmax())
        raise InputError(f"the band of point {row} has its low end above its high end; swap them.")
    one, other = minimised(lower, senses), minimised(upper, senses)
    # A negated objective has its ends the other way round.
    return ~dominated(np.maximum(one, other), np.minimum(one, other))


def ranks(values: npt.ArrayLike, senses: Sequence[Sense] | None = None) -> npt.NDArray[np.int64]:
    """Return the front of each point, `[N]`: 0 for the front, 1 for the front of the rest, and so on.

    Two objectives take O(N log N): a point's front is the first whose smallest second objective so far is above its
    own, in lexicographic order. Others are peeled, one front after the other.
    """
    table = minimised(values, senses)
    if table.shape[1] == 2:
        return _ranks_of_two(table)
    found = np.zeros(len(table), dtype=np.int64)
    left, rank = np.arange(len(table)), 0
    while len(left):
        beaten = dominated(table[left], table[left])
        found[left[~beaten]] = rank
        left, rank = left[beaten], rank + 1
    return found


def epsilon_front(
    values: npt.ArrayLike,
    epsilon: npt.ArrayLike,
    senses: Sequence[Sense] | None = None,
    form: Literal["additive", "multiplicative"] = "additive",
) -> Bools:
    """Return a part of the front, `[N]`, that comes within `epsilon` of every point.

    Space is cut into boxes, floor(f / epsilon) (additive) or floor(log f / log(1 + epsilon)) (multiplicative). Of each
    box that no other dominates one point of the front is kept, the first in lexicographic order. So for every point p
    there is a kept k with k <= p + epsilon, or k <= p (1 + epsilon), in every (minimised) objective, up to rounding
    (Laumanns, Thiele, Deb, Zitzler, Evolutionary Computation 10(3), 2002).

    Args:
        values: `[N, M]`, finite; above 0 where boxes are multiplicative.
        epsilon: above 0, one for all objectives or one for each.
        senses: `minimise` or `maximise` for each objective.
        form: of the boxes.

    Raises:
        InputError: NaN, infinite or (multiplicative) not positive values, or an epsilon that is not above 0.
    """
    table = minimised(values, senses)
    if form not in ("additive", "multiplicative"):
        raise unknown_name("form", form, ("additive", "multiplicative"))
    if not np.isfinite(table).all():
        raise InputError("objectives hold an infinite number, which lies in no box; leave those points out.")
    widths = np.asarray(epsilon, dtype=np.float64)
    if widths.shape not in ((), (table.shape[1],)) or not (np.isfinite(widths) & (widths > 0)).all():
        raise InputError(f"epsilon is {epsilon!r}; give one finite number above 0, or one for each objective.")
    boxed = table
    if form == "multiplicative":
        if not (np.abs(table) > 0).all() or (np.asarray(values, dtype=np.float64) < 0).any():
            raise InputError("objectives hold a number of at most 0, which has no logarithm; use additive boxes.")
        boxed, widths = np.sign(table) * np.log(np.abs(table)), np.log1p(widths)
    kept = np.zeros(len(table), dtype=bool)
    front = np.flatnonzero(~dominated(table, table))
    boxes = np.floor(boxed[front] / widths)
    best = front[~dominated(boxes, boxes)]
    best = best[np.lexsort(table[best].T[::-1])]
    _, first = np.unique(np.floor(boxed[best] / widths), axis=0, return_index=True)
    kept[best[first]] = True
    return kept


def _ranks_of_two(table: Floats) -> npt.NDArray[np.int64]:
    order = np.lexsort((table[:, 1], table[:, 0]))
    found = np.zeros(len(table), dtype=np.int64)
    lowest: list[float] = []  # of the second objective, by front: it never falls from one front to the next
    last: tuple[float, float] | None = None
    rank = 0
    for index, (first, second) in zip(order.tolist(), table[order].tolist(), strict=True):
        if (first, second) != last:
            rank = bisect.bisect_right(lowest, second)
            lowest[rank : rank + 1] = [second]
            last = (first, second)
        found[index] = rank
    return found
