"""The points of a study as the page needs them: those that are drawn, the fronts, and what was left and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hardware_models.studies.filters import Filter
from hardware_models.studies.pareto import Sense, non_dominated, robust_front
from hardware_models.studies.results import STATES, Results, State
from hardware_models.studies.store import Store

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

MOST_POINTS: Final = 100_000
"""Points on the page; of a larger study the fronts are drawn, and points of the rest that are chosen at random."""

_NUMBER = re.compile(r"(?<![A-Za-z_.\d])-?\d+([,_]\d+)*(\.\d+)?(e[+-]?\d+)?")


@dataclass(frozen=True, eq=False)
class StudyPoints:
    """Points of a study.

    Attributes:
        results: those on the page, at most `MOST_POINTS` and the fronts.
        senses: `minimise` or `maximise`, by objective.
        nominal: rows of `results` that no other point of the study dominates, over all objectives.
        robust: rows that none dominates whatever values their bands hold; the nominal front is part of it.
        counts: points of the whole study, by state.
        seconds: that all of them took.
        reasons: why points are infeasible or failed: state, limit (numbers left out), how many, one of them in full.
    """

    results: Results
    senses: Mapping[str, Sense]
    nominal: Indices
    robust: Indices
    counts: Mapping[State, int]
    seconds: float
    reasons: Sequence[Reason]

    def __len__(self) -> int:
        return len(self.results)

    @property
    def total(self) -> int:
        """Points of the whole study."""
        return sum(self.counts.values())

    def point(self, row: int) -> dict[str, Any]:
        """Return the axes of a point, None where inactive."""
        return self.results.points.point(row)

    def values(self, row: int) -> dict[str, tuple[float, float, float]]:
        """Return the objectives of a point: value, low and high."""
        return {name: tuple(ends[:, row].tolist()) for name, ends in self.results.objectives.items()}


@dataclass(frozen=True)
class Reason:
    """A limit that points broke, or a way in which they failed."""

    state: State
    limit: str
    count: int
    example: str


def read_points(store: Store, most: int = MOST_POINTS) -> StudyPoints:
    """Read the points of `store` in every state, with the fronts of the whole study.

    Args:
        store: the study.
        most: points to keep; the fronts are kept whatever their size.
    """
    results = store.read(Filter(STATES))
    done = np.flatnonzero(results.state == "done")
    nominal, robust = _fronts(results, store.objectives, done)
    rows = _kept(len(results), np.union1d(nominal, robust), most)
    return StudyPoints(
        results=_take(results, rows),
        senses=store.objectives,
        nominal=np.searchsorted(rows, nominal),
        robust=np.searchsorted(rows, robust),
        counts={state: int((results.state == state).sum()) for state in STATES},
        seconds=float(results.seconds.sum()),
        reasons=_reasons(results),
    )


def _fronts(results: Results, senses: Mapping[str, Sense], done: Indices) -> tuple[Indices, Indices]:
    """Rows of the nominal and of the robust front over all objectives."""
    if not len(done):
        return done, done
    value, low, high = np.stack([results.objectives[name][:, done] for name in senses], axis=-1)
    order = list(senses.values())
    return done[non_dominated(value, order)], done[robust_front(low, high, order)]


def _kept(count: int, always: Indices, most: int) -> Indices:
    """Rows to keep, ascending: `always`, and others by chance up to `most` in all."""
    if count <= most:
        return np.arange(count)
    others = np.setdiff1d(np.arange(count), always)
    room = max(0, most - len(always))
    drawn = np.random.default_rng(0).choice(others, size=min(room, len(others)), replace=False)
    return np.sort(np.concatenate([always, drawn]))


def _take(results: Results, rows: Indices) -> Results:
    return Results(
        results.points.take(rows),
        {name: values[:, rows] for name, values in results.objectives.items()},
        *(getattr(results, name)[rows] for name in ("state", "reason", "seconds", "worker")),
    )


def _reasons(results: Results) -> list[Reason]:
    left = results.state != "done"
    said = Counter(zip(results.state[left].tolist(), results.reason[left].tolist(), strict=True))
    grouped: dict[tuple[State, str], list[tuple[str, int]]] = {}
    for (state, reason), count in said.items():
        grouped.setdefault((state, limit(reason)), []).append((reason, count))
    found = [Reason(*key, sum(n for _, n in texts), texts[0][0]) for key, texts in grouped.items()]
    return sorted(found, key=lambda one: (STATES.index(one.state), -one.count))


def limit(reason: str) -> str:
    """Return `reason` with its numbers replaced, so that points that broke the same limit count together."""
    return _NUMBER.sub("…", reason)
