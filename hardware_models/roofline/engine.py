"""Roofline engine: GPUs, NPUs and microcontrollers, whose layers are limited by arithmetic or by memory.

Per layer, for one inference of one sample:

    time   = max(operations / (eta_c * peak(bits)), bytes / (eta_m * bandwidth), bytes on chip / on-chip bandwidth)
             + launches * launch time
    energy = operations * e_op(bits) + bits moved * e_bit + P_static * time,
             or, where a vendor states only power: P * time, with the band from idle to maximum

A multiply-accumulate is two operations. A dense machine executes every one of them, zeros included; `sparsity` says
otherwise. The peak is that of the narrowest arithmetic at least as wide as the layer's operands. Layers run one after
another. Bytes are those of `roofline.traffic`; figures of whole sequences stand in `waterline`.

Source: Williams, Waterman and Patterson, Communications of the ACM 52(4), 2009; Lavin, arXiv:2404.03617.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from hardware_models.engine import Cost, FigureSpec, Narrowed, Run
from hardware_models.errors import InputError, unknown_name
from hardware_models.hardware import Hardware
from hardware_models.layer_table import LayerTable
from hardware_models.precision import narrowed, powers_of_two
from hardware_models.roofline.traffic import Flow, Storage, Traffic, flow, membrane_bytes, traffic
from hardware_models.sparsity import SparsityRule
from hardware_models.whole_numbers import ceil_divide

Array = npt.NDArray[Any]

WIDTHS = {"binary": 1, "int4": 4, "int8": 8, "fp16": 16, "fp32": 32}
"""Arithmetic by name and operand width in bits. bf16 counts as fp16; integers above 8 bits run as floating point."""

FIGURES: tuple[FigureSpec, ...] = (
    FigureSpec("peak.*", "1/s", "operations a second on operands of that kind (a MAC is two)", "rate"),
    FigureSpec("compute.efficiency", "1", "share of the peak that kernels reach", "rate"),
    FigureSpec("memory.bandwidth", "B/s", "bandwidth of the memory behind the chip", "rate"),
    FigureSpec("memory.efficiency", "1", "share of that bandwidth that kernels reach", "rate"),
    FigureSpec("memory.energy", "J/bit", "energy of moving a bit to or from that memory"),
    FigureSpec("onchip.capacity", "B", "on-chip memory that keeps weights between inferences", "size"),
    FigureSpec("onchip.bandwidth", "B/s", "bandwidth of the on-chip memory", "rate"),
    FigureSpec("onchip.energy", "J/bit", "energy of moving a bit to or from the on-chip memory"),
    FigureSpec("launch.time", "s", "time of starting a kernel"),
    FigureSpec("op.*.energy", "J", "energy of one operation on operands of that kind (a MAC is two)"),
    FigureSpec("static.power", "W", "power that is drawn whatever happens"),
    FigureSpec("device.power", "W", "power of the whole device while it runs, where no more is known"),
)


class Settings(Storage):
    """How the machine executes a network, beside how it keeps tensors (`Storage`).

    Attributes:
        wider: what becomes of operands wider than the widest arithmetic: `refuse`, or `quantize` to it; then results
            are kept no wider either.
        neuron_operations: operations of one neuron update: leak, charge, compare, reset.
        sparsity: what zeros in the driving operand save.
        operation_energy: what the energy per operation covers: `arithmetic`, or the whole `system` with its memories.
    """

    wider: Literal["refuse", "quantize"] = "refuse"
    neuron_operations: float = Field(default=4.0, ge=0)
    sparsity: SparsityRule = SparsityRule()
    operation_energy: Literal["arithmetic", "system"] = "arithmetic"


@dataclass(frozen=True)
class Work:
    """Operations of one inference, `[L]`, that cost time and that cost energy, and the width they run at in bits."""

    timed: Array
    paid: Array
    bits: Array


def evaluate(table: LayerTable, hw: Hardware, run: Run) -> Cost:
    """Return the cost of `table` on the machine `hw`.

    Raises:
        InputError: a figure is missing; operands are wider than any arithmetic of the chip and the chip does not
            quantize them; a kind of arithmetic in the chip's file is unknown.
    """
    settings: Settings = hw.settings
    kinds = _kinds(hw)
    given, table = table, _quantized(table, max(kinds)) if settings.wider == "quantize" else table
    work, said = _work(table, settings, kinds, hw.chip.name)
    way = flow(table, settings.fused)
    moved = traffic(table, settings, way, run.execution, _capacity(hw))
    said += _in_words(table, settings, way, run, hw)
    powered = hw.answers("energy") and not _has(hw, "op.")
    timed = hw.answers("latency") or powered or "static.power" in hw
    latency = ideal = None
    if timed:
        ideal = work.timed / _by_width(hw, "peak.", "", work.bits, "the time of arithmetic")
        latency = _latency(hw, ideal, moved, _launches(table, way, run))
    energy: dict[str, Array] = {}
    if hw.answers("energy"):
        if powered and latency is not None:
            energy = {"device": hw("device.power", "the energy, for the chip has no energy per operation") * latency}
        else:
            energy = _energy(hw, work, moved, latency)
    answered = latency if hw.answers("latency") else None
    return Cost(
        energy_j=energy,
        latency_s=answered,
        utilization=None if answered is None or ideal is None else _share(ideal, answered),
        traffic_bytes={"memory": moved.memory} | ({"onchip": moved.on_chip} if _on_chip(hw) else {}),
        assumptions=tuple(said),
        narrowed=_narrowed(given, table),
    )


def operand_kind(bits: npt.ArrayLike, available: tuple[int, ...]) -> Array:
    """Return the width that operands of `bits` run at: the narrowest of the `available` ones that holds them.

    Args:
        bits: widths in bits, any shape.
        available: widths that the machine has arithmetic for.

    Raises:
        InputError: operands wider than every available width.
    """
    widths = np.array(sorted(available))
    place = np.searchsorted(widths, np.asarray(bits))
    if (place == len(widths)).any():
        raise InputError(
            f"operands of {int(np.max(bits))} bits are wider than the {widths[-1]} bits of the machine; quantize the "
            "network, or let the chip's settings say `wider: quantize`."
        )
    return widths[place]


def _kinds(hw: Hardware) -> tuple[int, ...]:
    """Return the widths that the chip states a peak or an energy for."""
    names = {name.split(".")[1] for name in hw.chip.figures if name.startswith(("peak.", "op."))}
    for name in names:
        if name not in WIDTHS:
            raise unknown_name(f"arithmetic of chip {hw.chip.name}", name, WIDTHS)
    if not names:
        hw("peak.int8", "the time of arithmetic")
    return tuple(sorted(WIDTHS[name] for name in names))


def _work(table: LayerTable, settings: Settings, kinds: tuple[int, ...], chip: str) -> tuple[Work, list[str]]:
    """Return the operations of each layer and what was assumed about their width."""
    widest = max(kinds)
    # Spikes select weights: the width of the arithmetic is that of the weights. Powers of two are factors.
    selects = table.spike_driven & ~table.shifted
    operands = np.maximum(np.where(selects, 1, table.input_bits), table.weight_bits)
    asked = np.where(table.synaptic, operands, np.minimum(settings.membrane_bits, widest))
    wide = table.synaptic & (asked > widest)
    if wide.any():
        name = table.names[int(np.argmax(wide))]
        raise InputError(
            f"layer {name!r} has operands of {int(asked[wide].max())} bits and chip {chip!r} computes with at most "
            f"{widest}; quantize the network, or choose a chip of wider arithmetic."
        )
    said: list[str] = []
    bits = operand_kind(asked, kinds)
    other = (table.synaptic & (bits != asked)).sum()
    if other:
        said.append(f"{int(other)} layers run on the next wider arithmetic, for the chip states none of their width.")
    dense = 2.0 * table.macs_dense
    # A membrane potential wider than the widest arithmetic is worked through in parts.
    parts = ceil_divide(settings.membrane_bits, widest)
    rest = np.where(
        table.neuron,
        table.neuron_updates * settings.neuron_operations * parts,
        np.maximum(table.input_elements, table.output_elements) * table.timesteps,
    )
    rule, density = settings.sparsity, table.input_density
    timed = np.where(table.synaptic, dense * rule.time_share(density), rest)
    paid = np.where(table.synaptic, dense * rule.energy_share(density), rest)
    return Work(timed, paid, bits), said


def _quantized(table: LayerTable, widest: int) -> LayerTable:
    """Return `table` with tensors of at most `widest` bits, in arithmetic and in memory; spikes keep their width."""
    return replace(
        table,
        input_bits=np.where(
            table.spike_driven & ~table.shifted, table.input_bits, np.minimum(table.input_bits, widest)
        ),
        weight_bits=np.minimum(table.weight_bits, widest),
        output_bits=np.where(table.neuron, table.output_bits, np.minimum(table.output_bits, widest)),
    )


def _narrowed(given: LayerTable, run: LayerTable) -> dict[str, Narrowed]:
    rows = given.synaptic
    return narrowed(given.select(rows), run.input_bits[rows], run.weight_bits[rows])


def _by_width(hw: Hardware, before: str, after: str, bits: Array, needed_for: str) -> Array:
    """Return the figure `before` kind `after` of each layer's width, `[S, H, L]`."""
    names = {width: name for name, width in WIDTHS.items()}
    found = np.ones((1, 1, len(bits)))
    for width in np.unique(bits):
        found = np.where(bits == width, hw(f"{before}{names[int(width)]}{after}", needed_for), found)
    return found


