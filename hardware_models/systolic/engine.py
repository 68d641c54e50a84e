"""The engine for systolic arrays with ifmap, filter and ofmap SRAMs in front of one DRAM.

The counts come from `systolic.counts` (cycles, SRAM words) and `dram_traffic` (DRAM words), their bits from
`systolic.bits`; this file turns them into energy and time:

    compute = MACs * e_mac                        (or additions * e_ac, where the elements have an add-only mode)
    buffer  = bits read * e_read + bits written * e_write, of each of the three SRAMs, fills and drains included
    dram    = bits * e_dram
    neurons = updates * (e_update + membrane bits * (e_read + e_write)), never scaled by a rate
    static  = power * latency
    latency = max(cycles / clock, DRAM bytes / bandwidth), layer after layer

Time: `time-batched` folds the T timesteps into the M rows of each product, so that a filter is fetched once for all
of them, unless T products of a layer move fewer bits through DRAM; `step-by-step` runs T products. A product of two
activations has a new filter in every timestep and runs T times in both.
"""

from __future__ import annotations

import numpy as np

from hardware_models import multiplier_array
from hardware_models.engine import Array, Cost, FigureSpec, Run, scatter
from hardware_models.hardware import Hardware
from hardware_models.layer_table import LayerTable
from hardware_models.precision import Widths, narrowed, powers_of_two
from hardware_models.sparsity import OperandRules
from hardware_models.systolic.bits import Moved, Settings, count_words, floats, moved_bits

BUFFERS = ("ifmap", "filter", "ofmap")

FIGURES: tuple[FigureSpec, ...] = (
    FigureSpec("array.rows", "1", "rows of processing elements", "size"),
    FigureSpec("array.cols", "1", "columns of processing elements", "size"),
    FigureSpec("mac.energy", "J", "one multiply-accumulate at native width, element registers included"),
    *(FigureSpec(f"buffer.{name}.capacity", "B", f"{name} SRAM, both halves", "size") for name in BUFFERS),
    *(FigureSpec(f"buffer.{name}.read_energy", "J/bit", f"reading one bit of the {name} SRAM") for name in BUFFERS),
    *(FigureSpec(f"buffer.{name}.write_energy", "J/bit", f"writing one bit of the {name} SRAM") for name in BUFFERS),
    FigureSpec("dram.energy", "J/bit", "moving one bit from or to DRAM"),
    FigureSpec("dram.bandwidth", "B/s", "bandwidth of the DRAM", "rate"),
    *multiplier_array.FIGURES,
)


def evaluate(table: LayerTable, hw: Hardware, run: Run) -> Cost:
    """Return the cost of one inference; equations above.

    Args:
        table: the layers; convolutions, linear layers and matrix products run on the array, neurons beside it.
        hw: the chip's figures.
        run: time-batched or step-by-step.

    Raises:
        InputError: a figure that the workload needs is missing (by name).
    """
    settings: Settings = hw.settings
    layers = table.select(table.synaptic)
    widths = settings.precision.apply(layers.input_bits, layers.weight_bits)
    counts, traffic, apart = count_words(layers, hw, run, widths)
    dense = moved_bits(table, hw, run, widths, counts, traffic)
    moved = dense.after(settings, layers)
    membranes, spilled = _membranes(table, hw, run)
    sram_bits = _placed(table.synaptic, moved.sram) + _placed(table.neuron, membranes)
    dram_bits = _placed(table.synaptic, moved.dram) + _placed(table.neuron, spilled)
    cycles = floats(counts.cycles) * widths.operations * multiplier_array.time_share(layers, settings.array)
    latency, utilization = None, counts.utilization
    if hw.answers("latency"):
        computing = cycles / hw("array.clock", "the time of a layer")
        waiting = dram_bits / 8 / hw("dram.bandwidth", "the time of a layer")
        latency = np.maximum(_placed(table.synaptic, computing), waiting)
        elapsed = latency[..., table.synaptic]
        utilization = utilization * np.divide(computing, elapsed, out=np.zeros_like(elapsed), where=elapsed > 0)
    energy: dict[str, Array] = {}
    if hw.answers("energy"):
        on_array = {
            "compute": multiplier_array.arithmetic_energy(layers, hw, settings.array, widths)
            + _check_energy(hw, settings.array, dense, widths, "array"),
            "buffer": _buffer_energy(hw, moved) + _check_energy(hw, settings.buffer, dense, widths, "buffer"),
            "dram": _check_energy(hw, settings.dram, dense, widths, "dram"),
        }
        energy = {name: _placed(table.synaptic, joules) for name, joules in on_array.items()}
        energy["dram"] = energy["dram"] + dram_bits * hw("dram.energy", "DRAM transfers")
        if table.neuron.any():
            energy["neurons"] = _placed(table.neuron, _neuron_energy(table, hw, membranes))
        if latency is not None:
            energy["static"] = latency * hw("static.power", "the static energy")
    return Cost(
        energy_j=energy,
        latency_s=latency,
        cycles=_placed(table.synaptic, cycles) if latency is None else latency * hw("array.clock", "cycles"),
        utilization=_placed(table.synaptic, utilization),
        traffic_bytes={"buffer": sram_bits / 8, "dram": dram_bits / 8},
        assumptions=tuple(_assumptions(table, layers, hw, run, apart, bool(spilled.any()))),
        narrowed=narrowed(layers, widths.input_bits, widths.weight_bits),
        left_out=multiplier_array.left_out(table),
    )


