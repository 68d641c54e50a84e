"""Geometry of the charts, in percent of the plot, so that a page can stretch them to any width."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from neuro.report.figures import is_number

HEAT_STEPS = 8
"""Steps of the heat map's colour scale above 0."""


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis, in percent from the left or from the top."""

    at: float
    value: float


@dataclass(frozen=True)
class Span:
    """A named stretch of the x axis: neighbours whose names begin alike."""

    name: str
    start: float
    width: float


@dataclass(frozen=True)
class Segment:
    """One part of a stacked bar: its kind, where it starts and how long it is, in percent."""

    kind: str
    start: float
    size: float


@dataclass(frozen=True)
class Line:
    """One series: its kind, the SVG path through its points (`0 0 100 100`), and the points."""

    kind: str
    path: str
    points: tuple[tuple[float, float], ...]


def nice_top(largest: float, steps: int = 4) -> tuple[float, float]:
    """Return the end of an axis from 0 that holds `largest`, and the round step between its ticks."""
    if not largest > 0 or not math.isfinite(largest):
        return 1.0, 0.5
    rough = largest / steps
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(m * magnitude for m in (1, 2, 2.5, 4, 5, 8, 10) if m * magnitude >= rough * (1 - 1e-9))
    return step * math.ceil(largest / step - 1e-9), step


def ticks(low: float, high: float, step: float) -> list[Tick]:
    """Return ticks from `low` to `high`, placed in percent from the top."""
    count = round((high - low) / step)
    return [Tick(round(100 - 100 * i / count, 2), low + i * step) for i in range(count + 1)]


def stack(parts: Sequence[tuple[str, float]], full: float) -> list[Segment]:
    """Stack the parts that are not empty one after the other, `full` being 100 %."""
    segments, start = [], 0.0
    for kind, value in parts:
        size = 100 * value / full if full else 0.0
        if size > 0:
            segments.append(Segment(kind, round(start, 3), round(size, 3)))
            start += size
    return segments


def columns(count: int, gap: float = 0.2) -> list[tuple[float, float]]:
    """Return (x, width) of `count` columns side by side; `gap` is the empty share of each."""
    width = 100 / count if count else 100.0
    return [(round(i * width + width * gap / 2, 3), round(width * (1 - gap), 3)) for i in range(count)]


def index_ticks(count: int, most: int = 10) -> list[Tick]:
    """Return ticks at the centres of the first and of every so many columns, numbered from 1."""
    _, step = nice_top(count, most)
    stride = max(round(step), 1)
    numbers = [1, *range(stride, count + 1, stride)] if stride > 1 else list(range(1, count + 1))
    return [Tick(round(100 * (n - 0.5) / count, 2), n) for n in numbers]


def spans(names: Sequence[str]) -> list[Span]:
    """Group neighbours by the part of their name before the first dot; nothing where that does not help."""
    groups: list[tuple[str, int]] = []
    for name in names:
        head = name.split(".", 1)[0]
        if groups and groups[-1][0] == head:
            groups[-1] = (head, groups[-1][1] + 1)
        else:
            groups.append((head, 1))
    if not 1 < len(groups) <= max(len(names) / 2, 2):
        return []
    found, start = [], 0
    for head, size in groups:
        found.append(Span(head, round(100 * start / len(names), 3), round(100 * size / len(names), 3)))
        start += size
    return found


def heat_scale(largest: float) -> list[float]:
    """Return the round upper ends of the colour steps 1, 2, ... that reach `largest`; step 0 is 0 itself."""
    _, step = nice_top(largest, HEAT_STEPS)
    return [i * step for i in range(1, max(math.ceil(largest / step - 1e-9), 1) + 1)]


def heat_step(value: float, scale: Sequence[float]) -> int:
    """Return the colour step of a value, 0 only for 0; a short scale is spread over all the steps."""
    return shade(bisect.bisect_left(scale, value * (1 - 1e-9)) + 1, len(scale)) if value > 0 else 0


def shade(number: int, count: int) -> int:
    """Return the colour step of step `number` out of `count`."""
    return round(HEAT_STEPS * number / count)


def line(
    kind: str, points: Iterable[tuple[float, float | None]], x: tuple[float, float], y: tuple[float, float]
) -> Line:
    """Place a series in the plot whose axes span `x` and `y`; values that are None or NaN are left out."""

    def place(value: float, ends: tuple[float, float]) -> float:
        return 50.0 if ends[0] == ends[1] else 100 * (value - ends[0]) / (ends[1] - ends[0])

    placed = tuple(
        (round(place(at, x), 2), round(100 - place(v, y), 2)) for at, v in points if v is not None and is_number(v)
    )
    path = "M" + "L".join(f"{px} {py}" for px, py in placed) if placed else ""
    return Line(kind, path, placed)
