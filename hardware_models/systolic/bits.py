"""How a chip with a systolic array is set up, and the bits that its synaptic layers move through SRAM and DRAM."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, field_validator

from hardware_models.engine import Array, Run
from hardware_models.hardware import Hardware
from hardware_models.layer_table import LayerTable
from hardware_models.precision import Precision, Widths
from hardware_models.sparsity import OperandRules
from hardware_models.systolic.counts import Convention, Dataflow, SystolicRun, parse_dataflow, simulate_gemm
from hardware_models.systolic.dram_traffic import DramTraffic, dram_traffic
from hardware_models.whole_numbers import ceil_divide


class Settings(BaseModel):
    """How a chip with a systolic array works.

    Attributes:
        dataflow: output-, weight- or input-stationary.
        precision: the elements' operand widths.
        convention: of counting, see `systolic.counts`.
        array, buffer, dram: sparsity policies by level: of the arithmetic, of SRAM reads, of DRAM reads.
        activations: `on-chip`: what fits half of its buffer passes to the next layer without DRAM.
        weights: `resident`: weights that fit the filter SRAM all together are not fetched for an inference.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataflow: Dataflow
    precision: Precision
    convention: Convention = "ideal"
    array: OperandRules = OperandRules()
    buffer: OperandRules = OperandRules()
    dram: OperandRules = OperandRules()
    activations: Literal["dram", "on-chip"] = "dram"
    weights: Literal["dram", "resident"] = "dram"

    @field_validator("dataflow", mode="before")
    @classmethod
    def _short_dataflow(cls, value: Any) -> Any:
        return parse_dataflow(value) if isinstance(value, str) else value


@dataclass(frozen=True)
class Moved:
    """Bits of the synaptic layers over all timesteps, `[1, H, L]`.

    Attributes:
        input, weight: that enter the array from their SRAMs.
        results: that leave it as results.
        partial: partial sums that it writes, and as many that it reads back.
        dram_input, dram_weight: fetched from DRAM into the SRAMs.
        dram_results: results written to DRAM.
        dram_partial: partial sums written to DRAM, and as many read back.
    """

    input: Array
    weight: Array
    results: Array
    partial: Array
    dram_input: Array
    dram_weight: Array
    dram_results: Array
    dram_partial: Array

    @property
    def dram(self) -> Array:
        """Bits that pass to or from DRAM."""
        return self.dram_input + self.dram_weight + self.dram_results + 2 * self.dram_partial

    @property
    def sram(self) -> Array:
        """Bits read from or written to the SRAMs, fills and drains included."""
        return self.input + self.weight + self.results + 2 * self.partial + self.dram

    def after(self, settings: Settings, layers: LayerTable) -> Moved:
        """Return what is left of it by the sparsity policies of SRAM and DRAM reads."""
        buffer, dram = settings.buffer, settings.dram
        return replace(
            self,
            input=self.input * buffer.input.energy_share(layers.input_density),
            weight=self.weight * buffer.weight.energy_share(layers.weight_density),
            dram_input=self.dram_input * dram.input.energy_share(layers.input_density),
            dram_weight=self.dram_weight * dram.weight.energy_share(layers.weight_density),
        )


def count_words(layers: LayerTable, hw: Hardware, run: Run, widths: Widths) -> tuple[SystolicRun, DramTraffic, Array]:
    """Return SRAM and DRAM words of every synaptic layer over all timesteps, `[1, H, L]`, and where steps run apart.

    Args:
        layers: synaptic layers only.
        hw: the chip's figures.
        run: time-batched folds the timesteps into M, except in products of two activations, and where one product
            for each timestep moves fewer bits through DRAM.
        widths: of the operands, as the array handles them.

    Raises:
        InputError: a size that the chip's file lacks.
    """
    one = np.ones_like(layers.timesteps)
    apart = _count(layers, hw, widths, one)
    if run.execution != "time-batched" or not (layers.timesteps > 1).any():
        return *apart, np.zeros((1, 1, len(layers)), dtype=bool)
    together = _count(layers, hw, widths, np.where(layers.weight_is_activation, one, layers.timesteps))
    split = _dram_bits(layers, hw, widths, apart[1]) < _dram_bits(layers, hw, widths, together[1])
    return _either(split, apart[0], together[0]), _either(split, apart[1], together[1]), split


