"""What a point of a study costs layer by layer, computed again from the study's own networks and chips."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from hardware_models.chip import Chip, chip, load_chip
from hardware_models.engine import Run
from hardware_models.errors import InputError
from hardware_models.estimate import Estimate, estimate
from hardware_models.layer_table import LayerTable
from hardware_models.quantity import unit_factor
from hardware_models.studies.evaluation import CHIP, EXECUTION, FIGURE
from hardware_models.studies.software import PREFIX, Answer, GivenNetworks

AGREEMENT: Final = 1e-6
"""Largest relative difference between what the study holds and what is computed again."""


@dataclass(frozen=True, eq=False)
class PointCost:
    """What one point costs.

    Attributes:
        estimate: by layer and component.
        table: the network at that point.
    """

    estimate: Estimate
    table: LayerTable


class Networks(Protocol):
    """Whoever answers for the networks of a study."""

    def answer(self, point: Mapping[str, Any]) -> Answer:
        """Return the network at `point`, its axes by name."""
        ...


class Costs:
    """Computes points of a study again.

    Args:
        document: of the study.
        software: who answers for its networks.
    """

    def __init__(self, document: Mapping[str, Any], software: Networks) -> None:
        bands = document.get("bands") or {}
        self._chip, self._software = document.get("chip"), software
        self._samples, self._seed = int(bands.get("samples", 0)), int(bands.get("seed", 0))
        self._tables: dict[tuple[tuple[str, Any], ...], LayerTable] = {}

    def __call__(self, point: Mapping[str, Any], stored: Mapping[str, tuple[float, float, float]]) -> PointCost:
        """Return what `point` costs.

        Args:
            point: its axes.
            stored: its objectives as the study holds them.

        Raises:
            InputError: it cannot be computed, or is not what the study holds any more.
        """
        active = {name: value for name, value in point.items() if value is not None}
        named = {name.removeprefix(PREFIX): value for name, value in active.items() if name.startswith(PREFIX)}
        figures = {name.removeprefix(FIGURE): value for name, value in active.items() if name.startswith(FIGURE)}
        table = self._table(named)
        run = Run(active[EXECUTION]) if EXECUTION in active else Run()
        start = chip_of(active, self._chip)
        found = estimate(table, with_figures(start, figures), run, self._samples, self._seed)
        _check_agreement(found, stored)
        return PointCost(found, table)

    def _table(self, named: Mapping[str, Any]) -> LayerTable:
        key = tuple(sorted(named.items()))
        if key not in self._tables:
            self._tables[key] = self._software.answer(named).table
        return self._tables[key]


def chip_of(point: Mapping[str, Any], other: str | None) -> Chip:
    """Return the chip that `point` names, or else the one that the study is about.

    Raises:
        InputError: neither names one, or it is unknown.
    """
    name = point.get(CHIP, other)
    if name is None:
        raise InputError("the study names no chip, neither in its document nor on an axis; add it to the document.")
    return load_chip(Path(name)) if str(name).endswith((".yaml", ".yml")) else chip(str(name))


def networks_of(document: Mapping[str, Any], folder: Path) -> Networks:
    """Return the networks that a study was given; their files lie in `folder`.

    Raises:
        InputError: the document names none, or networks that have to be made first.
    """
    described = document.get("software")
    if not isinstance(described, Mapping):
        raise InputError("the study's document does not say which networks it was given.")
    if described.get("kind") != "given":
        raise InputError(f"networks of kind {described.get('kind')!r} have to be made again first.")
    return GivenNetworks.from_document(described, folder)


def with_figures(start: Chip, figures: Mapping[str, float]) -> Chip:
    """Return the chip with `figures` in base units, which keep the relative width of their bands.

    Raises:
        InputError: the chip has no such figure.
    """
    changed = dict(start.figures)
    for name, value in figures.items():
        given = start.figure(name, "an axis of the study")
        factor = unit_factor(given.unit)[0]
        low, high = (_scaled(end, given.value, value / factor) for end in given.band)
        update = {
            **{"value": value / factor, "low": min(low, value / factor), "high": max(high, value / factor)},
            **{"source": f"set by the study; the chip has {given.value:g} {given.unit}", "grade": "assumed"},
        }
        changed[name] = given.model_copy(update=update)
    return start.model_copy(update={"figures": changed})


def _scaled(end: float, value: float, to: float) -> float:
    return end / value * to if value else to


def _check_agreement(found: Estimate, stored: Mapping[str, tuple[float, float, float]]) -> None:
    totals = {"energy_j": found.total_energy_j, "latency_s": found.total_latency_s}
    for name, total in totals.items():
        if name not in stored:
            continue
        now, then = math.nan if total is None else float(total[0]), stored[name][0]
        if not math.isclose(now, then, rel_tol=AGREEMENT):
            raise InputError(
                f"the study holds {name} = {then:.6g} and its networks and chips now give {now:.6g}: they have changed "
                "since, so run the study again."
            )
