"""Turn the calls that were watched into a Workload."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor

from hardware_models.workload import Layer, Operand, Operator, Workload
from neuro.profiling.activity import Activity, join
from neuro.profiling.calls import Call, Weight


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
    workload.arrays.update({key: value.cpu().numpy() for key, value in arrays.items()})
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
            for site, number in frozenset().union(*(part.sources for part in parts)):
                consumers[instances[site][number % len(instances[site])][0]].add(layer_name)
    return consumers


def _layer(name: str, parts: list[Call], batch: int, consumers: tuple[str, ...]) -> Layer:
    first = parts[0]
    joined = {key: join([part.activations[key] for part in parts]) for key in first.activations}
    macs, acs, driven_by = _cost(parts, joined)
    output = join([part.output for part in parts if part.output]) if first.output else None
    operands = [_activation(f"{name}/{key}", key, activity, batch) for key, activity in joined.items()]
    return Layer(
        name=name,
        operator=_operator(first, joined),
        op=first.op,
        timesteps=sum(part.steps for part in parts),
        bounds=first.bounds,
        operands=(*operands, *(_weight(key, weight) for key, weight in first.weights.items())),
        out_elements=first.out_elements,
        macs=macs,
        acs=acs,
        driven_by=driven_by,
        output=_activation(f"{name}/output", "output", output, batch) if output else None,
        consumers=consumers,
    )


def _cost(parts: list[Call], joined: dict[str, Activity]) -> tuple[int, int, str | None]:
    """Multiply-accumulates, accumulates, and what drives the latter: the cheapest operand that needs no multiplier.

    An operand drives the layer only if it can in every timestep, since the circuit is there for all of them.
    """
    costs: dict[str, int] = {}
    for name in parts[0].fan_out:
        if joined[name].is_spikes:
            steps = joined[name].accumulates.split([part.steps for part in parts])
            costs[name] = sum(int(acs.sum()) * part.fan_out[name] for acs, part in zip(steps, parts, strict=True))
    by_weight = [part.weight_acs for part in parts if part.weight_acs is not None]
    if by_weight and len(by_weight) == len(parts):
        costs["weight"] = sum(by_weight)
    if not costs:
        return sum(part.macs for part in parts), 0, None
    driven_by = min(costs, key=lambda name: costs[name])
    return 0, costs[driven_by], driven_by


def _operator(call: Call, joined: dict[str, Activity]) -> Operator:
    """A product element by element is a mask where one side is spikes."""
    if call.operator == "elementwise" and any(a.values.form in ("binary", "ternary") for a in joined.values()):
        return "mask"
    return call.operator


def _activation(key: str, name: str, activity: Activity, batch: int) -> Operand:
    values, per_step = activity.values, activity.nonzero.sum(1)
    return Operand(
        name=name,
        bits=values.bits,
        signed=values.signed,
        form=values.form,
        scale=values.scale,
        elements=max(1, activity.elements // batch),
        nonzero=tuple(per_step.tolist()),
        magnitude=tuple(int(m) for m in activity.magnitude.tolist()),
        density=tuple((per_step / max(1, activity.elements)).tolist()),
        max_channel_density=tuple((activity.nonzero.amax(1) / max(1, activity.channel_elements)).tolist()),
        channels=key,
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
    found = {f"{layer}/{key}": [part.activations[key] for part in parts] for key in parts[0].activations}
    if parts[0].output is not None:
        found[f"{layer}/output"] = [part.output for part in parts if part.output]
    return {key: torch.cat([activity.nonzero for activity in activities]) for key, activities in found.items()}
