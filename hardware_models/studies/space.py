"""A search space: axes, where each is active, and constraints; read from plain data.

    axes:
      chip: {choices: [eyeriss, tpu_like]}
      array.rows: {integer: [8, 128], step: 8}
      buffer.size: {choices: [65536, 131072], when: "chip == 'eyeriss'"}
    constraints:
      - "array.rows <= 64"
      - {rule: "chip == 'eyeriss' or array.rows >= 16", because: "smaller ones were never built"}

An axis is active where its condition holds and every axis that the condition reads is active. A constraint speaks
only of points where every axis that it reads is active. Points that differ in inactive axes only are one point.
"""

from __future__ import annotations

import functools
import json
import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, StrictStr

from hardware_models.errors import InputError, unknown_name
from hardware_models.studies.axes import read_axis
from hardware_models.studies.axis import Axis
from hardware_models.studies.columns import Array, Bools, Columns
from hardware_models.studies.conditions import Conditions, holds
from hardware_models.studies.differences import differences
from hardware_models.studies.expressions import Expression, Term
from hardware_models.studies.grid import Grid
from hardware_models.studies.rejections import Rejections
from hardware_models.studies.rule_reader import read_rule
from hardware_models.studies.sampling import draw
from hardware_models.yaml_files import validated

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")


