"""The constants that the estimate of one point read: value, band, source, evidence."""

from __future__ import annotations

from hardware_models.estimate import Estimate
from hardware_models.quantity import Quantity

Constant = tuple[str, str, str, str, str, str]
"""Name, value with unit, band, grade, source, conditions."""


def constants(found: Estimate) -> list[Constant]:
    """Return the figures of the chip that were read, in the order of their names."""
    return [_constant(name, figure) for name, figure in sorted(found.figures.items())]


def _constant(name: str, figure: Quantity) -> Constant:
    unit = "" if figure.unit == "1" else f" {figure.unit}"
    low, high = figure.band
    band = "" if low == high else f"{low:g} to {high:g}{unit}"
    return name, f"{figure.value:g}{unit}", band, figure.grade, figure.source, figure.conditions
