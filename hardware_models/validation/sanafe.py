"""Against SANA-FE 2.2.9: energy and time of its DVS gesture network on Loihi, on eight mappings, and of
dense layers.

SANA-FE simulates every neuron and message; `benchmarks/oracle_sanafe.py` counted, core by core, what happened.
Two questions are scored apart. With its counts, do our equations give its energy and time? And does the whole
engine, which knows only geometry and spikes by channel, find the same cores, packets and busiest cores?

Its figures were fitted to Intel's Nahuku board by its authors; nothing was fitted here.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from importlib import resources
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hardware_models.chip import Chip, chip
from hardware_models.estimate import Estimate, estimate
from hardware_models.event_driven.equations import (
    GENERATION_TIMES,
    NEURON_ENERGIES,
    RECEIPT_TIMES,
    network_energy,
    neuron_energy,
    slowest,
    synapse_energy,
    timestep_seconds,
    waiting_work,
)
from hardware_models.event_driven.mesh import Mesh, core_hops
from hardware_models.event_driven.waiting import waiting
from hardware_models.validation.row import Row, data_text, single
from hardware_models.whole_numbers import ceil_divide
from hardware_models.workload import Bounds, Layer, Operand, Workload

TARGET: Final = "SANA-FE 2.2.9, DVS gesture on Loihi"
CHIP: Final = "loihi1_nahuku"
CHANNELS: Final = (1, 16, 32, 64, 11, 11)
SIZES: Final = (32, 15, 13, 11, 9, 1)
KERNELS: Final = (3, 3, 3, 3, 9)
STRIDES: Final = (2, 1, 1, 1, 1)
"""The network: an image of neurons, four convolutions without padding, and a dense layer on all 9 x 9 positions."""
FAN: Final = ("senders", "receivers", "sender_cores", "receiver_cores", "firing")
MESH: Final = Mesh(8, 4, 4, "column-major")

Array = npt.NDArray[Any]


def rows() -> Iterator[Row]:
    """Yield the rows of the scorecard."""
    for name, golden in scenarios().items():
        target = f"{TARGET}, {sum(golden['cores_of_layer'])} cores"
        note = "Our equations on the counts that it made core by core."
        (synapse, soma, network), joules = energies(name), golden["energy_j"]
        both = joules["synapse"] + joules["soma"]
        yield single(target, "simulated", "synapse + soma energy", synapse + soma, both, "J", 5e-6, note=note)
        yield single(target, "simulated", "network energy", network, joules["network"], "J", 0.01, note=note)
        yield _latency(target, "simple", timesteps(name, blocking=False), steps()[f"{name}.simple_s"], note)
        yield _latency(target, "detailed", timesteps(name), steps()[f"{name}.detailed_s"], note)
    yield _fans()
    yield from _whole_engine()


def _fans() -> Row:
    errors = np.array([fan_seconds(fan) / fan["detailed_s"] - 1 for fan in fans()])
    note = (
        "Every spike goes to all cores of the next layer, on 1 to 32 cores that send and 2 to 64 that receive; their "
        "runs differ by up to 29 % from each other, and the median is taken."
    )
    size, worst = float(np.abs(errors).mean()), float(np.abs(errors).max())
    target, quantity = f"{TARGET.split(',')[0]}, dense layers on Loihi", "time of a timestep, detailed timing"
    return Row(target, "simulated", quantity, None, None, "s", size, worst, len(errors), None, note=note)


def _latency(target: str, model: str, ours: Array, theirs: Array, note: str) -> Row:
    goal = 0.08 if model == "detailed" else None
    quantity = f"latency of {len(theirs)} timesteps, {model} timing"
    return single(target, "simulated", quantity, float(ours.sum()), float(theirs.sum()), "s", goal, note=note)


def _whole_engine() -> Iterator[Row]:
    golden, found = scenarios()["packed"], whole_engine()
    target = f"{TARGET}, {sum(golden['cores_of_layer'])} cores, whole engine"
    note = "Cores, places, packets and busiest cores are the engine's own; every neuron counts as updated."
    theirs = {**golden["energy_j"], "simple": golden["latency_simple_s"], "detailed": golden["latency_detailed_s"]}
    ours = {
        "synapse": found.energy_j["compute"][0].sum(),
        "soma": found.energy_j["neurons"][0].sum(),
        "network": found.energy_j["network"][0].sum(),
    }
    for part, joules in ours.items():
        goal = {"synapse": 5e-6, "network": 0.01}.get(part)
        yield single(target, "simulated", f"{part} energy", float(joules), theirs[part], "J", goal, note=note)
    for model, goal in (("simple", None), ("detailed", 0.08)):
        seconds = total_seconds(whole_engine(blocking=model == "detailed"))
        yield single(target, "simulated", f"latency, {model} timing", seconds, theirs[model], "s", goal, note=note)


def fans() -> list[dict[str, Any]]:
    """Return the golden times of dense layers on few and many cores, medians of runs that differ."""
    found: list[dict[str, Any]] = json.loads(data_text("sanafe.json"))["fans"]
    return found


@functools.cache
def scenarios() -> dict[str, Any]:
    """Return the golden totals by mapping."""
    found: dict[str, Any] = json.loads(data_text("sanafe.json"))["scenarios"]
    return found


@functools.cache
def steps() -> dict[str, Array]:
    """Return the golden counts by timestep."""
    with (
        resources.files("hardware_models.validation").joinpath("data", "sanafe.npz").open("rb") as file,
        np.load(file) as arrays,
    ):
        return {name: arrays[name].astype(np.float64) for name in arrays.files}


def figures(*names: str) -> Array:
    """Return figures of the chip in base units, `[F]`."""
    return np.array([chip(CHIP).figures[name].si for name in names])


def energies(scenario: str) -> tuple[float, float, float]:
    """Return joules of synapses, neurons and network that our equations give for the counts of a mapping."""
    golden = scenarios()[scenario]
    source, target, packets = np.array(golden["packets_between_cores"])
    hops_x, hops_y = core_hops(source, target, MESH)
    network = ("network.message_energy", "network.hop_x_energy", "network.hop_y_energy")
    accesses = sum(golden["neurons_of_core"]) * golden["timesteps"]
    return (
        float(synapse_energy(golden["synaptic_operations"], figures("synapse.energy")[0])),
        float(neuron_energy(accesses, golden["updates"], golden["firings"], *figures(*NEURON_ENERGIES))),
        float(network_energy(packets.sum(), packets @ hops_x, packets @ hops_y, *figures(*network))),
    )


def timesteps(scenario: str, blocking: bool = True) -> Array:
    """Return the seconds of each kept timestep that our equations give for the counts of a mapping, `[T]`.

    Args:
        scenario: the mapping.
        blocking: whether packets wait for each other on the mesh, as in SANA-FE's detailed timing.
    """
    names = ("updates", "firings", "packets_out", "packets_in", "operations")
    updates, firings, sent, received, operations = (steps()[f"{scenario}.{name}"] for name in names)
    neurons = np.array(scenarios()[scenario]["neurons_of_core"])
    accesses = np.broadcast_to(neurons, updates.shape)

    def busiest(work: list[Array], names: tuple[str, ...]) -> Array:
        by_core = np.stack(work).swapaxes(1, 2)[:, None]
        return slowest(by_core, figures(*names)[:, None, None], np.zeros(1, dtype=np.int64))[0, 0]

    held_up = np.zeros(1)
    if blocking:
        work = _waiting(scenario, sent, np.stack([received, operations]))
        held_up = slowest(work, figures(*RECEIPT_TIMES)[:, None, None], np.zeros(1, dtype=np.int64))[0, 0]
    return timestep_seconds(
        busiest([accesses, updates, firings, sent], GENERATION_TIMES),
        busiest([received, operations], RECEIPT_TIMES),
        np.zeros(1),
        held_up,
        _barrier(len(neurons)),
        np.zeros(1),
    )


def _barrier(cores: int) -> float:
    """Return the seconds of the barrier of so many cores: as of the largest number of tiles that is not more."""
    tiles = ceil_divide(cores, MESH.cores_per_tile)
    given = [int(name.removeprefix("barrier.")) for name in chip(CHIP).figures if name.startswith("barrier.")]
    return float(figures(f"barrier.{max(size for size in given if size <= tiles)}")[0])


def fan_seconds(fan: dict[str, Any], blocking: bool = True) -> float:
    """Return the seconds of a timestep that our equations give for a dense layer, see `fans`."""
    neurons, targets, senders, receivers, firing = (fan[name] for name in FAN)
    # The neurons that fire are spread evenly, first and last among them.
    fired = np.bincount(np.linspace(0, neurons - 1, firing).round().astype(int) * senders // neurons).max()
    # Of those that send only the ones with a bias are updated, and all that receive.
    sending = np.array([neurons / senders, fired, fired, fired * receivers])
    receiving = np.array([targets / receivers, targets / receivers, 0, 0])
    generation = np.maximum(sending @ figures(*GENERATION_TIMES), receiving @ figures(*GENERATION_TIMES))
    reading = figures(*RECEIPT_TIMES)
    receipt = np.array([firing, firing * targets / receivers])
    held_up = 0.0
    if blocking:
        cores = np.array([senders, receivers])
        found = waiting(np.array([0, senders]), cores, cores, np.array([[0, 1]]), MESH)
        work = waiting_work(receipt * receivers, fired / firing, senders, found.together, found.alone)
        held_up = float(work @ reading)
    return float(timestep_seconds(generation, receipt @ reading, 0.0, held_up, _barrier(senders + receivers), 0.0))


def _waiting(scenario: str, sent: Array, receipt: Array) -> Array:
    """Return packets and operations that waiting takes, `[2, 1, W, T]`, from counts `[..., T, C]`."""
    cores = np.array(scenarios()[scenario]["cores_of_layer"])
    first = np.cumsum(cores) - cores
    wires = np.stack([np.arange(len(cores) - 1), np.arange(1, len(cores))], axis=1)
    found = waiting(first, cores, cores, wires, MESH)
    senders, receivers = wires.T
    whole = np.add.reduceat(receipt, first, axis=-1)[..., receivers]
    all_sent, most_sent = (combine.reduceat(sent, first, axis=-1)[..., senders] for combine in (np.add, np.maximum))
    even = np.broadcast_to(1.0 / cores[senders], all_sent.shape)
    busiest = np.divide(most_sent, all_sent, out=even.copy(), where=all_sent > 0)
    by_step = waiting_work(whole, busiest, cores[senders], found.together, found.alone)
    return by_step.swapaxes(1, 2)[:, None]


def bare_chip(blocking: bool = True) -> Chip:
    """Return the chip as SANA-FE has it: no limits but neurons, no static power, neurons split evenly."""
    shipped = chip(CHIP)
    dropped = ("core.synapse_memory", "core.axons_in", "core.axons_out", "power.chip")
    return shipped.model_copy(
        update={
            "figures": {name: figure for name, figure in shipped.figures.items() if name not in dropped},
            "settings": {
                **shipped.settings,
                "balance": "even",
                "blocking": blocking,
                "without": {"power.chip": "SANA-FE has none."},
            },
        }
    )


@functools.cache
def whole_engine(blocking: bool = True) -> Estimate:
    """Return the engine's estimate of the gesture network, with or without waiting on the mesh."""
    return estimate(gesture_network(), bare_chip(blocking))


