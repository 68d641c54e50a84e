"""Parts of made-up runs, and one run small enough to compute by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from hardware_models.convention_estimate import ConventionEstimate, ConventionLayer
from hardware_models.workload import Bounds, Layer, Operand, Workload
from neuro.records import WORKLOAD_FILES, ConversionRecord, EpochRecord, Estimates, FormKey, SummaryRow
from neuro.report.documents import RunDocuments

MAC_J, AC_J = 4.6e-12, 0.9e-12
LOW, HIGH = 0.8, 1.3


def operand(
    name: str = "input",
    form: str = "float",
    nonzero: tuple[int, ...] = (8,),
    elements: int = 16,
    batch: int = 1,
    **more: Any,
) -> Operand:
    """An operand whose densities follow from its counts."""
    given: dict[str, Any] = {
        "bits": {"binary": 1, "ternary": 2, "integer": 4, "float": 32}[form],
        "signed": form in ("ternary", "float"),
        "magnitude": () if form == "float" else nonzero,
        "density": tuple(count / (elements * batch) for count in nonzero),
    }
    return Operand(name=name, form=form, nonzero=nonzero, elements=elements, **(given | more))  # type: ignore[arg-type]


def weight(elements: int) -> Operand:
    """Floating-point weights."""
    return operand("weight", "float", (elements,), elements, role="weight")


def neuron(name: str, neurons: int, spikes: tuple[int, ...], batch: int) -> Layer:
    """A neuron layer that fires binary spikes."""
    output = operand("output", "binary", spikes, neurons, batch)
    busiest = tuple(min(3 * density, 1.0) for density in output.density)
    return Layer(
        name=name,
        operator="neuron",
        op="neuron.LIF",
        timesteps=len(spikes),
        out_elements=neurons,
        operands=(operand("input", "float", tuple(neurons * batch for _ in spikes), neurons, batch),),
        output=output.model_copy(update={"max_channel_density": busiest}),
    )


def hand_estimate(
    subject: str, layers: tuple[tuple[str, str, float, float], ...], bits: int = 32
) -> ConventionEstimate:
    """Energy of (name, operator, MACs, ACs) at the joules above, in proportion to the bits."""

    def cost(name: str, operator: str, macs: float, acs: float) -> ConventionLayer:
        energy = (macs * MAC_J + acs * AC_J) * bits / 32
        return ConventionLayer(
            name=name,
            operator=operator,
            macs=macs,
            acs=acs,
            energy_j=energy,
            energy_low_j=energy * LOW,
            energy_high_j=energy * HIGH,
            rule="AC per spike" if acs else "MAC on every input",
        )

    return ConventionEstimate(
        subject=subject,
        convention="horowitz45",
        sources=("Horowitz, ISSCC 2014, figure 1.1.9, https://doi.org/10.1109/ISSCC.2014.6757323",),
        layers=tuple(cost(*layer) for layer in layers),
        assumptions=(
            "Memory traffic and neuron updates are not counted.",
            "32-bit floating point, 45 nm, 0.9 V.",
        ),
    )


def summary_row(key: FormKey, name: str, estimate: ConventionEstimate, **more: Any) -> SummaryRow:
    """The summary row that belongs to an estimate."""
    low, high = estimate.energy_band_j
    given: dict[str, Any] = {
        "accuracy": None,
        "parameters": 346,
        "timesteps": 1,
        "bits": 32,
        "firing_rate": None,
        "sops": estimate.acs,
        "macs": estimate.macs,
        "acs": estimate.acs,
        "energy_j": estimate.energy_j,
        "energy_low_j": low,
        "energy_high_j": high,
    }
    return SummaryRow(key=key, name=name, **(given | more))


def record(rows: list[SummaryRow], epochs: int, timesteps: int) -> ConversionRecord:
    """A conversion record with plausible training."""

    def train(start: float, rate: float) -> list[EpochRecord]:
        return [
            EpochRecord(
                epoch=n,
                loss=start * rate**n + 0.02,
                train_accuracy=1 - 0.8 * rate ** (1.4 * n),
                test_accuracy=1 - 0.75 * rate ** (1.3 * n) - 0.012 if n % 2 == 0 or n == 1 else None,
                learning_rate=2e-3 * (1 - n / (epochs + 1)),
                seconds=1.5 + 0.02 * n,
            )
            for n in range(1, epochs + 1)
        ]

    training = {"float": train(2.3, 0.55), "spiking": train(2.3, 0.72)} if epochs else {}
    return ConversionRecord(
        model="spikeformer_v2",
        variant="tiny",
        timesteps=timesteps,
        neuron="lif",
        surrogate="sigmoid",
        attention="sdsa3",
        convention="horowitz45",
        dataset="digits",
        dataset_source="scikit-learn's optical digits (UCI), upsampled to 16x16, split 80:20 with seed 0",
        test_samples=360,
        profiled_samples=2,
        rows=rows,
        training=training,
        merge_error=1.3e-6,
        notes=["The accuracy of the quantized parent is not measured yet."],
    )


def documents_of(
    workloads: dict[FormKey, Workload],
    rows: list[SummaryRow],
    estimates: dict[FormKey, ConventionEstimate],
    epochs: int,
) -> RunDocuments:
    """Put the parts of a run together."""
    return RunDocuments(
        spec={
            "model": "spikeformer_v2",
            "variant": "tiny",
            "timesteps": workloads["spiking"].timesteps,
            "seed": 0,
        },
        record=record(rows, epochs, workloads["spiking"].timesteps),
        workloads=workloads,
        estimates=estimates,
        environment={
            "started": "2025-06-01T12:00:00Z",
            "command": "neuro convert --model spikeformer_v2 --timesteps 4",
            "versions": {"neuro": "0.1.0", "torch": "2.11.0"},
            "seed": 0,
        },
        date="2025-06-01 12:00 UTC",
    )


def small_documents(name: str = "stem") -> RunDocuments:
    """A convolution on real values, a neuron layer, a linear layer on its spikes; T = 2, two samples.

    stem.conv is 1 -> 2 channels, 3x3 on 4x4: 16 * 2 * 9 = 288 MACs a step, 576 an inference. Its 32 neurons
    fire 16 then 8 spikes over both samples. head is 32 -> 10: 240 accumulates over both, 120 an inference.
    """
    conv = Layer(
        name=f"{name}.conv",
        operator="conv",
        op="aten.convolution",
        timesteps=2,
        out_elements=32,
        macs=1152,
        bounds=Bounds(in_channels=1, out_channels=2, in_size=(4, 4), out_size=(4, 4), kernel=(3, 3), padding=(1, 1)),
        operands=(operand("input", "float", (30, 30), 16, 2), weight(18)),
    )
    norm = Layer(
        name=f"{name}.norm",
        operator="norm",
        op="aten.native_batch_norm",
        timesteps=2,
        out_elements=32,
        operands=(operand("input", "float", (64, 64), 32, 2),),
    )
    fired = neuron(f"{name}.neuron", 32, (16, 8), 2)
    head = Layer(
        name="head",
        operator="linear",
        op="aten.addmm",
        timesteps=2,
        out_elements=10,
        acs=240,
        driven_by="input",
        bounds=Bounds(in_channels=32, out_channels=10, in_size=(1,), out_size=(1,)),
        operands=(operand("input", "binary", (16, 8), 32, 2, scale=0.25), weight(320)),
    )
    dense = head.model_copy(
        update={
            "operands": (operand("input", "float", (40,), 32, 2), weight(320)),
            "timesteps": 1,
            "acs": 0,
            "macs": 640,
            "driven_by": None,
        }
    )
    once = conv.model_copy(
        update={
            "timesteps": 1,
            "macs": 576,
            "operands": (operand("input", "float", (30,), 16, 2), weight(18)),
        }
    )
    workloads: dict[FormKey, Workload] = {
        "spiking-merged": Workload(name="small", timesteps=2, batch=2, layers=(conv, fired, head)),
        "spiking": Workload(name="small", timesteps=2, batch=2, layers=(conv, norm, fired, head)),
        "float": Workload(name="small-float", timesteps=1, batch=2, layers=(once, dense)),
    }
    spiking = ((conv.name, "conv", 576.0, 0.0), ("head", "linear", 0.0, 120.0))
    parent = ((conv.name, "conv", 288.0, 0.0), ("head", "linear", 320.0, 0.0))
    estimates: dict[FormKey, ConventionEstimate] = {
        "float": hand_estimate("small-float", parent),
        "spiking": hand_estimate("small", spiking),
        "spiking-merged": hand_estimate("small", spiking),
        "quantized": hand_estimate("small-float", parent, bits=2),
    }
    fire = {"timesteps": 2, "firing_rate": 0.1875, "sops": 120.0}
    rows = [
        summary_row("float", "Float parent", estimates["float"], accuracy=0.9916666666666667),
        summary_row(
            "spiking",
            "Spiking variant, as trained",
            estimates["spiking"],
            accuracy=0.9833333333333333,
            **fire,
        ),
        summary_row(
            "spiking-merged",
            "Spiking variant, merged",
            estimates["spiking-merged"],
            accuracy=0.9833333333333333,
            **fire,
        ),
        summary_row(
            "quantized",
            "Quantized parent",
            estimates["quantized"],
            bits=2,
            sops=0.0,
            note="Its cost at 2 bits; its accuracy is not measured.",
        ),
    ]
    return documents_of(workloads, rows, estimates, epochs=3)


def write_run(documents: RunDocuments, directory: Path) -> None:
    """Write the documents as `neuro convert` does."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "spec.yaml").write_text(yaml.safe_dump(dict(documents.spec)))
    (directory / "conversion.json").write_text(documents.record.model_dump_json(by_alias=True))
    for form, workload in documents.workloads.items():
        workload.save(directory / WORKLOAD_FILES[form])
    estimates = Estimates(estimates=dict(documents.estimates))
    (directory / "estimate.json").write_text(estimates.model_dump_json(by_alias=True))
    (directory / "environment.json").write_text(json.dumps(dict(documents.environment)))
