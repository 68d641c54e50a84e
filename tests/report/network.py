"""A made-up network that looks like a Meta-SpikeFormer, of any depth."""

from __future__ import annotations

import random
from collections.abc import Iterator

from hardware_models.convention_estimate import ConventionEstimate
from hardware_models.workload import Bounds, Layer, Workload
from neuro.report.documents import FormKey, RunDocuments

from .synthetic import documents_of, hand_estimate, neuron, operand, summary_row, weight


def _block(
    path: str, width: int, size: int, form: FormKey, seed: random.Random, batch: int, steps: int
) -> Iterator[Layer]:
    """One transformer block: neuron, RepConv, neurons, attention as two products, RepConv, addition."""
    tokens, elements = size * size, width * size * size

    def spikes(density: float) -> tuple[int, ...]:
        return tuple(round(elements * batch * density * seed.uniform(0.7, 1.3)) for _ in range(steps))

    def conv(name: str, kernel: int, fired: tuple[int, ...] | None) -> Layer:
        bounds = Bounds(
            in_channels=width,
            out_channels=width,
            in_size=(size, size),
            out_size=(size, size),
            kernel=(kernel, kernel),
            padding=(kernel // 2, kernel // 2),
        )
        counts = (
            {"acs": round(sum(fired) * bounds.fan_out), "driven_by": "input"}
            if fired
            else {"macs": bounds.macs * steps * batch}
        )
        read = operand("input", "binary" if fired else "float", fired or (elements * batch,) * steps, elements, batch)
        return Layer(
            name=f"{path}.{name}",
            operator="conv",
            op="aten.convolution",
            timesteps=steps,
            bounds=bounds,
            operands=(read, weight(width * width * kernel * kernel)),
            out_elements=elements,
            **counts,
        )

    def norm(name: str) -> Layer:
        return Layer(
            name=f"{path}.{name}",
            operator="norm",
            op="aten.native_batch_norm",
            timesteps=steps,
            out_elements=elements,
        )

    entry = spikes(0.18) if form != "float" else None
    if entry:
        yield neuron(f"{path}.attention.neuron", elements, entry, batch)
    yield conv("attention.qkv" if form != "spiking" else "attention.qkv.expand", 3 if form != "spiking" else 1, entry)
    if form == "spiking":
        yield norm("attention.qkv.norm1")
        yield conv("attention.qkv.spatial", 3, None)
        yield norm("attention.qkv.norm2")
    product = Bounds(
        groups=8, in_channels=tokens * 8, out_channels=width, in_size=(width // 8,), out_size=(width // 8,)
    )
    if form != "float":
        drive = spikes(0.06)
        yield neuron(f"{path}.attention.k_neuron", elements, drive, batch)
        yield Layer(
            name=f"{path}.attention.sdsa.matmul",
            operator="matmul",
            op="aten.bmm",
            timesteps=steps,
            bounds=product,
            operands=(
                operand("left", "binary", drive, elements, batch),
                operand("right", "integer", drive, elements, batch),
            ),
            out_elements=elements,
            acs=round(sum(drive) * product.fan_out),
            driven_by="left",
        )
    else:
        yield Layer(
            name=f"{path}.attention.matmul",
            operator="matmul",
            op="aten.bmm",
            timesteps=1,
            bounds=product,
            operands=(operand("left", "float"), operand("right", "float")),
            out_elements=elements,
            macs=product.macs * batch,
        )
    yield Layer(name=f"{path}.add", operator="add", op="aten.add", timesteps=steps, out_elements=elements)
    entry = spikes(0.12) if form != "float" else None
    if entry:
        yield neuron(f"{path}.mlp.neuron", elements, entry, batch)
    yield conv("mlp.expand", 1, entry)
    if form == "spiking":
        yield norm("mlp.norm")


def _network(form: FormKey, blocks: int, timesteps: int) -> Workload:
    seed, batch = random.Random(7), 2
    steps = 1 if form == "float" else timesteps
    widths = [32, 48, 64, 80]
    bounds = Bounds(
        in_channels=3,
        out_channels=32,
        in_size=(32, 32),
        out_size=(16, 16),
        kernel=(7, 7),
        stride=(2, 2),
        padding=(3, 3),
    )
    layers = [
        Layer(
            name="stem.conv",
            operator="conv",
            op="aten.convolution",
            timesteps=steps,
            bounds=bounds,
            operands=(operand("input", "float", (3072 * batch,) * steps, 3072, batch), weight(4704)),
            out_elements=8192,
            macs=bounds.macs * steps * batch,
        )
    ]
    for n in range(blocks):
        stage = 4 * n // blocks
        layers += _block(f"stage{stage + 1}.{n}", widths[stage], 16 >> stage, form, seed, batch, steps)
    return Workload(
        name=f"spikeformer_v2-tiny-{form}",
        timesteps=steps,
        batch=batch,
        layers=tuple(layers),
        notes=("Padding is counted as data.",),
    )


def network_documents(blocks: int = 8, timesteps: int = 4, epochs: int = 20) -> RunDocuments:
    """A network of `blocks` transformer blocks with three synaptic layers each after merging."""
    forms: tuple[FormKey, ...] = ("spiking-merged", "spiking", "float")
    workloads = {form: _network(form, blocks, timesteps) for form in forms}

    def estimate(form: FormKey, bits: int = 32) -> ConventionEstimate:
        workload = workloads[form]
        costs = tuple(
            (x.name, x.operator, x.macs / workload.batch, x.acs / workload.batch) for x in workload.synaptic_layers()
        )
        return hand_estimate(workload.name, costs, bits)

    estimates: dict[FormKey, ConventionEstimate] = {form: estimate(form) for form in forms} | {
        "quantized": estimate("float", 3)
    }
    fire = {form: {"timesteps": timesteps, "firing_rate": workloads[form].firing_rate} for form in forms[:2]}
    rows = [
        summary_row("float", "Float parent", estimates["float"], accuracy=0.9916666, parameters=412_345),
        summary_row(
            "spiking",
            "Spiking variant, as trained",
            estimates["spiking"],
            accuracy=0.9833333,
            parameters=412_345,
            **fire["spiking"],
        ),
        summary_row(
            "spiking-merged",
            "Spiking variant, merged",
            estimates["spiking-merged"],
            accuracy=0.9833333,
            parameters=598_012,
            note="BatchNorms and RepConvs are folded into single convolutions.",
            **fire["spiking-merged"],
        ),
        summary_row(
            "quantized",
            "Quantized parent",
            estimates["quantized"],
            parameters=412_345,
            bits=3,
            note="The float parent at 3 bits; accuracy not measured, energy in proportion to the bits.",
        ),
    ]
    return documents_of(workloads, rows, estimates, epochs)
