"""What was measured, at the widths it was measured with: the project's own default.

    E = sum over layers:  MACs x E_MAC(left bits, right bits) + ACs x E_AC(bits of what is added)

MACs and ACs are the executed operations that the Workload records: exact at borders, spikes of any form
decomposed into accumulates. An AC adds the operand that is not the driving spikes (the weight of a
convolution), so it is priced at that operand's width and form. Sums of 1-bit operands are priced as 1-bit
additions: a counter tree over n bits takes about n full adders. A power-of-two spike shifts what is added; the source
has no energy of a shift, and it is priced as the addition alone. As what is added it is the integer that it stands for.
"""

from __future__ import annotations

import functools
from typing import ClassVar

from hardware_models.arithmetic import Number, ac_energy, mac_energy, wider
from hardware_models.conventions.base import FP32, Convention, Priced, shifting
from hardware_models.errors import InputError
from hardware_models.workload import SYNAPTIC, Layer, Operand, Workload


class Horowitz45(Convention):
    """Executed operations at 45 nm figures, each at the width of its own operands."""

    name: ClassVar[str] = "horowitz45"
    title: ClassVar[str] = "measured operations, priced at their operands' widths at 45 nm"
    source: ClassVar[str] = "this project: executed MACs and ACs of the Workload"
    rules: ClassVar[tuple[str, ...]] = (
        "MACs and ACs are those that were executed, as the Workload records them.",
        "A MAC costs a multiplication at its operands' widths and an addition at the wider width.",
        "An AC costs an addition at the width of the operand that is added; spikes only select.",
        "A layer of any kind counts if operations are recorded for it; otherwise only synaptic layers do.",
    )
    assumptions: ClassVar[tuple[str, ...]] = (
        *Convention.assumptions,
        "Accumulators are as wide as the operands, as in the literature's constants; wider ones cost more.",
        "Neuron updates, normalization, residual additions and masks (products of spikes with spikes) are "
        "free unless operations are recorded for them.",
    )

    def price(self, layer: Layer, workload: Workload) -> Priced | None:
        """Price the recorded operations; see `Convention.price`."""
        if not layer.macs and not layer.acs:
            _refuse_unrecorded(layer)
            return Priced(0.0, 0.0, (), "no operation executed") if layer.operator in SYNAPTIC else None
        macs, acs = layer.macs / workload.batch, layer.acs / workload.batch
        prices, rules = [], []
        if layer.macs:
            left, right = self.factors(layer)
            prices.append((macs, mac_energy(self.technology, left, right)))
            rules.append(f"executed MAC, {left} x {right}")
        if layer.acs:
            addend = self.addend(layer)
            prices.append((acs, ac_energy(self.technology, addend)))
            rules.append(f"executed AC, {addend}")
        return Priced(macs, acs, tuple(prices), "; ".join(rules))

    def remarks(self, workload: Workload) -> tuple[str, ...]:
        """Name the matrix products whose other operand was not visible, and the layers that shift."""
        hidden = [
            layer.name
            for layer in workload.layers
            if layer.operator == "matmul" and len(layer.operands) == 1 and (layer.macs or layer.acs)
        ]
        unlisted = (f"An operand that is not listed is taken as {FP32}: {', '.join(hidden)}.",) if hidden else ()
        return (*unlisted, *shifting(workload))

    def factors(self, layer: Layer) -> tuple[Number, Number]:
        """Return the forms of the two factors of a MAC."""
        numbers = [_number(operand) for operand in _operands(layer)]
        return numbers[0], numbers[1] if len(numbers) > 1 else _unlisted(layer, numbers[0])

    def addend(self, layer: Layer) -> Number:
        """Return the form of what an AC adds.

        In a product that is the widest operand beside the driving one; in a sum, the widest operand.
        """
        operands = _operands(layer)
        added = [_number(o) for o in operands if layer.operator not in SYNAPTIC or o.name != layer.driven_by]
        return functools.reduce(wider, added) if added else _unlisted(layer, _number(operands[0]))


def _number(operand: Operand) -> Number:
    return Number(operand.number_bits, floating=operand.form == "float")


def _operands(layer: Layer) -> list[Operand]:
    """Return the operands that are multiplied or added, without the bias; none is an `InputError`."""
    operands = [operand for operand in layer.operands if operand.name != "bias"]
    names = [operand.name for operand in operands]
    if not operands:
        raise InputError(f"layer {layer.name!r} executes operations but lists no operands; list them, with their bits.")
    if layer.driven_by is not None and layer.driven_by not in names:
        raise InputError(
            f"layer {layer.name!r} is driven by {layer.driven_by!r} but its operands are {names}; name one."
        )
    return operands


def _unlisted(layer: Layer, only: Number) -> Number:
    """Return the form of the second operand of a layer that lists one.

    A fused attention kernel hides its softmax weights, which are floating point; a sum has one operand. A
    convolution or linear layer without its weight is an `InputError`.
    """
    if layer.operator == "matmul":
        return FP32
    if layer.operator in SYNAPTIC:
        raise InputError(
            f"layer {layer.name!r} lists one operand only, so the width of the other is unknown; list its "
            "weight and its input, with their bits."
        )
    return only


def _refuse_unrecorded(layer: Layer) -> None:
    """Refuse a convolution or linear layer that must have executed something but records nothing.

    Without a driving operand it takes MACs. An active operand that drives it reaches the other one unless
    strides or gaps in the kernel step over it.
    """
    if layer.operator not in ("conv", "linear") or layer.bounds is None:
        return
    drivers = [operand for operand in layer.operands if operand.name == layer.driven_by]
    stepped_over = any(step > 1 for step in (*layer.bounds.stride, *layer.bounds.dilation))
    active = any(sum(operand.nonzero) for operand in drivers)
    if not drivers or (active and not stepped_over):
        raise InputError(
            f"layer {layer.name!r} records neither MACs nor ACs although its input is not silent; measure "
            "them or write them into its `macs` or `acs`."
        )