def _latency(hw: Hardware, ideal: Array, moved: Traffic, launches: Array) -> Array:
    """Return seconds of each layer, `[S, H, L]`."""
    time = ideal / _reached(hw, "compute.efficiency")
    bandwidth = hw("memory.bandwidth", "the time of moving data") * _reached(hw, "memory.efficiency")
    time = np.maximum(time, moved.memory / bandwidth)
    local = hw.get("onchip.bandwidth")
    if local is not None:
        time = np.maximum(time, moved.on_chip / local)
    launch = hw.get("launch.time")
    return time if launch is None else time + launches * launch


def _reached(hw: Hardware, name: str) -> Array:
    """Return the share of a nominal rate that is reached, 1 where the chip does not say."""
    share = hw.get(name)
    if share is None:
        return np.ones((1, 1, 1))
    if (share > 1).any():
        raise InputError(
            f"figure {name!r} of chip {hw.chip.name!r} reaches {share.max():g}; no more than 1 can be reached, so "
            "mend the figure, its band or the variant."
        )
    return share


def _launches(table: LayerTable, way: Flow, run: Run) -> Array:
    times = table.timesteps if run.execution == "step-by-step" else np.ones(len(table))
    return np.where(way.fused, 0, times)


def _energy(hw: Hardware, work: Work, moved: Traffic, latency: Array | None) -> dict[str, Array]:
    """Return joules by component from energies per operation and per bit."""
    energy = {"compute": work.paid * _by_width(hw, "op.", ".energy", work.bits, "the energy of arithmetic")}
    if hw.settings.operation_energy == "system":
        return energy
    energy["memory"] = 8.0 * moved.memory * hw("memory.energy", "the energy of moving data")
    if _on_chip(hw):
        energy["onchip"] = 8.0 * moved.on_chip * hw("onchip.energy", "the energy of on-chip memory")
    static = hw.get("static.power")
    if static is not None and latency is not None:
        energy["static"] = static * latency
    return energy