class Constraint(BaseModel):
    """A rule that every point keeps, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: StrictStr
    because: StrictStr = ""


@dataclass(frozen=True, eq=False)
class Space:
    """Axes by name, in the order of the document, and constraints.

    Raises:
        InputError: no axis, a name that is no chain of words, a rule that cannot be read, a constraint given twice,
            or conditions that wait for each other.
    """

    axes: Mapping[str, Axis]
    constraints: tuple[Constraint, ...] = ()

    def __post_init__(self) -> None:
        if not self.axes:
            raise InputError("the space has no axes; give at least one.")
        for name in self.axes:
            if not NAME.fullmatch(name) or keyword.iskeyword(name):
                raise InputError(f"axis name {name!r} is no chain of words; write it as array.rows.")
        rules = [constraint.rule for constraint in self.constraints]
        for rule in rules:
            if rules.count(rule) > 1:
                raise InputError(f"constraint {rule!r} is given twice; take one out.")
        _ = self._rules, self._conditions  # read now, so that a slip is found before anything runs

    @classmethod
    def from_document(cls, document: Any) -> Space:
        """Return the space that plain data (of YAML or JSON) describes; what does not fit is an `InputError`."""
        if not isinstance(document, Mapping) or not isinstance(document.get("axes"), Mapping):
            raise InputError("the space has no mapping of axes; give 'axes: {name: {choices: [..]}}'.")
        for key in document:
            if key not in ("axes", "constraints"):
                raise unknown_name("key of a space", key, ("axes", "constraints"))
        rules = document.get("constraints", [])
        if not isinstance(rules, list | tuple):
            raise InputError(f"constraints are {rules!r}; expected a list of rules, so write '- \"a <= 8\"'.")
        return cls(
            {str(name): read_axis(str(name), axis) for name, axis in document["axes"].items()},
            tuple(_constraint(index, rule) for index, rule in enumerate(rules, start=1)),
        )

    def to_document(self) -> dict[str, Any]:
        """Return the space as plain data; `from_document` makes an equal space of it."""
        document: dict[str, Any] = {"axes": {name: axis.to_document() for name, axis in self.axes.items()}}
        if self.constraints:
            document["constraints"] = [
                constraint.model_dump() if constraint.because else constraint.rule for constraint in self.constraints
            ]
        return document

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and json.dumps(self.to_document()) == json.dumps(other.to_document())

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_document()))

    def size(self) -> int:
        """Return the number of points of the grid, constraints aside; a real axis without points is an `InputError`."""
        return self._grid.size

    def grid(self, start: int, stop: int) -> Columns:
        """Return the points `start` to `stop` (not included) of the grid, whether or not they keep the constraints.

        Axes that conditions read vary slowest, the others in the order of the document, the last one fastest.

        Raises:
            InputError: numbers beyond `size()`; a real axis without points; more than 2**62 points.
        """
        return self._masked(self._grid.columns(start, stop))

    def feasible(self, block: int = 65536) -> Iterator[Columns]:
        """Yield the points of the grid that keep every constraint, from `block` points of the grid at a time.

        Raises:
            InputError: as `grid`; no point of the grid keeps them, in which case the message counts rejections.
        """
        rejections = Rejections([constraint.rule for constraint in self.constraints])
        for start in range(0, self.size(), block):
            columns = self.grid(start, min(start + block, self.size()))
            kept = rejections.note(self.broken(columns))
            if kept.any():
                yield columns.take(kept)
        if not rejections.kept:
            raise rejections.error(f"none of the {self.size()} points of the grid keeps every constraint")

    def sample(self, count: int, seed: int = 0) -> Columns:
        """Return `count` points that keep every constraint, drawn by themselves, so that one can come twice.

        Every value of an axis is equally likely (every ratio, on real axes with `log`); draws that break a constraint
        are rejected. The first points of a longer sample are those of a shorter one.

        Raises:
            InputError: fewer than one draw in a thousand keeps the constraints (after 100 000 draws); the message
                counts rejections.
        """
        rejections = Rejections([constraint.rule for constraint in self.constraints])
        return draw(self.axes, self._masked, self.broken, rejections, count, seed)

    def broken(self, columns: Columns) -> npt.NDArray[np.int16]:
        """Return the index of the first constraint that each point breaks, or -1, `[N]`."""
        active = self.active(columns)
        first = np.full(len(columns), -1, dtype=np.int16)
        for index, rule in enumerate(self._rules):
            first[(first < 0) & ~holds(rule, columns.values, active, otherwise=True)] = index
        return first

    def active(self, columns: Columns) -> dict[str, Bools]:
        """Return where each axis is active, by name, `[N]`."""
        if set(columns.values) != set(self.axes):
            raise InputError(f"columns name {sorted(columns.values)}; expected the axes {sorted(self.axes)}.")
        found = self._conditions.active(columns.values)
        return {name: found[name] for name in self.axes}

    def columns(self, points: Sequence[Mapping[str, Any]]) -> Columns:
        """Return points given by axis as columns; an inactive axis may be None or left out.

        Raises:
            InputError: no points; an unknown axis; a value that an active axis cannot take, or none.
        """
        if not points:
            raise InputError("no points were given; give at least one.")
        for name in {name for point in points for name in point} - set(self.axes):
            raise unknown_name("axis", name, self.axes)
        given = {name: [point.get(name) for point in points] for name in self.axes}
        columns = self._masked({name: axis.read(name, given[name]) for name, axis in self.axes.items()})
        for name in self.axes:
            lacking = columns.is_active(name) & np.array([value is None for value in given[name]])
            if lacking.any():
                raise InputError(
                    f"point {int(lacking.argmax())} has no value of axis {name!r}, active there; give one."
                )
        return columns

    def masked(self, columns: Columns) -> Columns:
        """Return the same points with this space's masks; a value that an active axis cannot take is refused."""
        active = self.active(columns)
        for name, axis in self.axes.items():
            axis.check(name, columns.values[name], active[name])
        return self._masked({name: columns.values[name] for name in self.axes})

    def differences(self, other: Space) -> list[str]:
        """Return in words what has to change to make `other` of this space; empty where they are equal."""
        return differences(self.to_document(), other.to_document())

    @functools.cached_property
    def _terms(self) -> dict[str, Term]:
        return {name: axis.term for name, axis in self.axes.items()}

    @functools.cached_property
    def _rules(self) -> tuple[Expression, ...]:
        return tuple(read_rule(constraint.rule, self._terms) for constraint in self.constraints)

    @functools.cached_property
    def _conditions(self) -> Conditions:
        return Conditions(self.axes, self._terms)

    @functools.cached_property
    def _grid(self) -> Grid:
        return Grid(self.axes, self._conditions.read, self._conditions.active)

    def _masked(self, values: Mapping[str, Array]) -> Columns:
        """Return columns whose inactive entries are masked, and hold the axis's first value."""
        masks = {name: mask for name, mask in self._conditions.active(values).items() if name in self._conditions.rules}
        shown = {name: np.where(mask, values[name], self.axes[name].first()) for name, mask in masks.items()}
        return Columns({**values, **shown}, masks)


def _constraint(index: int, entry: Any) -> Constraint:
    if isinstance(entry, str):
        return Constraint(rule=entry)
    return validated(Constraint, entry, f"constraint {index}")
