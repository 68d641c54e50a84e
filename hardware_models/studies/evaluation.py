"""What becomes of points: the software side answers once for each network, the hardware side for all variants."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt

from hardware_models.chip import Chip, chip, load_chip
from hardware_models.distinct import distinct_rows
from hardware_models.engine import Execution, Run
from hardware_models.errors import InputError, unknown_name
from hardware_models.studies.columns import Array, Columns
from hardware_models.studies.costs import variant_costs
from hardware_models.studies.results import Floats, Results
from hardware_models.studies.software import PREFIX, Answer, Software

CHIP: Final = "chip"
EXECUTION: Final = "run.execution"
FIGURE: Final = "hardware."
"""Names of the axes of the hardware side: the chip, how it runs, and figures of the chip."""

COSTS: Final = ("energy_j", "latency_s", "energy_delay_js")
"""Objectives that the hardware side knows: joules and seconds of one inference, and their product."""


@dataclass
class Evaluation:
    """Evaluates points of a space.

    Attributes:
        software: answers for networks.
        objectives: names of what is asked for: of `COSTS`, or figures of the software side.
        chip: the chip where `chip` is no axis: a name, or a file.
        samples: Monte Carlo draws for the bands; 0 for the corners.
        seed: of the draws.
        worker: a name for who computes, for the record.
    """

    software: Software
    objectives: Sequence[str]
    chip: str | None = None
    samples: int = 0
    seed: int = 0
    worker: str = ""
    _answers: dict[tuple[tuple[str, Any], ...], Answer] = field(default_factory=dict, repr=False)
    _chips: dict[str, Chip] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        known = (*COSTS, *self.software.figures)
        for name in self.objectives:
            if name not in known:
                raise unknown_name("objective", name, known)

    def check_axes(self, axes: Sequence[str]) -> None:
        """Refuse axes that nothing reads, and a study without a chip.

        Raises:
            InputError: the first of them.
        """
        known = [CHIP, EXECUTION, *(PREFIX + name for name in self.software.axes)]
        for axis in axes:
            if axis not in known and not axis.startswith(FIGURE):
                raise unknown_name("axis", axis, [*known, f"{FIGURE}FIGURE"])
        if CHIP not in axes and self.chip is None:
            raise InputError("the study names no chip; give one, or an axis 'chip'.")

    def __call__(self, points: Columns) -> Results:
        """Return what becomes of `points`; those that cannot be are infeasible, with the reason."""
        count = len(points)
        objectives = {name: np.full((3, count), np.nan) for name in self.objectives}
        state, reason = np.full(count, "done", dtype=object), np.full(count, "", dtype=object)
        seconds = np.zeros(count)
        for rows in _groups(points, [name for name in points.values if not name.startswith(FIGURE)]):
            started = time.perf_counter()
            try:
                found, why = self._group(points.take(rows))
            except InputError as error:
                found, why = {}, np.full(len(rows), str(error), dtype=object)
            for name, values in found.items():
                objectives[name][:, rows] = values
            reason[rows] = why
            seconds[rows] = (time.perf_counter() - started) / len(rows)
        broken = reason != ""
        state[broken] = "infeasible"
        for values in objectives.values():
            values[:, broken] = np.nan
        return Results(points, objectives, state, reason, seconds, np.full(count, self.worker, dtype=object))

    def _group(self, points: Columns) -> tuple[dict[str, Floats], npt.NDArray[np.object_]]:
        """Objectives `[3, N]` and reasons `[N]` of points that share all but figures of the chip."""
        first = {name: value for name, value in points.point(0).items() if value is not None}
        answer = self._answer({name.removeprefix(PREFIX): v for name, v in first.items() if name.startswith(PREFIX)})
        found: dict[str, Floats] = {
            name: np.repeat(np.array(answer.figures[name])[:, None], len(points), axis=1)
            for name in self.objectives
            if name in answer.figures
        }
        wanted = [name for name in self.objectives if name in COSTS]
        if not wanted:
            return found, np.full(len(points), "", dtype=object)
        member, run = self._chip(first), _run(first)
        figures = {name.removeprefix(FIGURE): points.values[name] for name in first if name.startswith(FIGURE)}
        costs = variant_costs(answer.table, member, figures, run, self.samples, self.seed)
        energy, latency = (_repeated(one, len(points)) for one in (costs.energy_j, costs.latency_s))
        known = {"energy_j": energy, "latency_s": latency, "energy_delay_js": energy * latency}
        reasons = np.resize(costs.reasons, len(points))
        for name in wanted:
            found[name] = known[name]
            silent = np.isnan(known[name][0]) & (reasons == "")
            reasons[silent] = f"chip {member.name!r} does not tell {name}."
        return found, reasons

    def _answer(self, point: Mapping[str, Any]) -> Answer:
        key = tuple(sorted(point.items()))
        if key not in self._answers:
            self._answers[key] = self.software.answer(point)
        return self._answers[key]

    def _chip(self, point: Mapping[str, Any]) -> Chip:
        name = str(point.get(CHIP, self.chip))
        if name not in self._chips:
            self._chips[name] = load_chip(Path(name)) if name.endswith((".yaml", ".yml")) else chip(name)
        return self._chips[name]


def _run(point: Mapping[str, Any]) -> Run:
    execution = point.get(EXECUTION)
    if execution is None:
        return Run()
    if execution not in get_args(Execution):
        raise unknown_name("execution", execution, get_args(Execution))
    return Run(execution)


def _repeated(values: Floats, count: int) -> Floats:
    """`[3, H]` for every point, where the chip has one variant alone."""
    return values if values.shape[1] == count else np.repeat(values, count, axis=1)


def _groups(points: Columns, names: Sequence[str]) -> Iterator[npt.NDArray[np.intp]]:
    """Yield the rows of points that are alike in `names`, and in which axes are active at all."""
    codes = [np.zeros(len(points), dtype=np.int64)]
    for name, values in points.values.items():
        active = points.is_active(name)
        if name in names:
            codes.append(np.where(active, 1 + _codes(values), 0))
        elif not active.all():
            codes.append(active.astype(np.int64))
    _, group = distinct_rows(codes)
    order = np.argsort(group, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(group[order])) + 1)


def _codes(values: Array) -> npt.NDArray[np.int64]:
    """A number for each different value."""
    _, codes = np.unique(values.astype(str) if values.dtype == object else values, return_inverse=True)
    return codes.ravel().astype(np.int64)
