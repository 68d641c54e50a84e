"""Small spiking networks, and a chip with easy figures, for the tests of the event-driven engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from hardware_models.chip import Chip
from hardware_models.workload import Bounds, Layer, Operand, Workload

TOY_FIGURES: dict[str, tuple[float, str]] = {
    "mesh.columns": (2, "1"),
    "mesh.rows": (2, "1"),
    "tile.cores": (1, "1"),
    "core.neurons": (4, "1"),
    "synapse.energy": (2, "pJ"),
    "neuron.access_energy": (1, "pJ"),
    "neuron.update_energy": (3, "pJ"),
    "neuron.spike_energy": (5, "pJ"),
    "network.message_energy": (7, "pJ"),
    "network.hop_x_energy": (11, "pJ"),
    "network.hop_y_energy": (13, "pJ"),
    "power.chip": (1, "mW"),
    "neuron.access_time": (1, "ns"),
    "neuron.update_time": (2, "ns"),
    "neuron.spike_time": (3, "ns"),
    "network.message_time": (4, "ns"),
    "network.receive_time": (5, "ns"),
    "synapse.time": (6, "ns"),
    "network.hop_x_time": (1, "ns"),
    "network.hop_y_time": (1, "ns"),
    "barrier.1": (100, "ns"),
    "barrier.4": (200, "ns"),
}


def toy_chip(
    figures: dict[str, tuple[float, str]] | None = None,
    drop: tuple[str, ...] = (),
    refuses: dict[str, str] | None = None,
    **settings: Any,
) -> Chip:
    """A chip of four tiles in a square, one core each; `figures` replace or add to its own."""
    whole = {name: entry for name, entry in (TOY_FIGURES | (figures or {})).items() if name not in drop}
    return Chip.model_validate(
        {
            "name": "toy",
            "title": "a toy",
            "kind": "neuromorphic",
            "engine": "event_driven",
            "node": "1 um",
            "sources": ["a test"],
            "figures": {
                name: {"value": value, "unit": unit, "source": "a test", "grade": "assumed"}
                for name, (value, unit) in whole.items()
            },
            "settings": settings,
            "refuses": refuses or {},
        }
    )


def spikes(name: str, elements: int, fired: tuple[int, ...], **extra: Any) -> Operand:
    """Binary spikes: so many in each timestep."""
    density = tuple(count / elements for count in fired)
    fields = {"bits": 1, "signed": False, "form": "binary", "magnitude": fired} | extra
    return Operand(name=name, elements=elements, nonzero=fired, density=density, **fields)


def weight(elements: int, bits: int = 8) -> Operand:
    """A dense integer weight."""
    return Operand(
        name="weight",
        role="weight",
        bits=bits,
        signed=True,
        form="integer",
        elements=elements,
        nonzero=(elements,),
        density=(1.0,),
    )


def linear(name: str, inputs: int, outputs: int, fired: tuple[int, ...], consumers: tuple[str, ...] = ()) -> Layer:
    """A linear layer driven by spikes."""
    return Layer(
        name=name,
        operator="linear",
        op="addmm",
        timesteps=len(fired),
        bounds=Bounds(in_channels=inputs, out_channels=outputs, in_size=(1,), out_size=(1,)),
        operands=(spikes("input", inputs, fired), weight(inputs * outputs)),
        out_elements=outputs,
        acs=sum(fired) * outputs,
        driven_by="input",
        consumers=consumers,
    )


def neurons(
    name: str, size: int, fired: tuple[int, ...], consumers: tuple[str, ...] = (), channels: bool = False
) -> Layer:
    """A neuron layer; with `channels` its counts are in the workload's array `NAME/output`."""
    output = spikes("output", size, fired, channels=f"{name}/output" if channels else None)
    return Layer(
        name=name,
        operator="neuron",
        op="lif",
        timesteps=len(fired),
        out_elements=size,
        output=output,
        consumers=consumers,
    )


def workload(*layers: Layer, counts: dict[str, list[list[int]]] | None = None) -> Workload:
    """A workload of one sample; `counts` by channel, `[T][C]`, by name of the neuron layer."""
    made = Workload(name="small", timesteps=max(layer.timesteps for layer in layers), batch=1, layers=layers)
    made.arrays.update({f"{name}/output": np.array(values) for name, values in (counts or {}).items()})
    return made


def two_layers() -> Workload:
    """3 inputs to 4 neurons to 8 neurons, two timesteps; channel by channel counts of both neuron layers."""
    return workload(
        linear("first", 3, 4, (3, 1), ("a",)),
        neurons("a", 4, (2, 1), ("second",), channels=True),
        linear("second", 4, 8, (2, 1), ("b",)),
        neurons("b", 8, (4, 0), channels=True),
        counts={"a": [[1, 1, 0, 0], [1, 0, 0, 0]], "b": [[1, 1, 1, 0, 0, 0, 0, 1], [0] * 8]},
    )


def chain(layers: int, size: int = 8, timesteps: int = 2, rate: float = 0.5) -> Workload:
    """Linear layers and neurons in turn, all of one size and rate."""
    fired = (round(size * rate),) * timesteps
    found = []
    for index in range(layers):
        behind = (f"fc{index + 1}",) if index + 1 < layers else ()
        found += [linear(f"fc{index}", size, size, fired, (f"n{index}",)), neurons(f"n{index}", size, fired, behind)]
    return workload(*found)
