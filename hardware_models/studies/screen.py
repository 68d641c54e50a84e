"""Exhaustive screening: every point of the grid that keeps the constraints, block by block, each in one broadcast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from hardware_models.studies.columns import Columns
from hardware_models.studies.results import Results
from hardware_models.studies.store import Store

BLOCK: Final = 65536
"""Points of the grid at once."""


def screen(
    store: Store, evaluate: Callable[[Columns], Results], report: Callable[[int], object] = lambda done: None
) -> int:
    """Evaluate every point of the store's space that it does not hold yet, and return how many were new.

    A block is in the file when it has been reported; a process that is killed loses the block under way.

    Args:
        store: of the study; what it holds is not evaluated again.
        evaluate: of the study.
        report: told how many points of the grid are done.
    """
    known, new, size = store.keys(), 0, store.space.size()
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        points = store.space.grid(start, stop)
        points = points.take(store.space.broken(points) < 0)
        if known and len(points):
            points = points.take(np.array([key not in known for key in points.keys()]))  # noqa: SIM118 (no mapping)
        if len(points):
            new += store.add(evaluate(points))
        report(stop)
    return new
