"""Problems with known fronts, and evaluations that go wrong, as an evaluation of a study; workers can import them."""

from __future__ import annotations

import math
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hardware_models.errors import RunError
from hardware_models.studies.columns import Columns
from hardware_models.studies.results import Results
from hardware_models.studies.space import Space

TWO: Any = {"f1": "minimise", "f2": "minimise"}
THREE: Any = {"f1": "minimise", "f2": "minimise", "f3": "minimise"}


def unit_cube(axes: int, prefix: str = "x") -> Space:
    return Space.from_document({"axes": {f"{prefix}{i}": {"real": [0.0, 1.0]} for i in range(axes)}})


def results(points: Columns, values: dict[str, Any]) -> Results:
    count = len(points)

    def text(entry: str) -> Any:
        return np.full(count, entry, dtype=object)

    bands = {name: np.stack([np.asarray(one, dtype=np.float64)] * 3) for name, one in values.items()}
    return Results(points, bands, text("done"), text(""), np.zeros(count), text("test"))


def _coordinates(points: Columns) -> Any:
    return np.stack([values.astype(np.float64) for values in points.values.values()], axis=1)


def zdt1(points: Columns) -> Results:
    """Zitzler, Deb, Thiele, Evolutionary Computation 8(2), 2000: the front is f2 = 1 - sqrt(f1)."""
    x = _coordinates(points)
    g = 1 + 9 * x[:, 1:].mean(axis=1)
    return results(points, {"f1": x[:, 0], "f2": g * (1 - np.sqrt(x[:, 0] / g))})


def zdt2(points: Columns) -> Results:
    """As above: the front is f2 = 1 - f1**2."""
    x = _coordinates(points)
    g = 1 + 9 * x[:, 1:].mean(axis=1)
    return results(points, {"f1": x[:, 0], "f2": g * (1 - (x[:, 0] / g) ** 2)})


def dtlz2(points: Columns) -> Results:
    """Deb, Thiele, Laumanns, Zitzler, CEC 2002, of three objectives: the front is an eighth of the unit sphere."""
    x = _coordinates(points)
    g = ((x[:, 2:] - 0.5) ** 2).sum(axis=1)
    one, two = (x[:, i] * math.pi / 2 for i in range(2))
    return results(
        points,
        {
            "f1": (1 + g) * np.cos(one) * np.cos(two),
            "f2": (1 + g) * np.cos(one) * np.sin(two),
            "f3": (1 + g) * np.sin(one),
        },
    )


@dataclass
class Logged:
    """Evaluates `zdt1`, and writes the key of every point to a file, one a line.

    `pause` seconds a point; `murderous` and `faulty` points (by their first axis) kill their process or end in a
    fault: always, or, where `marks` names a folder, the first time only.
    """

    log: Path
    pause: float = 0.0
    murderous: float | None = None
    faulty: float | None = None
    marks: Path | None = None

    def __call__(self, points: Columns) -> Results:
        first = next(iter(points.values.values()))
        if self.murderous in first.tolist() and self._not_yet("murder"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.faulty in first.tolist() and self._not_yet("fault"):
            raise RunError("the loss became NaN.")
        time.sleep(self.pause * len(points))
        with self.log.open("a") as file:
            file.write("".join(key.hex() + "\n" for key in points.keys()))  # noqa: SIM118 (no mapping)
        return zdt1(points)

    def _not_yet(self, mark: str) -> bool:
        if self.marks is None:
            return True
        path = self.marks / mark
        before = path.exists()
        path.touch()
        return not before


def logged(log: Path) -> list[str]:
    """Keys of the points that were evaluated, in order."""
    return log.read_text().split() if log.exists() else []