def _count(layers: LayerTable, hw: Hardware, widths: Widths, at_once: Array) -> tuple[SystolicRun, DramTraffic]:
    """Return the words of products of `at_once` timesteps each."""
    settings: Settings = hw.settings
    m, n, k = layers.m * at_once, layers.n, layers.k
    rows, cols = hw.size("array.rows", "the folds of a layer"), hw.size("array.cols", "the folds of a layer")
    groups = layers.groups * (layers.timesteps // at_once)
    counts = simulate_gemm(m, n, k, rows, cols, settings.dataflow, convention=settings.convention, groups=groups)
    traffic = dram_traffic(
        *(m, n, k, rows, cols, settings.dataflow),
        ifmap_capacity=_words(hw, "ifmap", widths.input_bits),
        filter_capacity=_words(hw, "filter", widths.weight_bits),
        ofmap_capacity=_words(hw, "ofmap", hw.size("accumulator.bits", "the bits of a partial sum")),
        ifmap_words=np.maximum(1, ceil_divide(layers.input_elements * at_once, layers.groups)),
        groups=groups,
    )
    return counts, traffic


def _dram_bits(layers: LayerTable, hw: Hardware, widths: Widths, traffic: DramTraffic) -> Array:
    """Return the bits of operands and partial sums; those of results are the same however a layer runs."""
    accumulator = hw.size("accumulator.bits", "the bits of a partial sum")
    weights = floats(traffic.filter_reads) * widths.weight_bits
    if hw.settings.weights == "resident":
        weights = weights * ~_resident(hw, layers, widths)
    return floats(traffic.ifmap_reads) * widths.input_bits + weights + 2 * floats(traffic.partial_sums) * accumulator


def _either(where: Array, one: Any, other: Any) -> Any:
    """Return the counts `one` where `where` is true, else the counts `other`."""
    chosen = {
        field.name: np.where(where, getattr(one, field.name), getattr(other, field.name)) for field in fields(one)
    }
    return type(one)(**chosen)


def moved_bits(
    table: LayerTable, hw: Hardware, run: Run, widths: Widths, counts: SystolicRun, traffic: DramTraffic
) -> Moved:
    """Return the bits that `count_words` stands for, before sparsity policies, of the synaptic layers of `table`.

    Results leave at the width that their consumers read, but no wider than a unit that quantizes its inputs.
    """
    settings: Settings = hw.settings
    layers = table.select(table.synaptic)
    accumulator = hw.size("accumulator.bits", "the bits of a partial sum")
    out_bits = settings.precision.results(layers.output_bits)
    partial, fetched = floats(counts.ofmap_reads), floats(traffic.ifmap_reads)
    weights, written = floats(traffic.filter_reads), floats(traffic.ofmap_writes)
    if settings.activations == "on-chip":
        # The network's own input and output always pass through DRAM.
        rows = np.arange(len(table))
        # A layer that runs all timesteps before the next one starts hands on the activations of all of them.
        held = layers.timesteps if run.execution == "time-batched" else np.ones_like(layers.timesteps)
        fed, feeds = (np.isin(rows, table.edges[:, end])[table.synaptic] for end in (1, 0))
        second = held * layers.weight_elements * widths.weight_bits
        fetched = fetched * ~(fed & _fits_half(hw, "ifmap", held * layers.input_elements * widths.input_bits))
        weights = weights * ~(fed & layers.weight_is_activation & _fits_half(hw, "filter", second))
        written = written * ~(feeds & _fits_half(hw, "ofmap", held * layers.output_elements * out_bits))
    if settings.weights == "resident":
        weights = weights * ~_resident(hw, layers, widths)
    return Moved(
        input=floats(counts.ifmap_reads) * widths.input_bits,
        weight=floats(counts.filter_reads) * widths.weight_bits,
        results=(floats(counts.ofmap_writes) - partial) * out_bits,
        partial=partial * accumulator,
        dram_input=fetched * widths.input_bits,
        dram_weight=weights * widths.weight_bits,
        dram_results=written * out_bits,
        dram_partial=floats(traffic.partial_sums) * accumulator,
    )


def floats(counts: Any) -> Array:
    """Return counts as floating-point numbers, for products with energies and times."""
    return np.asarray(counts).astype(np.float64)


def _words(hw: Hardware, buffer: str, bits: Array) -> Array:
    """Return how many words of `bits` a buffer holds, at least 1."""
    capacity = hw.size(f"buffer.{buffer}.capacity", "the data that stay on the chip")
    return np.maximum(1, 8 * capacity // bits.astype(np.int64))


def _fits_half(hw: Hardware, buffer: str, bits: Array) -> Array:
    """Return whether a layer's activations fit half of a buffer."""
    return bits <= 4 * hw.size(f"buffer.{buffer}.capacity", "the activations that stay on the chip")


def _resident(hw: Hardware, layers: LayerTable, widths: Widths) -> Array:
    """Return which weights stay on the chip from one inference to the next: all or none."""
    own = ~layers.weight_is_activation
    total = (layers.weight_elements * widths.weight_bits)[own].sum()
    return (total <= 8 * hw.size("buffer.filter.capacity", "the weights that stay on the chip")) & own
