"""From counts to joules, seconds and bytes of an event-driven chip, with its uncertain figures and variants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_models.errors import InputError
from hardware_models.event_driven.counts import CoreWork, Events
from hardware_models.event_driven.equations import (
    GENERATION_TIMES,
    NEURON_ENERGIES,
    RECEIPT_TIMES,
    network_energy,
    neuron_energy,
    slowest,
    synapse_energy,
    timestep_seconds,
    waiting_work,
)
from hardware_models.event_driven.grouping import summed_by
from hardware_models.event_driven.mesh import border_packets, link_packets
from hardware_models.event_driven.network import Network
from hardware_models.event_driven.populations import Populations
from hardware_models.event_driven.waiting import waiting
from hardware_models.hardware import Hardware
from hardware_models.layer_table import LayerTable

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Time:
    """Seconds: `[S, H, L]` that each layer's busiest core works, `[S, H]` of one inference.

    On a chip that only its tick is known of, a layer takes its ticks, and how much of them it works is not known.
    """

    by_layer: Array
    total: Array
    is_work: bool

    @property
    def utilization(self) -> Array | None:
        """Share of the inference in which a layer's busiest core works, `[S, H, L]`."""
        if not self.is_work:
            return None
        total = np.broadcast_to(self.total[:, :, None], self.by_layer.shape)
        # A network that nothing happens in takes no time.
        return np.divide(self.by_layer, total, out=np.zeros_like(self.by_layer), where=total > 0)


@dataclass(frozen=True)
class Laid:
    """A network laid on a chip: everything that its costs follow from."""

    table: LayerTable
    groups: Populations
    counts: Events
    laid: Network
    work: CoreWork
    hw: Hardware

    def figure(self, name: str, needed_for: str) -> Array:
        """Return a figure, `[S, H or 1]`; zeros where the settings say that the chip goes without it.

        Raises:
            InputError: the chip has no such figure and its settings do not say why.
        """
        if name not in self.hw and name in self.hw.settings.without:
            return np.zeros((1, 1))
        return self.hw(name, needed_for)[:, :, 0]

    def each(self, per_chip: Array) -> Array:
        """Return `[U, ...]` values of the allocations as values of the variants, `[1 or H, ...]`."""
        return per_chip if len(per_chip) == 1 else per_chip[self.laid.of_variant]

    def by_population(self, values: Array) -> Array:
        """Return `[..., P]` values in the rows of the populations, `[..., L]`."""
        return self._rows(values, self.groups.rows)

    def by_synapses(self, values: Array) -> Array:
        """Return `[..., Q]` values in the rows of the synaptic layers, `[..., L]`."""
        return self._rows(values, self.groups.synapses)

    def _rows(self, values: Array, rows: Array) -> Array:
        whole = np.zeros((*values.shape[:-1], len(self.table)))
        whole[..., rows] = values
        return whole

    @property
    def unfit(self) -> Array:
        """`[1 or H]` NaN for variants that do not hold the network, else 1."""
        return self.each(np.where(self.laid.fits, 1.0, np.nan))


def energy(chip: Laid, time: Time | None) -> dict[str, Array]:
    """Return joules by component, `[S, H, L]`."""
    counts = chip.counts
    unfit = chip.unfit[:, None]
    operations = counts.operations.sum(axis=1)
    per_operation = chip.figure("synapse.energy", "the energy of synaptic operations")[:, :, None]
    updates = counts.updates.sum(axis=1)
    per_neuron = [chip.figure(name, "the energy of neurons")[:, :, None] for name in NEURON_ENERGIES]
    neurons = neuron_energy(updates, updates, counts.spikes.sum(axis=1), *per_neuron)
    return {
        "compute": chip.by_synapses(synapse_energy(operations, per_operation) * unfit),
        "neurons": chip.by_population(neurons * unfit),
        "network": chip.by_synapses(_packet_energy(chip) * unfit),
        "static": chip.by_population(_static_energy(chip, time) * unfit),
    }


def _packet_energy(chip: Laid) -> Array:
    """Return joules of the packets that each synaptic layer receives, `[S, H, Q]`."""
    reached = chip.each(chip.work.reached)
    packets = chip.counts.received.sum(axis=1) * reached
    needed = "the energy of packets"
    sent = chip.work.packets.sum(axis=2)
    message, hop_x, hop_y = (
        chip.figure(f"network.{name}_energy", needed)[:, :, None] for name in ("message", "hop_x", "hop_y")
    )
    border = np.zeros((1, 1, 1))
    if (chip.laid.chips > 1).any():
        border = chip.figure("network.border_energy", needed)[:, :, None]
    if chip.laid.hops is None:
        _refuse_without_mesh(chip, "energy", hop_x, hop_y, border)
        return packets * message
    hops = chip.laid.hops
    along_x, along_y, across = (chip.each(_by_target(chip, sent * of)) for of in (hops.x, hops.y, hops.chips))
    return network_energy(packets, along_x, along_y, message, hop_x, hop_y) + across * border