def total_seconds(found: Estimate) -> float:
    """Return the time of an inference, without its band."""
    assert found.total_latency_s is not None
    return float(found.total_latency_s[0])


def gesture_network() -> Workload:
    """Return the network as a Workload: its geometry, and the spikes and operations that SANA-FE counted."""
    by_channel = np.split(steps()["channels"].astype(np.int64), np.cumsum(CHANNELS)[:-1], axis=1)
    operations = scenarios()["packed"]["operations_of_layer"]
    layers: list[Layer] = []
    for index, counts in enumerate(by_channel):
        spikes = _spikes(index, counts.sum(axis=1))
        layers.append(_neurons(index, spikes))
        if index < len(KERNELS):
            layers.append(_convolution(index, spikes, operations[index + 1]))
    network = Workload(name="DVS gesture of SANA-FE", timesteps=len(by_channel[0]), batch=1, layers=tuple(layers))
    network.arrays.update({f"neurons{index}/output": counts for index, counts in enumerate(by_channel)})
    return network


def _spikes(index: int, fired: Array) -> Operand:
    elements = CHANNELS[index] * SIZES[index] ** 2
    return Operand(
        name="output",
        bits=1,
        signed=False,
        form="binary",
        elements=elements,
        nonzero=tuple(fired.tolist()),
        magnitude=tuple(fired.tolist()),
        density=tuple((fired / elements).tolist()),
        channels=f"neurons{index}/output",
    )


