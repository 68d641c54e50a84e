"""What the spatial engine is told about a chip, and how layers become loops and find their mappings."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hardware_models.engine import Array, Run
from hardware_models.hardware import Hardware
from hardware_models.layer_table import LayerTable
from hardware_models.precision import Precision, Widths
from hardware_models.sparsity import OperandRules, SparsityRule
from hardware_models.spatial.loop_nest import Accesses, Shapes, Words, count
from hardware_models.spatial.mapping_search import Mappings, search
from hardware_models.spatial.memory_hierarchy import DIMS, OPERANDS, Counting, Level, OperandName, Structure
from hardware_models.spatial.tiling import Memories

COMPONENTS: Final = frozenset({"compute", "neurons", "static", "network"})
"""Components of a cost that are no memory."""


class LevelSettings(BaseModel):
    """One memory level, as in `memory_hierarchy.Level`, and what it does with zeros of inputs and weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    keeps: tuple[OperandName, ...] = Field(min_length=1)
    serves: tuple[str, ...] = ()
    double_buffered: bool = False
    input: SparsityRule = SparsityRule()
    weight: SparsityRule = SparsityRule()


class Settings(BaseModel):
    """How a chip with a memory hierarchy over an array works.

    Attributes:
        axes: names of the array's axes.
        levels: memories, innermost first; the last one keeps all three operands and serves every axis.
        unroll: ways of unrolling loops (letters of `memory_hierarchy.DIMS`) over the axes, of which each layer
            takes the best; each goes as far as it can.
        precision: widths of the multipliers.
        objective: what the mapping minimises.
        array: sparsity policies of the arithmetic.
        membrane: the level that membrane potentials are kept in; None for the last but one.
        operand_latch, drain_reads, first_partial_reads, sliding_window, shared_windows: `memory_hierarchy.Counting`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    axes: tuple[str, ...] = Field(min_length=1)
    levels: tuple[LevelSettings, ...] = Field(min_length=1)
    unroll: tuple[dict[str, str], ...] = Field(min_length=1)
    precision: Precision
    objective: Literal["energy", "latency", "edp"] = "energy"
    array: OperandRules = OperandRules()
    membrane: str | None = None
    operand_latch: bool = False
    drain_reads: bool = True
    first_partial_reads: bool = False
    sliding_window: Literal["never", "adjacent", "always"] = "always"
    shared_windows: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        names = [level.name for level in self.levels]
        if len(set(names)) != len(names):
            raise ValueError(f"levels {names} repeat a name; give each memory its own")
        if taken := set(names) & COMPONENTS:
            raise ValueError(f"levels {sorted(taken)} have names of other components; call those memories otherwise")
        last = self.levels[-1]
        if set(last.keeps) != set(OPERANDS) or set(last.serves) != set(self.axes):
            raise ValueError(f"the last level, {last.name!r}, must keep W, I and O and serve every axis")
        for level in self.levels:
            if unknown := set(level.serves) - set(self.axes):
                raise ValueError(f"level {level.name!r} serves {sorted(unknown)}; the axes are {list(self.axes)}")
        for operand in OPERANDS:
            self._check_nested(operand)
        for choice in self.unroll:
            if set(choice) - set(self.axes) or set("".join(choice.values())) - set(DIMS):
                raise ValueError(f"unroll {choice} must give letters of {''.join(DIMS)} for the axes {list(self.axes)}")
        if self.membrane is not None and self.membrane not in names:
            raise ValueError(f"membrane {self.membrane!r} is no level; the levels are {names}")
        return self

    @property
    def membrane_level(self) -> str:
        """The level that membrane potentials are kept in."""
        return self.membrane or self.levels[max(0, len(self.levels) - 2)].name

    def _check_nested(self, operand: OperandName) -> None:
        served: set[str] = set()
        for level in self.levels:
            if operand in level.keeps:
                if not served <= set(level.serves):
                    raise ValueError(
                        f"level {level.name!r} serves fewer axes than a level of {operand} inside it; instances of an "
                        "outer level must feed whole instances of an inner one"
                    )
                served = set(level.serves)

    @property
    def structure(self) -> Structure:
        """The hierarchy as `loop_nest` takes it."""
        levels = (Level(one.name, one.keeps, one.serves, one.double_buffered) for one in self.levels)
        counting = Counting(
            self.operand_latch, self.drain_reads, self.first_partial_reads, self.sliding_window, self.shared_windows
        )
        return Structure(tuple(levels), self.axes, counting)


class Lowered(NamedTuple):
    """L layers as loops, and how often each nest runs in one inference, `[L]`."""

    shapes: Shapes
    repeats: Array


class Mapped(NamedTuple):
    """Accesses of each layer on each hardware variant, for one inference, and the search's own account.

    reads, writes: `[H, L, levels, 3]`. instances: `[H, L, levels]`. cycles, units: `[H, L]`. word_bits: `[H, levels]`.
    distinct: mappings searched for; complete: of which with every order of loops.
    """

    reads: Array
    writes: Array
    instances: Array
    cycles: Array
    units: Array
    word_bits: Array
    distinct: int
    complete: int


def lower(layers: LayerTable, widths: Widths, run: Run, psum_bits: int, result_bits: Array) -> Lowered:
    """Return the loops of synaptic `layers`, with partial sums of `psum_bits` bits and results of `result_bits` `[L]`.

    Time-batched timesteps are the batch loop B, so that weights can be reused over them; products of two
    activations, and step-by-step execution, run the nest once for each timestep. A layer whose matrix product is
    not that of its kernel and output sizes (a transposed convolution) is taken as a matrix product.
    """
    plain = (layers.m == layers.out_h * layers.out_w) & (
        layers.k * layers.groups == layers.in_channels * layers.kernel_h * layers.kernel_w
    )
    folded = (run.execution == "time-batched") & ~layers.weight_is_activation
    one = np.ones(len(layers), dtype=np.int64)
    columns = (
        layers.groups,
        np.where(folded, layers.timesteps, 1),
        layers.n,
        np.where(plain, layers.in_channels // np.maximum(layers.groups, 1), layers.k),
        np.where(plain, layers.out_h, layers.m),
        np.where(plain, layers.out_w, one),
        np.where(plain, layers.kernel_h, one),
        np.where(plain, layers.kernel_w, one),
    )
    shapes = Shapes(
        np.stack(columns, axis=1),
        np.where(plain[:, None], np.stack([layers.stride_h, layers.stride_w], axis=1), 1),
        np.where(plain[:, None], np.stack([layers.in_h, layers.in_w], axis=1), np.stack([layers.m, one], axis=1)),
        np.stack([widths.weight_bits, widths.input_bits, result_bits], axis=1),
        np.full(len(layers), psum_bits),
    )
    return Lowered(shapes, np.where(folded, 1, layers.timesteps))


def map_layers(lowered: Lowered, settings: Settings, hw: Hardware) -> Mapped:
    """Find a mapping of each layer on each variant, and count its accesses.

    Equal layers, and variants of equal sizes, share one search. The mapping is the best at the chip's own nominal
    energies and rates: neither the band nor a variant of those changes it.
    """
    structure, figures = settings.structure, _figures(settings, hw)
    sizes, first_variant, variant = _distinct(figures.sizes)
    layer_rows, first_layer, layer = _distinct(_signature(lowered.shapes))
    variants, layers = len(sizes), len(layer_rows)
    owner, shape_row = np.repeat(np.arange(variants), layers), np.tile(first_layer, variants)
    chosen = first_variant[owner]
    shapes = replace(lowered.shapes.take(shape_row), psum_bits=figures.psum_bits[chosen])
    memories, axis_sizes = figures.memories.take(chosen), figures.axis_sizes[chosen]
    found = _cached_search(shapes, structure, memories, axis_sizes, settings, _objective(settings, figures, chosen))
    accesses = count(found.loops, found.cuts, found.unrolled, shapes, structure, memories.words)
    place = variant[:, None] * layers + layer[None, :]
    repeats = lowered.repeats[None, :]
    return Mapped(
        accesses.reads[place] * repeats[..., None, None],
        accesses.writes[place] * repeats[..., None, None],
        accesses.instances[place],
        accesses.cycles[place] * repeats,
        accesses.units[place],
        figures.memories.words.word_bits,
        len(owner),
        int(found.complete.sum()),
    )


class _Figures(NamedTuple):
    """Figures of the chip that decide a mapping, `[H, ...]`; `sizes` are those that are structure."""

    memories: Memories
    axis_sizes: Array
    bandwidth: Array
    clock: Array
    psum_bits: Array
    sizes: Array


def _figures(settings: Settings, hw: Hardware) -> _Figures:
    count_ = hw.variant_count

    def sizes(name: str, needed_for: str) -> Array:
        return np.broadcast_to(hw.size(name, needed_for)[0, :, 0], count_).astype(np.float64)

    def nominal(name: str, needed_for: str) -> Array:
        return np.full(count_, hw.chip.figure(name, needed_for).si)

    def by_level(figure: str, missing: float | None, needed_for: str, size: bool = False) -> Array:
        columns = []
        for level in settings.levels:
            name = f"memory.{level.name}.{figure}"
            if missing is not None and name not in hw:
                columns.append(np.full(count_, missing))
            else:
                columns.append(sizes(name, needed_for) if size else nominal(name, needed_for))
        return np.stack(columns, axis=1)

    capacity = by_level("capacity", np.inf, "the tiles that fit", size=True) * 8.0
    word = by_level("word", None, "counting accesses", size=True)
    granule = by_level("granule", 0.0, "counting accesses", size=True)
    energies = hw.answers("energy")
    read_j, write_j = (
        by_level(f"{kind}_energy", None if energies else 1.0, "the choice of a mapping") for kind in ("read", "write")
    )
    axes = np.stack([sizes(f"axis.{axis}.size", "unrolling loops") for axis in settings.axes], axis=1)
    timed = hw.answers("latency")
    bandwidth = by_level("bandwidth", np.inf, "the time of transfers") if timed else np.full(word.shape, np.inf)
    clock = nominal("array.clock", "the time of a layer") if timed else np.ones(count_)
    psum_bits = sizes("accumulator.bits", "the traffic of partial sums")
    return _Figures(
        Memories(Words(word, granule), capacity, read_j, write_j),
        axes,
        bandwidth,
        clock,
        psum_bits,
        np.concatenate([capacity, word, granule, axes, psum_bits[:, None]], axis=1),
    )


def _objective(settings: Settings, figures: _Figures, chosen: Array) -> Any:
    """Return the score of mappings for the objective, or None for energy."""
    if settings.objective == "energy":
        return None

    def score(found: Mappings, accesses: Accesses, rows: Array) -> Array:
        variant = chosen[rows]
        bytes_ = figures.memories.words.word_bits[variant] / 8 / accesses.instances
        moved, filled = (accesses.reads + accesses.writes).sum(axis=-1), accesses.writes[..., :2].sum(axis=-1)
        computing = accesses.cycles / figures.clock[variant]
        times = seconds(settings, computing, moved * bytes_, figures.bandwidth[variant], filled * bytes_)
        return times * found.energy_j if settings.objective == "edp" else times

    return score


def seconds(settings: Settings, computing: Array, moved: Array, bandwidth: Array, filled: Array) -> Array:
    """Return the time of layers: the longest of the arithmetic and each memory's transfers.

    A level that is not double-buffered waits while its tile is replaced, where its bandwidth is known.

    Args:
        settings: which levels are double-buffered.
        computing: seconds of the arithmetic, `[...]`.
        moved: bytes through one instance, `[..., levels]`.
        bandwidth: of one instance, `[..., levels]`; infinite where it does not limit.
        filled: bytes of inputs and weights written into one instance, `[..., levels]`.
    """
    times = np.maximum(computing, (moved / bandwidth).max(axis=-1))
    inner = np.array([not level.double_buffered for level in settings.levels[:-1]] + [False])
    return times + (np.where(inner, filled, 0.0) / bandwidth).sum(axis=-1)


_SEARCHES: OrderedDict[bytes, Mappings] = OrderedDict()
_KEPT_SEARCHES: Final = 32


def _cached_search(
    shapes: Shapes, structure: Structure, memories: Memories, axis_sizes: Array, settings: Settings, objective: Any
) -> Mappings:
    """Return `search(...)`, the last results of which are kept: a study asks for the same network again."""
    arrays = (
        _signature(shapes),
        *memories.words,
        memories.capacity_bits,
        memories.read_j,
        memories.write_j,
        axis_sizes,
    )
    key = repr((structure, settings.unroll)).encode() + b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)
    if objective is not None or len(key) > 1 << 20:
        return search(shapes, structure, memories, axis_sizes, settings.unroll, objective)
    if key not in _SEARCHES:
        _SEARCHES[key] = search(shapes, structure, memories, axis_sizes, settings.unroll)
        if len(_SEARCHES) > _KEPT_SEARCHES:
            _SEARCHES.popitem(last=False)
    return _SEARCHES[key]


def _signature(shapes: Shapes) -> Array:
    columns = (shapes.sizes, shapes.stride, shapes.extent, shapes.bits, shapes.psum_bits[:, None])
    return np.concatenate(columns, axis=1)


def _distinct(rows: Array) -> tuple[Array, Array, Array]:
    """Return the distinct `rows`, where each first occurs, and which one every row is."""
    plain = np.ascontiguousarray(rows)
    keys = plain.view(np.dtype((np.void, plain.dtype.itemsize * plain.shape[1]))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return plain[first], first, inverse.ravel()
