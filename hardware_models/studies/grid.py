"""The grid of a space, each point once, addressed by number: any block of it is made without the others.

Axes that conditions read vary slowest; each combination of them is a head. A head decides which of the other axes,
the tails, are active, so it stands for prod(values of the active tails) points, and a running sum over heads finds
the head of a number. An inactive axis stays at its first value.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hardware_models.errors import InputError
from hardware_models.studies.axis import Axis
from hardware_models.studies.columns import Bools

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]
Active = Callable[[Mapping[str, Array]], Mapping[str, Bools]]

MOST_HEADS: Final = 10_000_000
"""Most combinations of the axes that conditions read: they lie in memory."""

MOST_POINTS: Final = 2**62
"""Most points that can be addressed by number."""


class Grid:
    """The grid of `axes`.

    Args:
        axes: by name.
        deciding: the axes that conditions read.
        active: where each axis is active, of columns that hold at least the deciding axes.

    Raises:
        InputError: a real axis without `points`; too many combinations of the deciding axes.
    """

    def __init__(self, axes: Mapping[str, Axis], deciding: Sequence[str], active: Active) -> None:
        self._axes = axes
        self._sizes = {name: _size(name, axis) for name, axis in axes.items()}
        self._tails = [name for name in axes if name not in deciding]
        self._heads = self._all_heads(deciding)
        masks = active({name: axes[name].at(indices) for name, indices in self._heads.items()}) if deciding else {}
        kept = np.ones(self._head_count, dtype=bool)
        for name, indices in self._heads.items():
            kept &= masks[name] | (indices == 0)
        self._heads = {name: indices[kept] for name, indices in self._heads.items()}
        self._masks = {name: masks[name][kept] for name in self._tails if axes[name].when is not None}
        self.size = self._exact_size()

    @property
    def _head_count(self) -> int:
        return len(next(iter(self._heads.values()))) if self._heads else 1

    def columns(self, start: int, stop: int) -> dict[str, Array]:
        """Return the points `start` to `stop` (not included) by axis, `[stop - start]`.

        Raises:
            InputError: the numbers are out of range, or the grid has too many points to be numbered.
        """
        if not 0 <= start <= stop <= self.size:
            raise InputError(f"points {start} to {stop} were asked of a grid of {self.size}; stay within it.")
        if self.size > MOST_POINTS:
            raise InputError(f"the grid has {self.size:.3g} points, too many to number; sample the space instead.")
        numbers = np.arange(start, stop, dtype=np.int64)
        head = np.searchsorted(self._ends, numbers, side="right")
        offset = numbers - np.concatenate([[0], self._ends])[head]
        indices = {name: heads[head] for name, heads in self._heads.items()}
        for name in reversed(self._tails):
            radix = (
                np.where(self._masks[name][head], self._sizes[name], 1) if name in self._masks else self._sizes[name]
            )
            offset, indices[name] = np.divmod(offset, radix)
        return {name: axis.at(indices[name]) for name, axis in self._axes.items()}

    @functools.cached_property
    def _ends(self) -> Indices:
        """Number of points up to and with each head, `[heads]`."""
        counts = np.ones(self._head_count, dtype=np.int64)
        for name in self._tails:
            counts *= np.where(self._masks[name], self._sizes[name], 1) if name in self._masks else self._sizes[name]
        return np.cumsum(counts)

    def _all_heads(self, deciding: Sequence[str]) -> dict[str, Indices]:
        """Return every combination of the deciding axes as indices, the last varying fastest."""
        sizes = [self._sizes[name] for name in deciding]
        total = math.prod(sizes)
        if total > MOST_HEADS:
            raise InputError(
                f"conditions read {', '.join(deciding)}, which have {total} combinations; a grid takes at most "
                f"{MOST_HEADS}, so give them fewer values or sample the space."
            )
        unravelled = np.unravel_index(np.arange(total), sizes) if sizes else ()
        return {name: indices.astype(np.int64) for name, indices in zip(deciding, unravelled, strict=True)}

    def _exact_size(self) -> int:
        """Return the number of points, in Python's integers: it may be beyond 64 bits."""
        always = math.prod(self._sizes[name] for name in self._tails if name not in self._masks)
        if not self._masks:
            return always * self._head_count
        patterns, counts = np.unique(np.stack(list(self._masks.values())), axis=1, return_counts=True)
        sizes = [self._sizes[name] for name in self._masks]
        sums = (
            int(count) * math.prod(size for size, active in zip(sizes, pattern, strict=True) if active)
            for pattern, count in zip(patterns.T, counts, strict=True)
        )
        return always * sum(sums)


def _size(name: str, axis: Axis) -> int:
    if axis.grid_size is None:
        raise InputError(f"axis {name!r} has no points for a grid; add points, or sample the space.")
    return axis.grid_size
