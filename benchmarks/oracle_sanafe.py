"""Measure SANA-FE's DVS gesture network, as golden data for the event-driven engine.

    python -m venv oracle && oracle/bin/pip install "sanafe==2.2.9" numpy pyyaml
    oracle/bin/python benchmarks/oracle_sanafe.py hardware_models/validation/data

SANA-FE is licensed under the GPL: it is run beside this project as an oracle. Nothing of it is imported by the
package or shipped; what this script writes are counts and figures that it measured:

    sanafe.json   per scenario: cores of each layer, totals, and packets between pairs of cores; and, of dense layers
                  from few cores to many, the seconds of a timestep
    sanafe.npz    per scenario, `[timesteps, cores]`: firings, updates, packets out, packets in, synaptic operations;
                  and `[timesteps]` the seconds of its two timing models;
                  `channels`, `[timesteps, channels of all layers]`: firings, which no mapping changes

The network, its trained weights and its stimulus come with the package (tutorial 5). Spikes and operations of a
core are read from the trace of messages: a message carries what its sender did since its last message
(generation delay) and the synapses that its receiver reads. Updates follow from the generation delays, which
hold 6.0 ns per neuron, 3.7 ns per update, 30 ns per firing and 5.1 ns per packet.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import sanafe
import sanafe.layers
import sanafe.tutorial

SCENARIOS = {
    "tutorial": ((1, 4, 16, 16, 4, 1), 1),
    "spread": ((2, 8, 24, 32, 8, 2), 7),
    "packed": ((1, 4, 6, 8, 1, 1), 7),
    "even": ((3, 6, 12, 20, 6, 1), 7),
    "early": ((1, 6, 32, 10, 2, 1), 7),
    "wide": ((4, 12, 20, 48, 12, 4), 7),
    "funnel": ((1, 8, 8, 30, 5, 1), 7),
    "late": ((2, 4, 10, 16, 16, 2), 7),
}
"""Cores of each layer, and which timesteps are kept by core: the tutorial's own mapping, all of them; and seven other
mappings to test on, every seventh (the stimulus repeats itself every 10 or so). `packed` has as few cores as hold
1024 neurons each."""
FANS = (
    *((64, 1024, 1, 16, firing) for firing in (1, 4, 16, 64)),
    *((64, 1024, 4, 16, firing) for firing in (4, 16, 64)),
    *((256, 1024, 4, 64, firing) for firing in (16, 128)),
    *((256, 512, 16, 64, firing) for firing in (64, 256)),
    *((512, 64, 32, 2, firing) for firing in (128, 512)),
    *((256, 512, 8, 8, firing) for firing in (32, 256)),
)
"""Dense layers: neurons that send and receive, cores of each, and how many fire in every timestep, evenly spread."""
FAN_RUNS = 7
FAN_NAMES = ("senders", "receivers", "sender_cores", "receiver_cores", "firing")
CHANNELS = (1, 16, 32, 64, 11, 11)
"""Output channels of each layer; neurons are numbered channel by channel."""
TIMESTEPS = 1000
ACCESS_S, UPDATE_S, SPIKE_S, PACKET_S = 6.0e-9, 3.7e-9, 30e-9, 5.1e-9
CORES_PER_TILE = 4


class MessageCounts:
    """A file for SANA-FE to write its message trace to, which keeps only sums by timestep and core."""

    def __init__(self, timesteps: int, cores: int) -> None:
        shape = (timesteps, cores)
        self.generation_s, self.receipt_s = np.zeros(shape), np.zeros(shape)
        self.packets_out, self.packets_in, self.operations = (np.zeros(shape, np.int64) for _ in range(3))
        self.pairs = np.zeros((cores, cores), np.int64)
        self.hops = 0
        self.firings = np.zeros(shape, np.int64)
        self.channels = np.zeros((timesteps, sum(CHANNELS)), np.int64)

    def seek(self, _: int) -> None:
        """The trace starts at its beginning."""

    def flush(self) -> None:
        """Nothing is held back."""

    def write(self, text: str) -> None:
        """Add the messages of one timestep."""
        rows = [line.split(",") for line in text.splitlines() if line and not line.startswith("timestep")]
        if not rows:
            return
        step = np.array([int(row[0]) for row in rows]) - 1
        source = np.array([_core(row[3]) for row in rows])
        generation = np.array([float(row[10]) for row in rows])
        np.add.at(self.generation_s, (step, source), generation)
        sent = [row for row in rows if row[4] != "x.x"]
        if not sent:
            return
        at = int(sent[0][0]) - 1
        source = np.array([_core(row[3]) for row in sent])
        target = np.array([_core(row[4]) for row in sent])
        self.packets_out[at] += np.bincount(source, minlength=self.packets_out.shape[1])
        self.packets_in[at] += np.bincount(target, minlength=self.packets_out.shape[1])
        operations = np.array([int(row[6]) for row in sent])
        self.operations[at] += np.bincount(target, operations, self.packets_out.shape[1]).astype(np.int64)
        np.add.at(self.receipt_s[at], target, np.array([float(row[11]) for row in sent]))
        np.add.at(self.pairs, (source, target), 1)
        self.hops += sum(int(row[5]) for row in sent)


def _core(address: str) -> int:
    tile, core = address.split(".")
    return CORES_PER_TILE * int(tile) + int(core)


def network(arch: Any, cores_of_layer: tuple[int, ...]) -> tuple[Any, list[int], dict[str, tuple[int, int]]]:
    """Build and map the tutorial's network.

    Returns:
        The network, neurons of each core, and (first core, neurons per core) by group name.
    """
    with sanafe.tutorial.get_dvs_data() as file:
        data = dict(np.load(file))
    snn = sanafe.Network()
    thresholds = data["thresholds"]
    layers: list[Any] = [sanafe.layers.Input2D(snn, 32, 32, threshold=thresholds[0])]
    for index in range(1, 5):
        stride = 2 if index == 1 else 1
        options = {"stride_width": stride, "stride_height": stride, "threshold": thresholds[index]}
        layers.append(sanafe.layers.Conv2D(snn, layers[-1], data[f"conv{index}"], **options))
    layers.append(sanafe.layers.Dense(snn, layers[-1], 11, data["dense1"], threshold=thresholds[5]))
    for neuron, bias in zip(layers[0], data["inputs"], strict=True):
        neuron.set_attributes(model_attributes={"bias": bias})
    sizes: list[int] = []
    place = {}
    cores = arch.cores()
    for layer, count in zip(layers, cores_of_layer, strict=True):
        share = len(layer) // count
        place[layer.group.get_name()] = (len(sizes), share)
        for part in range(count):
            neurons = layer[part * share :] if part == count - 1 else layer[part * share : (part + 1) * share]
            for neuron in neurons:
                neuron.set_attributes(log_spikes=True)
                neuron.map_to_core(cores[len(sizes)])
            sizes.append(len(neurons))
    return snn, sizes, place


def run(cores_of_layer: tuple[int, ...], model: str, traced: bool) -> tuple[dict[str, Any], Any, list[int]]:
    """Simulate; with `traced` also count messages and firings by core."""
    arch = sanafe.load_loihi()
    snn, sizes, place = network(arch, cores_of_layer)
    chip = sanafe.SpikingChip(arch)
    chip.load(snn)
    counts = MessageCounts(TIMESTEPS, len(sizes)) if traced else None
    options = {"message_trace": counts, "spike_trace": True, "perf_trace": True} if traced else {"perf_trace": True}
    results = chip.sim(TIMESTEPS, timing_model=model, **options)
    if counts is not None:
        first_channel = np.cumsum((0, *CHANNELS))
        for step, spikes in enumerate(results["spike_trace"]):
            for address in spikes:
                group, offset = _neuron(address)
                layer = list(place).index(group)
                first, share = place[group]
                size = sum(sizes[first : first + cores_of_layer[layer]])
                counts.firings[step, first + min(offset // share, cores_of_layer[layer] - 1)] += 1
                counts.channels[step, first_channel[layer] + offset * CHANNELS[layer] // size] += 1
    return results, counts, sizes


def _neuron(address: Any) -> tuple[str, int]:
    group, offset = str(address).rsplit(".", 1)
    return group, int(offset)


def scenario(cores_of_layer: tuple[int, ...], every: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (figures, arrays) of one mapping, the arrays of every so many timesteps."""
    simple, counts, sizes = run(cores_of_layer, "simple", traced=True)
    detailed, _, _ = run(cores_of_layer, "detailed", traced=False)
    known = ACCESS_S * np.array(sizes) + SPIKE_S * counts.firings + PACKET_S * counts.packets_out
    updates = (counts.generation_s - known) / UPDATE_S
    if np.abs(updates - np.round(updates)).max() > 0.05:
        raise RuntimeError("generation delays are not what the constants say; see the architecture file")
    updates = np.round(updates).astype(np.int64)
    if updates.sum() != simple["neurons_updated"]:
        raise RuntimeError("updates do not add up to the simulator's own count")
    figures = {
        "cores_of_layer": list(cores_of_layer),
        "neurons_of_core": sizes,
        "timesteps": TIMESTEPS,
        "kept_every": every,
        "firings": int(simple["neurons_fired"]),
        "firings_of_layer": _of_layers(counts.firings, cores_of_layer),
        "packets_from_layer": _of_layers(counts.packets_out, cores_of_layer),
        "synaptic_operations": int(simple["spikes"]),
        "operations_of_layer": _of_layers(counts.operations, cores_of_layer),
        "updates": int(simple["neurons_updated"]),
        "packets": int(simple["packets_sent"]),
        "hops": counts.hops,
        "energy_j": {name: float(value) for name, value in simple["energy"].items()},
        "latency_simple_s": float(simple["sim_time"]),
        "latency_detailed_s": float(detailed["sim_time"]),
        "packets_between_cores": np.stack([*np.nonzero(counts.pairs), counts.pairs[np.nonzero(counts.pairs)]]).tolist(),
    }
    arrays = {"firings": counts.firings, "updates": updates, "packets_out": counts.packets_out}
    arrays |= {"packets_in": counts.packets_in, "operations": counts.operations}
    kept = {name: values[::every].astype(np.uint32) for name, values in arrays.items()}
    kept["channels"] = counts.channels.astype(np.uint16)
    for model, results in (("simple_s", simple), ("detailed_s", detailed)):
        kept[model] = np.array(results["perf_trace"]["sim_time"])[::every].astype(np.float32)
    return figures, kept


