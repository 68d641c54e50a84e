"""What a study found, in words and in tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from hardware_models.chip import Chip
from hardware_models.quantity import GRADES, Grade
from neuro.report.cells import Cell, Table, heads
from neuro.report.figures import exact, si
from neuro.report.study.names import Name, labels
from neuro.report.study.points import StudyPoints

MOST_FRONT_ROWS: Final = 200
"""Rows of the table of the front that is printed."""


@dataclass(frozen=True)
class Named:
    """What axes and objectives of a study are called, by their names in it."""

    axes: Mapping[str, Name]
    objectives: Mapping[str, Name]

    def axis_text(self, point: Mapping[str, Any]) -> dict[str, str]:
        """Return the values of a point as text, by axis; empty where inactive."""
        return {name: _text(value, self.axes[name].unit) for name, value in point.items()}


def finding(points: StudyPoints, named: Named) -> list[str]:
    """Return what the study found, one sentence each: the size of the fronts, and the best of each objective."""
    done = points.counts["done"]
    if not done:
        return ["No point of the study could be evaluated, so there is no front; the reasons are below."]
    found = [
        f"{_count(len(points.nominal))} of {_count(done)} evaluated points lie on the front, where no point is beaten "
        f"in every objective; with the uncertainty of the figures {_count(len(points.robust))} cannot be ruled out."
    ]
    for name, sense in points.senses.items():
        on_front = points.results.objectives[name][0][points.nominal]  # of equally good points those that lie there
        place = np.argmin(on_front) if sense == "minimise" else np.argmax(on_front)
        found.append(_best(points, named, name, int(points.nominal[place])))
    return found


def _best(points: StudyPoints, named: Named, name: str, row: int) -> str:
    word = "Least" if points.senses[name] == "minimise" else "Most"
    point = points.point(row)
    others = [
        f"{named.objectives[other].label.lower()} {si(values[0], named.objectives[other].unit)}"
        for other, values in points.values(row).items()
        if other != name
    ]
    value, low, high = points.values(row)[name]
    unit = named.objectives[name].unit
    band = f" ({si(low, unit)} to {si(high, unit)})" if low < high else ""
    at = labels(named.axes, point, named.axis_text(point))
    rest = f", at {' and '.join(others)}" if others else ""
    return f"{word} {named.objectives[name].label.lower()}: {si(value, unit)}{band}{rest}, with {at}."


def summary_table(points: StudyPoints, document: Mapping[str, Any]) -> Table:
    """Return how the study was run and what became of its points."""
    method, bands = document.get("method") or {}, document.get("bands") or {}
    samples = bands.get("samples", 0)
    rows = [
        ("Points", _count(points.total)),
        ("Evaluated", _count(points.counts["done"])),
        ("Infeasible", _count(points.counts["infeasible"])),
        ("Failed", _count(points.counts["failed"])),
        ("On the front, over all objectives", _count(len(points.nominal))),
        ("On the robust front", _count(len(points.robust))),
        ("Objectives", ", ".join(f"{sense} {name}" for name, sense in points.senses.items())),
        ("Method", ", ".join(f"{key} {value}" for key, value in method.items()) or "not stated in the document"),
        (
            "Bands",
            f"5th to 95th percentile of {samples} draws"
            if samples
            else "corners: every uncertain figure at the cheap, or the dear, end at once",
        ),
        ("Time of all points", si(points.seconds, "s")),
    ]
    body = [[Cell(head, "", "name"), Cell(value, "", "text")] for head, value in rows]
    return Table("The study", heads(("", "Value"), text=(0, 1)), body)


def chip_table(chips: Iterable[Chip], grades: Mapping[str, Grade]) -> Table:
    """Return the chips with their evidence: among the figures that were read, else among all of the chip's."""
    rows = []
    for chip in chips:
        weakest = max((figure.grade for figure in chip.figures.values()), key=GRADES.index)
        read = chip.name in grades
        scope = "the figures that were read" if read else "all figures of the chip"
        evidence = Cell(grades.get(chip.name, weakest), "", "text")
        rows.append([Cell(chip.name, "", "name"), Cell(chip.title), Cell(chip.engine), evidence, Cell(scope)])
    titles = ("Chip", "What it is", "Engine", "Weakest evidence", "Among")
    return Table("Chips", heads(titles, text=(0, 1, 2, 3, 4)), rows)


def reasons_table(points: StudyPoints) -> Table | None:
    """Return why points were left, and how many; None where none was."""
    if not points.reasons:
        return None
    rows = [
        [
            Cell(one.state, "", "name"),
            Cell(_count(one.count), exact(one.count), "num"),
            Cell(one.limit),
            Cell(one.example),
        ]
        for one in points.reasons
    ]
    titles = ("State", "Points", "Limit that they broke", "For example")
    return Table("Points without figures", heads(titles, text=(0, 2, 3)), rows)


def front_table(points: StudyPoints, named: Named) -> Table:
    """Return the nominal front, by its first objective, at most `MOST_FRONT_ROWS` points evenly taken."""
    first = next(iter(points.senses))
    rows = points.nominal[np.argsort(points.results.objectives[first][0, points.nominal], kind="stable")]
    taken = rows[:: max(1, -(-len(rows) // MOST_FRONT_ROWS))]
    body = [_front_row(points, named, int(row)) for row in taken]
    titles = ["Point", *(one.label for one in named.axes.values())]
    for one in named.objectives.values():
        titles += [one.label, "Band"]
    words = tuple(range(1 + len(named.axes)))
    return Table(f"The front: {len(taken)} of {len(rows)} points", heads(titles, text=words), body)


def _front_row(points: StudyPoints, named: Named, row: int) -> list[Cell]:
    cells = [Cell(str(row), "", "name"), *(Cell(text) for text in named.axis_text(points.point(row)).values())]
    for name, (value, low, high) in points.values(row).items():
        unit = named.objectives[name].unit
        band = f"{si(low, unit)} to {si(high, unit)}" if low < high else ""
        cells += [Cell(si(value, unit), exact(value), "num"), Cell(band, "", "num")]
    return cells


def _text(value: Any, unit: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | str):
        return str(value)
    return si(float(value), unit) if unit else f"{value:.5g}"


def _count(value: int) -> str:
    return f"{value:,}".replace(",", "\N{NO-BREAK SPACE}")
