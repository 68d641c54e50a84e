"""Axes of a search space: what one setting can be, as a list of choices, whole numbers or real numbers.

    {choices: [eyeriss, tpu_like]}
    {integer: [8, 128], step: 8}          8, 16, 24, ... 128: both ends are values
    {integer: [8, 128], log: true}        8, 16, 32, 64, 128: each twice the one before
    {real: [1.0e+8, 1.0e+9], log: true, points: 10}

A key `when` holds a rule about other axes; where it does not hold the axis is inactive, and has no value.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import Field, StrictBool, StrictInt, field_validator, model_validator

from hardware_models.errors import InputError
from hardware_models.studies.axis import Axis
from hardware_models.studies.expressions import LARGEST_WHOLE, Kind, Term
from hardware_models.yaml_files import validated

Array = npt.NDArray[Any]
Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]

MOST_POINTS: Final = 1_000_000
"""Most points of a grid along one real axis."""

GRID_DIGITS: Final = 12
"""Significant digits of a real grid's inner points: enough, and the same on every processor."""


class Choices(Axis):
    """Values given one by one: all numbers, all text, or all true and false.

    Attributes:
        choices: in the order of the grid; numbers become floats where one of them is.
    """

    choices: tuple[Any, ...]

    @field_validator("choices", mode="after")
    @classmethod
    def _of_one_kind(cls, choices: tuple[Any, ...]) -> tuple[Any, ...]:
        if not choices:
            raise ValueError("is empty; give at least one choice")
        types = {type(value) for value in choices}
        if not (types <= {int, float} or types == {str} or types == {bool}):
            raise ValueError(
                f"{list(choices)!r} are of several kinds; give only numbers, only text or only true, false"
            )
        if types <= {int, float} and not all(abs(value) <= LARGEST_WHOLE or type(value) is float for value in choices):
            raise ValueError(f"holds a whole number beyond {LARGEST_WHOLE}; give smaller ones")
        if float in types:
            choices = tuple(float(value) + 0.0 for value in choices)  # + 0.0: there is no -0.0
            if not all(map(math.isfinite, choices)):
                raise ValueError(f"{list(choices)!r} holds a number that is not finite; give numbers")
        twice = next((value for index, value in enumerate(choices) if value in choices[:index]), None)
        if twice is not None:
            raise ValueError(f"the choice {twice!r} is given twice; take one out")
        return choices

    @property
    def term(self) -> Term:
        kinds: Mapping[type, Kind] = {str: "text", bool: "truth"}
        kind = kinds.get(type(self.choices[0]), "number")
        return Term(kind, self.choices if kind == "text" else ())

    @property
    def grid_size(self) -> int:
        return len(self.choices)

    @functools.cached_property
    def _table(self) -> Array:
        return np.array(self.choices, dtype=object if self.term.kind == "text" else None)

    def at(self, indices: npt.NDArray[np.int64]) -> Array:
        return self._table[indices]

    def _types(self) -> tuple[type, ...]:
        kind = type(self.choices[0])
        return (int, float) if kind is float else (kind,)

    def has(self, values: Array) -> npt.NDArray[np.bool_]:
        known = set(self.choices)
        return np.fromiter((value in known for value in values.tolist()), dtype=bool, count=len(values))


