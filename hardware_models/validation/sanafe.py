"""Against SANA-FE 2.2.9: energy and time of its DVS gesture network on Loihi, on three mappings.

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
)
from hardware_models.event_driven.mesh import Mesh, core_hops
from hardware_models.validation.row import Row, data_text, single
from hardware_models.workload import Bounds, Layer, Operand, Workload

TARGET: Final = "SANA-FE 2.2.9, DVS gesture on Loihi"
CHIP: Final = "loihi1_nahuku"
CHANNELS: Final = (1, 16, 32, 64, 11, 11)
SIZES: Final = (32, 15, 13, 11, 9, 1)
KERNELS: Final = (3, 3, 3, 3, 9)
STRIDES: Final = (2, 1, 1, 1, 1)
"""The network: an image of neurons, four convolutions without padding, and a dense layer on all 9 x 9 positions."""

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
        ours = timesteps(name)
        yield _latency(target, "simple", ours, steps()[f"{name}.simple_s"], note)
        yield _latency(target, "detailed", ours, steps()[f"{name}.detailed_s"], note)
    yield from _whole_engine()


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
    seconds = total_seconds(found)
    for model, goal in (("simple", None), ("detailed", 0.08)):
        yield single(target, "simulated", f"latency, {model} timing", seconds, theirs[model], "s", goal, note=note)


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
    hops_x, hops_y = core_hops(source, target, Mesh(8, 4, 4, "column-major"))
    network = ("network.message_energy", "network.hop_x_energy", "network.hop_y_energy")
    accesses = sum(golden["neurons_of_core"]) * golden["timesteps"]
    return (
        float(synapse_energy(golden["synaptic_operations"], figures("synapse.energy")[0])),
        float(neuron_energy(accesses, golden["updates"], golden["firings"], *figures(*NEURON_ENERGIES))),
        float(network_energy(packets.sum(), packets @ hops_x, packets @ hops_y, *figures(*network))),
    )


def timesteps(scenario: str) -> Array:
    """Return the seconds of each kept timestep that our equations give for the counts of a mapping, `[T]`."""
    names = ("updates", "firings", "packets_out", "packets_in", "operations")
    updates, firings, sent, received, operations = (steps()[f"{scenario}.{name}"] for name in names)
    neurons = np.array(scenarios()[scenario]["neurons_of_core"])
    accesses = np.broadcast_to(neurons, updates.shape)
    tiles = -(-len(neurons) // 4)
    given = [int(name.removeprefix("barrier.")) for name in chip(CHIP).figures if name.startswith("barrier.")]
    barrier = figures(f"barrier.{max(size for size in given if size <= tiles)}")

    def busiest(work: list[Array], names: tuple[str, ...]) -> Array:
        by_core = np.stack(work).swapaxes(1, 2)[:, None]
        return slowest(by_core, figures(*names)[:, None, None], np.zeros(1, dtype=np.int64))[0, 0]

    return timestep_seconds(
        busiest([accesses, updates, firings, sent], GENERATION_TIMES),
        busiest([received, operations], RECEIPT_TIMES),
        np.zeros(1),
        barrier,
        np.zeros(1),
    )


def bare_chip() -> Chip:
    """Return the chip as SANA-FE has it: no limits but neurons, no static power, neurons split evenly."""
    shipped = chip(CHIP)
    dropped = ("core.synapse_memory", "core.axons_in", "core.axons_out", "power.chip")
    return shipped.model_copy(
        update={
            "figures": {name: figure for name, figure in shipped.figures.items() if name not in dropped},
            "settings": {**shipped.settings, "balance": "even", "without": {"power.chip": "SANA-FE has none."}},
        }
    )


@functools.cache
def whole_engine() -> Estimate:
    """Return the engine's estimate of the gesture network."""
    return estimate(gesture_network(), bare_chip())


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
