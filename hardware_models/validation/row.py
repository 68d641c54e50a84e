"""One row of the scorecard."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

from hardware_models.quantity import Grade

NOTHING = "nothing"


@dataclass(frozen=True)
class Row:
    """Ours against theirs for one quantity of one target.

    Attributes:
        target: what it is scored against, with its version: `SCALE-Sim 3.0.0`.
        evidence: how the target's figure is known.
        quantity: what is compared: `processing latency by layer`.
        ours, theirs: the figures in `unit`, where one case or a total is compared; None for many cases.
        unit: SI unit of both; empty for counts.
        error: a share: of one case (ours - theirs) / theirs, of many the mean of its absolute value.
        worst: the largest absolute error of a case.
        cases: how many were compared.
        goal: the largest absolute error asked for; None where none was.
        fitted: what was fitted to which data; `nothing` where nothing was.
        note: what a reader has to know, one sentence.
    """

    target: str
    evidence: Grade
    quantity: str
    ours: float | None
    theirs: float | None
    unit: str
    error: float
    worst: float
    cases: int
    goal: float | None
    fitted: str = NOTHING
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        return None if self.goal is None else bool(abs(self.error) <= self.goal)

    def to_document(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return {**asdict(self), "met": self.met}


@dataclass(frozen=True)
class Unscored:
    """A target that nothing of ours was compared with, and why."""

    target: str
    reason: str


def single(
    target: str,
    evidence: Grade,
    quantity: str,
    ours: float,
    theirs: float,
    unit: str,
    goal: float | None,
    fitted: str = NOTHING,
    note: str = "",
) -> Row:
    """Return the row of one case."""
    error = ours / theirs - 1
    return Row(target, evidence, quantity, ours, theirs, unit, error, abs(error), 1, goal, fitted, note)


def data_text(name: str) -> str:
    """Return the golden data file `name` as text, without its comment lines."""
    text = resources.files("hardware_models.validation").joinpath("data", name).read_text(encoding="utf-8")
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
