"""Which algorithm multiplies, by the bits of weight and activation: a table to be printed.

The limits are those at which the algorithms took the same time on two AVX-512 cores
(`python benchmarks/packed.py --crossover`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ALGORITHMS: Final = ("bits", "lookup", "int8", "depthwise")
"""`bits`: AND or XOR and popcount. `lookup`: sums of five weights looked up by five bits. `int8`: `torch._int_mm` over
rows of taps. `depthwise`: int8 codes, one input and one output channel in each group."""


@dataclass(frozen=True)
class Rule:
    """One line of the table: the first that holds is taken.

    Attributes:
        algorithm: one of `ALGORITHMS`.
        pairs: at most so many pairs of a plane of the weight and one of the activation.
        planes: at most so many planes of the activation.
        least: so many output positions in all (rows of a linear layer).
        most: so many of them.
        looks_up: needs a processor that permutes 16-bit lanes.
    """

    algorithm: str
    pairs: float = float("inf")
    planes: float = float("inf")
    least: int = 0
    most: float = float("inf")
    looks_up: bool = False


TABLE: Final = (
    Rule("bits", pairs=2),
    Rule("lookup", planes=1, least=256, looks_up=True),
    Rule("bits", pairs=4),
    Rule("bits", pairs=16, most=8),
    Rule("int8"),
)


def choose(weight_planes: int, activation_planes: int, positions: int, looks_up: bool) -> str:
    """Return the algorithm for dense or grouped layers; depthwise ones have their own."""
    return next(
        rule.algorithm
        for rule in TABLE
        if weight_planes * activation_planes <= rule.pairs
        and activation_planes <= rule.planes
        and rule.least <= positions <= rule.most
        and (looks_up or not rule.looks_up)
    )
