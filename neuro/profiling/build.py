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

    Code that runs one timestep, or a piece of them, at a time calls a site again and again (r times as often where it
    is used r times a step): calls that hold T timesteps together join. One that holds all of them, or that runs
    outside of time, is a layer by itself.
    """
    uses = sum(call.steps for call in calls) // timesteps
    joined = [calls[use::uses] for use in range(uses)]
    if not joined or any(sum(call.steps for call in parts) != timesteps for parts in joined):
        joined = [[call] for call in calls]
    for use, parts in enumerate(joined):
        yield site if use == 0 else f"{site}@{use + 1}", parts


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
    macs, accumulates, driven_by = _cost(parts, joined)
    output = join([part.output for part in parts if part.output]) if first.output else None
    steps = sum(part.steps for part in parts)
    operands = [_activation(f"{name}/{key}", key, activity, batch) for key, activity in joined.items()]
    return Layer(
        name=name,
        operator=_operator(first, joined),
        op=first.op,
        timesteps=steps,
        bounds=first.bounds,
        operands=(*operands, *(_weight(key, weight) for key, weight in first.weights.items())),
        out_elements=first.out_elements,
        macs=macs,
        acs=sum(accumulates),
        acs_by_timestep=accumulates if len(accumulates) == steps else (),
        driven_by=driven_by,
        output=_activation(f"{name}/output", "output", output, batch) if output else None,
        consumers=consumers,
    )


def _cost(parts: list[Call], joined: dict[str, Activity]) -> tuple[int, tuple[int, ...], str | None]:
    """Multiply-accumulates, accumulates by timestep, and what drives the latter: the cheapest operand that needs no
    multiplier.

    An operand drives the layer only if it can in every timestep, since the circuit is there for all of them.
    """
    costs: dict[str, tuple[int, ...]] = {}
    for name in parts[0].fan_out:
        if joined[name].is_spikes:
            counted = joined[name].accumulates.split([len(part.activations[name].nonzero) for part in parts])
            costs[name] = tuple(
                int(count) * part.fan_out[name]
                for counts, part in zip(counted, parts, strict=True)
                for count in counts.tolist()
            )
    by_weight = [(part.weight_acs, part.steps) for part in parts if part.weight_acs is not None]
    if by_weight and len(by_weight) == len(parts):
        costs["weight"] = tuple(acs // steps for acs, steps in by_weight for _ in range(steps))
    if not costs:
        return sum(part.macs for part in parts), (), None
    driven_by = min(costs, key=lambda name: sum(costs[name]))
    return 0, costs[driven_by], driven_by


_SELECTING = ("binary", "ternary", "power-of-two")
"""Forms of spikes that select or shift what they are multiplied with."""


def _operator(call: Call, joined: dict[str, Activity]) -> Operator:
    """A product element by element is a mask where one side is spikes."""
    if call.operator == "elementwise" and any(a.values.form in _SELECTING for a in joined.values()):
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
        levels=values.levels,
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
        levels=weight.values.levels,
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