def _refuse_without_mesh(chip: Laid, what: str, *figures: Array) -> None:
    if any(figure.any() for figure in figures):
        raise InputError(
            f"chip {chip.hw.chip.name!r} gives the {what} of a packet's way but no mesh; add mesh.columns, mesh.rows "
            "and tile.cores to its file."
        )


def _by_target(chip: Laid, of_wires: Array) -> Array:
    """Add `[U, W]` values up by the synaptic layer that receives, `[U, Q]`."""
    return summed_by(chip.groups.wires[:, 1], len(chip.groups.synapses), of_wires)


def _static_energy(chip: Laid, time: Time | None) -> Array:
    """Return joules that flow whatever happens, shared out by cores, `[S, H, P]`."""
    watts = chip.figure("power.chip", "static energy") * chip.each(chip.laid.chips)
    if "power.core" in chip.hw:
        watts = watts + chip.figure("power.core", "static energy") * chip.each(chip.laid.total)
    if "clock.energy" in chip.hw:
        cycles = chip.figure("clock.frequency", "the power of the clock") * chip.each(chip.laid.chips)
        watts = watts + chip.figure("clock.energy", "the power of the clock") * cycles
    share = chip.each(chip.laid.cores / chip.laid.cores.sum(axis=1, keepdims=True))
    if not watts.any():
        return np.zeros((1, *share.shape))
    if time is None:
        raise InputError(
            f"chip {chip.hw.chip.name!r} has static power but refuses latency, so that its energy is not known; give "
            "tick.time, or let its file refuse energy."
        )
    return (watts * time.total)[:, :, None] * share


def latency(chip: Laid) -> Time | None:
    """Return the time of one inference; None where the chip refuses it and keeps no real time."""
    hw, steps = chip.hw, chip.counts.updates.shape[1]
    works = all(name in hw or name in hw.settings.without for name in (*GENERATION_TIMES, *RECEIPT_TIMES))
    shape = (hw.draw_count, hw.variant_count)
    if "tick.time" in hw and not works:
        tick = np.broadcast_to(hw("tick.time", "the latency")[:, :, 0], shape)
        on_chip = chip.table.timesteps * (chip.table.synaptic | chip.table.neuron)
        return Time(tick[:, :, None] * on_chip, tick * steps, is_work=False)
    if not hw.answers("latency"):
        return None
    sending = _seconds(chip, GENERATION_TIMES)
    receiving = _seconds(chip, RECEIPT_TIMES)
    received = summed_by(chip.groups.host, len(chip.groups), chip.work.receipt, axis=2)
    generated = chip.work.generation
    if hw.settings.one_core:
        generated, received = (work.sum(axis=2, keepdims=True) for work in (generated, received))
    of = chip.laid.of_variant
    tick_s = hw("tick.time", "the latency") if "tick.time" in hw else np.zeros((1, 1, 1))
    step = timestep_seconds(
        slowest(generated, sending, of),
        slowest(received, receiving, of),
        _link_seconds(chip),
        slowest(_waiting(chip), receiving, of) if hw.settings.blocking else np.zeros((1, 1, 1)),
        _barrier_seconds(chip)[:, :, None],
        tick_s,
    )
    busy = chip.by_population(_busy(chip, sending, chip.work.generation))
    busy = busy + chip.by_synapses(_busy(chip, receiving, chip.work.receipt))
    return Time(busy * chip.unfit[:, None], np.broadcast_to(step.sum(axis=2) * chip.unfit, shape), is_work=True)


def _seconds(chip: Laid, names: tuple[str, ...]) -> Array:
    """Return figures as `[F, S, H]`."""
    shape = (chip.hw.draw_count, chip.hw.variant_count)
    return np.stack([np.broadcast_to(chip.figure(name, "the latency"), shape) for name in names])


def _busy(chip: Laid, seconds: Array, work: Array) -> Array:
    """Return the seconds that the busiest core of each layer works, `[S, H, N]`, from work `[F, U, N, T]`."""
    whole = work.sum(axis=3)
    if whole.shape[1] == 1:
        return np.tensordot(seconds, whole[:, 0], axes=(0, 0))
    return np.einsum("fsh,fhn->shn", seconds, whole[:, chip.laid.of_variant])


