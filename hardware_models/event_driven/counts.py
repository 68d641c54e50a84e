"""What happens on a neuromorphic chip in each timestep: spikes, packets and synaptic operations, by core.

An event is what one packet carries: a unit spike, or, on a chip with graded spikes, one value that is not zero (of
powers of two, sign and level).
A spike becomes one packet for each core that holds synapses of it, not one for each synapse.

The busiest core decides how long a timestep takes. Channel by channel counts say how uneven the cores of a
population are; where there are none, its work is taken as even.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_models.distinct import distinct_rows
from hardware_models.event_driven.core_allocation import Split, busiest_share, input_seen
from hardware_models.event_driven.grouping import summed_by
from hardware_models.event_driven.populations import Populations
from hardware_models.layer_table import LayerTable

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Events:
    """Counts of one inference by timestep, whatever the allocation.

    Attributes:
        updates: `[P, T]` neurons updated: all of them in each of the population's timesteps.
        spikes: `[P, T]` events fired.
        received: `[Q, T]` events that drive a synaptic layer, before they are sent to several cores.
        operations: `[Q, T]` synaptic operations.
        wire_share: `[W]` share of a synaptic layer's events that each of its sources sends.
    """

    updates: Array
    spikes: Array
    received: Array
    operations: Array
    wire_share: Array


def events(table: LayerTable, groups: Populations, graded: bool) -> Events:
    """Count events.

    Args:
        table: the network.
        groups: its populations.
        graded: whether a packet carries a value; then a multiple spike is one event and one operation a synapse,
            and layers driven by values that are no spikes run too, one operation for each multiplication.
    """
    steps = np.arange(table.step_spikes.shape[1])
    row = groups.synapses
    active = steps < table.timesteps[row][:, None]
    units = table.step_spikes[row]
    fired = table.step_spikes[groups.rows] * groups.fires[:, None]
    nonzero = table.input_density[row] * table.input_elements[row] * table.timesteps[row]
    if graded:
        units = _scaled(units, nonzero, active)
        fired = _scaled(fired, _nonzero_of(table, groups, fired), steps < groups.timesteps[:, None], only_measured=True)
    operations = np.where(table.spike_driven[row], table.acs[row], table.macs[row])
    if graded:
        multiple = np.divide(nonzero, table.input_spikes[row], out=np.ones(len(row)), where=table.input_spikes[row] > 0)
        operations = operations * np.where(table.spike_driven[row], np.minimum(multiple, 1.0), 1.0)
    other = table.weight_density[row] * table.weight_elements[row] * table.weight_is_activation[row]
    share = _wire_shares(groups, fired.sum(axis=1))
    received = units + other[:, None] * active
    return Events(
        updates=groups.neurons[:, None] * (steps < groups.timesteps[:, None]),
        spikes=fired + _sent_by_sums(groups, received, share),
        received=received,
        operations=_scaled(units, operations, active),
        wire_share=share,
    )


def _scaled(by_step: Array, total: Array, active: Array, only_measured: bool = False) -> Array:
    """Return `total` `[N]` spread over timesteps as `by_step` `[N, T]` is; evenly where nothing was counted."""
    known = by_step.sum(axis=1, keepdims=True)
    even = active / np.maximum(active.sum(axis=1, keepdims=True), 1)
    fallback = np.zeros_like(by_step) if only_measured else even
    return np.where(known > 0, by_step / np.where(known > 0, known, 1), fallback) * total[:, None]


def _nonzero_of(table: LayerTable, groups: Populations, fired: Array) -> Array:
    """Return values that are not zero, which each population fires: from its channels, else its unit spikes."""
    running = np.concatenate([[0.0], np.cumsum(table.channel_spikes.sum(axis=1))])
    counted = running[table.channel_offset[groups.rows + 1]] - running[table.channel_offset[groups.rows]]
    return np.where(np.diff(table.channel_offset)[groups.rows] > 0, counted, fired.sum(axis=1))


def _sent_by_sums(groups: Populations, received: Array, share: Array) -> Array:
    """Return what populations without a neuron layer fire, `[P, T]`: what the layers behind them receive."""
    sent = np.zeros((len(groups), received.shape[1]))
    source, target = groups.wires[:, 0], groups.wires[:, 1]
    np.maximum.at(sent, source, received[target] * share[:, None])
    return sent * ~groups.fires[:, None]


def _wire_shares(groups: Populations, fired: Array) -> Array:
    source, target = groups.wires[:, 0], groups.wires[:, 1]
    weight = fired[source]
    total = np.bincount(target, weight, len(groups.synapses))[target]
    number = np.bincount(target, minlength=len(groups.synapses))[target]
    return np.where(total > 0, weight / np.where(total > 0, total, 1), 1.0 / np.maximum(number, 1))


@dataclass(frozen=True)
class CoreWork:
    """What the busiest core of each population and synaptic layer does in each timestep, on U allocations.

    Attributes:
        generation: `[4, U, P, T]` neurons accessed, neurons updated, spikes fired, packets sent.
        receipt: `[2, U, Q, T]` packets received, synaptic operations.
        reached: `[U, Q]` cores that an event is sent to.
        packets: `[U, W, T]` packets of each wire.
        operations: `[W, T]` synaptic operations of each wire's packets.
        busiest_sender: `[U, W, T]` share of them that the busiest core of its population sends.
    """

    generation: Array
    receipt: Array
    reached: Array
    packets: Array
    operations: Array
    busiest_sender: Array


def reach(
    table: LayerTable, groups: Populations, split: Split, by_rows: Array, axons: Array | None = None
) -> tuple[Array, Array]:
    """Return what share of a synaptic layer's input map one core reads, and what share of its channels, `[U, Q]`.

    An event is sent to `cores * map share * channel share` cores.

    Args:
        table: the network.
        groups: its populations.
        split: how they are cut into cores, `[U, P]`.
        by_rows: `[U, P]` whether cores hold contiguous rows of all channels, and not contiguous channels.
        axons: `[U, 1]` inputs that a core can read. Cores that need more share them out, so that an event reaches
            fewer of them; None: what they need, however much.
    """
    row, here, whole = groups.synapses, split.select(groups.host), by_rows[:, groups.host]
    lines = np.where(whole, 1, table.out_channels[row])
    geometry = (table.out_h, table.in_h, table.kernel_h, table.stride_h)
    seen = input_seen(here, lines, *(column[row] for column in geometry))
    channels = np.where(whole, 1.0, here.touched(table.groups[row]) / table.groups[row])
    if axons is None:
        return seen, channels
    inputs = summed_by(groups.host, len(groups), seen * channels * table.input_elements[row])
    return seen * np.minimum(1.0, axons / np.maximum(inputs, 1.0))[:, groups.host], channels


def core_work(
    table: LayerTable, groups: Populations, counts: Events, split: Split, by_rows: Array, axons: Array | None = None
) -> CoreWork:
    """Return the work of the busiest cores.

    Where a population hosts several layers with groups of channels, the busiest core of each is counted, though
    they may be different ones. Counts by channel say nothing of rows: their cores are taken as equally busy.

    Args:
        table: the network.
        groups: its populations.
        counts: events by timestep.
        split, by_rows, axons: as in `reach`.
    """
    steps = counts.spikes.shape[1]
    seen, channels_read = reach(table, groups, split, by_rows, axons)
    reached = split.cores[:, groups.host] * seen * channels_read
    source, target = groups.wires[:, 0], groups.wires[:, 1]
    packets = (counts.received[target] * counts.wire_share[:, None])[None] * reached[:, target, None]
    sent = summed_by(source, len(groups), packets, axis=1)
    first, size = table.channel_offset[groups.rows], np.diff(table.channel_offset)[groups.rows] * groups.fires
    share = _busiest(table.channel_spikes, first, size, split.filled, ~by_rows, steps)
    updates = counts.updates[None] / split.filled[:, :, None]
    generation = np.stack([updates, updates, counts.spikes[None] * share, sent * share])

    grouped, first, size = _group_counts(table, groups)
    here, known = split.filled[:, groups.host], (size > 0) & ~by_rows[:, groups.host]
    of_operations = _busiest(grouped, first, size, here, known, steps)
    # More cores than groups share a group's operations; each receives all of its events.
    of_events = _busiest(grouped, first, size, np.minimum(here, table.groups[groups.synapses]), known, steps)
    of_events = np.where(known[:, :, None], of_events, channels_read[:, :, None])
    receipt = np.stack([counts.received * seen[:, :, None] * of_events, counts.operations * of_operations])
    operations = counts.operations[target] * counts.wire_share[:, None]
    return CoreWork(generation, receipt, reached, packets, operations, share[:, source])


def _group_counts(table: LayerTable, groups: Populations) -> tuple[Array, Array, Array]:
    """Return spikes by group of channels, `[sum G, T]`, with the first row and number of groups of each layer.

    Layers of one group, and those whose channels were not counted, have none.
    """
    row = groups.synapses
    width = np.diff(table.channel_offset)[row]
    parts = np.maximum(table.groups[row], 1)
    known = (parts > 1) & (width == table.in_channels[row]) & (width % parts == 0)
    size = np.where(known, parts, 0)
    start = np.cumsum(size) - size
    item = np.repeat(np.arange(len(row)), size)
    channels = (width // parts)[item]
    begin = table.channel_offset[row][item] + (np.arange(len(item)) - start[item]) * channels
    end = begin + channels
    running = np.zeros((len(table.channel_spikes) + 1, table.channel_spikes.shape[1]))
    np.cumsum(table.channel_spikes, axis=0, out=running[1:])
    return running[end] - running[begin], start, size


def _busiest(counts: Array, start: Array, sizes: Array, filled: Array, known: Array, steps: int) -> Array:
    """Return `busiest_share` for `filled` cores `[U, N]`, `[U, N, T]`; even where `sizes` is 0 or not `known`."""
    share = np.broadcast_to(1.0 / filled[:, :, None], (*filled.shape, steps))
    u, n = np.nonzero((filled > 1) & (sizes > 0) & known)
    if not len(n):
        return share
    # The same layer on as many cores is worked out once, however many chips ask.
    first, case = distinct_rows([n, filled[u, n]])
    layer = n[first]
    share = share.copy()
    share[u, n] = busiest_share(counts, start[layer], sizes[layer], filled[u, n][first])[case]
    return share
