"""Row-stationary engine: Eyeriss and arrays like it.

Counts come from `row_stationary.counts`, the mapping from `row_stationary.mapping`. For a batch of B samples, divided
by B at the end:

    processing = (max(multiply, sums) + overhead * passes) / clock                                           [s]
    latency    = processing + (inputs + outputs) / link + max(0, weights / link - processing)                [s]
    compute    = MACs * (d * e_mac + (1 - d) * e_zero)                                                       [J]
    buffer     = buffer bits * e_buffer;   dram = (weights + inputs + outputs) bits * e_dram;   static = P * latency

d is the share of inputs that are not zero. With `gate` a zero input stops the multiplier and the pads behind it, in
energy only: it still takes its cycle. Inputs and outputs cross the link run-length coded, unless that would lengthen
them; the buffer holds them plain. The link moves them before and after processing, for the buffer has no second half
for them; weights are fetched ahead while the array works.

T timesteps that share their weights (time-batched) are T more images of a batch; step by step the batch runs T times.

Source: Chen et al., ISCA 2016 (relative energies) and JSSC 2017; what is fitted, and on what, says
`validation/fit_eyeriss.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from hardware_models.engine import Cost, FigureSpec, Narrowed, Run, scatter
from hardware_models.errors import InputError
from hardware_models.hardware import Hardware
from hardware_models.layer_table import LayerTable
from hardware_models.precision import narrowed, powers_of_two
from hardware_models.row_stationary.counts import RowStationaryCounts, row_stationary
from hardware_models.row_stationary.mapping import compressed

Array = npt.NDArray[Any]

FIGURES: tuple[FigureSpec, ...] = (
    FigureSpec("array.rows", "1", "rows of processing elements", "size"),
    FigureSpec("array.cols", "1", "columns of processing elements", "size"),
    FigureSpec("pe.weight_words", "1", "words of a processing element's weight pad", "size"),
    FigureSpec("pe.input_words", "1", "words of a processing element's input pad", "size"),
    FigureSpec("pe.sum_words", "1", "words of a processing element's pad for sums", "size"),
    FigureSpec("word", "bit", "width of every operand and sum", "size"),
    FigureSpec("buffer.capacity", "B", "global buffer for inputs and sums", "size"),
    FigureSpec("buffer.port", "bit", "bits that the global buffer reads, and writes, in a cycle", "size"),
    FigureSpec("row.width", "1", "columns of an output plane that are streamed at once", "size"),
    FigureSpec("pass.overhead", "1", "cycles of a processing pass that neither arithmetic nor sums explain"),
    FigureSpec("core.clock", "Hz", "clock of the array", "rate"),
    FigureSpec("link.bandwidth", "B/s", "bandwidth to and from off-chip memory", "rate"),
    FigureSpec("mac.energy", "J", "energy of a multiply-accumulate with its scratch pads"),
    FigureSpec("mac.zero_energy", "J", "energy of one whose input is zero and gates it"),
    FigureSpec("buffer.energy", "J/bit", "energy of an access of the global buffer"),
    FigureSpec("dram.energy", "J/bit", "energy of an access of off-chip memory"),
    FigureSpec("power.static", "W", "clock and leakage power, whatever the activity"),
)


class Settings(BaseModel):
    """How the array is used.

    Attributes:
        batch: samples that are run together; figures are given for one of them.
        sparsity: what a zero input saves: `gate` the energy of its operation, `none` nothing.
        compression: how activations cross the link.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: int = Field(default=1, ge=1, le=2**20)
    sparsity: Literal["gate", "none"] = "gate"
    compression: Literal["run-length", "none"] = "run-length"


@dataclass(frozen=True)
class Bytes:
    """Bytes of one batch by where they go, `[1, H, L]`."""

    buffer: Array
    weights: Array
    activations: Array

    @property
    def dram(self) -> Array:
        """All that crosses the link."""
        return self.weights + self.activations