def _link_seconds(chip: Laid) -> Array:
    """Return the time of the fullest link in each timestep, `[S, H, T]`."""
    hop_x, hop_y = (chip.figure(f"network.hop_{axis}_time", "the latency")[:, :, None] for axis in "xy")
    laid, wires = chip.laid, chip.groups.wires_to_hosts
    border = np.zeros((1, 1, 1))
    if (laid.chips > 1).any():
        border = chip.figure("network.border_time", "the latency of several chips")[:, :, None]
    if laid.mesh is None:
        _refuse_without_mesh(chip, "time", hop_x, hop_y, border)
        return np.zeros((1, 1, 1))
    seconds = np.zeros((1, 1, 1))
    where = (*laid.ranges(wires)[:3], chip.work.packets.reshape(-1, chip.work.packets.shape[2]))
    mesh, group = laid.ranges(wires)[3], np.repeat(np.arange(len(laid.cores)), len(wires))
    if len(wires) and (hop_x.any() or hop_y.any()):
        along_x, along_y = link_packets(*where, mesh, group)
        seconds = np.maximum(chip.each(along_x) * hop_x, chip.each(along_y) * hop_y)
    if len(wires) and border.any():
        seconds = np.maximum(seconds, chip.each(border_packets(*where, mesh, group)) * border)
    return seconds


def _waiting(chip: Laid) -> Array:
    """Return packets and operations that the time of each wire is as long as, `[2, U, W, T]`; see `waiting`.

    Raises:
        InputError: the chip is said to block, but its mesh is not given.
    """
    laid, work, wires = chip.laid, chip.work, chip.groups.wires
    if laid.mesh is None:
        raise InputError(
            f"chip {chip.hw.chip.name!r} has settings.blocking but no mesh; add mesh.columns, mesh.rows and tile.cores "
            "to its file, or take the setting out."
        )
    first, cores, pairs, mesh = laid.ranges(chip.groups.wires_to_hosts)
    filled = laid.split.filled
    found = waiting(first, cores, filled.ravel(), pairs, mesh)
    together, alone = (part.reshape(len(laid.cores), -1, 1) for part in (found.together, found.alone))
    whole = np.stack([work.packets, np.broadcast_to(work.operations, work.packets.shape)])
    return waiting_work(whole, work.busiest_sender, filled[:, wires[:, 0], None], together, alone)


def _barrier_seconds(chip: Laid) -> Array:
    """Return the time of the barrier, `[S, H]`."""
    hw = chip.hw
    several = chip.each(chip.laid.chips) > 1
    seconds = np.zeros((1, 1))
    if not several.all():
        seconds = _barrier_on_chip(chip)
    if several.any():
        seconds = np.where(several, chip.figure("barrier_chips.time", "the barrier of several chips"), seconds)
    return np.broadcast_to(seconds, (hw.draw_count, hw.variant_count))


def _barrier_on_chip(chip: Laid) -> Array:
    """Return the barrier of one chip from the figures `barrier.N` for N tiles."""
    hw = chip.hw
    names = [name for name in hw.chip.figures if name.startswith("barrier.")]
    if not names:
        return chip.figure("barrier.*", "the latency")
    sizes = [name.removeprefix("barrier.") for name in names]
    if not all(size.isdecimal() for size in sizes):
        raise InputError(f"chip {hw.chip.name!r} has barriers {', '.join(names)}; name each after a number of tiles.")
    order = np.argsort([int(size) for size in sizes])
    tiles = np.array([int(sizes[index]) for index in order])
    shape = (hw.draw_count, hw.variant_count)
    values = np.stack([np.broadcast_to(hw(names[index], "the latency")[:, :, 0], shape) for index in order])
    used = np.broadcast_to(chip.each(chip.laid.tiles), shape[1:])
    low = np.clip(np.searchsorted(tiles, used, "right") - 1, 0, None)
    high = np.minimum(low + 1, len(tiles) - 1)
    if hw.settings.barrier == "steps":
        high = low
    gap = np.maximum(tiles[high] - tiles[low], 1)
    part = np.clip((used - tiles[low]) / gap, 0.0, 1.0) * (high > low)
    variant = np.arange(shape[1])
    return np.asarray(values[low, :, variant] * (1 - part)[:, None] + values[high, :, variant] * part[:, None]).T


def traffic(chip: Laid) -> dict[str, Array]:
    """Return bytes read or moved, `[1 or H, L]`: weights, and state and packets where their width is known.

    A neuron's state is read and written in every update, whether or not it fires.
    """
    operations = chip.counts.operations.sum(axis=1)
    moved = {"synapse memory": chip.by_synapses(chip.each(operations * chip.laid.weight_bits / 8))}
    if "neuron.state_bits" in chip.hw:
        bits = chip.hw.size("neuron.state_bits", "the traffic of states")[0]
        moved["neuron state"] = chip.by_population(2 * chip.counts.updates.sum(axis=1) * bits / 8)
    if "network.packet_bits" in chip.hw:
        packets = chip.each(chip.counts.received.sum(axis=1) * chip.work.reached)
        bits = chip.hw.size("network.packet_bits", "the traffic of packets")[0]
        moved["network"] = chip.by_synapses(packets * bits / 8)
    return moved
