"""The engine for arrays of multipliers under any hierarchy of memories: general loop nests with a mapping search.

Every layer becomes eight nested loops (`loop_nest`); the search (`mapping_search`) picks the order and tiling of the
temporal loops for given ways of unrolling the others over the array. Then, per layer:

    compute  = MACs * e_mac                     (or additions * e_ac, where the multipliers have an add-only mode)
    memory l = words read * e_read(l) + words written * e_write(l)
    neurons  = updates * (e_update + membrane words * (e_read + e_write)), never scaled by a rate
    static   = power * latency
    latency  = max over levels of (bytes through one instance / its bandwidth), and of cycles / clock,
               plus the time of filling levels that are not double-buffered

A word is what one access reads or writes and what its energy is stated for (a figure per bit is a word of 1 bit);
an access to part of it costs that part, in whole granules where the chip states one.
"""

from __future__ import annotations

import numpy as np

from hardware_models import multiplier_array
from hardware_models.engine import Array, Cost, FigureSpec, Run, scatter
from hardware_models.errors import unknown_name
from hardware_models.hardware import Hardware
from hardware_models.layer_table import LayerTable
from hardware_models.precision import Widths, narrowed, powers_of_two
from hardware_models.spatial.mapping import Mapped, Settings, lower, map_layers, seconds

FIGURES: tuple[FigureSpec, ...] = (
    FigureSpec("axis.*.size", "1", "positions along one axis of the array", "size"),
    FigureSpec("mac.energy", "J", "one multiply-accumulate at native width"),
    FigureSpec("memory.*.capacity", "B", "capacity of one instance of a level; absent: it does not limit", "size"),
    FigureSpec("memory.*.word", "bit", "width of one access to a level", "size"),
    FigureSpec("memory.*.granule", "bit", "smallest part of a word that is paid for; absent: exact bits", "size"),
    FigureSpec("memory.*.read_energy", "J", "reading one word of a level"),
    FigureSpec("memory.*.write_energy", "J", "writing one word of a level"),
    FigureSpec("memory.*.bandwidth", "B/s", "bandwidth of one instance, reads and writes; absent: no limit", "rate"),
    *multiplier_array.FIGURES,
)


def evaluate(table: LayerTable, hw: Hardware, run: Run) -> Cost:
    """Return the cost of one inference; equations above.

    Args:
        table: the layers; convolutions, linear layers and matrix products run on the array, neurons beside it.
        hw: the chip's figures.
        run: time-batched or step-by-step.

    Raises:
        InputError: a figure that the workload needs is missing (by name); a layer fits no memory.
    """
    settings: Settings = hw.settings
    _check_names(hw, settings)
    layers = table.select(table.synaptic)
    widths = settings.precision.apply(layers.input_bits, layers.weight_bits)
    psum_bits = int(hw.size("accumulator.bits", "the traffic of partial sums").ravel()[0])
    result_bits = settings.precision.results(layers.output_bits)
    dense = map_layers(lower(layers, widths, run, psum_bits, result_bits), settings, hw)
    mapped = _after_sparsity(dense, settings, layers)
    cycles = mapped.cycles * widths.operations * multiplier_array.time_share(layers, settings.array)
    bytes_ = (mapped.reads + mapped.writes).sum(axis=-1) * mapped.word_bits[:, None, :] / 8
    traffic = {one.name: scatter(bytes_[..., column], table.synaptic) for column, one in enumerate(settings.levels)}
    latency = utilization = None
    energy: dict[str, Array] = {}
    if hw.answers("latency"):
        times = _timed(hw, settings, mapped, cycles, bytes_)
        latency, utilization = (scatter(values, table.synaptic) for values in times)
    if hw.answers("energy"):
        energy = _energy(hw, settings, layers, widths, mapped)
        energy["compute"] = energy["compute"] + _checks(hw, settings, layers, dense)
        energy = {name: scatter(joules, table.synaptic) for name, joules in energy.items()}
        if latency is not None and "static.power" in hw:
            energy["static"] = latency * hw("static.power", "the static energy")
    if table.neuron.any():
        joules, moved, level = _neurons(table, hw, settings)
        traffic[level] = traffic[level] + scatter(moved / 8, table.neuron)
        if hw.answers("energy"):
            energy["neurons"] = scatter(joules, table.neuron)
    return Cost(
        energy_j=energy,
        latency_s=latency,
        cycles=scatter(cycles, table.synaptic),
        utilization=utilization,
        traffic_bytes=traffic,
        assumptions=(*_searched(mapped), *_assumptions(table, layers, hw, run)),
        narrowed=narrowed(layers, widths.input_bits, widths.weight_bits),
        left_out=multiplier_array.left_out(table),
    )