class Integers(Axis):
    """Whole numbers from one end to the other, both included.

    Attributes:
        integer: the ends.
        step: from one value to the next.
        log: each value is twice the one before instead.
    """

    integer: tuple[StrictInt, StrictInt]
    step: StrictInt = Field(default=1, ge=1)
    log: StrictBool = False

    @model_validator(mode="after")
    def _reaches_its_end(self) -> Integers:
        low, high = self.integer
        if low > high:
            raise ValueError(f"integer: the low end {low} is above the high end {high}; swap them")
        if max(abs(low), abs(high)) > LARGEST_WHOLE:
            raise ValueError(f"integer: the ends {low}, {high} go beyond {LARGEST_WHOLE}; keep within")
        if self.log and (low <= 0 or self.step != 1):
            raise ValueError(f"log: doubling needs a low end of at least 1, not {low}, and no step; mend it")
        last = low << (self._size - 1) if self.log else low + (self._size - 1) * self.step
        if last != high:
            way = "doubling" if self.log else f"steps of {self.step}"
            raise ValueError(f"integer: {way} from {low} does not reach {high}; end at {last}")
        return self

    @property
    def _size(self) -> int:
        low, high = self.integer
        return (high // low).bit_length() if self.log else (high - low) // self.step + 1

    @property
    def grid_size(self) -> int:
        return self._size

    def at(self, indices: npt.NDArray[np.int64]) -> Array:
        return np.left_shift(self.integer[0], indices) if self.log else self.integer[0] + self.step * indices

    def _types(self) -> tuple[type, ...]:
        return (int,)

    def has(self, values: Array) -> npt.NDArray[np.bool_]:
        low, high = self.integer
        inside = (values >= low) & (values <= high)
        if not self.log:
            return np.asarray(inside & ((values - low) % self.step == 0), dtype=bool)
        return np.asarray(inside & np.isin(values, self.at(np.arange(self._size))), dtype=bool)


class Reals(Axis):
    """Real numbers from one end to the other.

    Attributes:
        real: the ends.
        log: equal ratios are equally likely, and equally wide on the grid, instead of equal differences.
        points: values on the grid, both ends included; None where the axis is only drawn from.
    """

    real: tuple[Real, Real]
    log: StrictBool = False
    points: StrictInt | None = Field(default=None, ge=2, le=MOST_POINTS)

    @model_validator(mode="after")
    def _consistent(self) -> Reals:
        low, high = self.real
        if low >= high:
            raise ValueError(f"real: the low end {low:g} is not below the high end {high:g}; swap them or give choices")
        if self.log and low <= 0:
            raise ValueError(f"log: a low end of {low:g} has no logarithm; give one above 0")
        if not math.isfinite(high - low):
            raise ValueError(f"real: the ends {low:g}, {high:g} lie too far apart; bring them together")
        if self.points and not (np.diff(self._table) > 0).all():
            raise ValueError(f"points: {self.points} of them between {low!r} and {high!r} fall together; give fewer")
        return self

    @property
    def grid_size(self) -> int | None:
        return self.points

    @functools.cached_property
    def _table(self) -> npt.NDArray[np.float64]:
        low, high = self.real
        spaced = (np.geomspace if self.log else np.linspace)(low, high, self.points or 2)
        inner = [float(f"{value:.{GRID_DIGITS}g}") for value in spaced[1:-1]]
        return np.array([low, *inner, high], dtype=np.float64) + 0.0

    def at(self, indices: npt.NDArray[np.int64]) -> Array:
        return self._table[indices]

    def draw(self, random: np.random.Generator, count: int) -> Array:
        low, high = self.real
        if not self.log:
            return random.uniform(low, high, count) + 0.0
        return np.clip(np.exp(random.uniform(math.log(low), math.log(high), count)), low, high)

    def _types(self) -> tuple[type, ...]:
        return (int, float)

    def has(self, values: Array) -> npt.NDArray[np.bool_]:
        with np.errstate(invalid="ignore"):  # NaN is on no axis
            return np.asarray((values >= self.real[0]) & (values <= self.real[1]), dtype=bool)


_FORMS: Mapping[str, type[Axis]] = {"choices": Choices, "integer": Integers, "real": Reals}


def read_axis(name: str, document: Any) -> Axis:
    """Return the axis called `name` that plain data describes; what does not fit is an `InputError`."""
    if not isinstance(document, Mapping):
        raise InputError(f"axis {name!r} is {document!r}; expected a mapping such as {{choices: [1, 2]}}, so mend it.")
    forms = [form for form in _FORMS if form in document]
    if len(forms) != 1:
        raise InputError(f"axis {name!r} has keys {list(document)}; give exactly one of {', '.join(_FORMS)}.")
    return validated(_FORMS[forms[0]], dict(document), f"axis {name!r}")
