"""The summary table: one row for each form of the network."""

from __future__ import annotations

import math
from typing import Any

from hardware_models.convention_estimate import ConventionEstimate
from hardware_models.conventions import rival_bits_of
from hardware_models.workload import Workload
from neuro.records import FormKey, SummaryRow


def summary_row(
    key: FormKey,
    name: str,
    workload: Workload,
    estimate: ConventionEstimate,
    timesteps: int,
    bits: int,
    parameters: int,
    accuracy: float | None,
    note: str = "",
) -> SummaryRow:
    """Return the row of one form; `workload` is the measured one that it runs."""
    low, high = estimate.energy_band_j
    rate = workload.firing_rate
    return SummaryRow(
        key=key,
        name=name,
        accuracy=accuracy,
        parameters=parameters,
        timesteps=timesteps,
        bits=bits,
        firing_rate=None if math.isnan(rate) else rate,
        sops=workload.synaptic_operations,
        macs=workload.macs,
        acs=workload.synaptic_operations,
        energy_j=estimate.energy_j,
        energy_low_j=low,
        energy_high_j=high,
        note=note,
    )


def summary_rows(
    timesteps: int,
    parameters: dict[str, int],
    accuracies: dict[str, float | None],
    workloads: dict[str, Workload],
    estimates: dict[str, ConventionEstimate],
) -> list[SummaryRow]:
    """Return the rows: float parent, spiking variant, its merged form, and both quantized to match T.

    Each argument is keyed by `float`, `spiking` and `spiking-merged`; `estimates` by the
    quantized forms too.
    """

    def row(key: FormKey, name: str, measured: str, steps: int, bits: int, note: str = "") -> SummaryRow:
        counts = parameters[measured], accuracies.get(key)
        return summary_row(key, name, workloads[measured], estimates[key], steps, bits, *counts, note)

    bits = rival_bits_of(workloads["spiking-merged"])
    return [
        row("float", "Float parent", "float", 1, 32, "The same topology with ReLU for every neuron, T = 1."),
        row(
            "spiking",
            "Spiking, as trained",
            "spiking",
            timesteps,
            32,
            "Not spike-driven: tensors inside RepConv and SepConv are not spikes and need multiplications.",
        ),
        row(
            "spiking-merged",
            "Spiking, merged",
            "spiking-merged",
            timesteps,
            32,
            "The inference form: RepConv and SepConv merged into dense convolutions that see only spikes.",
        ),
        row(
            "quantized",
            f"Parent at {bits} bits",
            "float",
            1,
            bits,
            f"The parent quantized to {bits} bits, the rival that carries as much through one connection as T spikes: "
            "its cost. Its accuracy is not measured.",
        ),
        row(
            "spiking-quantized",
            f"Spiking at {bits} bits",
            "spiking-merged",
            timesteps,
            bits,
            f"The merged spiking variant with {bits}-bit integer weights, to compare with the quantized "
            "parent at equal width: its cost. Its accuracy is not measured.",
        ),
    ]


def network_rows(
    timesteps: int,
    parameters: int,
    accuracies: tuple[float | None, float | None],
    workloads: dict[str, Workload],
    estimates: dict[str, ConventionEstimate],
) -> list[SummaryRow]:
    """Return the rows of a network that was given: as it is, converted, and both quantized to match T.

    `workloads` are keyed by `float` and `converted`, `accuracies` are theirs, `estimates` have the quantized forms too.
    """
    bits, (of_float, of_converted) = rival_bits_of(workloads["converted"]), accuracies

    def row(key: FormKey, name: str, measured: str, steps: int, width: int, *rest: Any) -> SummaryRow:
        return summary_row(key, name, workloads[measured], estimates[key], steps, width, parameters, *rest)

    return [
        row("float", "Float network", "float", 1, 32, of_float, "The network as it was given, in evaluation mode."),
        row("converted", "Spiking", "converted", timesteps, 32, of_converted, "Every product driven by spikes."),
        row(
            "quantized",
            f"Float network at {bits} bits",
            "float",
            1,
            bits,
            None,
            f"Quantized to {bits} bits, the rival that carries as much through one connection as T spikes, at most 8: "
            "its cost. Its accuracy is not measured.",
        ),
        row(
            "spiking-quantized",
            f"Spiking at {bits} bits",
            "converted",
            timesteps,
            bits,
            None,
            f"With {bits}-bit integer weights, to compare at equal width: its cost. Its accuracy is not measured.",
        ),
    ]
