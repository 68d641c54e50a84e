"""Rules about axes, such as `array.rows * array.columns <= 65536`, evaluated on whole columns at once.

A formula is the same without the comparison: `array.rows * array.columns`, a number.

The language: comparisons (also chained), `and or not`, `+ - * / // % **`, `min max abs`, `in [..]`, numbers, quoted
text, `True False`, and names. Everything else is refused when the rule is read, with its position. A chain of names
joined by dots is one name (`pass.overhead`; words of Python may stand in it), never a part of a shorter one.

Numbers are float64: whole ones are exact up to 2**53. `and` and `or` evaluate their right side only in the rows
that the left side leaves open, so `rate == 0 or 1 / rate < 9` never divides by zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from hardware_models.errors import InputError

Array = npt.NDArray[Any]
Kind = Literal["number", "truth", "text"]
Evaluate = Callable[[Mapping[str, Array]], Any]

LARGEST_WHOLE: Final = 2**53
"""Up to here float64 holds every whole number."""


@dataclass(frozen=True)
class Term:
    """What a name stands for: the kind of its values, and of text the values that it can have."""

    kind: Kind
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Expression:
    """A rule that was read and checked.

    Attributes:
        text: as it was written.
        names: that it reads, in order of appearance.
        evaluate: the rule on columns of those names, numbers as float64.
    """

    text: str
    names: tuple[str, ...]
    evaluate: Evaluate = field(compare=False, repr=False)

    def __call__(self, columns: Mapping[str, Array]) -> npt.NDArray[np.bool_]:
        """Return where the rule holds, `[N]`, for `columns` `[N]` of its names.

        Raises:
            InputError: a division by zero, or a result that is no number.
        """
        read = {name: _operand(columns[name]) for name in self.names}
        try:
            with np.errstate(all="raise", under="ignore"):
                held: npt.NDArray[np.bool_] = np.asarray(self.evaluate(read), dtype=bool)
        except FloatingPointError as error:
            raise InputError(
                f"rule {self.text!r} cannot be evaluated at a point ({error}); guard it, as in 'x == 0 or 1 / x < 9'."
            ) from error
        return held


@dataclass(frozen=True)
class Formula:
    """A number that was read and checked.

    Attributes:
        text: as it was written.
        names: that it reads, in order of appearance.
        evaluate: the number on columns of those names, numbers as float64.
    """

    text: str
    names: tuple[str, ...]
    evaluate: Evaluate = field(compare=False, repr=False)

    def __call__(self, columns: Mapping[str, Array]) -> npt.NDArray[np.float64]:
        """Return the number, `[N]`, for `columns` `[N]` of its names; NaN where it is not finite (1 / 0)."""
        read = {name: _operand(columns[name]) for name in self.names}
        with np.errstate(all="ignore"):  # what has no value is told row by row
            found = np.asarray(self.evaluate(read), dtype=np.float64)
        return np.where(np.isfinite(found), found, np.nan)


def _operand(values: Array) -> Array:
    return values.astype(np.float64) if values.dtype.kind in "iuf" else values
