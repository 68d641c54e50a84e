"""A Workload in columns: one numpy array for each property of a layer, for engines that take all layers at once.

Counts are those of one sample (a Workload's are summed over its batch); sizes are those of one timestep.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_models.collector import collector_paused
from hardware_models.errors import InputError
from hardware_models.layer_checks import check_layers, check_sizes
from hardware_models.workload import SYNAPTIC, Bounds, Layer, Operand, Workload

Array = npt.NDArray[Any]

UNREAD_BITS = 32
"""Width of a result that no measured operand tells the width of: a sum as it leaves an accumulator."""


@dataclass(frozen=True)
class LayerTable:
    """The layers of a Workload, in execution order, as columns `[L]`.

    Attributes:
        subject: the network's name.
        names: of the layers.
        operators: as in `Layer.operator`.
        synaptic, neuron: which layers are made of multiply-accumulates, which are neurons.
        timesteps: how often each runs in one inference.
        groups, m, n, k: matrix product of each group in one timestep; 0 for others.
        macs_dense: groups * m * n * k * timesteps. macs, acs: as executed in one inference.
        in_channels .. dilation_w: geometry; a linear layer or matrix product is 1x1 on m rows, h = m, w = 1.
        input_*: the operand that drives the layer: spikes where there are any, else the first. Powers of two have the
            width of the integers that they are (`Operand.number_bits`), in all columns of bits.
        input_density: share of values that are not zero, mean over timesteps.
        input_spikes: unit spikes that it receives in one inference; 0 where the input is no spikes.
        spike_driven: only accumulates are needed.
        shifted: they are shifted ones: the driving spikes are powers of two.
        weight_*: the other operand; `weight_is_activation` in products of two activations.
        output_elements: size of the result in one timestep; of a neuron layer, its neurons.
        output_bits: width of what is handed on: of a synaptic layer that feeds neurons, the neurons' output,
            for they are updated as sums leave the accumulator; else what its consumers were seen to read.
        neurons, neuron_updates, neuron_spikes: of neuron layers: number, updates and unit spikes fired in one
            inference; else 0.
        step_spikes: `[L, T]` unit spikes received in each timestep, 0 beyond a layer's own timesteps; of a
            neuron layer: fired.
        channel_offset, channel_spikes: rows `channel_offset[i]:channel_offset[i + 1]` of `channel_spikes`
            `[sum C, T]` are layer i's counts by input channel (of a neuron layer: output channel); an empty
            range where they were not measured.
        edges: `[E, 2]` rows of producer and consumer.
    """

    subject: str
    names: tuple[str, ...]
    operators: tuple[str, ...]
    synaptic: Array
    neuron: Array
    timesteps: Array
    groups: Array
    m: Array
    n: Array
    k: Array
    macs: Array
    acs: Array
    in_channels: Array
    out_channels: Array
    in_h: Array
    in_w: Array
    out_h: Array
    out_w: Array
    kernel_h: Array
    kernel_w: Array
    stride_h: Array
    stride_w: Array
    pad_h: Array
    pad_w: Array
    dilation_h: Array
    dilation_w: Array
    input_bits: Array
    input_elements: Array
    input_density: Array
    input_spikes: Array
    spike_driven: Array
    shifted: Array
    weight_bits: Array
    weight_elements: Array
    weight_density: Array
    weight_is_activation: Array
    output_elements: Array
    output_bits: Array
    neurons: Array
    neuron_spikes: Array
    step_spikes: Array
    channel_offset: Array
    channel_spikes: Array
    edges: Array

    def __len__(self) -> int:
        return len(self.names)

    @property
    def macs_dense(self) -> Array:
        """Multiply-accumulates of one inference if nothing were skipped, `[L]`, as floating-point numbers."""
        return self.groups.astype(float) * self.m * self.n * self.k * self.timesteps

    @property
    def dilated(self) -> Array:
        """Which layers' kernels have gaps, `[L]`."""
        return (self.dilation_h > 1) | (self.dilation_w > 1)

    @property
    def neuron_updates(self) -> Array:
        """Neuron updates of one inference, `[L]`."""
        return self.neurons * self.timesteps

    @property
    def busiest_channel_density(self) -> Array:
        """Density of each layer's busiest input channel over all timesteps, `[L]`.

        Where rows of an array or lanes work on a channel each, the others wait for it. Layers whose channels were
        not measured have their mean density.
        """
        counts = self.channel_spikes.sum(axis=1)
        channels = np.diff(self.channel_offset)
        measured = channels > 0
        most = np.zeros(len(self))
        if measured.any():
            most[measured] = np.maximum.reduceat(counts, self.channel_offset[:-1][measured])
        values = np.maximum(1.0, self.input_elements * self.timesteps / np.maximum(channels, 1))
        return np.where(measured, np.minimum(1.0, most / values), self.input_density)

    def with_bits(self, bits: int) -> LayerTable:
        """Return the table as if weights and activations were integers of `bits` bits, the operations the same."""
        width = np.full_like(self.input_bits, bits)
        return replace(self, input_bits=width, weight_bits=width, output_bits=width)

    def with_weight_bits(self, bits: int) -> LayerTable:
        """Return the table as if weights were integers of `bits` bits; activations, products of them too, stay."""
        width = np.where(self.weight_is_activation | (self.weight_bits == 0), self.weight_bits, bits)
        return replace(self, weight_bits=width)

    def select(self, rows: Array) -> LayerTable:
        """Return the layers where the mask `rows` `[L]` is true, and the edges among them."""
        columns = {name: getattr(self, name)[rows] for name in _COLUMNS}
        chosen = np.flatnonzero(rows)
        sizes = np.diff(self.channel_offset)
        kept = np.repeat(rows, sizes)
        place = np.cumsum(rows) - 1
        inside = rows[self.edges].all(axis=1)
        return replace(
            self,
            names=tuple(self.names[i] for i in chosen),
            operators=tuple(self.operators[i] for i in chosen),
            **columns,
            channel_offset=np.concatenate([[0], np.cumsum(sizes[rows])]),
            channel_spikes=self.channel_spikes[kept],
            edges=place[self.edges[inside]],
        )


