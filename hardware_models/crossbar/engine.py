"""Crossbar engine: in-memory computing, where weights stay in arrays of cells and a read multiplies and adds.

Tiling, phases and row steps are those of `crossbar.tiling`. Per layer, with P = T * output positions,
c = phases * row steps * P (phases counts once where sums of all phases are kept analog until the conversion):

    drives      = P * phases * K * column tiles, times the share of rows that `rows` leaves
    reads       = P * phases * steps * arrays (* ADC turns where every turn reads the array anew)
    conversions = c * columns
    compute     = drives * e_dac + reads * e_array + column readings * e_column + cells on driven rows * e_cell
                + conversions * (e_adc(bits) + e_mux + e_shift_add) + activations * e_periphery
    buffer      = bits read * e_read + bits written * e_write + activations * e_buffer
    network     = bits carried * e_network + activations * e_network
    neurons     = updates * e_update + activations * e_neuron
    static      = power * chips * latency
    latency     = P * phases * steps of the fullest array * ceil(columns of an array / its ADCs) * t_adc
                + rows written * t_row, where weights are written during the inference; a layer with more arrays than
                the chip then fills it several times

An activation is one array (all kernel positions of it together) at one output position and timestep. Arrays of a layer
work at once, layers one after another.

Zeros: `rows` says what a silent row saves (its driver, its cells; with `column_energy: follows-rows` also the columns);
with `silent_steps: skip` a row step whose rows are all silent is neither read nor converted, a share
1 - (1 - density)^rows is left, and takes no time where that is so in all arrays of the layer.

A power-of-two spike is applied as the integer that it is, one bit of which is set: in each phase its row is driven with
density / phases.

Source: the equations are those common to ISAAC (Shafiee et al., ISCA 2016), NeuroSim (Chen et al., TCAD 2018) and
SpikeSim (Moitra et al., TCAD 2023, arXiv:2210.12899), which charges tile buffer, H-tree and neurons per activation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_models.crossbar.activity import Activity, Settings, activity_of, exact_bits, tiling_of
from hardware_models.crossbar.tiling import Tiling, adc_energy, phases
from hardware_models.engine import Cost, FigureSpec, Run, scatter
from hardware_models.errors import InputError
from hardware_models.hardware import Hardware
from hardware_models.layer_table import LayerTable
from hardware_models.precision import narrowed, powers_of_two
from hardware_models.whole_numbers import ceil_divide

Array = npt.NDArray[Any]

FIGURES: tuple[FigureSpec, ...] = (
    FigureSpec("array.rows", "1", "rows of an array", "size"),
    FigureSpec("array.cols", "1", "columns of an array", "size"),
    FigureSpec("array.adcs", "1", "converters of an array", "size"),
    FigureSpec("array.parallel_rows", "1", "rows that are read at once; all where it is not given", "size"),
    FigureSpec("chip.arrays", "1", "arrays of a chip", "size"),
    FigureSpec("cell.bits", "bit", "bits that a cell holds", "size"),
    FigureSpec("dac.bits", "bit", "bits of an input that a row's driver applies at once", "size"),
    FigureSpec("adc.bits", "bit", "resolution of a converter", "size"),
    FigureSpec("adc.reference_bits", "bit", "resolution that the energy of a conversion is stated for", "size"),
    FigureSpec("array.energy", "J", "one reading of a whole array"),
    FigureSpec("column.energy", "J", "one reading of a column with all its rows (a pair of columns is one)"),
    FigureSpec("cell.energy", "J", "one reading of a cell on a driven row"),
    FigureSpec("dac.energy", "J", "driving one row for one phase"),
    FigureSpec("adc.energy", "J", "one conversion"),
    FigureSpec("mux.energy", "J", "connecting a column to a converter"),
    FigureSpec("shift_add.energy", "J", "shifting and adding one conversion to its sum"),
    FigureSpec("periphery.activation_energy", "J", "all else that an activation of an array costs"),
    FigureSpec("buffer.read_energy", "J/bit", "reading one bit of input"),
    FigureSpec("buffer.write_energy", "J/bit", "writing one bit of output"),
    FigureSpec("buffer.activation_energy", "J", "buffers, for one activation of an array"),
    FigureSpec("network.energy", "J/bit", "carrying one bit between buffers and arrays"),
    FigureSpec("network.activation_energy", "J", "network, for one activation of an array"),
    FigureSpec("neuron.update_energy", "J", "one neuron update"),
    FigureSpec("neuron.activation_energy", "J", "neuron circuits, for one activation of an array"),
    FigureSpec("adc.time", "s", "one conversion, the reading before it included"),
    FigureSpec("write.cell_energy", "J", "writing one cell"),
    FigureSpec("write.row_time", "s", "writing one row of an array"),
    FigureSpec("static.power", "W", "power of a chip whether or not it works"),
)


def evaluate(table: LayerTable, hw: Hardware, run: Run) -> Cost:
    """Return the cost of one inference; equations above.

    Raises:
        InputError: a figure is missing (by name); the network needs more arrays than the chip has.
    """
    settings: Settings = hw.settings
    mapped = table.synaptic & ~(table.weight_is_activation & (settings.activations == "leave-out"))
    if not mapped.any():
        return Cost(left_out=_left_out(table, mapped, hw))
    layers = table.select(mapped)
    widths = settings.precision.apply(layers.input_bits, layers.weight_bits)
    tiling = tiling_of(layers, hw, widths.weight_bits)
    applied = phases(widths.input_bits, hw.size("dac.bits", "input phases"), settings.input_sign == "polarity")
    activity = activity_of(layers, hw, tiling, applied, widths.input_bits)
    chips, passes = _chips(layers, hw, run, tiling)
    latency: Array | None = None
    if hw.answers("latency") or "static.power" in hw:
        turns = activity.turns * _batches(hw, tiling, passes)
        latency = turns * hw("adc.time", "the time of a conversion") + _write_time(hw, tiling, passes)
    energy: dict[str, Array] = {}
    if hw.answers("energy"):
        parts = _energy(hw, activity)
        parts["compute"] = parts["compute"] + _write_energy(layers, hw, tiling, passes)
        energy = {name: scatter(np.asarray(joules), mapped) for name, joules in parts.items()}
        if "neuron.update_energy" in hw and table.neuron.any():
            updates = table.neuron_updates * hw("neuron.update_energy", "neuron updates")
            energy["neurons"] = energy.get("neurons", np.zeros(1)) + updates
        if latency is not None and "static.power" in hw:
            energy["static"] = scatter(hw("static.power", "the static energy") * chips * latency, mapped)
    answered = latency if hw.answers("latency") else None
    buffered = np.broadcast_to((activity.input_bits + activity.output_bits) / 8, (1, 1, len(layers)))
    return Cost(
        energy_j=energy,
        latency_s=None if answered is None else scatter(answered, mapped),
        total_latency_s=None if answered is None else _total(answered, settings.start_share),
        utilization=scatter(np.asarray(tiling.utilization), mapped),
        traffic_bytes={"buffer": scatter(buffered, mapped)},
        cores=scatter(tiling.arrays.astype(float), mapped),
        assumptions=tuple(_in_words(table, layers, hw, tiling, widths.input_bits, chips, passes)),
        narrowed=narrowed(layers, widths.input_bits, widths.weight_bits),
        left_out=_left_out(table, mapped, hw),
    )


def _energy(hw: Hardware, activity: Activity) -> dict[str, Array]:
    """Return joules of the mapped layers by component, from the figures that the chip states."""
    if not any(name in hw for name in ("array.energy", "column.energy", "cell.energy")):
        hw("array.energy", "the energy of reading an array")
    conversion = _conversion_energy(hw)
    counts = {
        "compute": {
            "dac.energy": activity.drives,
            "array.energy": activity.reads,
            "column.energy": activity.column_reads,
            "cell.energy": activity.cell_reads,
            "mux.energy": activity.conversions,
            "shift_add.energy": activity.conversions,
            "periphery.activation_energy": activity.activations,
        },
        "buffer": {
            "buffer.read_energy": activity.input_bits,
            "buffer.write_energy": activity.output_bits,
            "buffer.activation_energy": activity.activations,
        },
        "network": {
            "network.energy": activity.carried_bits,
            "network.activation_energy": activity.activations,
        },
        "neurons": {"neuron.activation_energy": activity.activations},
    }
    energy = {}
    for component, parts in counts.items():
        joules = [hw(name, component) * count for name, count in parts.items() if name in hw]
        if joules:
            energy[component] = sum(joules[1:], joules[0])
    converted = conversion * activity.conversions
    energy["compute"] = energy["compute"] + converted
    return energy


def _conversion_energy(hw: Hardware) -> Array:
    """Return joules of one conversion at the converter's bits, `[S, H, 1]`."""
    energy = hw("adc.energy", "the energy of a conversion")
    scaling = hw.settings.adc_scaling
    if scaling != "none":
        bits = hw.size("adc.bits", "the energy of a conversion")
        return adc_energy(energy, bits, hw.size("adc.reference_bits", "the energy at other bits"), scaling)
    if "adc.bits" in hw:
        bits = hw.size("adc.bits", "the energy of a conversion")
        stated = hw.size("adc.reference_bits", "it") if "adc.reference_bits" in hw else bits.flat[0]
        if (bits != stated).any():
            raise InputError(
                f"chip {hw.chip.name!r} states the energy of a conversion for one resolution only; let its settings "
                "say `adc_scaling: walden` (or linear) and its figures adc.reference_bits."
            )
    return energy


