"""The best mapping of each layer onto a memory hierarchy: which loops run where, in which order.

For one order of the temporal loops the best tiling follows exactly from dynamic programming (`tiling`). The orders
are all those of the loops' factors where these are few enough, which makes the search exhaustive for the given spatial
unrollings (of which only maximal ones are tried); else factors are merged and `complete` is false (`loop_orders`).

The objective `energy` is exact in this sense. `latency` and `edp` choose among the orders' energy-best tilings, the
KEPT best of each spatial unrolling; that is a heuristic.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from hardware_models.errors import InputError
from hardware_models.spatial.loop_nest import Accesses, Array, Loops, Shapes, Unrolled, count
from hardware_models.spatial.loop_orders import Batch, batches
from hardware_models.spatial.memory_hierarchy import DIMS, Structure
from hardware_models.spatial.tiling import Memories, Tilings, tiling_count, widest_group
from hardware_models.whole_numbers import ceil_divide

ORDERS: Final = 5040
"""Most orders of loops that are tried for one layer and spatial unrolling: those of seven loops."""

WORK: Final = 13_000_000
"""States of the dynamic programme for all layers together, at about 8 cuts for each operand that shares a memory with
another: 200,000 orders where two share, 25,000 where three do. Many layers get fewer orders each, at least three."""

KEPT: Final = 16
"""Orders of each spatial unrolling that compete when the objective is not energy."""

_CELLS: Final = 400_000
"""Array elements worked on at a time, so that they stay in the processor's cache."""

Unrolling = Mapping[str, str]
"""Dimensions unrolled on each axis, first come first served: `{"columns": "K", "rows": "CR"}`."""


@dataclass(frozen=True)
class Mappings:
    """One mapping for each of U layers.

    Attributes:
        loops: `[U, n]`, innermost first, filled up with loops of factor 1.
        cuts: `[U, 3, levels]`, as `loop_nest.count` takes them.
        unrolled: `[U, 8]` for each axis.
        energy_j: `[U]` joules of the memories; infinite where nothing fits.
        complete: `[U]` whether every order of the factors was tried.
        candidates: `[U]` mappings gone through, among which this one is the best.
    """

    loops: Loops
    cuts: Array
    unrolled: Unrolled
    energy_j: Array
    complete: Array
    candidates: Array

    def take(self, rows: Array) -> Mappings:
        """Return the mappings `rows`."""
        loops, unrolled = Loops(*(a[rows] for a in self.loops)), Unrolled(tuple(a[rows] for a in self.unrolled.by_axis))
        return Mappings(
            loops, self.cuts[rows], unrolled, self.energy_j[rows], self.complete[rows], self.candidates[rows]
        )


Objective = Callable[[Mappings, Accesses, Array], Array]
"""What is least in the best mapping: from R mappings, their accesses and the layers they belong to, `[R]`."""


def unroll(sizes: Array, axis_sizes: Array, axes: Sequence[str], choice: Unrolling) -> tuple[Unrolled, Array]:
    """Unroll loops over the axes of an array as far as they go.

    A loop of D on an axis of s takes ceil(D / s) folds of D / folds positions on average.

    Args:
        sizes: `[U, 8]` loop bounds.
        axis_sizes: `[U or 1, axes]` positions along each axis.
        axes: their names.
        choice: the dimensions for each axis.

    Returns:
        The mean factors, `[U, 8]` for each axis, and what is left to loop over in time, `[U, 8]`.
    """
    left = np.array(sizes, dtype=np.int64)
    by_axis = []
    for column, axis in enumerate(axes):
        factors = np.ones(left.shape)
        room = np.broadcast_to(axis_sizes[:, column], len(left)).astype(np.int64)
        for dim in (DIMS.index(letter) for letter in choice.get(axis, "")):
            positions = np.minimum(left[:, dim], room)
            folds = ceil_divide(left[:, dim], positions)
            factors[:, dim] = left[:, dim] / folds
            room = room // positions
            left[:, dim] = folds
        by_axis.append(factors)
    return Unrolled(tuple(by_axis)), left


