"""The best places to cut a chain into consecutive parts, exactly, by dynamic programming."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence


def best_cuts(
    places: Sequence[int],
    length: int,
    parts: int,
    part_cost: Callable[[int, int, int], float],
    cut_cost: Callable[[int, int], float],
    slowest: bool = False,
) -> tuple[int, ...] | None:
    """Return where to cut 0..length into `parts` parts of at least one layer, or None where no way is finite.

    With C_k(j) the cost of the best way to have parts 0..k end before j,

        C_0(j) = part(0, 0, j)
        C_k(j) = min over places i < j of C_{k-1}(i) + cut(k - 1, i) + part(k, i, j)

    and the sum replaced by the maximum for `slowest`. Of equal ways the earliest last cut is taken. Every part is asked
    for at most once.

    Args:
        places: where a part may begin, ascending, each between 1 and length - 1.
        length: of the chain.
        parts: how many.
        part_cost: of part k from i to j - 1; infinite where it cannot be.
        cut_cost: of the cut behind part k at i.
        slowest: the cost of a way is its largest one, not the sum.
    """
    join = max if slowest else _sum
    reached: dict[int, tuple[float, tuple[int, ...]]] = {0: (-math.inf if slowest else 0.0, ())}
    for part in range(parts):
        ends = [length] if part == parts - 1 else places
        best: dict[int, tuple[float, tuple[int, ...]]] = {}
        for end in ends:
            for start, (cost, cuts) in reached.items():
                if start >= end:
                    continue
                cut = () if part == 0 else (cut_cost(part - 1, start),)
                whole = join((cost, *cut, part_cost(part, start, end)))
                if whole < best.get(end, (math.inf, ()))[0]:
                    best[end] = (whole, (*cuts, *(() if part == 0 else (start,))))
        reached = best
    return reached[length][1] if length in reached else None


def _sum(values: tuple[float, ...]) -> float:
    return sum(values)