def _check_names(hw: Hardware, settings: Settings) -> None:
    """Refuse figures of a memory or an axis that the settings do not have: a name with a slip would go unread."""
    known = {"memory": [level.name for level in settings.levels], "axis": list(settings.axes)}
    for name in hw.chip.figures:
        kind, _, rest = name.partition(".")
        if kind in known and (own := rest.split(".")[0]) not in known[kind]:
            raise unknown_name(f"{kind} in figure {name} of chip {hw.chip.name}", own, known[kind])


def _after_sparsity(mapped: Mapped, settings: Settings, layers: LayerTable) -> Mapped:
    """Return `mapped` with the accesses that zeros leave; outputs are not scaled."""
    share = np.ones((len(layers), len(settings.levels), 3))
    for column, level in enumerate(settings.levels):
        share[:, column, 0] = level.weight.energy_share(layers.weight_density)
        share[:, column, 1] = level.input.energy_share(layers.input_density)
    return mapped._replace(reads=mapped.reads * share, writes=mapped.writes * share)


def _timed(hw: Hardware, settings: Settings, mapped: Mapped, cycles: Array, bytes_: Array) -> tuple[Array, Array]:
    """Return seconds and utilization of each layer, `[S, H, L]`."""
    computing = cycles / hw("array.clock", "the time of a layer")
    limits = [hw.get(f"memory.{level.name}.bandwidth") for level in settings.levels]
    shape = np.broadcast_shapes(computing.shape, *(limit.shape for limit in limits if limit is not None))
    bandwidth = np.stack([np.full((1, 1, 1), np.inf) if b is None else b for b in _alike(limits)], axis=-1)
    filled = mapped.writes[..., :2].sum(axis=-1) * mapped.word_bits[:, None, :] / 8 / mapped.instances
    latency = seconds(settings, np.broadcast_to(computing, shape), bytes_ / mapped.instances, bandwidth, filled)
    positions = np.ones((1, 1, 1))
    for axis in settings.axes:
        positions = positions * hw.size(f"axis.{axis}.size", "utilization")
    busy = np.divide(computing, latency, out=np.zeros_like(latency), where=latency > 0)
    return latency, mapped.units / positions * busy


def _alike(limits: list[Array | None]) -> list[Array]:
    shape = np.broadcast_shapes((1, 1, 1), *(limit.shape for limit in limits if limit is not None))
    return [np.full(shape, np.inf) if limit is None else np.broadcast_to(limit, shape) for limit in limits]


def _energy(hw: Hardware, settings: Settings, layers: LayerTable, widths: Widths, mapped: Mapped) -> dict[str, Array]:
    """Return joules by component, `[S, H, L]`."""
    energy = {"compute": multiplier_array.arithmetic_energy(layers, hw, settings.array, widths)}
    reads, writes = mapped.reads.sum(axis=-1), mapped.writes.sum(axis=-1)
    for column, level in enumerate(settings.levels):
        energy[level.name] = reads[..., column] * hw(
            f"memory.{level.name}.read_energy", f"reads of {level.name}"
        ) + writes[..., column] * hw(f"memory.{level.name}.write_energy", f"writes of {level.name}")
    return energy


