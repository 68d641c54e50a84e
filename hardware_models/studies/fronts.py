"""The front of a study's points, and how the fronts of two studies compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hardware_models.errors import InputError
from hardware_models.studies.dominance import dominated
from hardware_models.studies.hypervolume import hypervolume
from hardware_models.studies.pareto import Sense, minimised, non_dominated, robust_front
from hardware_models.studies.results import Floats, Results
from hardware_models.studies.store import Store

MARGIN: Final = 0.1
"""How far beyond the worst point the common reference lies, in parts of the span from the best to the worst."""


def read_front(store: Store, robust: bool = False) -> Results:
    """Return the done points that no other dominates, best first in the first objective.

    Args:
        store: of the study.
        robust: whatever values the bands hold, see `robust_front`.

    Raises:
        InputError: no point is done.
    """
    done = store.read()
    if not len(done):
        raise InputError(f"{store.path} holds no point that is done, so it has no front; run the study first.")
    senses = list(store.objectives.values())
    value, low, high = (values_of(done, end) for end in range(3))
    kept = np.flatnonzero(robust_front(low, high, senses) if robust else non_dominated(value, senses))
    order = kept[np.lexsort(minimised(value[kept], senses).T[::-1])]
    return taken(done, order)


def values_of(results: Results, end: int = 0) -> Floats:
    """Return the objectives of `results` as `[N, M]`: values (0), low (1) or high ends (2)."""
    return np.stack([values[end] for values in results.objectives.values()], axis=1)


def taken(results: Results, rows: npt.NDArray[np.intp]) -> Results:
    """Return the results at `rows`."""
    return Results(
        results.points.take(rows),
        {name: values[:, rows] for name, values in results.objectives.items()},
        results.state[rows],
        results.reason[rows],
        results.seconds[rows],
        results.worker[rows],
    )


@dataclass(frozen=True)
class Compared:
    """What one of two fronts is beside the other.

    Attributes:
        points: on it.
        volume: that it dominates, as a share of the box from the best of both fronts in each objective to the
            common reference.
        beaten: of its points, those that some point of the other dominates.
    """

    points: int
    volume: float
    beaten: int


def compare_fronts(one: Floats, other: Floats, objectives: Mapping[str, Sense]) -> tuple[Compared, Compared]:
    """Return how two fronts, `[N, M]` and `[K, M]`, compare.

    The reference lies `MARGIN` of the span beyond the worst of both fronts in each objective, where that span is 0
    by `MARGIN` of the value (or by 1 where that is 0), so that every point dominates some volume.

    Raises:
        InputError: a value that is not finite, or an empty front.
    """
    senses = list(objectives.values())
    fronts = [minimised(front, senses) for front in (one, other)]
    if not all(map(len, fronts)):
        raise InputError("a front without points compares with nothing; give two with points.")
    both = np.concatenate(fronts)
    best, worst = both.min(axis=0), both.max(axis=0)
    span = np.where(worst > best, worst - best, np.where(best != 0, np.abs(best), 1.0))
    reference = worst + MARGIN * span
    mine, yours = ((front - best) / (reference - best) for front in fronts)
    return _beside(mine, yours), _beside(yours, mine)


def _beside(mine: Floats, yours: Floats) -> Compared:
    """Compare two fronts that are scaled so that the reference is 1 in every objective."""
    return Compared(len(mine), hypervolume(mine, np.ones(mine.shape[1])), int(dominated(yours, mine).sum()))
