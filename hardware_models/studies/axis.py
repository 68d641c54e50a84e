"""What every axis of a search space has: a grid, draws, a check of values, and perhaps a condition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, StrictStr

from hardware_models.errors import InputError
from hardware_models.studies.expressions import Term

Array = npt.NDArray[Any]


class Axis(BaseModel):
    """What every axis has.

    Attributes:
        when: a rule that says where the axis is active; None for everywhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    when: StrictStr | None = None

    @property
    def term(self) -> Term:
        """What the axis is to a rule."""
        return Term("number")

    @property
    def grid_size(self) -> int | None:
        """Number of values on the grid; None where the axis has none."""
        raise NotImplementedError

    def at(self, indices: npt.NDArray[np.int64]) -> Array:
        """Return the grid's values at `indices` `[N]`."""
        raise NotImplementedError

    def draw(self, random: np.random.Generator, count: int) -> Array:
        """Return `count` values, every one on the grid equally likely."""
        return self.at(random.integers(0, self.grid_size, count))

    def first(self) -> Any:
        """Return the value that stands in columns where the axis is inactive."""
        return self.at(np.zeros(1, dtype=np.int64))[0]

    def has(self, values: Array) -> npt.NDArray[np.bool_]:
        """Return which of `values` `[N]`, of the axis's own type, the axis can take."""
        raise NotImplementedError

    def read(self, name: str, values: Sequence[Any]) -> Array:
        """Return `values` of the axis called `name` as an array `[N]`; None becomes the first value.

        Raises:
            InputError: one that the axis cannot take.
        """
        given = [self.first() if value is None else value for value in values]
        plain = [value.item() if isinstance(value, np.generic) else value for value in given]
        for value in plain:
            if type(value) not in self._types() or not self.has(np.array([value], dtype=object))[0]:
                raise self._cannot_be(name, value)
        return np.array(plain, dtype=self.dtype)

    def check(self, name: str, values: Array, rows: npt.NDArray[np.bool_]) -> None:
        """Refuse `values` `[N]` of the axis called `name` of another type, or in `rows` `[N]` that it cannot take."""
        if values.dtype != self.dtype:
            raise InputError(f"column {name!r} is of type {values.dtype}; expected {self.dtype}, so convert it.")
        wrong = rows.copy()
        wrong[rows] = ~self.has(values[rows])
        if wrong.any():
            raise self._cannot_be(name, values[int(wrong.argmax())])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the axis's columns: int64, float64, bool, or object for text."""
        first = self.first()
        return np.dtype(object) if isinstance(first, str) else np.asarray(first).dtype

    def _cannot_be(self, name: str, value: object) -> InputError:
        return InputError(f"axis {name!r} cannot be {value!s}; expected a value of {self.to_document()}.")

    def _types(self) -> tuple[type, ...]:
        """Python's types of the axis's values."""
        raise NotImplementedError

    def to_document(self) -> dict[str, Any]:
        """Return the axis as plain data."""
        return dict(self.model_dump(mode="json", exclude_defaults=True))
