"""The best tiling of each order of loops, exactly, by dynamic programming over the levels of a hierarchy.

For one order of the temporal loops the energy of an operand is a sum of terms, one for each level, that depend only on
the level's own cut; the capacity that operands share ties their cuts together. Level by level outwards:

    best[c] <- min over c' <= c of best[c'] + energy of the level at c, infinite where the tiles do not fit

over the cuts c of all operands that share a memory, so that each order stands for all its tilings: with n loops and k
inner levels of an operand, (n + k choose k) for that operand, times those of the others.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from hardware_models.spatial.loop_nest import (
    Array,
    Changes,
    Loops,
    Shapes,
    Unrolled,
    Words,
    flow,
    held_bits,
    multiplier_changes,
)
from hardware_models.spatial.memory_hierarchy import DIMS, OPERANDS, OperandName, Structure


class Memories(NamedTuple):
    """Figures of the memories, each `[U or 1, levels]`: words, capacity of an instance in bits (infinite where it
    does not limit), joules of one access."""

    words: Words
    capacity_bits: Array
    read_j: Array
    write_j: Array

    def take(self, rows: Array) -> Memories:
        """Return the figures of the layers `rows`; those of one row serve all."""
        picked = (a if len(a) == 1 else a[rows] for a in (*self.words, self.capacity_bits, self.read_j, self.write_j))
        word, granule, *rest = picked
        return Memories(Words(word, granule), *rest)

    def spread(self, axes: int) -> Memories:
        """Return the same with `axes` axes of length 1 after the first."""
        every = (*self.words, self.capacity_bits, self.read_j, self.write_j)
        word, granule, *rest = (a.reshape(len(a), *(1,) * axes, -1) for a in every)
        return Memories(Words(word, granule), *rest)


class Tilings:
    """The energy of every order `[u, M]` as terms over cuts, and the dynamic programme over them."""

    def __init__(
        self, loops: Loops, shapes: Shapes, structure: Structure, memories: Memories, unrolled: Unrolled
    ) -> None:
        self.structure = structure
        self.shape = loops.dims.shape[:-1]
        self.cut_count = loops.dims.shape[-1] + 1
        self.capacity = memories.spread(2).capacity_bits
        self.level_j: dict[tuple[OperandName, int], Array] = {}
        self.level_bits: dict[tuple[OperandName, int], Array] = {}
        self.fixed_j = np.zeros(self.shape)
        by_cut = shapes.spread(2), memories.spread(2), Unrolled(tuple(a[:, None, None] for a in unrolled.by_axis))
        by_order = shapes.spread(1), memories.spread(1), Unrolled(tuple(a[:, None] for a in unrolled.by_axis))
        extents, ones = loops.extents(), [np.ones(self.shape)] * len(DIMS)
        for operand in OPERANDS:
            chain = structure.chain(operand)
            moving = multiplier_changes(operand, loops, structure)
            self.fixed_j += self._energy(operand, None, chain[0], ones, moving, *by_order)
            changes = loops.changes(operand, structure.counting.sliding_window == "adjacent")
            for child, parent in itertools.pairwise(chain):
                self.level_j[operand, child] = self._energy(operand, child, parent, extents, changes, *by_cut)
                held = held_bits(operand, child, extents, changes.times, by_cut[2], by_cut[0], structure)
                self.level_bits[operand, child] = np.broadcast_to(held, self.level_j[operand, child].shape)

    def best(self) -> Array:
        """Return the least energy of every order, `[u, M]` joules."""
        total = self.fixed_j
        for group in groups(self.structure):
            for _, state in deque(self._states(group), maxlen=1):
                total = total + state.reshape(*self.shape, -1).min(axis=-1)
        return total

    def cuts(self) -> Array:
        """Return the cuts of the best tiling of the first order, `[u, 3, levels]`."""
        found = np.full((self.shape[0], 3, len(self.structure.levels)), self.cut_count - 1)
        for group in groups(self.structure):
            states = [
                (level, np.broadcast_to(state, (*self.shape, *state.shape[2:]))[:, 0])
                for level, state in self._states(group)
            ]
            reached = [np.full(self.shape[0], self.cut_count - 1)] * len(group)
            moved = [True] * len(group)
            for level, state in reversed(states):
                reached = _least(state, reached, moved)
                moved = [operand in self.structure.levels[level].keeps for operand in group]
                for place, operand in enumerate(group):
                    if moved[place]:
                        found[:, OPERANDS.index(operand), level] = reached[place]
        return found

    def _states(self, group: Sequence[OperandName]) -> Iterator[tuple[int, Array]]:
        """Yield, for every inner level that keeps an operand of `group`, its row and the least energy by the cuts
        reached so far, `[u, M, n + 1 for each operand]`, where an operand without a cut yet has an axis of 1."""
        state = np.zeros((1, 1, *(1,) * len(group)))
        for level in range(len(self.structure.levels) - 1):
            kept = [operand for operand in group if operand in self.structure.levels[level].keeps]
            if not kept:
                continue
            held = np.zeros(1)
            for operand in kept:
                axis = 2 + group.index(operand)
                state = _running_least(state, axis) + _along(self.level_j[operand, level], axis, state.ndim)
                held = held + _along(self.level_bits[operand, level], axis, state.ndim)
            limit = self.capacity[..., level].reshape(-1, *(1,) * (state.ndim - 1))
            state = np.where(held <= limit, state, np.inf)
            yield level, state

    def _energy(
        self,
        operand: OperandName,
        child: int | None,
        parent: int,
        extents: Sequence[Array],
        changes: Changes,
        shapes: Shapes,
        memories: Memories,
        unrolled: Unrolled,
    ) -> Array:
        """Return the joules of what moves between two levels, as `flow` takes its arguments."""
        moved = flow(operand, child, parent, extents, changes, unrolled, shapes, self.structure, memories.words)
        joules = moved.parent_reads * memories.read_j[..., parent] + moved.parent_writes * memories.write_j[..., parent]
        if child is None:
            return joules
        return (
            joules + moved.child_reads * memories.read_j[..., child] + moved.child_writes * memories.write_j[..., child]
        )


def _running_least(state: Array, axis: int) -> Array:
    """Return the least entries up to each along `axis`: `np.minimum.accumulate`, faster on short axes."""
    if state.shape[axis] == 1:
        return state
    found = np.moveaxis(state.copy(), axis, 0)
    for place in range(1, len(found)):
        np.minimum(found[place], found[place - 1], out=found[place])
    return np.moveaxis(found, 0, axis)


def _along(values: Array, axis: int, ndim: int) -> Array:
    """Return `[u, M, n + 1]` with its last axis at `axis` of `ndim` axes."""
    shape = [1] * ndim
    shape[0], shape[1], shape[axis] = values.shape
    return values.reshape(shape)


def _least(state: Array, reached: Sequence[Array], moved: Sequence[bool]) -> list[Array]:
    """Return the cuts at which `state` `[u, (n + 1) ...]` is least: at most those `reached` where an operand moved,
    else those themselves. An operand whose axis is 1 long has no cut yet."""
    rows = len(state)
    allowed = np.zeros(state.shape)
    for place, (cut, free) in enumerate(zip(reached, moved, strict=True)):
        size = state.shape[1 + place]
        if size == 1:
            continue
        positions = np.arange(size)[None, :]
        open_ = positions <= cut[:, None] if free else positions == cut[:, None]
        shape = [rows] + [1] * (state.ndim - 1)
        shape[1 + place] = size
        allowed = allowed + np.where(open_, 0.0, np.inf).reshape(shape)
    flat = (state + allowed).reshape(rows, -1).argmin(axis=1)
    return list(np.unravel_index(flat, state.shape[1:]))


def groups(structure: Structure) -> list[list[OperandName]]:
    """Return the operands in groups that share an inner level, for their cuts depend on each other."""
    groups: list[set[OperandName]] = [{operand} for operand in OPERANDS]
    for level in structure.levels[:-1]:
        touched = [group for group in groups if group & set(level.keeps)]
        groups = [group for group in groups if group not in touched] + ([set().union(*touched)] if touched else [])
    return [[operand for operand in OPERANDS if operand in group] for group in groups]


def widest_group(structure: Structure) -> int:
    """Return the most operands that share inner levels."""
    return max(len(group) for group in groups(structure))


def tiling_count(loops: int, structure: Structure) -> float:
    """Return the number of tilings of one order of `loops` loops."""
    inner = (len(structure.chain(operand)) - 1 for operand in OPERANDS)
    return float(math.prod(math.comb(loops + levels, levels) for levels in inner))
