"""The summary table: one row for each form of the network."""

from __future__ import annotations

import math

from hardware_models.convention_estimate import ConventionEstimate
from hardware_models.conventions import rival_bits
from hardware_models.workload import Workload
from neuro.records import SummaryRow


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

    def row(key: str, name: str, measured: str, steps: int, bits: int, note: str = "") -> SummaryRow:
        workload, estimate = workloads[measured], estimates[key]
        low, high = estimate.energy_band_j
        rate = workload.firing_rate
        return SummaryRow.model_validate(
            {
                "key": key,
                "name": name,
                "accuracy": accuracies.get(key),
                "parameters": parameters[measured],
                "timesteps": steps,
                "bits": bits,
                "firing_rate": None if math.isnan(rate) else rate,
                "sops": workload.synaptic_operations,
                "macs": workload.macs,
                "acs": workload.synaptic_operations,
                "energy_j": estimate.energy_j,
                "energy_low_j": low,
                "energy_high_j": high,
                "note": note,
            }
        )

    bits = rival_bits(timesteps)
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
            f"The parent quantized to ceil(log2(T + 1)) = {bits} bits, the rival that carries as much "
            "through one connection: its cost. Its accuracy is not measured.",
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
