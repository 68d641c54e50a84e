"""The fronts as drawings that need no script, for print: one for each pair of objectives."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hardware_models.studies.pareto import non_dominated, robust_front
from neuro.report.figures import si
from neuro.report.study.names import objective_name
from neuro.report.study.points import StudyPoints

Floats = npt.NDArray[np.float64]

MOST_DOMINATED: Final = 400
MOST_BANDS: Final = 60
MOST_PAIRS: Final = 6
_LOG_FROM: Final = 30.0
"""A span of values beyond which an axis is logarithmic."""


@dataclass(frozen=True)
class Mark:
    """A point, and the ends of its bands, in percent of the plot from the left and from the top."""

    x: float
    y: float
    x_low: float
    x_high: float
    y_low: float
    y_high: float


@dataclass(frozen=True)
class StaticFront:
    """One drawing.

    Attributes:
        x, y: what the axes are, with their units.
        x_ticks, y_ticks: places in percent and labels.
        dominated, robust, nominal: points; those of the robust front that are not on the nominal one.
        caption: what is drawn, in words.
    """

    x: str
    y: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    dominated: list[Mark]
    robust: list[Mark]
    nominal: list[Mark]
    caption: str


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, values: Floats) -> _Scale:
        low, high = float(values.min()), float(values.max())
        return cls(low, high, low > 0 and high / low > _LOG_FROM)

    def place(self, values: Floats) -> Floats:
        ends = np.array([self.low, self.high])
        at, (low, high) = (np.log(values), np.log(ends)) if self.log else (values, ends)
        return np.full(values.shape, 50.0) if low == high else 3 + 94 * (at - low) / (high - low)

    def ticks(self, unit: str) -> list[tuple[float, str]]:
        spaced = np.geomspace if self.log else np.linspace
        values = np.array([self.low]) if self.low == self.high else spaced(self.low, self.high, 4)
        places = self.place(values).tolist()
        return [(round(at, 2), si(value, unit)) for at, value in zip(places, values.tolist(), strict=True)]


def static_fronts(points: StudyPoints) -> list[StaticFront]:
    """Return the front of each pair of objectives, at most `MOST_PAIRS`; none for a study of one objective."""
    done = np.flatnonzero(points.results.state == "done")
    if not len(done):
        return []
    pairs = itertools.islice(itertools.combinations(points.senses, 2), MOST_PAIRS)
    return [_front(points, done, pair) for pair in pairs]


def _front(points: StudyPoints, done: npt.NDArray[np.intp], pair: tuple[str, str]) -> StaticFront:
    value, low, high = np.stack([points.results.objectives[name][:, done] for name in pair], axis=-1)
    senses = [points.senses[name] for name in pair]
    nominal, robust = non_dominated(value, senses), robust_front(low, high, senses)
    shown = {
        "nominal": _thinned(nominal, MOST_BANDS),
        "robust": _thinned(robust & ~nominal, MOST_DOMINATED),
        "dominated": _thinned(~robust & ~nominal, MOST_DOMINATED),
    }
    drawn = np.concatenate([value[np.concatenate(list(shown.values()))], *(e[shown["nominal"]] for e in (low, high))])
    scales = [_Scale.of(drawn[:, column]) for column in (0, 1)]
    named = [objective_name(name) for name in pair]
    ticks = [scale.ticks(name.unit) for scale, name in zip(scales, named, strict=True)]
    return StaticFront(
        x=named[0].label,
        y=named[1].label,
        x_ticks=ticks[0],
        y_ticks=[(round(100 - at, 2), text) for at, text in ticks[1]],
        **{name: _marks(rows, (value, low, high), scales) for name, rows in shown.items()},
        caption=(
            f"{named[0].label} and {named[1].label}: {int(nominal.sum())} points on the front, "
            f"{int(robust.sum())} on the robust front, of {len(done)}; at most {MOST_BANDS} of the front with their "
            f"bands and {MOST_DOMINATED} of the others are drawn."
        ),
    )


def _thinned(chosen: npt.NDArray[np.bool_], most: int) -> npt.NDArray[np.intp]:
    """At most `most` of the chosen rows, evenly taken."""
    rows = np.flatnonzero(chosen)
    return rows[:: max(1, math.ceil(len(rows) / most))]


def _marks(rows: npt.NDArray[np.intp], ends: tuple[Floats, Floats, Floats], scales: list[_Scale]) -> list[Mark]:
    x = [scales[0].place(np.clip(end[rows, 0], scales[0].low, scales[0].high)) for end in ends]
    y = [100 - scales[1].place(np.clip(end[rows, 1], scales[1].low, scales[1].high)) for end in ends]
    columns = np.round(np.stack([x[0], y[0], x[1], x[2], y[1], y[2]], axis=1), 2)
    return [Mark(*row) for row in columns.tolist()]
