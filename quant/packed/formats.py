"""From the quantizers of a network to what the kernels hold."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from quant.packed.activations import (
    SIGNS,
    SPIKES,
    ActivationFormat,
    Layout,
    PackedActivation,
    levels,
    pack_levels,
    pack_signs,
    pack_spikes,
)
from quant.packed.values import Steps, fire
from quant.packed.weights import PackedWeight
from quant.quantizers import Binary, Pact, Quantizer, Spikes, Ternary, Uniform

MOST_BITS = 8


class UnpackableError(ValueError):
    """Packed form cannot hold it; the message says why, in a few words."""


@dataclass(frozen=True, eq=False)
class Packing:
    """How an activation is packed.

    Attributes:
        format: of the integers.
        scale: of one of them.
        threshold: of signs: one number or `[C]`.
        axis: of the channels that thresholds belong to; None for one threshold.
        neurons: that fire; None where no spikes are packed.
    """

    format: ActivationFormat
    scale: float
    threshold: Tensor | float = 0.0
    axis: int | None = None
    neurons: Spikes | None = None

    def pack(self, x: Tensor, layout: Layout, image: bool = False) -> PackedActivation:
        """Pack float32 `[..., C]`, or `[B, C, ...]` of images."""
        if self.neurons is not None:
            x = _fired(x, self.neurons, self.scale)
        if image:
            x = x.movedim(1, -1)
        if self.neurons is not None:
            return pack_spikes(x, layout)
        if self.format.factor == 2:
            return pack_signs(x, self.threshold, layout)
        return pack_levels(x, self.scale, self.format, layout)


def _fired(x: Tensor, neurons: Spikes, threshold: float) -> Tensor:
    """Spikes, uint8, of the shape of x."""
    axis, shape, steps = neurons.batch_axis, x.shape, neurons.timesteps
    if (axis, neurons.outer) == (0, 1):
        return fire(x, steps, threshold, neurons.leak, neurons.membrane_bits)
    apart = x.unflatten(axis, (neurons.outer, steps, shape[axis] // (neurons.outer * steps))).movedim(axis + 1, 0)
    spikes = fire(apart.contiguous(), steps, threshold, neurons.leak, neurons.membrane_bits)
    return spikes.movedim(0, axis + 1).reshape(shape)


@torch.no_grad()
def packing(quantizer: Quantizer) -> Packing:
    """Return how what a quantizer makes is packed.

    Raises:
        UnpackableError: why it cannot be.
    """
    if isinstance(quantizer, Spikes):
        return Packing(SPIKES, _number(quantizer.scale(torch.empty(0))), neurons=quantizer)
    if isinstance(quantizer, Binary):
        return _signs(quantizer)
    if not isinstance(quantizer, Uniform | Pact):
        raise UnpackableError(f"activations by {type(quantizer).__name__}")
    low, high = quantizer.limits()
    zero = int(quantizer.zero_point())
    if quantizer.axis is not None:
        raise UnpackableError("activations with a scale for each channel")
    if quantizer.bits > MOST_BITS:
        raise UnpackableError(f"activations of {quantizer.bits} bits")
    if not low <= zero <= high:
        raise UnpackableError(f"the zero point {zero} is no code, of {low}..{high}")
    form = levels(quantizer.bits, zero, low < 0, low == -high)
    return Packing(form, _number(quantizer.scale(torch.empty(1))))


def _signs(quantizer: Binary) -> Packing:
    if quantizer.scaling == "mean" or quantizer.by_channel:
        raise UnpackableError("activations with a scale for each channel or sample")
    scale = _number(quantizer.scale(torch.empty(0)))
    if not quantizer.shifts:
        return Packing(SIGNS, scale)
    return Packing(SIGNS, scale, quantizer.shift_.detach().clone(), quantizer.axis)


@torch.no_grad()
def steps(quantizer: Quantizer) -> Steps:
    """Return the steps that a quantizer puts values on.

    Raises:
        UnpackableError: they are not equal ones, the same for all values.
    """
    if not isinstance(quantizer, Uniform) or quantizer.axis is not None:
        raise UnpackableError("no equal steps")
    low, high = quantizer.limits()
    return Steps(_number(quantizer.scale(torch.empty(1))), float(quantizer.zero_point()), low, high)


@torch.no_grad()
def packed_weight(quantizer: Quantizer, value: Tensor) -> PackedWeight:
    """Return a weight as its quantizer makes it, output channels first: `[O, ...]`.

    Raises:
        UnpackableError: why it cannot be.
        InputError: a scale is zero or not finite.
    """
    if value.dim() < 2:
        raise UnpackableError("a weight of one axis")
    low, high = quantizer.limits()
    form, bits = _form(quantizer, low, high)
    codes, scale = quantizer.codes(value).round(), quantizer.scale(value)
    axis = quantizer.axis or 0
    return PackedWeight.from_codes(codes.movedim(axis, 0).to(torch.int32), scale.flatten(), form, bits)


def _form(quantizer: Quantizer, low: int, high: int) -> tuple[str, int]:
    if isinstance(quantizer, Binary):
        return "binary", 1
    if isinstance(quantizer, Ternary) or (low, high) == (-1, 1):
        return "ternary", 2
    bits = next(bits for bits in range(1, 64) if -(2 ** (bits - 1)) <= low and high < 2 ** (bits - 1))
    if bits > MOST_BITS:
        raise UnpackableError(f"weights of whole numbers of {bits} bits")
    return "integer", bits


def values_of(weight: PackedWeight, axis: int | None) -> Tensor:
    """Return codes times scales, float32, output channels on `axis`."""
    scale = weight.scale.view(-1, *[1] * (len(weight.shape) - 1))
    return (weight.codes() * scale).movedim(0, axis or 0).contiguous()


def _number(value: Tensor) -> float:
    return float(value.reshape(-1)[0])
