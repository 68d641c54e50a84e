"""From one CMOS node to another: what an energy, delay, power or area becomes, as an explicit, graded step.

    energy(to) = energy(from) * E(to, V_to) / E(from, V_from)       E(node, V) = a2 V^2 + a1 V + a0
    delay, power: likewise, delay with a polynomial of third order
    area(to)   = area(from) * A[from][to]

Source: A. Stillmaker, B. Baas, Scaling equations for the accurate prediction of CMOS device performance from 180 nm to
7 nm, Integration 58, 2017, table 5 and the area table; coefficients read in the transcription of github.com/wromaszkan/
nodeScale, energy and area also in that of Accelergy's library plug-in, which has the same numbers. Below 65 nm the
paper has two sets of coefficients, for high-performance and for low-power transistors.

The polynomials are fits to simulated gates with a coefficient of determination above 0.95. The band of a result is the
quantity's own times the factor, widened by sqrt(1 - 0.95) = 22 %. Where the kind of transistor is not given, the value
is that of high performance and the band covers both.
Memories, wires and analogue parts scale less than gates; the band does not know that.

Nodes are those of the table and are not interpolated.
"""

from __future__ import annotations

import math
from typing import Final, Literal

import numpy as np

from hardware_models.errors import InputError
from hardware_models.quantity import Quantity, unit_factor

Process = Literal["high-performance", "low-power"]
Kind = Literal["delay", "energy", "power"]

SOURCE: Final = "Stillmaker and Baas 2017"
RESIDUAL: Final = math.sqrt(1 - 0.95)
"""Largest standard deviation of the fits' residuals, relative to the spread of what was fitted."""

LOWEST_V: Final = 0.5
HIGHEST_V: Final = {180: 1.98, 130: 1.3, 90: 1.3, 65: 1.3, 45: 1.3, 32: 1.3, 20: 1.3, 16: 1.3, 14: 1.3, 10: 1.3, 7: 1.3}
"""Supply voltages that are accepted, beside the test that the polynomial rises there (assumed: 10 % above nominal at
180 nm, the paper's own highest example elsewhere)."""

# Coefficients, highest power first: of delay (third order), energy and power (second order).
_ONE_KIND: Final[dict[int, tuple[float, ...]]] = {
    180: (0, 97.09, -356.7, 406.5, 0, 24.64, -17.98, 0, 101000, -79720),
    130: (-76.65, 334.9, -493.4, 275.8, 7.171, -6.709, 2.904, 27020, -15450, 5630),
    90: (-60.34, 262.5, -384.2, 210.9, 4.762, -4.781, 2.092, 17320, -11230, 4328),
    65: (-53.3, 230.4, -333.9, 178.6, 3.755, -4.398, 1.975, 12890, -10510, 4362),
}
_HIGH_PERFORMANCE: Final[dict[int, tuple[float, ...]]] = {
    45: (-501.6, 1567, -1619, 566.1, 1.018, -0.3107, 0.1539, 5462, -1760, 522.4),
    32: (-1047, 2982, -2797, 873.5, 0.8367, -0.4341, 0.1701, 4001, -1733, 533.6),
    20: (0, 34.63, -66.37, 41.15, 0.373, -0.1582, 0.04104, 2922, -1286, 299.9),
    16: (0, 24.8, -47.52, 28.87, 0.2958, -0.1241, 0.03024, 2133, -882.6, 197.7),
    14: (-40.66, 109.2, -100.6, 35.92, 0.2363, -0.09675, 0.02239, 1675, -711, 159),
    10: (-34.95, 93.65, -85.99, 30.4, 0.2068, -0.09311, 0.02375, 1456, -621.6, 143.8),
    7: (-28.58, 76.6, -70.26, 24.69, 0.1776, -0.09097, 0.02447, 1179, -515.7, 123.4),
}
_LOW_POWER: Final[dict[int, tuple[float, ...]]] = {
    45: (-285.7, 1239, -1795, 898.8, 1.103, -0.362, 0.2767, 6297, -3009, 1124),
    32: (-325.9, 1374, -1922, 913.2, 0.9559, -0.7823, 0.471, 4557, -3037, 1323),
    20: (-160.5, 514.1, -558.6, 217.5, 0.2632, -0.14, 0.06841, 2096, -962.4, 287.1),
    16: (-114.6, 366.7, -397.4, 153.6, 0.2139, -0.1187, 0.05639, 1609, -715.5, 205.7),
    14: (-85.37, 271.6, -292.2, 111.4, 0.1556, -0.06472, 0.03066, 1259, -554.1, 152.3),
    10: (-71.76, 228.6, -246.3, 93.91, 0.1261, -0.0518, 0.02769, 1046, -422.7, 118.9),
    7: (-61.79, 196.1, -210.3, 79.55, 0.09365, -0.03409, 0.02043, 815.2, -307.3, 87.54),
}
_COEFFICIENTS: Final[dict[Process, dict[int, tuple[float, ...]]]] = {
    "high-performance": _ONE_KIND | _HIGH_PERFORMANCE,
    "low-power": _ONE_KIND | _LOW_POWER,
}
_PLACE: Final[dict[Kind, slice]] = {"delay": slice(0, 4), "energy": slice(4, 7), "power": slice(7, 10)}
_UNITS: Final[dict[Kind, tuple[str, ...]]] = {"delay": ("s",), "energy": ("J", "J/bit", "J/B"), "power": ("W",)}