def layer_table(workload: Workload) -> LayerTable:
    """Return the columns of `workload`.

    Raises:
        InputError: a synaptic layer without operands, whose widths and densities a cost needs; a workload that
            contradicts itself or whose sizes exceed exact counting (`layer_checks`).
    """
    with collector_paused():
        try:
            return _layer_table(workload)
        except OverflowError:
            raise InputError(
                f"{workload.name!r} has a count beyond what a floating-point number holds (1e308); mend the workload."
            ) from None


def _layer_table(workload: Workload) -> LayerTable:
    check_layers(workload)
    layers, batch = workload.layers, workload.batch
    rows = {layer.name: index for index, layer in enumerate(layers)}
    consumers = [[rows[name] for name in layer.consumers if name in rows] for layer in layers]
    edges = [(producer, consumer) for producer, found in enumerate(consumers) for consumer in found]
    operands = [_operands(layer) for layer in layers]
    values = np.array(
        [
            (*_sizes(layer), *_geometry(layer.bounds), *_widths(layer, *pair))
            for layer, pair in zip(layers, operands, strict=True)
        ],
        dtype=np.float64,
    ).reshape(len(layers), len(_SIZES) + len(_GEOMETRY) + len(_WIDTHS))
    columns: dict[str, Any] = dict(zip((*_SIZES, *_GEOMETRY, *_WIDTHS), values.T, strict=True))
    check_sizes([layer.name for layer in layers], {name: columns[name] for name in (*_WHOLE, *_GEOMETRY)})
    for name in (*_WHOLE, *_GEOMETRY):
        columns[name] = columns[name].astype(np.int64)
    for name in ("synaptic", "neuron", "spike_driven", "shifted", "weight_is_activation"):
        columns[name] = columns[name].astype(bool)
    for name in ("macs", "acs", "neuron_spikes", "input_spikes"):
        columns[name] = columns[name] / batch
    columns["output_bits"] = np.array(
        [_output_bits(layers, i, consumers[i]) for i in range(len(layers))], dtype=np.int64
    )
    return LayerTable(
        subject=workload.name,
        names=tuple(layer.name for layer in layers),
        operators=tuple(layer.operator for layer in layers),
        **columns,
        **_spike_columns(workload, operands),
        edges=np.array(edges, dtype=np.int64).reshape(-1, 2),
    )


_SIZES = ("synaptic", "neuron", "timesteps", "macs", "acs", "output_elements", "neurons", "neuron_spikes")
_GEOMETRY = (
    *("groups", "m", "n", "k", "in_channels", "out_channels", "in_h", "in_w", "out_h", "out_w"),
    *("kernel_h", "kernel_w", "stride_h", "stride_w", "pad_h", "pad_w"),
    *("dilation_h", "dilation_w"),
)
_WIDTHS = (
    *("input_bits", "input_elements", "input_density", "input_spikes", "spike_driven", "shifted"),
    *("weight_bits", "weight_elements", "weight_density", "weight_is_activation"),
)
_WHOLE = ("timesteps", "output_elements", "neurons", "input_bits", "input_elements", "weight_bits", "weight_elements")
_COLUMNS = tuple(
    field.name
    for field in fields(LayerTable)
    if field.name not in ("subject", "names", "operators", "channel_offset", "channel_spikes", "edges")
)


