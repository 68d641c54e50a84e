"""How often a loop nest accesses each memory of a hierarchy: pure counting, for many mappings at once.

A layer is eight nested loops: G groups, B batch (or timesteps), K output channels, C input channels, P output
rows, Q output columns, R kernel rows, S kernel columns. Three operands move: W weights, I inputs, O outputs.

A mapping is an order of temporal loops (dimension and factor, innermost first), for each operand and level a
cut (the loops below the cut run inside the level: they make its tile), and factors unrolled over the axes of
the array. A level `serves` the axes along which one instance of it feeds (or collects from) many units.

With c the cut of a level, per instance:

    tile(W) = G K C R S;   tile(O) = G B K P Q;   tile(I) = G B C x span(P, R) x span(Q, S)
    span(out, kernel) = min((out - 1) stride + kernel, out kernel, extent of the input)
    changes = product of the loops above c, without the innermost contiguous run that is irrelevant to the operand
    fills   = tile x changes, times the instances of the level that work

A parent is the next level outside that keeps the operand: a level that does not is bypassed. It reads a fill
once for all instances that hold the same data (multicast): fills divided by the irrelevant factors unrolled
between the two. Outputs move outwards; factors irrelevant to them that are unrolled in between are summed on
the way. They are written W = fills times and read back W - unique times, `unique` being the outputs of the
instance's own, for the first partial sum of an output has nothing to be added to.

Counts are floating-point numbers: exact up to 2^53, with a relative error of 1e-16 beyond, without overflow.

Sources: Parashar et al., Timeloop, ISPASS 2019; Mei et al., ZigZag, IEEE TC 2021; Kwon et al., MAESTRO, 2020.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_models.spatial.memory_hierarchy import DIMS, OPERANDS, OperandName, Structure

Array = npt.NDArray[Any]

RELEVANT: Final = {
    "W": np.array([dim in "GKCRS" for dim in DIMS]),
    "I": np.array([dim in "GBCPQRS" for dim in DIMS]),
    "O": np.array([dim in "GBKPQ" for dim in DIMS]),
}
"""Which dimensions index an operand, by operand: `[8]`."""

_G, _B, _K, _C, _P, _Q, _R, _S = range(8)
_ABOVE_ONE = 1 + 1e-9


@dataclass(frozen=True)
class Shapes:
    """N layers.

    Attributes:
        sizes: `[N, 8]` loop bounds in the order of `DIMS`.
        stride: `[N, 2]` of rows and columns.
        extent: `[N, 2]` rows and columns of the input without padding.
        bits: `[N, 3]` width of W, I and the finished O.
        psum_bits: `[N]` width of a partial sum.
    """

    sizes: Array
    stride: Array
    extent: Array
    bits: Array
    psum_bits: Array

    def take(self, rows: Array) -> Shapes:
        """Return the layers `rows` (indices or a mask)."""
        return Shapes(self.sizes[rows], self.stride[rows], self.extent[rows], self.bits[rows], self.psum_bits[rows])

    def spread(self, axes: int) -> Shapes:
        """Return the same with `axes` axes of length 1 after the first, so that it broadcasts."""
        columns = (self.sizes, self.stride, self.extent, self.bits, self.psum_bits)
        return Shapes(*(c.reshape(c.shape[0], *(1,) * axes, *c.shape[1:]) for c in columns))


class Words(NamedTuple):
    """Bits of one access and the smallest part of it that can be had, by level: each `[..., levels]`."""

    word_bits: Array
    granule_bits: Array

    def accesses(self, level: int, bits: Array) -> Array:
        """Return the accesses that move `bits`, counted in whole granules (exactly, where a granule is 0)."""
        word, granule = self.word_bits[..., level], self.granule_bits[..., level]
        whole = np.ceil(bits / np.maximum(granule, 1e-300) - 1e-9) * granule
        return np.where(granule > 0, whole, bits) / word


class Flow(NamedTuple):
    """Accesses between a level (the child; the multipliers where it is None) and its parent, all instances."""

    parent_reads: Array
    parent_writes: Array
    child_reads: Array
    child_writes: Array


class Unrolled(NamedTuple):
    """Spatial factors, mean over folds so that totals are exact: `[..., 8]` by dimension, for each axis."""

    by_axis: tuple[Array, ...]

    def over(self, structure: Structure, level: int | None) -> Array:
        """Return `[..., 8]` the factors below one instance of `level` (None: of a multiplier, all ones)."""
        served = structure.levels[level].serves if level is not None else ()
        factors = [f for name, f in zip(structure.axes, self.by_axis, strict=True) if name in served]
        return np.prod(factors, axis=0) if factors else np.ones_like(self.by_axis[0])

    def all(self) -> Array:
        """Return `[..., 8]` the factors over the whole array."""
        return np.prod(self.by_axis, axis=0)


class Changes(NamedTuple):
    """How often a tile changes, and the innermost loop that changes it (a factor of 1 where none does)."""

    times: Array
    dim: Array
    factor: Array

    def at(self, cut: Array) -> Changes:
        """Return the entries at `cut` `[N]` of arrays `[N, n + 1]`."""
        rows = np.arange(len(cut))
        return Changes(*(part[rows, cut] if part.ndim else part for part in self))


class Loops(NamedTuple):
    """Temporal loops, innermost first: `dims` (rows of `DIMS`) and `factors`, `[..., n]`."""

    dims: Array
    factors: Array

    def extents(self) -> list[Array]:
        """Return for each dimension the product of its factors below every cut, `[..., n + 1]`."""
        used = np.bincount(self.dims.ravel(), minlength=len(DIMS)) > 0
        alone = self._at_cuts()
        found = [self._at_cuts() if one else alone for one in used]
        for loop in range(self.factors.shape[-1]):
            for dim in np.flatnonzero(used):
                own = np.where(self.dims[..., loop] == dim, self.factors[..., loop], 1.0)
                np.multiply(found[dim][..., loop], own, out=found[dim][..., loop + 1])
        return found

    def changes(self, operand: OperandName, adjacent: bool = False) -> Changes:
        """Return how often the tile below every cut changes, `[..., n + 1]`; of inputs, also by which loop.

        Args:
            operand: whose tile.
            adjacent: name the loop that changes it only where no other loop lies in between.
        """
        times = self._at_cuts()
        dim, factor = (self._at_cuts(), self._at_cuts()) if operand == "I" else (np.array(-1), np.array(1.0))
        above = np.ones(self.factors.shape[:-1])
        for cut in range(self.factors.shape[-1] - 1, -1, -1):
            loop, size = self.dims[..., cut], self.factors[..., cut]
            above = above * size
            here = RELEVANT[operand][loop] & (size > 1)
            times[..., cut] = np.where(here, above, times[..., cut + 1])
            if operand == "I":
                dim[..., cut] = np.where(here, loop, dim[..., cut + 1])
                passed = np.where(size > 1, 1.0, factor[..., cut + 1]) if adjacent else factor[..., cut + 1]
                factor[..., cut] = np.where(here, size, passed)
        return Changes(times, dim, factor)

    def _at_cuts(self) -> Array:
        """Return ones `[..., n + 1]`, laid out cut by cut: operations run over long axes then."""
        return np.moveaxis(np.ones((self.factors.shape[-1] + 1, *self.factors.shape[:-1])), 0, -1)


def tile(operand: OperandName, extents: Sequence[Array], shapes: Shapes) -> Array:
    """Return the elements of a tile of the given `extents`, one array for each of `DIMS`."""
    e = extents
    if operand == "W":
        return e[_G] * e[_K] * e[_C] * e[_R] * e[_S]
    if operand == "O":
        return e[_G] * e[_B] * e[_K] * e[_P] * e[_Q]
    return e[_G] * e[_B] * e[_C] * _span(e[_P], e[_R], shapes, 0) * _span(e[_Q], e[_S], shapes, 1)


def flow(
    operand: OperandName,
    child: int | None,
    parent: int,
    extents: Sequence[Array],
    changes: Changes,
    unrolled: Unrolled,
    shapes: Shapes,
    structure: Structure,
    words: Words,
) -> Flow:
    """Return the accesses that an operand causes between two levels of its chain.

    Args:
        operand: which.
        child: row of the inner level, None for the multipliers.
        parent: row of the level outside of it that keeps the operand.
        extents: temporal extents of the child's tile, one array `[...]` for each of `DIMS`.
        changes: of the child's tile, as `Loops.changes`.
        unrolled: spatial factors, `[..., 8]`.
        shapes: the layers, broadcasting against `[...]`.
        structure: the hierarchy.
        words: of the memories.
    """
    below, above, whole = unrolled.over(structure, child), unrolled.over(structure, parent), unrolled.all()
    relevant = RELEVANT[operand]
    here = [extents[dim] * below[..., dim] for dim in range(len(DIMS))]
    elements = tile(operand, here, shapes)
    times, count_child, count_parent = changes.times, _product(whole / below), _product(whole / above)
    moved = elements * _product(above / below, relevant)
    if operand == "O":
        copies_child = _product(whole / below, ~relevant)
        copies_parent = _product(whole / above, ~relevant)
        unique = tile("O", [shapes.sizes[..., dim] for dim in range(len(DIMS))], shapes) * copies_child
        written = elements * times * count_child
        partial = (written > unique * _ABOVE_ONE) | (copies_parent > _ABOVE_ONE)
        bits = np.where(partial, shapes.psum_bits, shapes.bits[..., 2])
        again = written if structure.counting.first_partial_reads else written - unique
        again = np.where(partial, again, 0.0)
        into_parent = words.accesses(parent, moved * bits) * times * count_parent
        if child is None:
            return Flow(into_parent * again / written, into_parent, np.zeros(()), np.zeros(()))
        # What is still to be summed with other instances leaves as a partial sum.
        left = np.where(copies_child > _ABOVE_ONE, shapes.psum_bits, bits)
        out = words.accesses(child, elements * left) * times * count_child
        drained = out if structure.counting.drain_reads else np.zeros(())
        return Flow(into_parent * again / written, into_parent, drained, out * again / written)
    bits = shapes.bits[..., OPERANDS.index(operand)]
    if operand == "I" and structure.counting.shared_windows:
        moved = tile("I", [extents[dim] * above[..., dim] for dim in range(len(DIMS))], shapes)
    new = _new_share(here, changes, shapes) if operand == "I" and structure.counting.sliding_window != "never" else 1.0
    reads = words.accesses(parent, moved * bits) * times * count_parent
    if child is None:
        return Flow(reads, np.zeros(()), np.zeros(()), np.zeros(()))
    writes = words.accesses(child, elements * bits) * times * count_child
    return Flow(reads * new, np.zeros(()), np.zeros(()), writes * new)


def multiplier_changes(operand: OperandName, loops: Loops, structure: Structure) -> Changes:
    """Return how often the multipliers take a new operand, as `Loops.changes` at one cut, `[...]`."""
    cycles = loops.factors.prod(axis=-1)
    if operand != "O" and structure.counting.operand_latch:
        cycles = loops.changes(operand).times[..., 0]
    return Changes(cycles, np.array(-1), np.array(1.0))


def held_bits(
    operand: OperandName,
    level: int,
    extents: Sequence[Array],
    times: Array,
    unrolled: Unrolled,
    shapes: Shapes,
    structure: Structure,
) -> Array:
    """Return the bits that an operand's tile takes in one instance of a level, `[...]`.

    Outputs take the width of partial sums everywhere but in the outermost level, for they may be unfinished. A
    double-buffered level holds two tiles, unless its tile never changes (`times` is 1).
    """
    below = np.ceil(unrolled.over(structure, level) - 1e-9)
    elements = tile(operand, [np.ceil(extents[dim] - 1e-9) * below[..., dim] for dim in range(len(DIMS))], shapes)
    outermost = level == len(structure.levels) - 1
    bits = shapes.psum_bits if operand == "O" and not outermost else shapes.bits[..., OPERANDS.index(operand)]
    tiles = np.where(times > 1, 2, 1) if structure.levels[level].double_buffered else 1
    return elements * bits * tiles


class Accesses(NamedTuple):
    """What N mappings cost in accesses.

    Attributes:
        reads, writes: `[N, levels, 3]` accesses (of one word each) by operand in the order of `OPERANDS`.
        held: `[N, levels]` bits held in one instance.
        instances: `[N, levels]` instances that work, mean over folds.
        cycles: `[N]` cycles of the multipliers, one multiply-accumulate each.
        units: `[N]` multipliers that work, mean over cycles.
    """

    reads: Array
    writes: Array
    held: Array
    instances: Array
    cycles: Array
    units: Array


def count(
    loops: Loops, cuts: Array, unrolled: Unrolled, shapes: Shapes, structure: Structure, words: Words
) -> Accesses:
    """Count the accesses of N given mappings.

    Args:
        loops: temporal loops, `[N, n]`, innermost first.
        cuts: `[N, 3, levels]` loops inside each operand's tile at each level; ignored where a level does not keep
            the operand. They grow outwards, and are n in the outermost level.
        unrolled: `[N, 8]` spatial factors of each axis.
        shapes: `[N]` layers (or 1, for all mappings).
        structure: the hierarchy.
        words: `[N or 1, levels]`.
    """
    rows, levels = loops.factors.shape[0], len(structure.levels)
    reads, writes = np.zeros((rows, levels, 3)), np.zeros((rows, levels, 3))
    held, extents = np.zeros((rows, levels)), loops.extents()
    for column, operand in enumerate(OPERANDS):
        changes = loops.changes(operand, structure.counting.sliding_window == "adjacent")
        inside = [np.ones(rows)] * len(DIMS)
        moving, child = multiplier_changes(operand, loops, structure), None
        for level in structure.chain(operand):
            cost = flow(operand, child, level, inside, moving, unrolled, shapes, structure, words)
            reads[:, level, column] += cost.parent_reads
            writes[:, level, column] += cost.parent_writes
            if child is not None:
                reads[:, child, column] += cost.child_reads
                writes[:, child, column] += cost.child_writes
            cut = cuts[:, column, level]
            inside = [extent[np.arange(rows), cut] for extent in extents]
            moving = changes.at(cut)
            held[:, level] += held_bits(operand, level, inside, moving.times, unrolled, shapes, structure)
            child = level
    whole = unrolled.all()
    instances = np.stack([_product(whole / unrolled.over(structure, row)) for row in range(levels)], axis=-1)
    return Accesses(
        reads, writes, held, np.broadcast_to(instances, held.shape), loops.factors.prod(axis=-1), _product(whole)
    )


def _product(factors: Array, dims: Array | None = None) -> Array:
    """Return the product of `factors` `[..., 8]` over all dimensions or those of the mask `dims`."""
    chosen = range(len(DIMS)) if dims is None else np.flatnonzero(dims)
    return functools.reduce(np.multiply, [factors[..., dim] for dim in chosen])


def _span(out: Array, kernel: Array, shapes: Shapes, axis: int) -> Array:
    """Return the input rows (axis 0) or columns (axis 1) that `out` positions with `kernel` taps touch."""
    box = (out - 1) * shapes.stride[..., axis] + kernel
    return np.minimum(np.minimum(box, out * kernel), shapes.extent[..., axis])


def _new_share(extents: Sequence[Array], changes: Changes, shapes: Shapes) -> Array:
    """Return the share of an input tile that is new when it changes, mean over one run of its innermost loop.

    A step along P shifts the window by stride x P rows; a step along R by R rows. The first of a run is fetched whole.
    """
    share = np.ones(np.broadcast_shapes(changes.dim.shape, extents[0].shape))
    for out, kernel, axis in ((_P, _R, 0), (_Q, _S, 1)):
        span = np.maximum((extents[out] - 1) * shapes.stride[..., axis] + extents[kernel], 1e-300)
        for loop, shift in ((out, extents[out] * shapes.stride[..., axis]), (kernel, extents[kernel])):
            share = np.where(changes.dim == loop, np.minimum(shift / span, 1.0), share)
    return (1 + (changes.factor - 1) * share) / changes.factor
