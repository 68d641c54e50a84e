"""A network on a neuromorphic chip: the cores of its populations, its chips, and the way of its packets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hardware_models.distinct import distinct_rows
from hardware_models.errors import InputError
from hardware_models.event_driven.core_allocation import Split, cores_needed, place
from hardware_models.event_driven.counts import reach
from hardware_models.event_driven.grouping import summed_by
from hardware_models.event_driven.mesh import Hops, Mesh, mean_hops
from hardware_models.event_driven.populations import Populations
from hardware_models.hardware import Hardware
from hardware_models.layer_table import LayerTable
from hardware_models.whole_numbers import ceil_divide

Array = npt.NDArray[Any]

LIMITS: Final[Mapping[str, str]] = {
    "core.neurons": "neurons",
    "core.synapse_memory": "bytes of synapse memory",
    "core.synapses": "synapses",
    "core.axons_in": "axons in",
    "core.axons_out": "axons out",
}
BLOCK: Final = 2_000_000
"""Cores that hops are counted for at a time."""

MOST_BITS: Final = 2**62
"""Bits of weights that exact counting is held to."""

_SIZES: Final = (
    *LIMITS,
    *("core.weight_bits", "chip.cores", "chip.count", "mesh.columns", "mesh.rows", "tile.cores"),
)


@dataclass(frozen=True)
class Network:
    """Allocation and placement for U chips that differ in size.

    Attributes:
        of_variant: `[H]` which of the U allocations each hardware variant has.
        split: how the populations are cut into cores, `[U, P]`.
        by_rows: `[U, P]` whether cores hold contiguous rows of all channels, and not contiguous channels.
        first: `[U, P]` first core of each, counted through all chips.
        total: `[U]` cores of the network.
        chips: `[U]` chips.
        tiles: `[U]` tiles of the fullest chip that take part in the barrier.
        fits: `[U]` whether the chip holds the network.
        weight_bits: `[U, Q]` bits of a stored weight.
        mesh: the meshes, sizes `[U]`; None for a chip whose mesh is not known.
        hops: mean hops of a packet on each wire, `[U, W]`; None without a mesh, or where hops cost nothing.
        axons: inputs that a core can read, `[U, 1]`; None where the chip states no limit.
    """

    of_variant: Array
    split: Split
    by_rows: Array
    first: Array
    total: Array
    chips: Array
    tiles: Array
    fits: Array
    weight_bits: Array
    mesh: Mesh | None
    hops: Hops | None
    axons: Array | None = None

    @property
    def cores(self) -> Array:
        """Cores of each population, `[U, P]`."""
        return self.split.cores

    def block(self, start: int, stop: int) -> Network:
        """Return some of the U allocations, for counting their hops."""
        chosen = slice(start, stop)
        mesh = None if self.mesh is None else self.mesh.resized([size[chosen] for size in self.mesh.sizes])
        split = Split(self.split.needs[chosen], self.split.room[chosen])
        return replace(self, split=split, first=self.first[chosen], mesh=mesh)

    def ranges(self, wires: Array) -> tuple[Array, Array, Array, Mesh]:
        """Return first cores and cores of all U * P ranges, the pairs of ranges of all wires, and their meshes."""
        assert self.mesh is not None
        count, populations = self.cores.shape
        pairs = (np.arange(count)[:, None, None] * populations + wires).reshape(-1, 2)
        sizes = [np.repeat(size, populations) for size in self.mesh.sizes]
        return self.first.ravel(), self.cores.ravel(), pairs, self.mesh.resized(sizes)


def network(table: LayerTable, groups: Populations, hw: Hardware) -> Network:
    """Allocate and place the populations `groups` of `table`.

    Raises:
        InputError: the network fits none of the hardware variants.
    """
    sizes, of_variant = _distinct_sizes(hw)
    bits = _weight_bits(table, groups, sizes)
    limits = {name: sizes[name][:, None] for name in LIMITS if name in sizes}
    per_chip, most = _cores_per_chip(hw, sizes), _most_chips(hw, sizes)
    needs = _needs(table, groups, bits, hw.settings.weight_sharing)
    if hw.settings.one_core:
        return _on_one_core(table, groups, hw, _Sizes(needs, limits, per_chip, bits, of_variant))
    by_rows = _by_rows(table, groups, hw, needs, limits, len(per_chip))
    split, decided = _split(table, groups, needs, limits, by_rows)
    if hw.settings.balance == "even":
        split = split.evenly()
    cores = split.cores
    placed = place(cores, per_chip)
    fits = placed.chips <= most
    if not hw.settings.split_layers:
        fits = fits & (cores == 1).all(axis=1)
    if not fits.any():
        raise InputError(_what_broke(table, groups, hw, cores[0], list(limits), decided[0], per_chip[0], most[0]))
    mesh = None
    if "mesh.columns" in sizes:
        mesh = Mesh(sizes["mesh.columns"], sizes["mesh.rows"], sizes["tile.cores"], hw.settings.placement)
    per_tile = sizes.get("tile.cores", np.ones_like(per_chip))
    tiles = ceil_divide(np.minimum(placed.total, per_chip), per_tile)
    # What does not fit has no figures; it must not ask for those of several chips.
    chips = np.minimum(placed.chips, most)
    laid = Network(of_variant, split, by_rows, placed.first, placed.total, chips, tiles, fits, bits, mesh, None)
    laid = replace(laid, axons=limits.get("core.axons_in"))
    counted = any(name in hw for name in ("network.hop_x_energy", "network.hop_y_energy", "network.border_energy"))
    return replace(laid, hops=_hops(laid, groups.wires_to_hosts)) if mesh is not None and counted else laid


def _hops(laid: Network, wires: Array) -> Hops:
    """Return the mean hops of a packet on each wire, `[U, W]`, some of the U chips at a time."""
    size = max(1, BLOCK // max(1, int(laid.cores.sum(axis=1).max())))
    parts = [_hops_of(laid.block(start, start + size), wires) for start in range(0, len(laid.cores), size)]
    return Hops(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("x", "y", "chips")))


def _hops_of(laid: Network, wires: Array) -> Hops:
    hops = mean_hops(*laid.ranges(wires))
    shape = (len(laid.cores), len(wires))
    return Hops(hops.x.reshape(shape), hops.y.reshape(shape), hops.chips.reshape(shape))


def _distinct_sizes(hw: Hardware) -> tuple[dict[str, Array], Array]:
    """Return the structural figures of the U different chips among the hardware variants, and which each has."""
    names = [name for name in _SIZES if name in hw]
    if not any(name in names for name in ("chip.cores", "mesh.columns")):
        hw.size("chip.cores", "laying a network on cores")
    if "mesh.columns" in names:
        hw.size("mesh.rows", "laying a network on the mesh")
        hw.size("tile.cores", "laying a network on the mesh")
    columns = [np.broadcast_to(hw.size(name, "the allocation").ravel(), hw.variant_count) for name in names]
    first, of_variant = distinct_rows(columns)
    return {name: column[first] for name, column in zip(names, columns, strict=True)}, of_variant


def _weight_bits(table: LayerTable, groups: Populations, sizes: Mapping[str, Array]) -> Array:
    bits = table.weight_bits[groups.synapses][None]
    return np.minimum(bits, sizes["core.weight_bits"][:, None]) if "core.weight_bits" in sizes else bits


def _stored_weights(table: LayerTable, rows: Array, shared: bool) -> Array:
    """Return the weights that the cores of synaptic layers store, `[Q]`: one a connection, or each kernel once.

    Raises:
        InputError: more connections than can be counted.
    """
    once = shared | table.weight_is_activation[rows]
    connections = table.groups[rows].astype(float) * table.m[rows] * table.n[rows] * table.k[rows]
    stored = np.where(once, table.weight_elements[rows], connections)
    if (stored * np.maximum(table.weight_bits[rows], 1)).sum() >= MOST_BITS:
        largest = rows[int(stored.argmax())]
        raise InputError(
            f"layer {table.names[largest]!r} of {table.subject!r} has {stored.max():.3g} weights to store, more than "
            "any chip holds; give a smaller network, or a chip that stores kernels once (weight_sharing)."
        )
    exact = table.groups[rows] * table.m[rows] * table.n[rows] * table.k[rows]
    return np.where(once, table.weight_elements[rows], exact)


def _needs(table: LayerTable, groups: Populations, bits: Array, shared: bool) -> dict[str, Array]:
    """Return what each population needs, `[P]` or `[U, P]`, but for axons out."""
    row = groups.synapses

    def by_host(values: Array) -> Array:
        return summed_by(groups.host, len(groups), values.astype(np.int64))

    stored = _stored_weights(table, row, shared)
    operand = np.where(table.weight_is_activation[row], table.weight_elements[row], 0)
    return {
        "core.neurons": groups.neurons,
        "core.synapse_memory": ceil_divide(by_host(stored * bits), 8),
        "core.synapses": by_host(stored),
        "core.axons_in": by_host(table.input_elements[row] + operand),
    }


def _by_rows(
    table: LayerTable,
    groups: Populations,
    hw: Hardware,
    needs: Mapping[str, Array],
    limits: Mapping[str, Array],
    chips: int,
) -> Array:
    """Return which populations are split by rows, `[U, P]`.

    A core that holds rows of all channels needs all kernels; where they do not fit, channels are split.
    """
    chosen = np.full((chips, len(groups)), hw.settings.split == "rows")
    high = np.zeros(len(groups), dtype=np.int64)
    np.maximum.at(high, groups.host, table.out_h[groups.synapses])
    chosen &= high > 1
    if hw.settings.weight_sharing:
        for name in {"core.synapse_memory", "core.synapses"} & set(limits):
            chosen = chosen & (needs[name] <= limits[name])
    return chosen


def _split(
    table: LayerTable, groups: Populations, needs: dict[str, Array], limits: Mapping[str, Array], by_rows: Array
) -> tuple[Split, Array]:
    """Return how populations fill cores, and the limit that decides it, `[U, P]`.

    An axon out is needed for each neuron and core that it sends to; those cores are counted by their other limits.
    """
    ones = np.ones(by_rows.shape, dtype=np.int64)
    split, decided = Split(ones, ones), ones - 1
    others = {name: limit for name, limit in limits.items() if name != "core.axons_out"}
    if others:
        split, decided = cores_needed(needs, others)
    if "core.axons_out" in limits:
        seen, channels = reach(table, groups, split, by_rows, limits.get("core.axons_in"))
        reached = split.cores[:, groups.host] * seen * channels
        fan = summed_by(groups.wires[:, 0], len(groups), reached[:, groups.wires[:, 1]].astype(float))
        # Shares are products of fractions; a whole number of axons must not become one more.
        axons = np.ceil(groups.neurons * fan * (1 - 1e-12)).astype(np.int64)
        split, decided = cores_needed(needs | {"core.axons_out": axons}, limits)
    return split, decided


@dataclass(frozen=True)
class _Sizes:
    """What populations need and chips have, as `network` works it out."""

    needs: Mapping[str, Array]
    limits: Mapping[str, Array]
    per_chip: Array
    bits: Array
    of_variant: Array


def _on_one_core(table: LayerTable, groups: Populations, hw: Hardware, sizes: _Sizes) -> Network:
    """Return the network with all its populations on the one core of the chip."""
    shape = (len(sizes.per_chip), len(groups))
    fits = np.ones(shape[0], dtype=bool)
    for name, limit in sizes.limits.items():
        # Axons out stay on the core.
        if name == "core.axons_out":
            continue
        needed = sizes.needs[name].sum(axis=-1)
        fits &= needed <= limit[:, 0]
        if not fits.any():
            raise InputError(
                f"{table.subject!r} needs {np.max(needed)} {LIMITS[name]} but the one core of chip {hw.chip.name!r} "
                f"has {limit.max()}; give a smaller network or a larger chip."
            )
    one = np.ones(shape[0], dtype=np.int64)
    cores, first = np.ones(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    return Network(sizes.of_variant, Split(cores, cores), cores < 0, first, one, one, one, fits, sizes.bits, None, None)


def _cores_per_chip(hw: Hardware, sizes: Mapping[str, Array]) -> Array:
    if "mesh.columns" in sizes:
        return np.asarray(sizes["mesh.columns"] * sizes["mesh.rows"] * sizes["tile.cores"])
    return sizes["chip.cores"]


def _most_chips(hw: Hardware, sizes: Mapping[str, Array]) -> Array:
    if not hw.settings.multi_chip:
        return np.ones(len(next(iter(sizes.values()))), dtype=np.int64)
    if "chip.count" not in sizes:
        hw.size("chip.count", "joining several chips")
    return sizes["chip.count"]


def _what_broke(
    table: LayerTable,
    groups: Populations,
    hw: Hardware,
    cores: Array,
    limits: list[str],
    decided: Array,
    per_chip: int,
    most: int,
) -> str:
    largest = int(cores.argmax())
    layer = table.names[groups.rows[largest]]
    by = f", for its {LIMITS[limits[int(decided[largest])]]}" if limits else ""
    if not hw.settings.split_layers and cores[largest] > 1:
        return (
            f"chip {hw.chip.name!r} gives each layer one core, but layer {layer!r} of {table.subject!r} needs "
            f"{cores[largest]}{by}; give a smaller network, or a chip that splits layers."
        )
    chips = "1 chip" if most == 1 else f"up to {most} chips"
    return (
        f"{table.subject!r} needs {cores.sum()} cores (layer {layer!r} alone {cores[largest]}{by}) but chip "
        f"{hw.chip.name!r} has {per_chip * most} ({chips} of {per_chip}); give a smaller network or a larger chip."
    )
