"""A hierarchy of memories over an array of multipliers: its levels, and what is counted at them.

The words of `loop_nest`, which counts the accesses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

OperandName = Literal["W", "I", "O"]

DIMS: Final = ("G", "B", "K", "C", "P", "Q", "R", "S")
"""G groups, B batch, K output channels, C input channels, P, Q output rows, columns, R, S kernel rows, columns."""

OPERANDS: Final[tuple[OperandName, ...]] = ("W", "I", "O")


@dataclass(frozen=True)
class Level:
    """The structure of one memory level.

    Attributes:
        name: of the level.
        keeps: the operands that it holds; the others bypass it.
        serves: names of the axes along which one instance feeds many units; there is one instance for every
            position on the other axes.
        double_buffered: the next tile arrives while the present one is used: a tile takes twice its size, and
            filling does not wait.
    """

    name: str
    keeps: tuple[OperandName, ...]
    serves: tuple[str, ...]
    double_buffered: bool = False


@dataclass(frozen=True)
class Counting:
    """What is counted where the published models differ.

    Attributes:
        operand_latch: an input of the multiplier stays in a latch while the innermost loops are irrelevant to
            it, so that the memory is not read again.
        drain_reads: reading a result out of a memory, on its way outwards, is counted at that memory.
        first_partial_reads: the first partial sum is read back too (a zero that was stored): W instead of
            W - unique.
        sliding_window: whether, of an input tile that slides over the image, only new rows and columns are
            fetched: never; where the sliding loop is the one directly above the tile (`adjacent`); or also where
            loops irrelevant to inputs lie in between (`always`).
        shared_windows: input windows of neighbours that overlap are fetched once for all of them.
    """

    operand_latch: bool = False
    drain_reads: bool = True
    first_partial_reads: bool = False
    sliding_window: Literal["never", "adjacent", "always"] = "always"
    shared_windows: bool = False


@dataclass(frozen=True)
class Structure:
    """A memory hierarchy over an array.

    Attributes:
        levels: innermost first; the last keeps every operand and serves every axis.
        axes: names of the array's axes.
        counting: what is counted.
    """

    levels: tuple[Level, ...]
    axes: tuple[str, ...]
    counting: Counting = Counting()

    def chain(self, operand: OperandName) -> list[int]:
        """Return the rows of the levels that keep `operand`, innermost first."""
        return [row for row, level in enumerate(self.levels) if operand in level.keeps]
