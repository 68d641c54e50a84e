"""What a neuromorphic chip runs: populations of neurons, and the synaptic layers that feed them.

A population is a neuron layer together with the convolutions, linear layers and matrix products whose sums its
neurons integrate: the synapses live on the cores of the neurons behind them. A synaptic layer whose sums reach
several neuron layers (through additions) is hosted by the first of them in execution order. One that reaches no
neuron layer (a read-out, or a product whose result another product takes) is a population of its own; it fires
what the layers behind it receive.

Layers that are neither neurons nor synaptic (norm, add, pool, ...) are looked through.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_models.errors import InputError
from hardware_models.layer_table import LayerTable

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Populations:
    """P populations and Q synaptic layers of a table.

    Attributes:
        rows: `[P]` row of the neuron layer, or of the synaptic layer that integrates by itself; ascending.
        fires: `[P]` whether it is a neuron layer.
        neurons: `[P]` neurons.
        channels: `[P]` output channels that its neurons are ordered by; contiguous channels share a core.
        timesteps: `[P]` how often its neurons are updated in one inference.
        synapses: `[Q]` rows of the synaptic layers; ascending.
        host: `[Q]` population of each synaptic layer.
        wires: `[W, 2]` population that fires, and index (in 0..Q-1) of the synaptic layer that receives.
    """

    rows: Array
    fires: Array
    neurons: Array
    channels: Array
    timesteps: Array
    synapses: Array
    host: Array
    wires: Array

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def wires_to_hosts(self) -> Array:
        """`[W, 2]` population that fires, population that receives."""
        return np.stack([self.wires[:, 0], self.host[self.wires[:, 1]]], axis=1)


def populations(table: LayerTable, on_chip: Array) -> Populations:
    """Group the layers of `table` into populations.

    Args:
        table: the network.
        on_chip: `[L]` synaptic layers that the chip runs; neuron layers always run.

    Raises:
        InputError: layers that compute nothing but feed each other in a circle.
    """
    ends = table.neuron | table.synaptic
    edges = look_through(table.edges, ends)
    synapses = np.flatnonzero(table.synaptic & on_chip)
    hosts = _first_neuron_layer(edges, table.neuron, len(table))
    alone = synapses[hosts[synapses] < 0]
    rows = np.sort(np.concatenate([np.flatnonzero(table.neuron), alone]))
    fires = table.neuron[rows]
    place = np.full(len(table), -1)
    place[rows] = np.arange(len(rows))
    # A row's own population: where its neurons are, or where its sums are integrated.
    home = np.where(place >= 0, place, np.where(hosts >= 0, place[hosts], -1))
    index = np.full(len(table), -1)
    index[synapses] = np.arange(len(synapses))
    wires = np.stack([home[edges[:, 0]], index[edges[:, 1]]], axis=1)
    wires = np.unique(wires[(wires >= 0).all(axis=1)], axis=0)
    return Populations(
        rows=rows,
        fires=fires,
        neurons=np.where(fires, table.neurons[rows], table.output_elements[rows]).astype(np.int64),
        channels=_channels(table, rows, fires, synapses, home[synapses]),
        timesteps=table.timesteps[rows],
        synapses=synapses,
        host=home[synapses],
        wires=wires,
    )


def look_through(edges: Array, ends: Array) -> Array:
    """Return the edges `[E', 2]` between rows where `ends` `[L]` is true, through all others.

    Raises:
        InputError: the others feed each other in a circle.
    """
    count = len(ends)
    through = edges[~ends[edges[:, 0]]]
    kept = edges[ends[edges[:, 0]]]
    # Each round doubles how many layers are looked through.
    for _ in range(count.bit_length() + 1):
        if ends[kept[:, 1]].all():
            return _unique(kept, count)
        kept = _compose(kept, through, ends, count)
        through = _compose(through, through, ends, count)
    raise InputError(
        "layers without synapses or neurons feed each other in a circle; mend `consumers` in the workload."
    )


def _compose(first: Array, then: Array, ends: Array, count: int) -> Array:
    """Replace each edge of `first` that stops at a layer to be looked through by its continuations in `then`."""
    stops = ends[first[:, 1]]
    open_edges = first[~stops]
    then = then[np.argsort(then[:, 0], kind="stable")]
    start = np.searchsorted(then[:, 0], open_edges[:, 1], "left")
    fan = np.searchsorted(then[:, 0], open_edges[:, 1], "right") - start
    ahead = np.repeat(start - np.cumsum(fan) + fan, fan) + np.arange(fan.sum())
    longer = np.stack([np.repeat(open_edges[:, 0], fan), then[ahead, 1]], axis=1)
    return _unique(np.concatenate([first[stops], longer]), count)


def _unique(edges: Array, count: int) -> Array:
    key = np.unique(edges[:, 0] * count + edges[:, 1])
    return np.stack([key // count, key % count], axis=1)


def _first_neuron_layer(edges: Array, neuron: Array, count: int) -> Array:
    """Return for each row the first neuron layer, in execution order, that reads it; -1 for none, `[L]`.

    A layer that comes earlier (recurrence) is taken only where none comes later.
    """
    to_neurons = edges[neuron[edges[:, 1]]]
    order = to_neurons[:, 1] + np.where(to_neurons[:, 1] < to_neurons[:, 0], count, 0)
    first = np.full(count, 2 * count)
    np.minimum.at(first, to_neurons[:, 0], order)
    return np.where(first < 2 * count, first % max(count, 1), -1)


def _channels(table: LayerTable, rows: Array, fires: Array, synapses: Array, host: Array) -> Array:
    """Return output channels: as counted of a neuron layer, else those of the first layer that it hosts."""
    counted = np.diff(table.channel_offset)[rows] * fires
    fed = np.zeros(len(rows), dtype=np.int64)
    # Written last to first, so that the first layer stands.
    fed[host[::-1]] = table.out_channels[synapses[::-1]]
    return np.maximum(np.where(counted > 0, counted, fed), 1)