def _capacity(hw: Hardware) -> Array | None:
    return hw.size("onchip.capacity", "keeping weights").astype(float) if "onchip.capacity" in hw else None


def _on_chip(hw: Hardware) -> bool:
    return "onchip.energy" in hw or "onchip.bandwidth" in hw


def _has(hw: Hardware, prefix: str) -> bool:
    return any(name.startswith(prefix) for name in hw.chip.figures)


def _share(ideal: Array, latency: Array) -> Array:
    """Return ideal latency / latency, 0 where nothing runs."""
    whole, part = np.broadcast_arrays(latency, ideal)
    return np.divide(part, whole, out=np.zeros(whole.shape), where=whole > 0)


def _in_words(table: LayerTable, settings: Settings, way: Flow, run: Run, hw: Hardware) -> list[str]:
    """Return what was assumed about execution, one sentence each."""
    said = []
    if table.spike_driven.any():
        kept = "packed at their own width" if settings.packed_spikes else f"stored as {settings.dense_spike_bits}-bit"
        said.append(f"Spikes are {kept} values; arithmetic on them is {_executed(settings)}.")
    said += powers_of_two(table)
    if table.neuron.any():
        state = membrane_bytes(table, settings, run.execution).sum()
        said.append(
            f"Membrane potentials of {settings.membrane_bits} bits are read and written in every timestep."
            if state
            else "Membrane potentials stay in registers while a layer runs its timesteps."
        )
    if way.fused.any():
        said.append(
            "Neurons and elementwise operators are fused into the layer before them; additions read one operand."
        )
    if way.chained:
        said.append("The workload names no consumers; each layer is taken to feed the next.")
    if settings.operation_energy == "system":
        said.append(
            "The energy per operation is that of the whole system at its peak, memories and static power in it."
        )
    if "onchip.capacity" in hw:
        said.append(
            "On-chip memory keeps the first weights that fit, in execution order, from one inference to the next."
        )
    for name, meaning in (("compute.efficiency", "the peak"), ("memory.efficiency", "the bandwidth")):
        if name not in hw and _has(hw, "peak."):
            said.append(f"Kernels reach {meaning} in full: the chip has no figure {name!r}.")
    if "launch.time" not in hw and _has(hw, "peak."):
        said.append("Starting a kernel takes no time: the chip has no figure 'launch.time'.")
    return said


def _executed(settings: Settings) -> str:
    policy = settings.sparsity.policy
    return "executed in full, zeros included" if policy == "none" else f"cut by zeros ({policy})"
