"""The interface of a convention: a named, sourced set of rules that turns operation counts into energy.

    E = sum over layers, sum over kinds of operation:  count x energy of one operation

Conventions differ in what they count, not in this sum. A convention prices one layer at a time; what it
leaves out is named in the estimate's assumptions, never dropped silently.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from hardware_models.arithmetic import Number, ac_energy, mac_energy
from hardware_models.convention_estimate import ConventionEstimate, ConventionLayer
from hardware_models.errors import InputError
from hardware_models.quantity import Quantity
from hardware_models.technology import Technology, technology
from hardware_models.workload import SYNAPTIC, Layer, Operand, Workload

FP32 = Number(32, floating=True)
"""The operand form of the spiking literature's constants."""


@dataclass(frozen=True)
class Priced:
    """What a convention counts in one layer, for one inference, and what each operation costs.

    Attributes:
        macs: multiply-accumulates.
        acs: accumulates.
        prices: (count, energy of one) for each kind of operation.
        rule: the rule that was applied, in a few words.
    """

    macs: float
    acs: float
    prices: tuple[tuple[float, Quantity], ...]
    rule: str

    def layer_estimate(self, name: str, operator: str) -> ConventionLayer:
        """Return the layer's line of an estimate, in joules."""
        return ConventionLayer(
            name=name,
            operator=operator,
            macs=self.macs,
            acs=self.acs,
            energy_j=math.fsum(count * price.si for count, price in self.prices),
            energy_low_j=math.fsum(count * price.si_band[0] for count, price in self.prices),
            energy_high_j=math.fsum(count * price.si_band[1] for count, price in self.prices),
            rule=self.rule,
        )


class Convention(ABC):
    """A named set of counting rules.

    Attributes:
        name: how it is asked for.
        title: one line, for people.
        source: paper and code that the rules were read in.
        rules: what is counted, one sentence each.
        assumptions: what every estimate under these rules takes for granted, one sentence each.
        technology_name: the technology whose figures price the operations.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    rules: ClassVar[tuple[str, ...]]
    assumptions: ClassVar[tuple[str, ...]] = (
        "Only arithmetic is priced: memory traffic, control, leakage and the network between cores are not.",
    )
    technology_name: ClassVar[str] = "horowitz45"

    @property
    def technology(self) -> Technology:
        """The figures that price the operations."""
        return technology(self.technology_name)

    @property
    def sources(self) -> tuple[str, ...]:
        """Where rules and constants come from."""
        return (self.source, self.technology.source)

    @property
    def fp32_mac(self) -> Quantity:
        """Energy of a 32-bit floating-point multiply-accumulate, the literature's E_MAC."""
        return mac_energy(self.technology, FP32, FP32)

    @property
    def fp32_ac(self) -> Quantity:
        """Energy of a 32-bit floating-point accumulate, the literature's E_AC."""
        return ac_energy(self.technology, FP32)

    @abstractmethod
    def price(self, layer: Layer, workload: Workload) -> Priced | None:
        """Return what the rules count in `layer` for one inference; None where they leave it out.

        Raises:
            InputError: the rules apply but something they need is missing; the message names the layer.
        """

    def remarks(self, workload: Workload) -> tuple[str, ...]:
        """Return what has to be said of this workload in particular, one sentence each."""
        return ()

    def estimate(self, workload: Workload) -> ConventionEstimate:
        """Return the cost of one inference: counts averaged over the workload's batch.

        Raises:
            InputError: a layer lacks a figure that the rules need, or a width has no energy.
        """
        priced = [(layer, self.price(layer, workload)) for layer in workload.layers]
        ignored = [layer for layer, price in priced if price is None]
        return ConventionEstimate(
            subject=workload.name,
            convention=self.name,
            sources=self.sources,
            layers=tuple(price.layer_estimate(layer.name, layer.operator) for layer, price in priced if price),
            assumptions=(*self.assumptions, *self.remarks(workload), *_left_out(ignored), *workload.notes),
        )


def accumulates_only(layer: Layer) -> bool:
    """Return whether a synaptic layer adds and never multiplies, by its driver or its recorded counts."""
    return layer.accumulate_only or (layer.operator in SYNAPTIC and layer.acs > 0 and not layer.macs)


def shifting(workload: Workload) -> tuple[str, ...]:
    """Say what power-of-two spikes, if any drive the workload, are taken to cost."""
    layers = [
        layer.name
        for layer in workload.synaptic_layers()
        if any(operand.name == layer.driven_by and operand.form == "power-of-two" for operand in layer.operands)
    ]
    if not layers:
        return ()
    return (f"Power-of-two spikes cost an addition each; no figure is known for the shift: {', '.join(layers)}.",)


def spike_operands(layer: Layer) -> list[Operand]:
    """Return the activations of `layer` that are {0,1} spikes, up to one scale."""
    return [o for o in layer.operands if o.role == "activation" and o.form == "binary"]


def mean_density(layer: Layer, operand: Operand) -> float:
    """Return the operand's share of non-zero values over all timesteps; an unrecorded one is an
    `InputError`."""
    if not operand.density:
        raise InputError(
            f"layer {layer.name!r}: operand {operand.name!r} records no density, so its accumulates are "
            "unknown; give one number from 0 to 1 for each timestep."
        )
    return operand.mean_density


def _left_out(layers: list[Layer]) -> tuple[str, ...]:
    """Name what was left out: each synaptic layer, the others by operator."""
    synaptic = [layer.name for layer in layers if layer.operator in SYNAPTIC]
    others = Counter(layer.operator for layer in layers if layer.operator not in SYNAPTIC)
    sentences = []
    if synaptic:
        sentences.append(f"Left out by the rules: {', '.join(synaptic)}.")
    if others:
        kinds = ", ".join(f"{count} {operator}" for operator, count in sorted(others.items()))
        sentences.append(f"Not counted, by kind of layer: {kinds}.")
    return tuple(sentences)
