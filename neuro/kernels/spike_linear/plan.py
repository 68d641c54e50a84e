"""Which algorithm multiplies spikes, by form of the weight, rows and measured firing rate: a table to be printed.

The limits are those at which the algorithms took the same time on two AVX-512 cores (`benchmarks/spike_matmul.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Rule:
    """One line of the table: the first that holds is taken.

    Attributes:
        form: of the weight.
        algorithm: `gather` (event-driven: add the weights of the inputs that spike), `int_mm` (dense int8 product),
            `popcount` (bit planes), `matmul` (dense floating-point product).
        rows: at most so many rows of spikes.
        rate: at most so many spikes per input.
        elements: at least so many weights.
        input_major: needs the weights input-major.
    """

    form: str
    algorithm: str
    rows: float = float("inf")
    rate: float = 1.0
    elements: int = 0
    input_major: bool = False


TABLE: Final = (
    Rule("float", "gather", rows=4, rate=0.3, input_major=True),
    Rule("float", "gather", rate=0.1, input_major=True),
    Rule("float", "matmul"),
    Rule("int8", "gather", rows=8, rate=0.2, elements=2**20, input_major=True),
    Rule("int8", "int_mm"),
    Rule("ternary", "popcount"),
    Rule("binary", "popcount"),
)


def choose(form: str, rows: int, rate: float, elements: int, input_major: bool) -> str:
    """Return the algorithm for `rows` rows of spikes at `rate` spikes per input and a weight of `elements`."""
    return next(
        rule.algorithm
        for rule in TABLE
        if rule.form == form
        and rows <= rule.rows
        and rate <= rule.rate
        and elements >= rule.elements
        and (input_major or not rule.input_major)
    )


def largest_rate(form: str, rows: int) -> float:
    """Return the spikes per input up to which events are worth following at `rows` rows."""
    rates = [rule.rate for rule in TABLE if rule.form == form and rule.algorithm == "gather" and rows <= rule.rows]
    return max(rates, default=0.0)


def explain() -> Iterator[tuple[str, str, str]]:
    """Yield (form, condition, algorithm) of every line."""
    for rule in TABLE:
        conditions = [
            f"rows <= {rule.rows:g}" if rule.rows != float("inf") else "",
            f"rate <= {rule.rate:g}" if rule.rate < 1 else "",
            f"weights >= {rule.elements}" if rule.elements else "",
            "weights input-major" if rule.input_major else "",
        ]
        yield rule.form, ", ".join(filter(None, conditions)) or "otherwise", rule.algorithm