def _chips(layers: LayerTable, hw: Hardware, run: Run, tiling: Tiling) -> tuple[Array, Array]:
    """Return the chips that hold the network, `[1, H, 1]`, and how often each layer's weights are written."""
    settings: Settings = hw.settings
    dynamic = layers.weight_is_activation
    passes = np.where(dynamic, layers.timesteps, 0)[None, None, :]
    one = np.ones((1, 1, 1))
    if "chip.arrays" not in hw:
        return one, passes
    available = hw.size("chip.arrays", "the arrays that the network may take")
    needed = tiling.arrays.sum(axis=-1, keepdims=True)
    over = needed > available
    if not over.any():
        return one, passes
    if settings.overflow == "refuse":
        raise InputError(
            f"{layers.subject!r} needs {int(np.max(needed))} arrays and chip {hw.chip.name!r} has "
            f"{int(np.min(available))}; give it a smaller network, or let the chip's settings say `overflow: "
            "more-chips` or `overflow: rewrite`."
        )
    if settings.overflow == "more-chips":
        return ceil_divide(needed, available).astype(float), passes
    again = layers.timesteps if run.execution == "step-by-step" else np.ones(len(layers), dtype=np.int64)
    return one, np.where(over & ~dynamic, again, passes)


def _write_energy(layers: LayerTable, hw: Hardware, tiling: Tiling, passes: Array) -> Array:
    if not passes.any():
        return np.zeros((1, 1, 1))
    pairs = 1 if hw.settings.signs == "none" else 2
    cells = layers.groups.astype(float) * layers.k * tiling.columns * pairs
    return passes * cells * hw("write.cell_energy", "weights that are written during an inference")