def _of_layers(by_core: Any, cores_of_layer: tuple[int, ...]) -> list[int]:
    first = np.cumsum((0, *cores_of_layer[:-1]))
    return [int(total) for total in np.add.reduceat(by_core.sum(axis=0), first)]


def fan(senders: int, receivers: int, sender_cores: int, receiver_cores: int, firing: int) -> dict[str, Any]:
    """Return the seconds of the third timestep of a dense layer by both timing models.

    The detailed one differs between runs of one process: the median of some is given, and the least and the most.
    """
    chosen = set(np.linspace(0, senders - 1, firing).round().astype(int).tolist())

    def seconds(model: str) -> float:
        arch = sanafe.load_loihi()
        snn = sanafe.Network()
        source = sanafe.layers.Input2D(snn, senders, 1, threshold=1.0)
        target = sanafe.layers.Dense(snn, source, receivers, np.full((senders, receivers), 0.001), threshold=1e9)
        cores = arch.cores()
        for index, neuron in enumerate(source):
            neuron.set_attributes(model_attributes={"bias": 2.0 if index in chosen else 0.0})
            neuron.map_to_core(cores[index * sender_cores // senders])
        for index, neuron in enumerate(target):
            neuron.map_to_core(cores[sender_cores + index * receiver_cores // receivers])
        chip = sanafe.SpikingChip(arch)
        chip.load(snn)
        return float(chip.sim(4, timing_model=model, perf_trace=True)["perf_trace"]["sim_time"][2])

    detailed = sorted(seconds("detailed") for _ in range(FAN_RUNS))
    figures = (senders, receivers, sender_cores, receiver_cores, firing, seconds("simple"))
    found: dict[str, Any] = dict(zip((*FAN_NAMES, "simple_s"), figures, strict=True))
    return found | {
        "detailed_s": detailed[FAN_RUNS // 2],
        "detailed_least_s": detailed[0],
        "detailed_most_s": detailed[-1],
    }


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    document: dict[str, Any] = {
        "provenance": "SANA-FE 2.2.9 (pip), DVS gesture network of its tutorial 5 on its architecture loihi.yaml, "
        f"{TIMESTEPS} timesteps; written by benchmarks/oracle_sanafe.py",
        "fans": [fan(*sizes) for sizes in FANS],
        "scenarios": {},
    }
    packed = {}
    for name, (cores_of_layer, every) in SCENARIOS.items():
        started = time.perf_counter()
        figures, arrays = scenario(cores_of_layer, every)
        document["scenarios"][name] = figures
        packed["channels"] = arrays.pop("channels")
        packed |= {f"{name}.{key}": values for key, values in arrays.items()}
        print(
            f"{name}: {time.perf_counter() - started:.0f} s",
            figures["energy_j"],
            figures["latency_detailed_s"],
            flush=True,
        )
    np.savez_compressed(folder / "sanafe.npz", **packed)
    lines = json.dumps(document, indent=1).splitlines()
    (folder / "sanafe.json").write_text(_short_lists(lines))


def _short_lists(lines: list[str]) -> str:
    """Join lists of numbers into single lines."""
    text, inside = "", False
    for line in lines:
        number = line.strip().rstrip(",").lstrip("-").replace(".", "", 1).isdigit()
        text += f" {line.strip()}" if inside and (number or line.strip().startswith("]")) else f"\n{line}"
        inside = line.endswith("[") or (inside and number)
    return text.lstrip("\n") + "\n"


if __name__ == "__main__":
    main()
