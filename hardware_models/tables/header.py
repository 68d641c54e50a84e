"""The comment lines of an operation log: firing rates of q, k, v, stated totals, timesteps, heads.

    # firing rate of q,k,v in block 0: 0.25,0.125,0.5
    # Number of operations: 0.001 G MACs, 0.002 G ACs; Energy consumption: 0.0064 mJ
    # {'depth': 8, 'Nheads': 8, 'Tsteps': 4}

Every line is optional; what stands elsewhere in the prose is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from hardware_models.errors import InputError
from hardware_models.quantity import unit_factor

_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
_QKV = re.compile(r"firing\s+rates?\s+of\s+q\W*k\W*v.*?block\W*(\d+)\W*?[:=]\s*(.*)", re.IGNORECASE)
_HEADS = re.compile(r"heads\b['\"]?\s*[:=]\s*(\d+)|\b(\d+)\s+(?:attention\s+)?heads\b", re.IGNORECASE)
_TIMESTEPS = re.compile(r"\b(?:T|Tsteps|timesteps)\b['\"]?\s*[:=]\s*(\d+)")
_MACS = re.compile(rf"{_NUMBER}\s*([kMGT]?)\s*MACs\b")
_ACS = re.compile(rf"{_NUMBER}\s*([kMGT]?)\s*ACs\b")
_ENERGY = re.compile(rf"energy(?:\s+consumption)?\s*[:=]\s*{_NUMBER}\s*([pnum\u00b5]?)J\b", re.IGNORECASE)


@dataclass(frozen=True)
class Stated:
    """A total that the log states: its value in base units, and half a unit of its last digit."""

    value: float
    rounding: float


@dataclass(frozen=True)
class Rates:
    """Firing rates of one attention block, spikes per neuron per timestep."""

    q: float
    k: float
    v: float


@dataclass(frozen=True)
class TableHeader:
    """What the comment lines say; None or empty where they say nothing.

    Attributes:
        rates: firing rates of q, k, v by block number.
        macs: stated multiply-accumulates.
        acs: stated accumulates.
        energy_j: stated energy in joules.
        timesteps: T.
        heads: attention heads.
    """

    rates: dict[int, Rates] = field(default_factory=dict)
    macs: Stated | None = None
    acs: Stated | None = None
    energy_j: Stated | None = None
    timesteps: int | None = None
    heads: int | None = None


def parse_header(lines: Iterable[tuple[int, str]], origin: str) -> TableHeader:
    """Read comment lines.

    Args:
        lines: (line number, text without the comment sign).
        origin: the file, for messages.

    Raises:
        InputError: a rate line that cannot be read, that is outside 0..1 or that stands twice.
    """
    lines = list(lines)
    text = "\n".join(line for _, line in lines)
    heads = _HEADS.search(text)
    timesteps = _TIMESTEPS.search(text)
    return TableHeader(
        rates=_all_rates(lines, origin),
        macs=_stated(_MACS, text, ""),
        acs=_stated(_ACS, text, ""),
        energy_j=_stated(_ENERGY, text, "J"),
        timesteps=int(timesteps[1]) if timesteps else None,
        heads=int(heads[1] or heads[2]) if heads else None,
    )


def _all_rates(lines: list[tuple[int, str]], origin: str) -> dict[int, Rates]:
    rates: dict[int, Rates] = {}
    for number, line in lines:
        if match := _QKV.search(line):
            block = int(match[1])
            if block in rates:
                raise InputError(f"{origin}, line {number}: the rates of block {block} are given twice; keep one line.")
            rates[block] = _rates(match[2], f"{origin}, line {number}, rates of block {block}")
    return rates


def _rates(text: str, place: str) -> Rates:
    cells = [cell.strip() for cell in text.strip().strip("[]()").split(",")]
    if len(cells) != 3:
        raise InputError(f"{place}: expected three rates, of q, k and v, but found {text.strip()!r}.")
    values = []
    for cell in cells:
        percent = cell.endswith("%")
        try:
            value = float(cell.rstrip("% ")) / (100 if percent else 1)
        except ValueError as error:
            raise InputError(f"{place}: {cell!r} is no number; give three rates from 0 to 1.") from error
        if not 0 <= value <= 1:
            raise InputError(f"{place}: the rate {cell} is outside 0 to 1; give spikes per neuron per timestep.")
        values.append(value)
    return Rates(*values)


def _stated(pattern: re.Pattern[str], text: str, unit: str) -> Stated | None:
    """Return the first total that `pattern` finds, in base units."""
    match = pattern.search(text)
    if not match:
        return None
    digits, exponent = (*re.split("[eE]", match[1]), "0")[:2]
    decimals = len(digits.partition(".")[2]) - int(exponent)
    # A count's prefix is looked up on the dimensionless unit "1".
    factor = unit_factor(match[2].replace("\u00b5", "u") + (unit or "1"))[0]
    return Stated(float(match[1]) * factor, 0.5 * 10.0**-decimals * factor)
