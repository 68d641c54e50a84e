"""Objectives of a study that are formulas over its axes and over other objectives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hardware_models.errors import InputError
from hardware_models.studies.answers import Evaluate
from hardware_models.studies.axis import Axis
from hardware_models.studies.columns import Columns
from hardware_models.studies.expressions import Formula, Term
from hardware_models.studies.results import Floats, Results
from hardware_models.studies.rule_reader import read_quantity


@dataclass(frozen=True, eq=False)
class Objectives:
    """What a study asks for, given what is evaluated.

    Attributes:
        names: of the objectives, in order.
        formulas: texts of those that are formulas, by name; one may read those before it.
        space_axes: of the study, by name.
        figures: names of what can be evaluated.

    Raises:
        InputError: a formula that cannot be read, has the name of something known, or reads an axis that is not
            active everywhere.
    """

    names: tuple[str, ...]
    formulas: Mapping[str, str]
    space_axes: Mapping[str, Axis]
    figures: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in self.formulas:
            if name in self.figures or name in self.space_axes:
                raise InputError(f"objective {name!r} is a formula and something else's name too; rename it.")
        for name, formula in self._read().items():
            for axis in formula.names:
                if axis in self.space_axes and self.space_axes[axis].when is not None:
                    raise InputError(
                        f"objective {name!r} reads axis {axis!r}, which is not active everywhere; take its 'when' away."
                    )

    @property
    def evaluated(self) -> list[str]:
        """Names of what has to be evaluated: objectives that are no formulas, and what formulas read."""
        read = [name for formula in self._read().values() for name in formula.names if name in self.figures]
        return list(dict.fromkeys([*(name for name in self.names if name not in self.formulas), *read]))

    @property
    def axes(self) -> set[str]:
        """Names of the axes that formulas read."""
        return {name for formula in self._read().values() for name in formula.names} & set(self.space_axes)

    def of(self, results: Results) -> Results:
        """Return `results` with the objectives of the study in place of what was evaluated.

        A formula is evaluated three times, on the values, the low and the high ends of what it reads; the value is
        the first, and the least and greatest of the three are its band. That bounds a formula that rises or falls in
        all of them together; one that does not, such as a difference, can leave its band. A point where a formula has
        no finite value is infeasible.
        """
        known: dict[str, Floats] = dict(results.objectives)
        state, reason = results.state.copy(), results.reason.copy()
        for name, formula in self._read().items():
            known[name] = _band(formula, known, results.points)
            silent = np.isnan(known[name][0]) & (state == "done")
            state[silent], reason[silent] = "infeasible", f"objective {name!r}, {formula.text!r}, has no value there."
        found = {name: known[name].copy() for name in self.names}
        for values in found.values():
            values[:, state != "done"] = np.nan
        return replace(results, objectives=found, state=state, reason=reason)

    def _read(self) -> dict[str, Formula]:
        terms = {name: axis.term for name, axis in self.space_axes.items()}
        terms |= dict.fromkeys(self.figures, Term("number"))
        read: dict[str, Formula] = {}
        for name, text in self.formulas.items():
            read[name] = read_quantity(text, terms)
            terms[name] = Term("number")
        return read


@dataclass(frozen=True, eq=False)
class WithFormulas:
    """Evaluates what `objectives` need by `evaluate`, and returns the objectives."""

    evaluate: Evaluate
    objectives: Objectives

    def __call__(self, points: Columns) -> Results:
        """Return what becomes of `points`."""
        return self.objectives.of(self.evaluate(points))


def _band(formula: Formula, known: Mapping[str, Floats], points: Columns) -> Floats:
    """Value, low and high of a formula, `[3, N]`; NaN where one of the three evaluations has no value."""
    ends = np.stack([formula(dict(_operands(formula.names, known, points, end))) for end in range(3)])
    ends[:, np.isnan(ends).any(axis=0)] = np.nan
    return np.stack([ends[0], ends.min(axis=0), ends.max(axis=0)])


def _operands(
    names: Iterable[str], known: Mapping[str, Floats], points: Columns, end: int
) -> Iterable[tuple[str, Any]]:
    for name in names:
        yield name, points.values[name] if name in points.values else known[name][end]
