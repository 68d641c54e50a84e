"""All rows of the scorecard, and the targets that are not scored."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Final

from hardware_models.validation.row import Row, Unscored

SCHEMA: Final = "neuro.scorecard/1"

TARGETS: Final = ("scalesim", "eyeriss", "zigzag", "timeloop", "sanafe", "neuromorphic", "edge", "in_memory")
"""The modules of this package that score one target each, in the order of the table."""

UNSCORED: Final[tuple[Unscored, ...]] = ()


def scorecard() -> list[Row]:
    """Return the rows of every target, computed now."""
    modules = (importlib.import_module(f"hardware_models.validation.{name}") for name in TARGETS)
    return [row for module in modules for row in module.rows()]


def to_document(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the scorecard as plain data."""
    return {
        "schema": SCHEMA,
        "rows": [row.to_document() for row in rows],
        "not_scored": [{"target": left.target, "reason": left.reason} for left in UNSCORED],
    }
