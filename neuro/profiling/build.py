"""Turn the calls that were watched into a Workload."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor

from hardware_models.workload import Layer, Operand, Workload
from neuro.profiling.activity import Activity
from neuro.profiling.forms import Values
from neuro.profiling.operators import Call, Weight


def build_workload(name: str, calls: dict[str, list[Call]], timesteps: int, batch: int) -> Workload:
    """Assemble the layers in execution order, join the timesteps of single-step code, and draw the edges."""
    instances = {site: list(_instances(site, found, timesteps)) for site, found in calls.items()}
    consumers = _consumers(instances)
    layers, arrays, notes = [], {}, []
    for found in instances.values():
        for layer_name, parts in found:
            layer = _layer(layer_name, parts, batch, tuple(sorted(consumers[layer_name])))
            layers.append(layer)
            arrays.update(_channel_arrays(layer_name, parts))
            notes += [f"{layer_name}: {part.note}." for part in parts[:1] if part.note]
    workload = Workload(name=name, timesteps=timesteps, batch=batch, layers=tuple(layers), notes=tuple(notes))
    workload.arrays.update({key: value.numpy() for key, value in arrays.items()})
    return workload


def _instances(site: str, calls: list[Call], timesteps: int) -> Iterator[tuple[str, list[Call]]]:
    """Split a site's calls into layers.

    Single-step code calls a site T times (r T times where it is used r times a step): those join. A call that
    holds all timesteps, or that runs outside of time, is a layer by itself.
    """
    single_step = timesteps > 1 and all(call.steps == 1 for call in calls) and len(calls) % timesteps == 0
    uses = len(calls) // timesteps if single_step else len(calls)
    for use in range(uses):
        yield site if use == 0 else f"{site}@{use + 1}", calls[use::uses] if single_step else [calls[use]]


def _consumers(instances: dict[str, list[tuple[str, list[Call]]]]) -> dict[str, set[str]]:
    consumers: dict[str, set[str]] = defaultdict(set)
    for found in instances.values():
        for layer_name, parts in found:
            for source in parts[0].sources:
                for source_name, _ in instances[source]:
                    consumers[source_name].add(layer_name)
    return consumers


def _layer(name: str, parts: list[Call], batch: int, consumers: tuple[str, ...]) -> Layer:
    first = parts[0]
    operands = [_activation(name, key, [p.activations[key] for p in parts], batch) for key in first.activations]
    operands += [_weight(key, weight) for key, weight in first.weights.items()]
    output = None
    if first.output is not None:
        output = _activation(name, "output", [p.output for p in parts if p.output is not None], batch)
    return Layer(
        name=name,
        operator=first.operator,
        op=first.op,
        timesteps=sum(part.steps for part in parts),
        bounds=first.bounds,
        operands=tuple(operands),
        out_elements=first.out_elements,
        macs=sum(part.macs for part in parts),
        acs=sum(part.acs for part in parts),
        driven_by=_driven_by(parts),
        output=output,
        consumers=consumers,
    )


def _driven_by(parts: list[Call]) -> str | None:
    """The operand that drives accumulates; None when some timestep needed multiplications."""
    return None if any(part.macs for part in parts) else parts[0].driven_by


_FORMS = ("binary", "ternary", "integer", "float")


def _widest(parts: list[Activity]) -> Values:
    """What the values are over all timesteps: the widest form met, silent timesteps aside."""
    active = [part.values for part in parts if int(part.nonzero.sum())] or [parts[0].values]
    return max(active, key=lambda values: (_FORMS.index(values.form), values.bits))


def _activation(layer: str, name: str, parts: list[Activity], batch: int) -> Operand:
    values = _widest(parts)
    nonzero = torch.cat([part.nonzero for part in parts])
    per_step = nonzero.sum(1)
    spikes = values.form != "float"
    return Operand(
        name=name,
        bits=values.bits,
        signed=values.signed,
        form=values.form,
        scale=values.scale,
        elements=max(1, parts[0].elements // batch),
        nonzero=tuple(per_step.tolist()),
        magnitude=tuple(int(m) for part in parts for m in part.magnitude.tolist()) if spikes else (),
        density=tuple((per_step / max(1, parts[0].elements)).tolist()),
        max_channel_density=tuple((nonzero.amax(1) / max(1, parts[0].channel_elements)).tolist()),
        channels=f"{layer}/{name}",
    )


def _weight(name: str, weight: Weight) -> Operand:
    return Operand(
        name=name,
        role="weight",
        bits=weight.values.bits,
        signed=weight.values.signed,
        form=weight.values.form,
        scale=weight.values.scale,
        elements=weight.elements,
        nonzero=(weight.nonzero,),
        density=(weight.nonzero / weight.elements,),
    )


def _channel_arrays(layer: str, parts: list[Call]) -> dict[str, Tensor]:
    """Non-zero counts by timestep and channel, under the keys that the operands name."""
    arrays = {}
    for key in parts[0].activations:
        arrays[f"{layer}/{key}"] = torch.cat([part.activations[key].nonzero for part in parts])
    if parts[0].output is not None:
        arrays[f"{layer}/output"] = torch.cat([part.output.nonzero for part in parts if part.output is not None])
    return arrays
