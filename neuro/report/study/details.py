"""What the page tells of single points: energy by layer, traffic, roof, cores, constants, and what was assumed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from hardware_models.errors import InputError
from hardware_models.estimate import Estimate
from neuro.report.study.constants import constants
from neuro.report.study.costs import Costs, PointCost
from neuro.report.study.layer_energy import layer_energy
from neuro.report.study.mesh_map import core_map
from neuro.report.study.packing import pack_text
from neuro.report.study.points import StudyPoints
from neuro.report.study.rates import MOST_CELLS, rates
from neuro.report.study.roofline import roofline_view
from neuro.report.study.traffic import flows, to_document

MOST_DETAILED: Final = 200
"""Points of the fronts that are computed again."""

BUDGET: Final = 400_000
"""Characters that they may take."""


@dataclass(frozen=True, eq=False)
class Details:
    """Points that were computed again.

    Attributes:
        costs: by row of the page.
        refused: why a row has none.
    """

    costs: Mapping[int, PointCost]
    refused: Mapping[int, str]


@dataclass
class _Pool:
    """Different values, each once, and the index of each."""

    values: list[Any] = field(default_factory=list)
    places: dict[Hashable, int] = field(default_factory=dict)

    def index(self, value: Any, key: Hashable | None = None) -> int:
        name = value if key is None else key
        if name not in self.places:
            self.places[name] = len(self.values)
            self.values.append(value)
        return self.places[name]


def compute(points: StudyPoints, costs: Costs, also: Sequence[int] = (), most: int = MOST_DETAILED) -> Details:
    """Compute points again: rows `also`, then the nominal front, then the robust one, `most` in all.

    Fronts of more points are taken evenly along their first objective.

    Raises:
        InputError: a row of `also` is not on the page.
    """
    for row in also:
        if not 0 <= row < len(points):
            raise InputError(f"the page has no point {row}; give one of 0 to {len(points) - 1}.")
    found: dict[int, PointCost] = {}
    refused: dict[int, str] = {}
    for row in _chosen(points, also, most):
        try:
            found[row] = costs(points.point(row), points.values(row))
        except InputError as error:
            refused[row] = str(error)
    return Details(found, refused)


def pack_details(details: Details, also: Sequence[int] = (), budget: int = BUDGET) -> tuple[str, list[int]]:
    """Return the packed details and the rows that they are of; of too many points every second is left, but `also`."""
    kept = dict(details.costs)
    while True:
        text = pack_text(_document(kept, details.refused))
        others = [row for row in kept if row not in also]
        if len(text) <= budget or not others:
            return text, list(kept)
        left = set(others[1::2] or others)
        kept = {row: cost for row, cost in kept.items() if row not in left}


def _chosen(points: StudyPoints, also: Sequence[int], most: int) -> list[int]:
    chosen = dict.fromkeys(int(row) for row in also)
    first = next(iter(points.results.objectives.values()))[0]
    for front in (points.nominal, np.setdiff1d(points.robust, points.nominal)):
        ordered = front[np.argsort(first[front], kind="stable")]
        room = max(0, most - len(chosen))
        even = np.unique(np.linspace(0, len(ordered) - 1, min(room, len(ordered))).round().astype(int))
        chosen.update(dict.fromkeys(ordered[even].tolist()))
    return list(chosen)


def _document(costs: Mapping[int, PointCost], refused: Mapping[int, str]) -> dict[str, Any]:
    pools = {name: _Pool() for name in ("words", "constants", "rates")}
    described = {str(row): _point(cost, pools) for row, cost in costs.items()}
    why = {str(row): pools["words"].index(reason) for row, reason in refused.items()}
    return {"points": described, "refused": why, **{name: pool.values for name, pool in pools.items()}}


def _point(cost: PointCost, pools: Mapping[str, _Pool]) -> dict[str, Any]:
    found = cost.estimate
    roof, cores = roofline_view(found, cost.table), core_map(found)
    return {
        "title": f"{found.subject} on {found.chip.title}",
        "grade": found.grade,
        "execution": found.run.execution,
        "energy": layer_energy(found).to_document(),
        "traffic": to_document(flows(found)),
        "roofline": None if roof is None else roof.to_document(),
        "cores": None if cores is None else cores.to_document(),
        "constants": [pools["constants"].index(constant) for constant in constants(found)],
        "words": [[head, pools["words"].index(text)] for head, text in _words(found)],
        "rates": _rates(cost, pools["rates"]),
    }


def _words(found: Estimate) -> list[tuple[str, str]]:
    return [
        *(("Assumed", text) for text in found.assumptions),
        *(("Left out", f"{name}: {reason}") for name, reason in found.left_out.items()),
        *(("Refused", f"{question}: {reason}") for question, reason in found.refused.items()),
    ]


def _rates(cost: PointCost, pool: _Pool) -> int | None:
    """Index of the network's firing; networks share the cells of one page."""
    if id(cost.table) in pool.places:
        return pool.places[id(cost.table)]
    taken = sum(len(rows) * len(rows[0]) for known in pool.values for rows in known["raster"].values())
    found = rates(cost.table, MOST_CELLS - taken)
    return None if found is None else pool.index(found.to_document(), id(cost.table))
