"""What crosses a cut of a network: results of layers before it that layers behind it read, and in how many bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hardware_models.layer_table import UNREAD_BITS
from hardware_models.workload import Layer, Operand, Workload

Encoding = Literal["dense", "address events"]
"""dense: every value in its width. address events: place (and value, where it is not 1) of values that are not 0."""


@dataclass(frozen=True)
class Crossing:
    """One tensor that crosses a cut.

    Attributes:
        layers: whose result it is; of several, their sum.
        elements: values in one timestep.
        timesteps: how often it is sent in one inference.
        bits_per_value: width of a value when it is sent dense.
        encoding: the one of fewer bits.
        bits: of one inference of one sample.
    """

    layers: tuple[str, ...]
    elements: int
    timesteps: int
    bits_per_value: int
    encoding: Encoding
    bits: float


def crossings(workload: Workload, place: int) -> tuple[Crossing, ...]:
    """Return what crosses the cut before layer `place`.

    A value is as wide as its readers behind the cut were seen to read it; a sum that charges a neuron has
    `UNREAD_BITS`. Spikes are sent in the encoding of fewer bits:

        dense          elements x bits x timesteps
        address events nonzero values x (ceil(log2(elements x timesteps)) + bits of the value)

    with 0 bits for the value of a binary spike and 1, its sign, of a ternary one. Results without spikes that are
    summed before anything behind the cut reads them (the branches of a residual stream: same size, same readers, each
    of which reads as many values as one of them has) cross as their sum. Where a pool or a mean lies between a layer
    and its reader, the larger tensor before it is counted on both of its sides.

    Args:
        workload: the network, its consumers named.
        place: 1 to the number of layers - 1.
    """
    behind = {layer.name: layer for layer in workload.layers[place:]}
    groups: dict[tuple[object, ...], list[Layer]] = {}
    for layer in workload.layers[:place]:
        readers = tuple(name for name in layer.consumers if name in behind)
        if readers:
            alone = layer.output is not None or not all(_reads_sum(behind[name], layer) for name in readers)
            key = (frozenset(readers), layer.out_elements, layer.timesteps, layer.name if alone else None)
            groups.setdefault(key, []).append(layer)
    return tuple(
        _crossing(group, [behind[name] for name in group[0].consumers if name in behind], workload.batch)
        for group in groups.values()
    )


def _reads_sum(reader: Layer, layer: Layer) -> bool:
    """Whether all that arrives at `reader` is added up to a tensor of the size of `layer`'s result."""
    if reader.operator == "neuron":
        return reader.out_elements == layer.out_elements
    activations = [one for one in reader.operands if one.role == "activation"]
    return len(activations) == 1 and activations[0].elements == layer.out_elements


def _crossing(group: Sequence[Layer], readers: Sequence[Layer], batch: int) -> Crossing:
    first = group[0]
    seen = first.output or _as_read(first, readers)
    width = seen.bits if seen else max(_read_bits(reader, first) for reader in readers)
    values = first.out_elements * first.timesteps
    dense = float(values * width)
    events = _event_bits(seen, values, batch) if seen and len(group) == 1 else math.inf
    return Crossing(
        layers=tuple(layer.name for layer in group),
        elements=first.out_elements,
        timesteps=first.timesteps,
        bits_per_value=width,
        encoding="address events" if events < dense else "dense",
        bits=min(dense, events),
    )


def _as_read(layer: Layer, readers: Sequence[Layer]) -> Operand | None:
    """The result of `layer` as all its readers were seen to read it; None where that is not known, or no spikes."""
    found = [_matching(reader, layer) for reader in readers]
    known = [one[0] for one in found if len(one) == 1]
    alike = len(known) == len(found) and len({(one.form, one.bits, one.nonzero) for one in known}) == 1
    return known[0] if alike and known[0].is_spikes and len(known[0].nonzero) == layer.timesteps else None


def _matching(reader: Layer, layer: Layer) -> list[Operand]:
    if reader.operator == "neuron":
        return []
    return [one for one in reader.operands if one.role == "activation" and one.elements == layer.out_elements]


def _read_bits(reader: Layer, layer: Layer) -> int:
    if reader.operator == "neuron":  # charged by sums
        return UNREAD_BITS
    operands = _matching(reader, layer) or [one for one in reader.operands if one.role == "activation"]
    return max((one.bits for one in operands), default=UNREAD_BITS)


def _event_bits(spikes: Operand, values: int, batch: int) -> float:
    if not spikes.is_spikes:
        return math.inf
    value_bits = {"binary": 0, "ternary": 1}.get(spikes.form, spikes.bits)
    address_bits = max(1, math.ceil(math.log2(values)))
    return sum(spikes.nonzero) / batch * (address_bits + value_bits)