def _buffer_energy(hw: Hardware, moved: Moved) -> Array:
    """Return joules of the SRAMs, `[S, H, L]`: what feeds the array is read, what comes from DRAM is written."""

    def access(kind: str, buffer: str) -> Array:
        return hw(f"buffer.{buffer}.{kind}_energy", f"{kind}s of the {buffer} SRAM")

    return (
        moved.input * access("read", "ifmap")
        + moved.dram_input * access("write", "ifmap")
        + moved.weight * access("read", "filter")
        + moved.dram_weight * access("write", "filter")
        + (moved.results + moved.partial + moved.dram_partial) * access("write", "ofmap")
        + (moved.partial + moved.dram_results + moved.dram_partial) * access("read", "ofmap")
    )


def _check_energy(hw: Hardware, rules: OperandRules, dense: Moved, widths: Widths, level: str) -> Array:
    """Return what finding zeros costs where a policy skips them: one look at each value, or group of values."""
    outer = level == "dram"
    looked_at = {
        "input": (rules.input, (dense.dram_input if outer else dense.input) / widths.input_bits),
        "weight": (rules.weight, (dense.dram_weight if outer else dense.weight) / widths.weight_bits),
    }
    joules = np.zeros((1, 1, 1))
    for operand, (rule, values) in looked_at.items():
        if rule.policy in ("skip", "group-skip"):
            each = hw("sparsity.check_energy", f"skipping zeros of the {operand} at the {level}")
            joules = joules + values / rule.group * each
    return joules


def _membranes(table: LayerTable, hw: Hardware, run: Run) -> tuple[Array, Array]:
    """Return membrane bits read and written, and those of them that also pass to and from DRAM, `[1, H, L']`."""
    neurons = table.neurons[table.neuron]
    if not len(neurons):
        return np.zeros((1, 1, 0)), np.zeros((1, 1, 0))
    bits = hw.size("neuron.membrane_bits", "the traffic of membrane potentials")
    moved = 2.0 * table.neuron_updates[table.neuron] * bits
    if run.execution == "time-batched":
        return moved, 0.0 * moved
    room = 8 * hw.size("buffer.ofmap.capacity", "the membrane potentials that stay on the chip")
    return moved, moved * (neurons.sum() * bits > room)


def _neuron_energy(table: LayerTable, hw: Hardware, membranes: Array) -> Array:
    updates = table.neuron_updates[table.neuron] * hw("neuron.update_energy", "neuron updates")
    read, write = (hw(f"buffer.ofmap.{kind}_energy", "membrane potentials") for kind in ("read", "write"))
    return updates + membranes / 2 * (read + write)


def _assumptions(
    table: LayerTable, layers: LayerTable, hw: Hardware, run: Run, apart: Array, spilled: bool
) -> list[str]:
    settings: Settings = hw.settings
    said = [
        "Layers run one after the other; DRAM transfers hide behind the array's work or the array waits for them.",
        "The buffers are double: data stay on the chip only if they fit half of their buffer.",
    ]
    if (layers.timesteps > 1).any():
        said.append(
            "All timesteps of a layer run in one product, so that its weights are fetched once."
            if run.execution == "time-batched"
            else "The network runs once for each timestep, and fetches its weights each time."
        )
    if apart.any():
        layers_apart = int(apart.any(axis=(0, 1)).sum())
        said.append(
            f"The timesteps of {layers_apart} of {len(layers)} such layers run in a product each all the same: "
            "together their inputs or partial sums exceed a buffer, which moves more than fetching weights again."
        )
    if settings.activations == "dram":
        said.append("Every layer reads its input from DRAM and writes its result there.")
    if settings.precision.wider == "quantize":
        said.append("Results are handed on no wider than the elements' inputs.")
    if layers.spike_driven.any() and "ac.energy" not in hw:
        said.append("A spike-driven layer costs multiply-accumulates, for the elements have no add-only mode.")
    said += powers_of_two(layers)
    if layers.weight_is_activation.any():
        said.append("Products of two activations run once for each timestep and group.")
    if settings.array.input.policy != "none" and not np.diff(layers.channel_offset).all():
        said.append("Where spikes were not measured by channel, all channels are taken to be equally busy.")
    if table.neuron.any():
        said.append("Neurons are updated as sums leave the array, which takes no time of its own.")
    if spilled:
        said.append("The membrane potentials of the network do not fit the ofmap SRAM and pass to and from DRAM.")
    if hw.answers("energy") and not hw.answers("latency"):
        said.append("Static energy is missing, for it needs the time that this chip does not answer for.")
    return said


def _placed(rows: Array, values: Array) -> Array:
    """Return `values` `[..., L']` of the layers `rows` at their places among all layers, `[..., L]`; 0 elsewhere."""
    return scatter(np.broadcast_to(values, (*values.shape[:-1], int(rows.sum()))), rows)
