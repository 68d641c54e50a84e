"""Numbers for people: SI prefixes, one unit and one precision for a whole column, and exact values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeGuard

from hardware_models.quantity import prefix_of, with_prefix

NOT_MEASURED = "not measured"

_SPACE = "\N{NO-BREAK SPACE}"


def is_number(value: float | None) -> TypeGuard[float]:
    """Whether there is a figure to show."""
    return value is not None and math.isfinite(value)


def exact(value: float | None) -> str:
    """The shortest text that reads back as the same number; empty where there is none."""
    if value is None or not math.isfinite(value):
        return ""
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))


def si(value: float | None, unit: str = "") -> str:
    """Write `7.46e-6` with unit `J` as `7.46 µJ`; `not measured` for None and NaN."""
    return with_prefix(value, unit, digits=3).replace(" ", _SPACE) if is_number(value) else NOT_MEASURED


def percent(share: float | None, decimals: int = 1) -> str:
    """Write a share as `97.1 %`; never rounds to a full 100 % or to nothing what is not."""
    if share is None or not math.isfinite(share):
        return NOT_MEASURED
    least = 10.0**-decimals
    if 0 < share * 100 < least / 2:
        return f"<{least:.{decimals}f}{_SPACE}%"
    if 100 - least / 2 < share * 100 < 100 - 1e-9:  # nearer to 1 is the rounding of a sum
        return f">{100 - least:.{decimals}f}{_SPACE}%"
    return f"{share * 100:.{decimals}f}{_SPACE}%"


def times(ratio: float) -> str:
    """Write a ratio with three significant digits, for example `3.42×` or `1240×`."""
    if not ratio > 0 or not math.isfinite(ratio):
        return NOT_MEASURED
    return f"{ratio:.{max(2 - math.floor(math.log10(ratio)), 0)}f}×"


@dataclass(frozen=True)
class Column:
    """One unit and one precision for all numbers of a table column, so that they can be compared by eye.

    Attributes:
        base: the unit, for example `J`; empty for counts.
        unit: the unit with its prefix, for example `µJ` or `M`.
        exponent: of ten, that the unit's prefix stands for.
        decimals: digits behind the point.
    """

    base: str
    unit: str
    exponent: int
    decimals: int

    @classmethod
    def of(cls, values: Iterable[float | None], unit: str = "", most_decimals: int = 3) -> Column:
        """Choose the prefix by the largest value, and decimals that show the smallest to three digits."""
        sizes = [abs(v) for v in values if v is not None and math.isfinite(v) and v]
        if not sizes:
            return cls(unit, unit, 0, 0)
        exponent, prefix = prefix_of(max(sizes))
        if exponent == 0 and not unit and all(size == int(size) for size in sizes):
            return cls(unit, unit, 0, 0)
        smallest = min(sizes) / 10.0**exponent
        wanted = 2 - math.floor(math.log10(smallest))
        return cls(unit, prefix + unit, exponent, min(max(wanted, 1), most_decimals))

    def text(self, value: float | None, missing: str = NOT_MEASURED) -> str:
        """Write one value; a number that would round to 0 reads `<0.001`."""
        if value is None or not math.isfinite(value):
            return missing
        scaled = value / 10.0**self.exponent
        least = 10.0**-self.decimals
        if 0 < scaled < least / 2:
            return f"<{least:.{self.decimals}f}"
        return f"{scaled:.{self.decimals}f}" if value else "0"

    def band(self, low: float, high: float) -> str:
        """Write `low–high`, or nothing where the band is narrower than the digits shown."""
        ends = self.text(low), self.text(high)
        return "" if ends[0] == ends[1] else "–".join(ends)

    def head(self, title: str) -> tuple[str, str]:
        """The column's title with its unit as shown and of the exact values: `Energy, µJ` and `Energy, J`."""
        shown, exact_unit = (f"{title}, {unit}" if unit else title for unit in (self.unit, self.base))
        return shown, exact_unit