def _neurons(index: int, spikes: Operand) -> Layer:
    return Layer(
        name=f"neurons{index}",
        operator="neuron",
        op="lif",
        timesteps=len(spikes.nonzero),
        out_elements=spikes.elements,
        output=spikes,
        consumers=(f"synapses{index}",) if index < len(KERNELS) else (),
    )


def _convolution(index: int, spikes: Operand, operations: int) -> Layer:
    bounds = Bounds(
        in_channels=CHANNELS[index],
        out_channels=CHANNELS[index + 1],
        in_size=(SIZES[index],) * 2,
        out_size=(SIZES[index + 1],) * 2,
        kernel=(KERNELS[index],) * 2,
        stride=(STRIDES[index],) * 2,
    )
    weights = CHANNELS[index] * CHANNELS[index + 1] * KERNELS[index] ** 2
    weight = Operand(
        name="weight",
        role="weight",
        bits=8,
        signed=True,
        form="integer",
        elements=weights,
        nonzero=(weights,),
        density=(1.0,),
    )
    return Layer(
        name=f"synapses{index}",
        operator="conv",
        op="convolution",
        timesteps=len(spikes.nonzero),
        bounds=bounds,
        operands=(spikes.model_copy(update={"name": "input"}), weight),
        out_elements=CHANNELS[index + 1] * SIZES[index + 1] ** 2,
        acs=operations,
        driven_by="input",
        consumers=(f"neurons{index + 1}",),
    )
