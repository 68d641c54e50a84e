"""What becomes of points that a search asks for: read from the store, refused by a constraint, or evaluated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_models.studies.columns import Columns, concat
from hardware_models.studies.filters import Filter
from hardware_models.studies.results import STATES, Results, State
from hardware_models.studies.store import Store

Evaluate = Callable[[Columns], Results]
"""Returns what becomes of points, in their order."""

LIMIT: Final = "breaks the constraint "


class Answer(NamedTuple):
    """What became of one point: its objectives in the order of the study (NaN where not done), state and reason."""

    values: tuple[float, ...]
    state: State
    reason: str


class Answers:
    """Answers for points of `store`'s space; each is evaluated once, and what was found is in the store."""

    def __init__(self, store: Store, evaluate: Evaluate) -> None:
        self._store, self._evaluate = store, evaluate
        self._known: dict[bytes, Answer] = {}
        if sum(store.counts().values()):
            self._learn(store.read(Filter(STATES)))

    def __call__(self, points: Columns) -> list[Answer]:
        """Return the answer to each of `points`, in one evaluation of those that are new."""
        keys = points.keys()
        rows = {key: row for row, key in reversed(list(enumerate(keys))) if key not in self._known}
        if rows:
            self._find(points.take(sorted(rows.values())))
        return [self._known[key] for key in keys]

    def _find(self, points: Columns) -> None:
        broken = self._store.space.broken(points)
        parts = []
        if (broken >= 0).any():
            parts.append(self._refused(points.take(broken >= 0), broken[broken >= 0]))
        if (broken < 0).any():
            parts.append(self._evaluate(points.take(broken < 0)))
        found = joined(parts)
        self._store.add(found)
        self._learn(found)

    def _refused(self, points: Columns, broken: npt.NDArray[np.int16]) -> Results:
        """Points that break the constraints numbered `broken`."""
        limits = self._store.space.constraints
        said = [LIMIT + repr(one.rule) + (f": {one.because}" if one.because else "") for one in limits]
        return without_values(points, list(self._store.objectives), "infeasible", [said[index] for index in broken])

    def _learn(self, results: Results) -> None:
        values = np.stack([results.objectives[name][0] for name in self._store.objectives], axis=1)
        rows = zip(values.tolist(), results.state.tolist(), results.reason.tolist(), strict=True)
        answers = (Answer(tuple(numbers), state, reason) for numbers, state, reason in rows)
        self._known.update(zip(results.points.keys(), answers, strict=True))


def without_values(points: Columns, objectives: list[str], state: State, reasons: list[str]) -> Results:
    """Return results of points that have none of `objectives`, for the `reasons` that are said."""
    count = len(points)
    unknown = {name: np.full((3, count), np.nan) for name in objectives}
    return Results(points, unknown, _texts([state] * count), _texts(reasons), np.zeros(count), _texts([""] * count))


def joined(parts: list[Results]) -> Results:
    """Return the results of `parts`, one at least, one after the other."""
    if len(parts) == 1:
        return parts[0]

    def of(name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])

    objectives = {
        name: np.concatenate([part.objectives[name] for part in parts], axis=1) for name in parts[0].objectives
    }
    points = concat([part.points for part in parts])
    return Results(points, objectives, of("state"), of("reason"), of("seconds"), of("worker"))


def _texts(entries: list[str] | list[State]) -> npt.NDArray[np.object_]:
    return np.array(entries, dtype=object)
