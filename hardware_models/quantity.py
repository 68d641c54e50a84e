"""A physical figure that says where it comes from: value, unit, band, conditions, source, evidence grade."""

from __future__ import annotations

import math
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, model_validator

from hardware_models.errors import InputError

Grade = Literal["silicon", "simulated", "vendor", "derived", "assumed"]
"""How a figure is known, from best to worst: measured on a chip, simulated, a vendor's word, computed from
other figures, taken for granted."""

GRADES: tuple[Grade, ...] = get_args(Grade)

_POWERS = {"": 0, "f": -15, "p": -12, "n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15}
"""Powers of ten that prefixes stand for."""
_BINARY_PREFIXES = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}
_BINARY_UNITS = ("bit", "B", "B/s")
_BASE_UNITS = ("J", "J/bit", "J/B", "s", "W", "Hz", "V", "bit", "bit/s", "B", "B/s", "m", "m2", "1", "1/s", "1/J")


def unit_factor(unit: str) -> tuple[float, str]:
    """Split a unit such as `pJ` into its factor and base unit, `(1e-12, "J")`.

    Raises:
        InputError: an unknown unit.
    """
    for base in _BASE_UNITS:
        # The prefix of a ratio belongs to its first unit: pJ/bit.
        first, slash, rest = base.partition("/")
        prefix = unit.removesuffix(slash + rest).removesuffix(first)
        if unit != prefix + base:
            continue
        if prefix in _POWERS:
            # An area's prefix is squared: 1 mm2 is 1e-6 m2.
            return 10.0 ** (_POWERS[prefix] * (2 if base == "m2" else 1)), base
        if prefix in _BINARY_PREFIXES and base in _BINARY_UNITS:
            return _BINARY_PREFIXES[prefix], base
    raise InputError(
        f"unit {unit!r} is unknown; give one of {', '.join(_BASE_UNITS)} with an SI prefix "
        f"({', '.join(p for p in _POWERS if p)}; {', '.join(_BINARY_PREFIXES)} for sizes), for example pJ or KiB."
    )


class Quantity(BaseModel):
    """A figure with its unit, uncertainty band and provenance.

    Attributes:
        value: the figure, in `unit`.
        unit: an SI unit with an optional prefix, for example `pJ`.
        low: lower end of the band, in `unit`; None where no band is known.
        high: upper end of the band.
        conditions: what the figure holds for (node, voltage, word width).
        source: paper, table or data sheet.
        grade: how it is known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    conditions: str = ""
    source: str
    grade: Grade

    @model_validator(mode="after")
    def _consistent(self) -> Quantity:
        unit_factor(self.unit)
        if not math.isfinite(self.value):
            raise ValueError(f"value {self.value} is not finite; give a number")
        low, high = self.band
        if not low <= self.value <= high:
            raise ValueError(f"value {self.value} lies outside its band {low}..{high}; mend one of them")
        return self

    @property
    def band(self) -> tuple[float, float]:
        """The (low, high) ends in `unit`; the value itself where no band is known."""
        low = self.value if self.low is None else self.low
        return low, self.value if self.high is None else self.high

    @property
    def si(self) -> float:
        """The value in the base unit (joules for `pJ`)."""
        return self.value * unit_factor(self.unit)[0]

    @property
    def si_band(self) -> tuple[float, float]:
        """The (low, high) ends in the base unit."""
        factor = unit_factor(self.unit)[0]
        return self.band[0] * factor, self.band[1] * factor

    def __str__(self) -> str:
        band = "" if self.band[0] == self.band[1] else f" ({self.band[0]:g}..{self.band[1]:g})"
        return f"{self.value:g}{band} {self.unit} [{self.grade}: {self.source}]"


def with_prefix(value: float, unit: str = "", digits: int = 4) -> str:
    """Return `value` with an SI prefix, for people: `with_prefix(0.0074635, "J")` is `7.464 mJ`.

    Args:
        value: in the base unit; a whole number below 1000 is shown as it is.
        unit: the base unit; empty for counts.
        digits: significant digits.
    """
    if float(value).is_integer() and abs(value) < 1000:
        return f"{value:.0f} {unit}".rstrip()
    # Rounded first, so that 999.96 becomes 1.000 k and not 1000.
    rounded = f"{value:.{digits - 1}e}"
    power, prefix = prefix_of(float(rounded))
    decimals = digits - 1 - (_decade(float(rounded)) - power)
    return f"{float(rounded) / 10.0**power:.{max(decimals, 0)}f} {prefix}{unit}".rstrip()


def prefix_of(value: float) -> tuple[int, str]:
    """Return the SI prefix, for people, that leaves 1 to 999 before the point: `(-6, "µ")` of 0.00002."""
    if not value or not math.isfinite(value):
        return 0, ""
    power = min(max(_decade(value) // 3 * 3, -15), 15)
    return power, next(prefix for prefix, known in _POWERS.items() if known == power).replace("u", "µ")


def _decade(value: float) -> int:
    """Return floor(log10(|value|)) of 15 significant digits, which no power of ten falls short of."""
    return int(f"{value:.14e}".partition("e")[2]) if math.isfinite(value) else 0
