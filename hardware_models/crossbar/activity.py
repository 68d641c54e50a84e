"""How a crossbar chip uses its arrays, and how often each of their parts works in one inference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from hardware_models.crossbar.tiling import Tiling, exact_adc_bits, tile
from hardware_models.hardware import Hardware
from hardware_models.layer_table import LayerTable
from hardware_models.precision import Precision
from hardware_models.sparsity import SparsityRule
from hardware_models.whole_numbers import ceil_divide

Array = npt.NDArray[Any]


class Settings(BaseModel):
    """How the arrays are used.

    Attributes:
        precision: widest inputs and weights that networks are quantized to.
        unroll: `im2col` puts all kernel positions along the rows; `kernel-position` gives each an array of its own,
            whose currents are added ahead of one converter.
        signs: where negative weights lie: in `none` (or in the code), in paired `rows` or paired `columns`.
        input_sign: `bit` counts it among the bits applied; `polarity` applies it with the voltage.
        phase_sum: sums of phases are added `digital`, each after its conversion, or `analog`, ahead of one.
        turns: with fewer ADCs than columns, every turn holds (`hold`) or reads the array anew (`reread`).
        adc_scaling: how the energy of a conversion follows its bits, see `crossbar.tiling.adc_energy`.
        rows: what a silent row saves.
        column_energy: `fixed`, or `follows-rows`: in proportion to the rows driven.
        silent_steps: whether steps whose rows are all silent are skipped.
        overflow: a network with more arrays than the chip has is refused, spread over `more-chips`, or rewritten
            into the arrays for every inference.
        activations: products of two activations are left out, or written into arrays as they come.
        start_share: share of a layer's time after which the next one starts; 1: layers wait for each other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: Precision
    unroll: Literal["im2col", "kernel-position"] = "im2col"
    signs: Literal["none", "rows", "columns"] = "none"
    input_sign: Literal["bit", "polarity"] = "bit"
    phase_sum: Literal["digital", "analog"] = "digital"
    turns: Literal["hold", "reread"] = "hold"
    adc_scaling: Literal["none", "linear", "walden"] = "none"
    rows: SparsityRule = SparsityRule()
    column_energy: Literal["fixed", "follows-rows"] = "fixed"
    silent_steps: Literal["read", "skip"] = "read"
    overflow: Literal["refuse", "more-chips", "rewrite"] = "refuse"
    activations: Literal["leave-out", "rewrite"] = "leave-out"
    start_share: float = Field(default=1.0, gt=0, le=1)


@dataclass(frozen=True)
class Activity:
    """How often the parts of the arrays work in one inference, `[1, H, L]`."""

    drives: Array
    reads: Array
    column_reads: Array
    cell_reads: Array
    conversions: Array
    activations: Array
    input_bits: Array
    carried_bits: Array
    output_bits: Array
    turns: Array


def tiling_of(layers: LayerTable, hw: Hardware, weight_bits: Array) -> Tiling:
    """Return the arrays that hold each layer's weights; signs in paired rows or columns halve an array."""
    settings: Settings = hw.settings
    rows, cols = hw.size("array.rows", "the tiling of weights"), hw.size("array.cols", "the tiling of weights")
    if settings.signs == "rows":
        rows = np.maximum(rows // 2, 1)
    if settings.signs == "columns":
        cols = np.maximum(cols // 2, 1)
    return tile(
        layers.k,
        layers.n,
        weight_bits.astype(np.int64),
        rows,
        cols,
        hw.size("cell.bits", "the bit slices of a weight"),
        layers.groups,
        _parallel_rows(hw, rows),
        _planes(layers) if settings.unroll == "kernel-position" else 1,
    )


def _parallel_rows(hw: Hardware, rows: Array) -> Array:
    if "array.parallel_rows" not in hw:
        return rows
    at_once = hw.size("array.parallel_rows", "the row steps of an array")
    return np.maximum(at_once // 2, 1) if hw.settings.signs == "rows" else at_once


def _planes(layers: LayerTable) -> Array:
    """Return the kernel positions that are part of each layer's reduction (a transposed convolution has none)."""
    positions = np.maximum(layers.kernel_h * layers.kernel_w, 1)
    return np.where(layers.k == layers.in_channels // layers.groups * positions, positions, 1)


def activity_of(layers: LayerTable, hw: Hardware, tiling: Tiling, applied: Array, input_bits: Array) -> Activity:
    """Return how often each part works, zeros considered.

    A power of two is one bit of its integer: its row is driven in one of the phases.
    """
    settings: Settings = hw.settings
    density = layers.input_density / np.where(layers.shifted, applied, 1)
    positions = layers.m.astype(float) * layers.timesteps
    output_bits = settings.precision.results(layers.output_bits).astype(float)
    adcs = hw.size("array.adcs", "the turns of the converters")
    cols = hw.size("array.cols", "the turns of the converters")
    if settings.signs == "columns":
        cols = np.maximum(cols // 2, 1)
    turns = ceil_divide(cols, adcs)
    parallel = np.minimum(_parallel_rows(hw, tiling.rows_used), tiling.rows_used)
    step_energy = array_energy = step_time = np.ones(1)
    if settings.silent_steps == "skip":
        silent, summed = 1.0 - density, parallel * tiling.planes
        step_energy = 1.0 - silent**summed
        # Groups in one array are read together; all arrays of a layer step together.
        array_energy = 1.0 - silent ** (summed * ceil_divide(layers.groups, tiling.bundles))
        step_time = 1.0 - silent ** (summed * tiling.blocks * layers.groups)
    driven = settings.rows.energy_share(density)
    followed = driven if settings.column_energy == "follows-rows" else np.ones_like(density)
    readings = positions * applied * step_energy
    converted = positions * step_energy if settings.phase_sum == "analog" else readings
    columns = tiling.steps * layers.groups.astype(float) * tiling.columns
    pairs, cells = (2.0 if settings.signs == "rows" else 1.0), (1.0 if settings.signs == "none" else 2.0)
    arrays = tiling.arrays.astype(float)
    reduction = layers.k * layers.groups.astype(float)
    steps_per_array = np.where(tiling.blocks > 1, tiling.steps / tiling.blocks, tiling.block_steps)
    applied_bits = positions * reduction * input_bits
    activations = positions * arrays / tiling.planes
    return Activity(
        drives=positions * applied * pairs * reduction * tiling.column_tiles * driven,
        reads=positions
        * applied
        * array_energy
        * steps_per_array
        * arrays
        * (turns if settings.turns == "reread" else 1),
        column_reads=readings * columns * tiling.planes * followed,
        cell_reads=positions * applied * cells * reduction * tiling.columns * driven,
        conversions=converted * columns,
        activations=activations,
        input_bits=applied_bits,
        carried_bits=applied_bits * tiling.column_tiles
        + positions * layers.groups * layers.n * tiling.blocks * output_bits,
        output_bits=layers.output_elements * layers.timesteps * output_bits,
        turns=positions * applied * tiling.block_steps * turns * step_time,
    )


def exact_bits(hw: Hardware, tiling: Tiling, input_bits: Array) -> Array:
    """Return the bits that converters need for exact sums of each layer, `[1, H or 1, L]`."""
    parallel = np.minimum(_parallel_rows(hw, tiling.rows_used), tiling.rows_used)
    at_once = input_bits
    if hw.settings.phase_sum == "digital":
        at_once = np.minimum(input_bits, hw.size("dac.bits", "exactness"))
    return exact_adc_bits(parallel * tiling.planes, hw.size("cell.bits", "exactness"), at_once)