NODES: Final[tuple[int, ...]] = tuple(_COEFFICIENTS["high-performance"])
"""Nodes of the table, in nm."""

_AREA: Final[dict[int, tuple[float, ...]]] = {
    180: (1, 0.34, 0.15, 0.08, 0.053, 0.025, 0.011, 0.01, 0.0093, 0.0055, 0.0032),
    130: (2.9, 1, 0.44, 0.23, 0.16, 0.072, 0.033, 0.03, 0.027, 0.016, 0.0092),
    90: (6.6, 2.3, 1, 0.53, 0.35, 0.16, 0.075, 0.067, 0.061, 0.036, 0.021),
    65: (12, 4.3, 1.9, 1, 0.66, 0.31, 0.14, 0.13, 0.12, 0.068, 0.039),
    45: (19, 6.4, 2.8, 1.5, 1, 0.46, 0.21, 0.19, 0.17, 0.1, 0.059),
    32: (40, 14, 6.1, 3.3, 2.2, 1, 0.46, 0.41, 0.38, 0.22, 0.13),
    20: (88, 30, 13, 7.1, 4.7, 2.2, 1, 0.89, 0.82, 0.48, 0.28),
    16: (99, 34, 15, 7.9, 5.3, 2.4, 1.1, 1, 0.91, 0.54, 0.31),
    14: (110, 37, 16, 8.7, 5.8, 2.7, 1.2, 1.1, 1, 0.59, 0.34),
    10: (180, 63, 28, 15, 9.8, 4.5, 2.1, 1.9, 1.7, 1, 0.58),
    7: (320, 110, 48, 25, 17, 7.8, 3.6, 3.2, 2.9, 1.7, 1),
}
"""Area at each of `NODES` of what takes 1 at the key's node; two digits."""


def scale_energy(
    quantity: Quantity, from_nm: int, to_nm: int, from_v: float, to_v: float, process: Process | None = None
) -> Quantity:
    """Return an energy (J, J/bit or J/B) of node `from_nm` at `from_v` volts as it would be at `to_nm` and `to_v`.

    The result is graded `derived` (`assumed` where the quantity was), its conditions name the step, and its band is
    widened as the module says. A step to the same node and voltage returns the quantity as it is.

    Args:
        quantity: the figure.
        from_nm, to_nm: nodes in nm, of `NODES`.
        from_v, to_v: supply voltages.
        process: kind of transistor below 65 nm; None where it is not known.

    Raises:
        InputError: a node that the table lacks, a voltage outside the range of the fits, a quantity of another kind.
    """
    return _scaled("energy", quantity, (from_nm, from_v), (to_nm, to_v), process)


def scale_delay(
    quantity: Quantity, from_nm: int, to_nm: int, from_v: float, to_v: float, process: Process | None = None
) -> Quantity:
    """Return a delay (s) as it would be at `to_nm` and `to_v`; else as `scale_energy`."""
    return _scaled("delay", quantity, (from_nm, from_v), (to_nm, to_v), process)


def scale_power(
    quantity: Quantity, from_nm: int, to_nm: int, from_v: float, to_v: float, process: Process | None = None
) -> Quantity:
    """Return a power (W) at the highest clock of each node as it would be at `to_nm` and `to_v`; else as
    `scale_energy`."""
    return _scaled("power", quantity, (from_nm, from_v), (to_nm, to_v), process)