def search(
    shapes: Shapes,
    structure: Structure,
    memories: Memories,
    axis_sizes: Array,
    choices: Sequence[Unrolling],
    objective: Objective | None = None,
    orders: int = ORDERS,
) -> Mappings:
    """Return the best mapping found for each of U layers.

    Args:
        shapes: the layers, `[U]`.
        structure: the hierarchy.
        memories: its figures, `[U or 1, levels]`.
        axis_sizes: `[U or 1, axes]`.
        choices: the spatial unrollings to try.
        objective: what to minimise; None for the energy of the memories.
        orders: most orders of loops for each layer and unrolling.

    Raises:
        InputError: a layer of which not even single elements fit into the inner memories.
    """
    limit = min(orders, WORK // (8 ** widest_group(structure) * max(1, len(shapes.sizes) * len(choices))))
    best: Mappings | None = None
    score = np.full(len(shapes.sizes), np.inf)
    for choice in choices:
        unrolled, left = unroll(shapes.sizes, axis_sizes, structure.axes, choice)
        for batch in batches(left, limit):
            for part in _parts(batch, structure):
                found, value = _best_of(part, shapes, structure, memories, unrolled, objective)
                best = _merged(best, found, part.rows, value < score[part.rows], len(shapes.sizes))
                score[part.rows] = np.minimum(score[part.rows], value)
    if best is None or not np.isfinite(score).all():
        misfit = int(np.flatnonzero(~np.isfinite(score))[0]) if best is not None else 0
        sizes = ", ".join(f"{dim}={int(size)}" for dim, size in zip(DIMS, shapes.sizes[misfit], strict=True))
        raise InputError(
            f"no mapping of the layer {sizes} fits into the memories, for the part that is unrolled over the array "
            "alone exceeds a capacity; enlarge that memory or unroll less."
        )
    return best


def _best_of(
    batch: Batch,
    shapes: Shapes,
    structure: Structure,
    memories: Memories,
    unrolled: Unrolled,
    objective: Objective | None,
) -> tuple[Mappings, Array]:
    """Return the best mapping of each layer of `batch`, `[u]`, and its score."""
    shapes, memories = shapes.take(batch.rows), memories.take(batch.rows)
    unrolled = Unrolled(tuple(axis[batch.rows] for axis in unrolled.by_axis))
    energy = Tilings(batch.loops, shapes, structure, memories, unrolled).best()
    kept = 1 if objective is None else min(KEPT, energy.shape[1])
    chosen = np.argpartition(energy, kept - 1, axis=1)[:, :kept]
    owner = np.repeat(np.arange(len(batch.rows)), kept)
    loops = Loops(*(part[owner, chosen.ravel()] for part in batch.loops))
    energy = np.take_along_axis(energy, chosen, axis=1).ravel()
    own_shapes, own_memories = shapes.take(owner), memories.take(owner)
    own_unrolled = Unrolled(tuple(axis[owner] for axis in unrolled.by_axis))
    single = Loops(*(part[:, None] for part in loops))
    cuts = Tilings(single, own_shapes, structure, own_memories, own_unrolled).cuts()
    found = Mappings(
        loops,
        cuts,
        own_unrolled,
        energy,
        np.full(len(owner), batch.complete),
        np.full(len(owner), batch.loops.dims.shape[1] * tiling_count(loops.dims.shape[-1], structure)),
    )
    if objective is None:
        return found, energy
    accesses = count(loops, cuts, own_unrolled, own_shapes, structure, own_memories.words)
    scores = np.where(np.isfinite(energy), objective(found, accesses, batch.rows[owner]), np.inf).reshape(-1, kept)
    first = scores.argmin(axis=1)
    return found.take(np.arange(len(first)) * kept + first), scores.min(axis=1)


def _parts(batch: Batch, structure: Structure) -> Iterator[Batch]:
    """Yield `batch` in pieces whose arrays stay small."""
    layers, orders, loops = batch.loops.dims.shape
    rows = max(1, _CELLS // (loops + 1) ** widest_group(structure))
    step, width = max(1, rows // orders), min(orders, rows)
    for start, left in itertools.product(range(0, layers, step), range(0, orders, width)):
        where = slice(start, start + step), slice(left, left + width)
        yield replace(batch, rows=batch.rows[where[0]], loops=Loops(*(part[where] for part in batch.loops)))


def _merged(best: Mappings | None, found: Mappings, rows: Array, better: Array, layers: int) -> Mappings:
    """Return `best` for U layers with `found` in place of those of its `rows` where it is `better`."""
    loops = found.loops.dims.shape[-1]
    if best is None:
        shape = layers, loops
        best = Mappings(
            Loops(np.zeros(shape, dtype=np.int64), np.ones(shape)),
            np.zeros((layers, *found.cuts.shape[1:]), dtype=np.int64),
            Unrolled(tuple(np.ones((layers, len(DIMS))) for _ in found.unrolled.by_axis)),
            np.full(layers, np.inf),
            np.ones(layers, dtype=bool),
            np.zeros(layers),
        )
    width = max(loops, best.loops.dims.shape[-1])
    best = replace(best, loops=_widened(best.loops, width))
    at = rows[better]
    for old, new in zip(best.loops, _widened(found.loops, width), strict=True):
        old[at] = new[better]
    for old, new in zip(best.unrolled.by_axis, found.unrolled.by_axis, strict=True):
        old[at] = new[better]
    best.cuts[at], best.energy_j[at] = found.cuts[better], found.energy_j[better]
    best.complete[rows] &= found.complete
    best.candidates[rows] += found.candidates
    return best


def _widened(loops: Loops, width: int) -> Loops:
    """Return `loops` filled up to `width` with outermost loops of factor 1."""
    more = width - loops.dims.shape[-1]
    if not more:
        return loops
    return Loops(
        np.pad(loops.dims, ((0, 0), (0, more))), np.pad(loops.factors, ((0, 0), (0, more)), constant_values=1.0)
    )