def _sizes(layer: Layer) -> tuple[float, ...]:
    neuron = layer.operator == "neuron"
    fired = sum(layer.output.magnitude or layer.output.nonzero) if neuron and layer.output else 0
    neurons = layer.out_elements if neuron else 0
    synaptic = layer.operator in SYNAPTIC
    return (synaptic, neuron, layer.timesteps, layer.macs, layer.acs, layer.out_elements, neurons, fired)


def _geometry(bounds: Bounds | None) -> tuple[int, ...]:
    if bounds is None:
        return (0,) * len(_GEOMETRY)
    pairs = (bounds.in_size, bounds.out_size, bounds.kernel, bounds.stride)
    flat = [size for values in pairs for size in _pair(values, 1)]
    last = (*_pair(bounds.padding, 0), *_pair(bounds.dilation, 1))
    return (bounds.groups, *bounds.gemm, bounds.in_channels, bounds.out_channels, *flat, *last)


def _pair(values: Sequence[int], missing: int) -> tuple[int, int]:
    """Return height and width; further dimensions are folded into the width."""
    if len(values) == 1:
        return values[0], missing
    if len(values) == 2:
        return values[0], values[1]
    return values[0], math.prod(values[1:]) if missing else max(values[1:])


def _operands(layer: Layer) -> tuple[Operand | None, Operand | None]:
    """Return the operand that drives a synaptic layer and the other one."""
    if layer.operator not in SYNAPTIC:
        return (layer.operands[0] if layer.operands else None), None
    if len(layer.operands) != 2:
        raise InputError(
            f"layer {layer.name!r} has {len(layer.operands)} operands; a {layer.operator} needs two, for a chip's "
            "cost follows from their widths and densities. Add them to the workload."
        )
    first, second = layer.operands
    return (second, first) if layer.driven_by == second.name else (first, second)


def _widths(layer: Layer, driver: Operand | None, other: Operand | None) -> tuple[float, ...]:
    if driver is None:
        return (0, 0, 1.0, 0, False, False, 0, 0, 1.0, False)
    spikes = sum(driver.magnitude or driver.nonzero) if layer.accumulate_only else 0
    driven = layer.accumulate_only
    shifted = driven and driver.form == "power-of-two"
    read = (driver.number_bits, driver.elements, driver.mean_density, spikes, driven, shifted)
    if other is None:
        return (*read, 0, 0, 1.0, False)
    return (*read, other.number_bits, other.elements, other.mean_density, other.role == "activation")


def _output_bits(layers: Sequence[Layer], index: int, consumers: Sequence[int]) -> int:
    layer = layers[index]
    if layer.output is not None:
        return layer.output.number_bits
    if layer.operator == "neuron":
        return UNREAD_BITS
    read = [_read_bits(layers[consumer], layer.name) for consumer in consumers]
    return max(read, default=UNREAD_BITS)


def _read_bits(consumer: Layer, producer: str) -> int:
    if consumer.operator == "neuron":
        return consumer.output.number_bits if consumer.output else UNREAD_BITS
    bits = [operand.number_bits for operand in consumer.operands if operand.role == "activation"]
    return max(bits, default=UNREAD_BITS)


def _spike_columns(
    workload: Workload, operands: Sequence[tuple[Operand | None, Operand | None]]
) -> dict[str, npt.NDArray[Any]]:
    """Return spikes by timestep and by channel, of one sample."""
    arrays, batch = workload.arrays, workload.batch
    steps = max((layer.timesteps for layer in workload.layers), default=1)
    by_step = np.zeros((len(operands), steps))
    counts: list[Array] = []
    sizes = np.zeros(len(operands) + 1, dtype=np.int64)
    for row, (layer, (driver, _)) in enumerate(zip(workload.layers, operands, strict=True)):
        spikes = layer.output if layer.operator == "neuron" else driver if layer.accumulate_only else None
        if spikes is None or not spikes.is_spikes:
            continue
        fired = spikes.magnitude or spikes.nonzero
        by_step[row, : len(fired)] = fired
        if spikes.channels in arrays:
            counts.append(arrays[spikes.channels])
            sizes[row + 1] = counts[-1].shape[1]
    offset = np.cumsum(sizes)
    by_channel = np.zeros((offset[-1], steps))
    for start, channels in zip(offset[:-1][sizes[1:] > 0], counts, strict=True):
        by_channel[start : start + channels.shape[1], : len(channels)] = channels.T
    by_channel /= batch
    return {"step_spikes": by_step / batch, "channel_offset": offset, "channel_spikes": by_channel}