def scale_area(quantity: Quantity, from_nm: int, to_nm: int) -> Quantity:
    """Return an area (m2) of node `from_nm` as it would be at `to_nm`.

    Raises:
        InputError: a node that the table lacks, a quantity that is no area.
    """
    _check_unit("area", quantity, ("m2",))
    _check_node(from_nm)
    _check_node(to_nm)
    if from_nm == to_nm:
        return quantity
    # Two digits: a factor of 1.2 may be anything from 1.15 to 1.25.
    factor = _AREA[from_nm][NODES.index(to_nm)]
    return _stepped(quantity, factor, (factor * 0.95, factor * 1.05), f"scaled from {from_nm} nm to {to_nm} nm")


def scaling_factor(kind: Kind, nm: int, volts: float, process: Process = "high-performance") -> float:
    """Return the paper's factor of `kind` at one node and supply voltage; only ratios of two have a meaning.

    Raises:
        InputError: a node that the table lacks, a voltage outside the range of the fits.
    """
    _check_node(nm)
    coefficients = _COEFFICIENTS[process][nm][_PLACE[kind]]
    factor = float(np.polyval(coefficients, volts))
    rises = kind == "delay" or float(np.polyval(np.polyder(np.array(coefficients)), volts)) > 0
    if not LOWEST_V <= volts <= HIGHEST_V[nm] or factor <= 0 or not rises:
        raise InputError(
            f"{volts:g} V lies outside the range where the fitted {kind} of {nm} nm makes sense, "
            f"{_range_in_words(kind, nm, process)}; give the supply voltage of the process in volts."
        )
    return factor


def _scaled(
    kind: Kind, quantity: Quantity, before: tuple[int, float], after: tuple[int, float], process: Process | None
) -> Quantity:
    _check_unit(kind, quantity, _UNITS[kind])
    kinds: tuple[Process, ...] = (process,) if process else ("high-performance", "low-power")
    factors = [scaling_factor(kind, *after, chosen) / scaling_factor(kind, *before, chosen) for chosen in kinds]
    if before == after:
        return quantity
    band = min(factors) * (1 - RESIDUAL), max(factors) * (1 + RESIDUAL)
    step = f"scaled from {before[0]} nm at {before[1]:g} V to {after[0]} nm at {after[1]:g} V, {kinds[0]} transistors"
    return _stepped(quantity, factors[0], band, step)


def _stepped(quantity: Quantity, factor: float, band: tuple[float, float], step: str) -> Quantity:
    ends = [end * share for end in quantity.band for share in band]
    return Quantity(
        value=quantity.value * factor,
        low=min(ends),
        high=max(ends),
        unit=quantity.unit,
        conditions=f"{quantity.conditions}; {step}" if quantity.conditions else step,
        source=f"{quantity.source}; scaled by {SOURCE}",
        grade="assumed" if quantity.grade == "assumed" else "derived",
    )


def _check_node(nm: int) -> None:
    if nm in NODES:
        return
    larger = [node for node in NODES if node > nm]
    smaller = [node for node in NODES if node < nm]
    nearest = [str(node) for node in (*larger[-1:], *smaller[:1])]
    raise InputError(
        f"{nm} nm is no node of the scaling table and nodes are not interpolated; the nearest are "
        f"{' and '.join(nearest)} nm of {', '.join(map(str, NODES))}."
    )


def _check_unit(kind: str, quantity: Quantity, bases: tuple[str, ...]) -> None:
    if unit_factor(quantity.unit)[1] not in bases:
        raise InputError(
            f"a quantity in {quantity.unit} is no {kind}; give one in {' or '.join(bases)}, with an SI prefix."
        )


def _range_in_words(kind: Kind, nm: int, process: Process) -> str:
    """Return the accepted voltages, as measured by trying them."""
    coefficients = np.array(_COEFFICIENTS[process][nm][_PLACE[kind]])
    volts = np.linspace(LOWEST_V, HIGHEST_V[nm], 1000)
    good = np.polyval(coefficients, volts) > 0
    if kind != "delay":
        good &= np.polyval(np.polyder(coefficients), volts) > 0
    return f"{volts[good].min():.2f} to {volts[good].max():.2f} V"
