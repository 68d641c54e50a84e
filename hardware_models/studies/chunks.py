"""Evaluation chunk by chunk, here or by workers: what is found is in the store while the rest is under way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from hardware_models.errors import RunError
from hardware_models.studies.answers import Evaluate, joined, without_values
from hardware_models.studies.columns import Columns
from hardware_models.studies.results import Results
from hardware_models.studies.software import PREFIX

SAVED_EVERY_S: Final = 1.0
"""A write is a matter of milliseconds: what took longer to find is worth one."""


class Workers(Protocol):
    """Evaluate chunks, each as a whole."""

    def run(self, chunks: Sequence[Columns]) -> Iterator[tuple[int, Results | str]]:
        """Yield the number of a chunk and its results, or why it failed, as they come."""
        ...


class Here:
    """Evaluates in this process."""

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate

    def run(self, chunks: Sequence[Columns]) -> Iterator[tuple[int, Results | str]]:
        for number, points in enumerate(chunks):
            yield number, results_or_reason(self._evaluate, points)


def results_or_reason(evaluate: Evaluate, points: Columns) -> Results | str:
    """Return the results of `points`, or in words the fault that their evaluation ran into."""
    try:
        return evaluate(points)
    except RunError as error:
        return str(error)
    except MemoryError:
        return "the memory did not suffice."


class InChunks:
    """Evaluates points by `workers`.

    Points of one network, those alike on every axis of the software side, are one chunk: a network is prepared once.
    Where a chunk fails, its points are `failed`, for the reason that is said.

    Args:
        workers: who evaluates.
        objectives: names of what the results hold.
        save: called with results that came while others were under way, at most once a second. The last ones are
            only returned.
    """

    def __init__(self, workers: Workers, objectives: Sequence[str], save: Callable[[Results], object]) -> None:
        self._workers, self._objectives, self._save = workers, list(objectives), save

    def __call__(self, points: Columns) -> Results:
        """Return what becomes of `points`, in their order."""
        chunks = chunks_of(points)
        if not chunks:  # nothing to evaluate is nothing found
            return without_values(points, self._objectives, "failed", [])
        parts = [points.take(rows) for rows in chunks]
        found: dict[int, Results] = {}
        unsaved: list[int] = []
        last = time.monotonic()
        for number, result in self._workers.run(parts):
            found[number] = self._failed(parts[number], result) if isinstance(result, str) else result
            unsaved.append(number)
            if len(found) < len(parts) and time.monotonic() - last >= SAVED_EVERY_S:
                self._save(joined([found[one] for one in unsaved]))
                unsaved, last = [], time.monotonic()
        return in_order(joined([found[number] for number in range(len(parts))]), points, np.concatenate(chunks))

    def _failed(self, points: Columns, reason: str) -> Results:
        return without_values(points, self._objectives, "failed", [reason] * len(points))


def chunks_of(points: Columns) -> list[npt.NDArray[np.intp]]:
    """Return the rows of `points` by network, in order of each network's first point."""
    software = [name for name in points.values if name.startswith(PREFIX)]
    if not software or not len(points):
        return [np.arange(len(points))] if len(points) else []
    masks = {name: mask for name, mask in points.active.items() if name in software}
    rows: dict[bytes, list[int]] = {}
    for row, key in enumerate(Columns({name: points.values[name] for name in software}, masks).keys()):
        rows.setdefault(key, []).append(row)
    return [np.array(group) for group in rows.values()]


def in_order(results: Results, points: Columns, rows: npt.NDArray[np.intp]) -> Results:
    """Return `results`, which are those of `points` at `rows`, in the order of `points`."""
    back = np.empty(len(rows), dtype=np.intp)
    back[rows] = np.arange(len(rows))
    arrays: dict[str, Any] = {name: getattr(results, name)[back] for name in ("state", "reason", "seconds", "worker")}
    return replace(
        results, points=points, objectives={name: one[:, back] for name, one in results.objectives.items()}, **arrays
    )
