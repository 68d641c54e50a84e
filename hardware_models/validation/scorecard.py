"""All rows of the scorecard, the speeds beside them, and the targets that are not scored."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from hardware_models.validation.row import Row, Unscored
from hardware_models.validation.speed import SpeedRow, speeds

SCHEMA: Final = "neuro.scorecard/1"

TARGETS: Final = ("scalesim", "eyeriss", "zigzag", "timeloop", "sanafe", "neuromorphic", "edge", "in_memory")
"""The modules of this package that score one target each, in the order of the table."""

UNSCORED: Final = (
    Unscored(
        "MNIST on Loihi, TrueNorth, SpiNNaker and SPOON (Renner 2024, table 1)",
        "the table gives energy and time; the networks and their spikes, which an estimate needs, are not in it",
    ),
    Unscored(
        "NeuroBench leaderboard",
        "it counts operations of trained networks that are not shipped here; no hardware is in it",
    ),
    Unscored("FINN on ZC706, frames per second", "the chip's model was made from these figures"),
    Unscored("XNE, frames per second", "the voltage of that figure has no published throughput"),
    Unscored("in-memory macro of Wang 2022, 16.4 TOPS/W", "its array size and operand widths are not known here"),
)


@dataclass(frozen=True)
class Scorecard:
    """What `neuro validate` prints."""

    rows: Sequence[Row]
    speeds: Sequence[SpeedRow]
    unscored: Sequence[Unscored] = UNSCORED

    def to_document(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "schema": SCHEMA,
            "rows": [row.to_document() for row in self.rows],
            "speeds": [row.to_document() for row in self.speeds],
            "not_scored": [{"target": left.target, "reason": left.reason} for left in self.unscored],
        }


def scorecard() -> Scorecard:
    """Compute the rows of every target, and measure the speeds, now."""
    modules = (importlib.import_module(f"hardware_models.validation.{name}") for name in TARGETS)
    return Scorecard([row for module in modules for row in module.rows()], list(speeds()))
