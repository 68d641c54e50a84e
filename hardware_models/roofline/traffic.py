"""Bytes that a layer moves on a machine with one large memory behind an optional on-chip one.

Each tensor is moved once per use: caches hold what a kernel reads again. Per inference of one sample, in bytes:

    weights   elements * bits / 8 * fetches         fetches = 1 time-batched, T step by step
    inputs    elements * stored bits / 8 * T
    outputs   elements * stored bits / 8 * T
    membrane  neurons * T * 2 * bits / 8            read and write in every timestep, whatever the firing rate

A weight that the on-chip memory holds is not fetched; the memory is filled in execution order. Where operators are
fused, a result that only neurons and elementwise operators read stays in registers, and so does the membrane potential
while the timesteps of a layer run one after another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from hardware_models.engine import Execution
from hardware_models.layer_table import LayerTable

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


class Storage(BaseModel):
    """How tensors are kept.

    Attributes:
        packed_spikes: spikes are stored at their own width (8 binary ones to a byte); else each fills a dense value.
        dense_spike_bits: width of a spike that is not packed: 32 for floating point, 8 for int8.
        membrane_bits: width of a membrane potential and of a sum that a neuron reads.
        fused: neurons and elementwise operators work on results as they leave their producer.
        activations: where activations lie; `on-chip` leaves only the network's inputs and outputs to the memory.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    packed_spikes: bool = False
    dense_spike_bits: int = Field(default=32, ge=1, le=64)
    membrane_bits: int = Field(default=32, ge=1, le=64)
    fused: bool = True
    activations: Literal["memory", "on-chip"] = "memory"


@dataclass(frozen=True)
class Flow:
    """Which layers hand tensors to which, as masks `[L]`.

    Attributes:
        fused: works on its producer's result, without a kernel of its own.
        reads: reads its input from memory.
        writes: writes its result to memory.
        first, last: reads an input, hands on an output of the network.
        feeds_neurons: a neuron reads its result.
        chained: edges were missing, so that each layer was taken to feed the next.
    """

    fused: Mask
    reads: Mask
    writes: Mask
    first: Mask
    last: Mask
    feeds_neurons: Mask
    chained: bool


def flow(table: LayerTable, fused: bool) -> Flow:
    """Return how tensors pass between the layers of `table`, with neurons and elementwise operators `fused` or not."""
    layers = len(table)
    chained = layers > 1 and not len(table.edges)
    edges = np.stack([np.arange(layers - 1), np.arange(1, layers)], axis=1) if chained else table.edges
    produced, consumed = edges[:, 0], edges[:, 1]
    consumers = np.bincount(produced, minlength=layers)
    first = np.bincount(consumed, minlength=layers) == 0
    joined = ~table.synaptic & ~first if fused else np.zeros(layers, dtype=bool)
    readers = np.bincount(produced, weights=~joined[consumed], minlength=layers)
    feeds = np.bincount(produced, weights=table.neuron[consumed], minlength=layers) > 0
    return Flow(
        fused=joined,
        reads=~joined,
        writes=(consumers == 0) | (readers > 0),
        first=first,
        last=consumers == 0,
        feeds_neurons=feeds,
        chained=chained,
    )


@dataclass(frozen=True)
class Traffic:
    """Bytes of one inference: through the on-chip memory, and to and from the memory behind it, `[1, H or 1, L]`."""

    on_chip: Array
    memory: Array


def traffic(
    table: LayerTable, storage: Storage, way: Flow, execution: Execution, capacity_bytes: Array | None
) -> Traffic:
    """Return the bytes that each layer moves.

    Args:
        table: the layers.
        storage: how tensors are kept.
        way: from `flow`.
        execution: `time-batched` fetches a weight once, `step-by-step` once a timestep.
        capacity_bytes: on-chip bytes for weights, `[1, H, 1]`; None where every weight comes from memory.
    """
    steps = table.timesteps.astype(float)
    weights = table.weight_elements * (table.weight_bits / 8)
    fixed = np.where(table.weight_is_activation, 0.0, weights)
    fetches = steps if execution == "step-by-step" else np.ones(len(table))
    computed = (weights - fixed) * steps
    inputs = way.reads * _input_bytes(table, storage) * steps
    outputs = way.writes * _output_bytes(table, storage, way) * steps
    membrane = membrane_bytes(table, storage, execution)
    away = fixed - _resident(fixed, capacity_bytes)
    outer = inputs * way.first + outputs * way.last
    local = computed + inputs + outputs + membrane
    return Traffic(
        on_chip=(local + fixed * fetches)[None, None, :],
        memory=away * fetches + (outer if storage.activations == "on-chip" else local),
    )


def membrane_bytes(table: LayerTable, storage: Storage, execution: Execution) -> Array:
    """Return the bytes of membrane potentials read and written in one inference, `[L]`."""
    if execution == "time-batched" and storage.fused:
        return np.zeros(len(table))
    return table.neuron_updates * (2.0 * storage.membrane_bits / 8)


def _resident(weights: Array, capacity_bytes: Array | None) -> Array:
    """Return the bytes of each layer's weights that stay on chip, `[1, H or 1, L]`, filled in execution order."""
    if capacity_bytes is None:
        return np.zeros((1, 1, len(weights)))
    before = np.cumsum(weights) - weights
    return np.clip(capacity_bytes - before, 0.0, weights)


def _input_bytes(table: LayerTable, storage: Storage) -> Array:
    bits = _stored_bits(table.input_bits, table.spike_driven, storage)
    read = table.input_elements * (bits / 8)
    return np.where(table.neuron, table.neurons * (storage.membrane_bits / 8), read)


def _output_bytes(table: LayerTable, storage: Storage, way: Flow) -> Array:
    bits = _stored_bits(table.output_bits, table.neuron, storage)
    # A sum that a neuron reads later is kept at full width, whatever the neuron then fires.
    sums = table.synaptic & way.feeds_neurons
    bits = np.where(sums & (not storage.fused), np.maximum(bits, storage.membrane_bits), bits)
    return table.output_elements * (bits / 8)


def _stored_bits(bits: Array, spikes: Array, storage: Storage) -> Array:
    if storage.packed_spikes:
        return bits
    # One-bit values are kept as dense ones, spikes or not: memory is not addressed by the bit.
    return np.where(spikes | (bits == 1), np.maximum(bits, storage.dense_spike_bits), bits)