def _checks(hw: Hardware, settings: Settings, layers: LayerTable, dense: Mapped) -> Array:
    """Return what finding zeros costs where a policy skips them: one look at each value, or group of values."""
    joules = np.zeros((1, 1, 1))
    values = dense.cycles * dense.units
    for rule in (settings.array.input, settings.array.weight):
        if rule.policy in ("skip", "group-skip"):
            joules = joules + values / rule.group * hw("sparsity.check_energy", "skipping zeros at the multipliers")
    for column, level in enumerate(settings.levels):
        widths = (
            dense.word_bits[:, None, column] / layers.weight_bits,
            dense.word_bits[:, None, column] / layers.input_bits,
        )
        for place, rule in enumerate((level.weight, level.input)):
            if rule.policy in ("skip", "group-skip"):
                looked = dense.reads[..., column, place] * widths[place] / rule.group
                joules = joules + looked * hw("sparsity.check_energy", f"skipping zeros at {level.name}")
    return joules


def _neurons(table: LayerTable, hw: Hardware, settings: Settings) -> tuple[Array, Array, str]:
    """Return joules `[S, H, L']` of the neuron layers, membrane bits moved `[H, L']`, and the level they move at."""
    level = settings.membrane_level
    updates = table.neuron_updates[table.neuron].astype(float)
    bits = hw.size("neuron.membrane_bits", "the traffic of membrane potentials")
    moved = 2.0 * updates * bits[0]
    if not hw.answers("energy"):
        return np.zeros((1, 1, len(updates))), moved, level
    word = hw.size(f"memory.{level}.word", "membrane potentials")
    accesses = updates * bits / word
    joules = updates * hw("neuron.update_energy", "neuron updates")
    for kind in ("read", "write"):
        joules = joules + accesses * hw(f"memory.{level}.{kind}_energy", "membrane potentials")
    return joules, moved, level


def _searched(mapped: Mapped) -> list[str]:
    """Return how thoroughly mappings were searched for."""
    if mapped.complete == mapped.distinct:
        return ["The mapping search tried every order and tiling of the loops for the given ways of unrolling."]
    return [
        f"The mapping search was exhaustive for {mapped.complete} of {mapped.distinct} distinct layers; for the others "
        "factors of loops were merged, so that a better mapping may exist."
    ]


def _assumptions(table: LayerTable, layers: LayerTable, hw: Hardware, run: Run) -> list[str]:
    settings: Settings = hw.settings
    said = [
        f"Each layer runs at the mapping of least {settings.objective} at the nominal figures, which bands keep; loops "
        "are unrolled over the array as far as they go.",
        "Layers run one after the other, each with its operands from and to the outermost memory.",
    ]
    if (layers.timesteps > 1).any():
        said.append(
            "All timesteps of a layer run in one nest, so that its weights can be reused over them."
            if run.execution == "time-batched"
            else "The network runs once for each timestep, and fetches its weights each time."
        )
    if layers.dilated.any():
        said.append("A dilated convolution runs phase by phase, as plain ones on every d-th row and column.")
    if layers.spike_driven.any() and "ac.energy" not in hw:
        said.append("A spike-driven layer costs multiply-accumulates, for the multipliers have no add-only mode.")
    said += powers_of_two(layers)
    if table.neuron.any():
        said.append("Neurons are updated as sums leave the array, which takes no time of its own.")
        said.append(f"Membrane potentials are kept in {settings.membrane_level!r}, whatever room they take.")
    unlimited = [level.name for level in settings.levels if f"memory.{level.name}.bandwidth" not in hw]
    if hw.answers("latency") and unlimited:
        said.append(f"Memories without a bandwidth do not limit: {', '.join(unlimited)}.")
    if hw.answers("energy") and "static.power" not in hw:
        said.append("Static energy is not counted: the chip has no figure 'static.power'.")
    return said