def evaluate(table: LayerTable, hw: Hardware, run: Run) -> Cost:
    """Return the cost of `table` on the array `hw`.

    Raises:
        InputError: a figure is missing; a layer fits some of the hardware variants only.
    """
    settings: Settings = hw.settings
    runs = table.synaptic.copy()
    rows = table.select(runs)
    images, repeats = _images(rows, settings, run)
    counts = _counts(rows, hw, images)
    fits = _fitting(rows, counts, hw)
    left_out = _left_out(table, fits)
    density = np.clip(rows.input_density, 0.0, 1.0) if settings.sparsity == "gate" else np.ones(len(rows))
    moved = _bytes(rows, counts, settings, hw, _output_density(table)[runs])
    share = repeats / settings.batch
    macs = counts.macs.astype(np.float64) * share
    energy: dict[str, Array] = {}
    cycles = latency = None
    static = hw.get("power.static") if hw.answers("energy") else None
    if hw.answers("latency") or static is not None:
        cycles = counts.processing_cycles(hw("pass.overhead", "the time of a pass")).astype(np.float64)
        processing = cycles / hw("core.clock", "the time of a cycle")
        link = hw("link.bandwidth", "the time of moving data")
        latency = latency_with_link(processing, moved.weights, moved.activations, link) * share
        cycles = cycles * share
    if hw.answers("energy"):
        full = hw("mac.energy", "the energy of arithmetic")
        zero = hw("mac.zero_energy", "the energy of gated arithmetic") if settings.sparsity == "gate" else full
        energy["compute"] = macs * (density * full + (1.0 - density) * zero)
        energy["buffer"] = 8.0 * moved.buffer * share * hw("buffer.energy", "the energy of the global buffer")
        energy["dram"] = 8.0 * moved.dram * share * hw("dram.energy", "the energy of off-chip memory")
        if static is not None and latency is not None:
            energy["static"] = static * latency
    answered = hw.answers("latency")
    return Cost(
        energy_j={name: scatter(values, runs) for name, values in energy.items()},
        latency_s=scatter(latency, runs) if answered and latency is not None else None,
        cycles=scatter(cycles, runs) if answered and cycles is not None else None,
        utilization=scatter(_utilization(macs, cycles, hw), runs) if answered and cycles is not None else None,
        traffic_bytes={
            "buffer": scatter(moved.buffer * share, runs),
            "dram": scatter(moved.dram * share, runs),
        },
        assumptions=_in_words(rows, settings, run, hw),
        narrowed=_narrowed(rows.select(fits), hw),
        left_out=left_out,
    )


def latency_with_link(processing_s: Array, weight_bytes: Array, activation_bytes: Array, link: Array) -> Array:
    """Return the seconds of a layer: activations cross the link before or after processing, weights during it."""
    return processing_s + activation_bytes / link + np.maximum(0.0, weight_bytes / link - processing_s)


def _images(rows: LayerTable, settings: Settings, run: Run) -> tuple[Array, Array]:
    """Return the images that share a layer's weights, and how often that is run, per batch, `[L]`."""
    steps = rows.timesteps if run.execution == "time-batched" else np.ones_like(rows.timesteps)
    together = settings.batch * steps
    # A product of two activations has weights of its own for every sample and timestep.
    images = np.where(rows.weight_is_activation, 1, together)
    return images, settings.batch * rows.timesteps / images