def _write_time(hw: Hardware, tiling: Tiling, passes: Array) -> Array:
    """Return seconds of writing: arrays that are present at once are written at once, each row by row."""
    if not passes.any():
        return np.zeros((1, 1, 1))
    rows = tiling.rows_used * (2 if hw.settings.signs == "rows" else 1)
    time = hw("write.row_time", "weights that are written during an inference")
    return passes * rows * _batches(hw, tiling, passes) * time


def _batches(hw: Hardware, tiling: Tiling, passes: Array) -> Array:
    """Return how many times the chip is filled for each layer whose weights are written: 1 for all others."""
    if "chip.arrays" not in hw or not passes.any():
        return np.ones((1, 1, 1))
    filled = np.ceil(tiling.arrays.astype(float) / hw.size("chip.arrays", "the arrays written at once"))
    return np.where(passes > 0, filled, 1.0)


def _total(latency: Array, start_share: float) -> Array | None:
    """Return the seconds until the last layer is done; None where layers wait for each other and add up."""
    if start_share == 1.0:
        return None
    started = start_share * (np.cumsum(latency, axis=-1) - latency)
    total: Array = (started + latency).max(axis=-1)
    return total


def _left_out(table: LayerTable, mapped: Array, hw: Hardware) -> dict[str, str]:
    """Return why layers are not costed."""
    neurons = "neuron.update_energy" in hw or "neuron.activation_energy" in hw
    reasons = {}
    for row in np.flatnonzero(~mapped & ~(table.neuron & neurons)):
        if table.synaptic[row]:
            reasons[table.names[row]] = "a product of two activations has no weights that could stay in an array"
        elif table.neuron[row]:
            reasons[table.names[row]] = "the chip has no figure for a neuron update"
        else:
            reasons[table.names[row]] = f"the chip has no unit for {table.operators[row]}"
    return reasons


def _in_words(
    table: LayerTable, layers: LayerTable, hw: Hardware, tiling: Tiling, input_bits: Array, chips: Array, passes: Array
) -> list[str]:
    """Return what was assumed, one sentence each."""
    said = []
    if "adc.bits" in hw:
        short = int((exact_bits(hw, tiling, input_bits) > hw.size("adc.bits", "exactness")).any(axis=(0, 1)).sum())
        if short:
            said.append(
                f"{short} of {len(layers)} mapped layers would need converters of more bits for exact sums; what "
                "their rounding does to accuracy is not known here."
            )
    said += powers_of_two(layers)
    if chips.max() > 1:
        said.append(f"The network takes {int(chips.max())} chips; what passes between them is not costed.")
    if passes.any():
        said.append("Weights are written during the inference: all arrays at once, row by row.")
    elif "chip.arrays" not in hw:
        said.append("The chip has as many arrays as the network needs.")
    if (layers.groups > 1).any():
        said.append("Small groups of a grouped convolution share an array along its diagonal.")
    for name, part in (("dac.energy", "drivers"), ("shift_add.energy", "shift-and-add"), ("static.power", "leakage")):
        if name not in hw:
            said.append(f"The energy of {part} is not costed by itself: the chip has no figure {name!r}.")
    if not {"buffer.read_energy", "buffer.activation_energy"} & set(hw.chip.figures):
        said.append("The energy of buffers is not costed: the chip states none.")
    if "neuron.activation_energy" in hw and table.neuron.any():
        said.append("Neurons are costed with the arrays that feed them.")
    return said
