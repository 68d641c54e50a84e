"""What an addition, a multiplication, an AC or a MAC costs at given operand widths.

An entry of the technology's table is used as it stands. Other integer widths follow one rule, whose reading
is graded `derived`:

    multiplication of a by b bits:  proportional to a * b, the number of partial-product bits
    addition of b bits:             proportional to b, the number of full adders

The value is interpolated linearly (in a * b, in b) between table entries and proportionally outside of them.
The band holds every other reading of "linear" that the table allows: the proportion taken from any one entry,
and, below the smallest entry, the straight line through the two smallest, which keeps a fixed cost that does
not shrink with the width. At 45 nm the 8-bit entry predicts 3.2 pJ for the 32-bit multiplication, against 3.1
pJ in the table, and 0.12 pJ against 0.1 pJ for the addition.

Floating-point widths are never derived: exponent and alignment do not scale so simply.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from hardware_models.errors import InputError
from hardware_models.quantity import Quantity, unit_factor
from hardware_models.technology import Technology

WIDEST_INTEGER = 32
"""Widest integer operand, in bits, that the rule is used for."""

_SIZE = {"add": "b", "mul": "a * b"}


@dataclass(frozen=True)
class Number:
    """The form of an operand: its width in bits, floating point or integer."""

    bits: int
    floating: bool = False

    def __str__(self) -> str:
        return f"{'fp' if self.floating else 'int'}{self.bits}"


def add_energy(technology: Technology, number: Number) -> Quantity:
    """Return the energy of adding two numbers of one form: an AC.

    Raises:
        InputError: a floating-point width that the technology lacks; an integer width outside 1..32.
    """
    if number.floating or f"{number}_add" in technology:
        return technology.figure(f"{number}_add", f"an addition of {_words(number)}")
    return _derived(technology, "add", _checked(number).bits, f"addition of {number.bits}-bit integers")


def multiply_energy(technology: Technology, left: Number, right: Number) -> Quantity:
    """Return the energy of one multiplication.

    Integers may differ in width. A floating-point operand makes the multiplication one of floating-point
    numbers at the wider floating-point width.

    Raises:
        InputError: as `add_energy`.
    """
    if left.floating or right.floating:
        wide = wider(left, right)
        return technology.figure(f"{wide}_mul", f"a multiplication of {_words(wide)}")
    size = _checked(left).bits * _checked(right).bits
    if left.bits == right.bits and f"{left}_mul" in technology:
        return technology.figure(f"{left}_mul", f"a multiplication of {_words(left)}")
    return _derived(technology, "mul", size, f"multiplication of {left.bits}- by {right.bits}-bit integers")


def ac_energy(technology: Technology, number: Number) -> Quantity:
    """Return the energy of one accumulate (AC): an addition at the operand's width."""
    return add_energy(technology, number)


def mac_energy(technology: Technology, left: Number, right: Number) -> Quantity:
    """Return the energy of one multiply-accumulate (MAC): a multiplication and an addition at the wider
    width.

    This is how the literature forms its constants (fp32: 3.7 + 0.9 = 4.6 pJ; int8: 0.2 + 0.03 = 0.23 pJ). An
    accumulator wider than the operands, which hardware needs for integers, costs more than that.
    """
    multiplication = multiply_energy(technology, left, right)
    addition = add_energy(technology, wider(left, right))
    factor = _unit_ratio(addition, multiplication)
    return Quantity(
        value=multiplication.value + addition.value * factor,
        low=multiplication.band[0] + addition.band[0] * factor,
        high=multiplication.band[1] + addition.band[1] * factor,
        unit=multiplication.unit,
        conditions=f"{multiplication.conditions}; plus {addition.conditions}",
        source=_joined(multiplication.source, addition.source),
        grade="derived",
    )


def wider(left: Number, right: Number) -> Number:
    """Return the form that a result of both takes: the wider, and floating point if either is."""
    floating = left.floating or right.floating
    return Number(max(n.bits for n in (left, right) if n.floating == floating), floating)


def _derived(technology: Technology, operation: str, size: int, name: str) -> Quantity:
    """Return the energy of an integer operation that is not in the table; `size` is b or a * b (see
    above)."""
    anchors = _anchors(technology, operation)
    if not anchors:
        raise InputError(f"technology {technology.name!r} has no integer '{operation}' figure, needed for a {name}.")
    per_size = [(figure.si_band[0] / at, figure.si_band[1] / at) for at, figure in anchors]
    value = _interpolate([(at, figure.si) for at, figure in anchors], size)
    readings = [size * low for low, _ in per_size] + [size * high for _, high in per_size] + [value]
    if size < anchors[0][0] and len(anchors) > 1:
        readings.append(_line((anchors[0][0], anchors[0][1].si), (anchors[1][0], anchors[1][1].si), size))
    unit = anchors[0][1]
    scale = unit.value / unit.si
    return Quantity(
        value=value * scale,
        low=min(readings) * scale,
        high=max(readings) * scale,
        unit=unit.unit,
        conditions=f"{technology.node}; one {name}, linear in {_SIZE[operation]}; the band holds every "
        "linear reading of the table" + (", extrapolated below its smallest entry" if size < anchors[0][0] else ""),
        source="derived from "
        + ", ".join(f"{operation} at {at}: {figure.value:g} {figure.unit}" for at, figure in anchors)
        + f" of {technology.source}",
        grade="derived",
    )


def _anchors(technology: Technology, operation: str) -> list[tuple[int, Quantity]]:
    """Return the table's integer entries as (size, figure), smallest first."""
    anchors = []
    for name, figure in technology.figures.items():
        if match := re.fullmatch(rf"int(\d+)_{operation}", name):
            bits = int(match[1])
            anchors.append((bits * bits if operation == "mul" else bits, figure))
    return sorted(anchors, key=lambda anchor: anchor[0])


def _interpolate(points: list[tuple[int, float]], size: int) -> float:
    """Return the value at `size`: linear between points, proportional to the nearest point outside of
    them."""
    if size <= points[0][0]:
        return points[0][1] * size / points[0][0]
    for left, right in itertools.pairwise(points):
        if size <= right[0]:
            return _line(left, right, size)
    return points[-1][1] * size / points[-1][0]


def _line(left: tuple[int, float], right: tuple[int, float], size: int) -> float:
    return left[1] + (right[1] - left[1]) * (size - left[0]) / (right[0] - left[0])


def _checked(number: Number) -> Number:
    if not 1 <= number.bits <= WIDEST_INTEGER:
        raise InputError(
            f"integers of {number.bits} bits have no energy here; give a width of 1 to {WIDEST_INTEGER} bits."
        )
    return number


def _unit_ratio(figure: Quantity, other: Quantity) -> float:
    """Return what turns a value of `figure` into the unit of `other`."""
    return 1.0 if figure.unit == other.unit else unit_factor(figure.unit)[0] / unit_factor(other.unit)[0]


def _words(number: Number) -> str:
    return f"{number.bits}-bit {'floating-point numbers' if number.floating else 'integers'}"


def _joined(first: str, second: str) -> str:
    return first if first == second else f"{first}; {second}"