def _counts(rows: LayerTable, hw: Hardware, images: Array) -> RowStationaryCounts:
    word = hw.size("word", "the capacity of the global buffer")
    window = rows.kernel_h * rows.kernel_w
    # What is no direct convolution (a transposed one) runs as the matrix product that it is: 1 x 1 kernels.
    direct = (rows.m == rows.out_h * rows.out_w) & (rows.k * rows.groups == rows.in_channels * window)
    return row_stationary(
        groups=rows.groups,
        images=images,
        channels=np.where(direct, rows.k // window, rows.k),
        filters=rows.n,
        out_h=np.where(direct, rows.out_h, rows.m),
        out_w=np.where(direct, rows.out_w, 1),
        kernel_h=np.where(direct, rows.kernel_h, 1),
        kernel_w=np.where(direct, rows.kernel_w, 1),
        stride_h=np.where(direct, rows.stride_h, 1),
        stride_w=np.where(direct, rows.stride_w, 1),
        plain=compressed(rows.input_density) == 1.0,
        rows=hw.size("array.rows", "the mapping"),
        cols=hw.size("array.cols", "the mapping"),
        weight_words=hw.size("pe.weight_words", "the mapping"),
        input_words=hw.size("pe.input_words", "the mapping"),
        sum_words=hw.size("pe.sum_words", "the mapping"),
        buffer_words=np.maximum(1, hw.size("buffer.capacity", "the mapping") * 8 // word),
        row_width=hw.size("row.width", "the mapping"),
        port_words=np.maximum(1, hw.size("buffer.port", "the time of moving sums") // word),
    )


def _fitting(rows: LayerTable, counts: RowStationaryCounts, hw: Hardware) -> Array:
    """Return which layers the array runs, `[L]`."""
    fits = counts.mapping.fits.reshape(-1, len(rows))
    some = fits.any(axis=0) & ~fits.all(axis=0)
    if some.any():
        name = rows.names[int(np.argmax(some))]
        raise InputError(
            f"layer {name!r} fits some variants of chip {hw.chip.name!r} and not others, so their totals cannot be "
            "compared; leave out the variants with the fewest rows or the smallest pads and buffer."
        )
    return np.asarray(fits.all(axis=0))


def _left_out(table: LayerTable, fits: Array) -> dict[str, str]:
    reasons = {
        name: "the array has no unit for it; the host does it, at a cost not counted here"
        for name, synaptic in zip(table.names, table.synaptic, strict=True)
        if not synaptic
    }
    chosen = np.flatnonzero(table.synaptic)[~fits]
    return reasons | {
        table.names[row]: f"its {table.kernel_h[row]} x {table.kernel_w[row]} kernel or its rows exceed the array's "
        "rows, a scratch pad or the global buffer"
        for row in chosen
    }


def _output_density(table: LayerTable) -> Array:
    """Return the share of each result that is not zero, as its densest reader sees it; 1 where none was seen."""
    density = np.zeros(len(table))
    if len(table.edges):
        np.maximum.at(density, table.edges[:, 0], table.input_density[table.edges[:, 1]])
    return np.where(density > 0, density, 1.0)


def _bytes(
    rows: LayerTable, counts: RowStationaryCounts, settings: Settings, hw: Hardware, output_density: Array
) -> Bytes:
    size = hw.size("word", "the bytes moved") / 8
    shares = [rows.input_density, output_density]
    ins, outs = (compressed(d) if settings.compression == "run-length" else np.ones_like(d) for d in shares)
    buffer, weights, inputs, outputs = (
        values.astype(np.float64) * size
        for values in (counts.buffer_words, counts.weight_words, counts.input_words, counts.output_words)
    )
    return Bytes(buffer, weights, inputs * ins + outputs * outs)


def _utilization(macs: Array, cycles: Array, hw: Hardware) -> Array:
    """Return multiply-accumulates per PE and cycle, zeros included; 0 where nothing runs."""
    elements = hw.size("array.rows", "the utilization") * hw.size("array.cols", "the utilization")
    slots, done = np.broadcast_arrays(cycles * elements, macs)
    return np.divide(done, slots, out=np.zeros(slots.shape), where=slots > 0)


def _narrowed(rows: LayerTable, hw: Hardware) -> dict[str, Narrowed]:
    word = hw.size("word", "the width of operands").min()
    return narrowed(rows, np.minimum(rows.input_bits, word), np.minimum(rows.weight_bits, word))


def _in_words(rows: LayerTable, settings: Settings, run: Run, hw: Hardware) -> tuple[str, ...]:
    said = [f"Figures are of one sample of a batch of {settings.batch} that shares fetched weights."]
    said.append(
        "A zero input gates its operation and costs its cycle in full; zero weights save nothing."
        if settings.sparsity == "gate"
        else "Zeros save no operation."
    )
    word = int(hw.size("word", "the width of operands").max())
    if int(np.minimum(rows.input_bits, rows.weight_bits).min(initial=word)) < word:
        said.append(f"Narrower operands, spikes among them, fill a word of {word} bits and cost a whole operation.")
    said += powers_of_two(rows)
    if rows.dilated.any():
        said.append("A dilated convolution runs phase by phase, as plain ones on every d-th row and column.")
    if (rows.timesteps > 1).any() and run.execution == "time-batched":
        said.append("Timesteps of a layer run together, as images of a batch.")
    return tuple(said)
