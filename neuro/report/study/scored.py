"""The rows of the scorecard that concern the chips of a study: how far their models are from silicon."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Final

from hardware_models.chip import Chip
from hardware_models.validation.row import NOTHING, Row
from neuro.report.cells import Cell, Table, heads
from neuro.report.scorecard import compared, share

_CHIPS: Final[Mapping[str, str]] = {
    "Eyeriss silicon": "eyeriss",
    "TrueNorth silicon": "truenorth",
    "ODIN silicon": "odin",
    "Loihi silicon": "loihi1",
}
"""Targets of the scorecard by how their names begin, and the chip that they measured; other targets have its title."""

_ENGINES: Final[Mapping[str, tuple[str, ...]]] = {
    "systolic": ("scalesim",),
    "row_stationary": ("eyeriss",),
    "spatial": ("zigzag", "timeloop"),
    "event_driven": ("neuromorphic", "sanafe"),
    "roofline": ("edge",),
    "crossbar": ("in_memory",),
}
"""Modules of `hardware_models.validation` that compare each engine."""

_TITLES = ("Engine", "Compared with", "Quantity", "Ours / theirs", "Error, %", "Evidence", "Fitted", "Is")


def scored_rows(chips: Iterable[Chip]) -> list[tuple[str, Row, bool]]:
    """Return engine, row, and whether it is of one of `chips` itself, for every engine that they use."""
    used = list(chips)
    found = []
    for engine in dict.fromkeys(chip.engine for chip in used):
        for module in _ENGINES[engine]:
            for row in importlib.import_module(f"hardware_models.validation.{module}").rows():
                found.append((engine, row, any(_is_of(row, chip) for chip in used)))
    return sorted(found, key=lambda one: not one[2])


def scored_table(rows: Iterable[tuple[str, Row, bool]]) -> Table:
    """Return the rows as a table."""
    body = [
        [
            Cell(engine, "", "name"),
            Cell(row.target),
            Cell(row.quantity, "", "prose"),
            Cell(compared(row)),
            Cell(share(row.error, row.cases == 1).removesuffix("%"), f"{row.error!r}", "num"),
            Cell(row.evidence),
            Cell("" if row.fitted == NOTHING else row.fitted, "", "prose"),
            Cell("a chip of this study" if own else "another chip, the same engine"),
        ]
        for engine, row, own in rows
    ]
    return Table("How far the models are from what was measured", heads(_TITLES, text=(0, 1, 2, 3, 5, 6, 7)), body)


def unscored(chips: Iterable[Chip], rows: Iterable[tuple[str, Row, bool]]) -> list[str]:
    """Return the titles of the chips that no row is of."""
    own = [row for _, row, is_own in rows if is_own]
    return [chip.title for chip in chips if not any(_is_of(row, chip) for row in own)]


def _is_of(row: Row, chip: Chip) -> bool:
    named = next((name for begin, name in _CHIPS.items() if row.target.startswith(begin)), None)
    return chip.name == named if named else row.target == chip.title
