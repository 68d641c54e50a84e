"""Linear layers and depthwise convolutions of spikes: additions of weights, exact where the weights are integers.

    y[.., n] = scale[n] sum_k s[.., k] w[n, k] + bias[n]

`spike_linear` takes floating-point weights or a prepared `SpikeWeight` (int8, ternary, binary or event-driven floats);
which algorithm runs is in the table of `plan`. `spike_depthwise` convolves time-packed spikes.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from hardware_models.errors import InputError
from neuro.kernels import native
from neuro.kernels.bitpack import pack_words, unpack_words
from neuro.kernels.dispatch import Implementation, Operator, Request
from neuro.kernels.spike_linear import cpu, fused, plan, reference
from neuro.kernels.spike_linear.depthwise import spike_depthwise
from neuro.kernels.spike_linear.weights import SpikeWeight, binary_weight, float_weight, int8_weight, ternary_weight

__all__ = [
    "SpikeWeight",
    "binary_weight",
    "float_weight",
    "int8_weight",
    "spike_depthwise",
    "spike_linear",
    "ternary_weight",
]

SPIKES: Final = (torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.uint8, torch.int8)


def spike_linear(spikes: Tensor, weight: Tensor | SpikeWeight, bias: Tensor | None = None) -> Tensor:
    """Apply a linear layer to spikes.

    Args:
        spikes: `[..., K]` of 0 and 1, floating-point, bool, uint8 or int8; or int32 words `[..., ceil(K/32)]`, bit i
            of word w being input 32 w + i (`bitpack.pack_words`).
        weight: `[N, K]`, floating-point or int8; or a `SpikeWeight`. Prepared ones serve inference.
        bias: `[N]`.

    Returns:
        `[..., N]`: for integer weights without scale and bias the exact sums in int32 (K < 2^24), with them in the
        scale's dtype; for floating-point weights their dtype.

    Raises:
        InputError: shapes or dtypes do not fit, a gradient is asked of a prepared weight, or integer weights meet a
            value other than 0 and 1.
    """
    prepared = weight if isinstance(weight, SpikeWeight) else _as_given(weight)
    packed = spikes.dtype == torch.int32
    _check(spikes, prepared, packed)
    if not isinstance(weight, SpikeWeight) and prepared.form == "float":
        s = unpack_words(spikes, prepared.inputs, weight.dtype) if packed else spikes.to(weight.dtype)
        return F.linear(s, weight, bias)
    if torch.is_grad_enabled() and spikes.requires_grad:
        raise InputError("spike_linear was asked for a gradient through a prepared weight; train with plain weights.")
    rows = spikes if spikes.dim() == 2 else spikes.reshape(spikes.shape[:-1].numel(), spikes.shape[-1])
    y = _product(rows, prepared, packed)
    if prepared.scale is not None:
        y = y.to(prepared.scale.dtype).mul_(prepared.scale)
    if bias is not None:
        y = y + bias
    return y if spikes.dim() == 2 else y.reshape(*spikes.shape[:-1], prepared.outputs)


def _as_given(weight: Tensor) -> SpikeWeight:
    if weight.dtype == torch.int8:
        return int8_weight(weight)
    return float_weight(weight, event_driven=False)


def _check(spikes: Tensor, weight: SpikeWeight, packed: bool) -> None:
    if not packed and spikes.dtype not in SPIKES:
        raise InputError(f"spikes were given as {spikes.dtype}; give fp32, fp16, bf16, bool, uint8, int8 or words.")
    width = (weight.inputs + 31) // 32 if packed else weight.inputs
    if spikes.dim() == 0 or spikes.shape[-1] != width:
        raise InputError(
            f"spike_linear was given {spikes.dtype} spikes of shape {tuple(spikes.shape)} for K={weight.inputs}; "
            f"the last axis must have {width}."
        )


def _product(spikes: Tensor, weight: SpikeWeight, packed: bool) -> Tensor:
    """Multiply `[M, K]` or `[M, W]`."""
    if weight.form in ("ternary", "binary"):
        words = spikes if packed else pack_words(spikes.view(torch.uint8) if spikes.dtype == torch.int8 else spikes)
        minus = weight.planes[1] if weight.form == "ternary" else None
        return torch.ops.neuro.spike_bits(words, weight.planes[0], minus, weight.inputs)
    s = unpack_words(spikes, weight.inputs, torch.uint8) if packed else spikes
    return torch.ops.neuro.spike_dense(s, weight.planes[0], weight.input_major)


def _native_dense(s: Tensor, weight: Tensor, input_major: Tensor | None) -> Tensor:
    integer = weight.dtype == torch.int8
    floats_by_event = input_major is not None and weight.dtype == torch.float32
    if not (integer or floats_by_event):
        return reference.product(s, weight)
    if s.dtype == torch.bool and input_major is None:  # bytes of 0 and 1 as they are, with nothing to count
        return fused.int_product(s.contiguous().view(torch.int8), weight)
    if not integer and _sampled_rate(s) > 2 * plan.largest_rate("float", s.shape[0]):
        return reference.product(s, weight)
    found, ones, others = cpu.spike_bytes(s)
    if others and integer:
        raise InputError(f"{others} of {s.numel()} values are neither 0 nor 1; integer weights take spikes.")
    rate = ones / s.numel() if s.numel() else 0.0
    usable = input_major is not None and not others
    algorithm = plan.choose("int8" if integer else "float", s.shape[0], rate, weight.numel(), usable)
    if algorithm == "gather" and input_major is not None:
        return cpu.gather(found, input_major)
    return fused.int_product(found.view(torch.int8), weight) if integer else reference.product(s, weight)


def _sampled_rate(s: Tensor) -> float:
    """The firing rate of the first rows, so that dense spikes are not converted in vain."""
    few = s[: 4096 // max(s.shape[1], 1) + 1]
    return cpu.spike_bytes(few)[1] / few.numel() if few.numel() else 0.0


def _fused_dense(s: Tensor, weight: Tensor, input_major: Tensor | None) -> Tensor:
    return fused.int_product(_only_spikes(s), weight) if weight.dtype == torch.int8 else reference.product(s, weight)


def _reference_dense(s: Tensor, weight: Tensor, input_major: Tensor | None) -> Tensor:
    return reference.product(_only_spikes(s) if weight.dtype == torch.int8 else s, weight)


def _only_spikes(s: Tensor) -> Tensor:
    if bool(((s != 0) & (s != 1)).any()):
        raise InputError("a value is neither 0 nor 1; integer weights take spikes.")
    return s.to(torch.int8)


def _native_bits(words: Tensor, plus: Tensor, minus: Tensor | None, inputs: int) -> Tensor:
    return cpu.popcount(words, plus, minus)


def _fused_bits(words: Tensor, plus: Tensor, minus: Tensor | None, inputs: int) -> Tensor:
    return fused.int_product(unpack_words(words, inputs, torch.uint8).view(torch.int8), _signs(plus, minus, inputs))


def _reference_bits(words: Tensor, plus: Tensor, minus: Tensor | None, inputs: int) -> Tensor:
    return reference.product(unpack_words(words, inputs, torch.uint8), _signs(plus, minus, inputs))


def _signs(plus: Tensor, minus: Tensor | None, inputs: int) -> Tensor:
    planes = (plus,) if minus is None else (plus, minus)
    return SpikeWeight("binary" if minus is None else "ternary", planes, None, inputs).dense()


def _native_refuses(request: Request) -> str:
    return native.why_not() if request.device == "cpu" else f"the tensor is on {request.device}, not on the CPU"


DENSE: Final = Operator(
    "spike_linear",
    [
        Implementation("native", _native_refuses, _native_dense),
        Implementation("fused", fused.refuses, _fused_dense),
        Implementation("reference", lambda request: "", _reference_dense),
    ],
)
BITS: Final = Operator(
    "spike_linear_bits",
    [
        Implementation("native", _native_refuses, _native_bits),
        Implementation("fused", fused.refuses, _fused_bits),
        Implementation("reference", lambda request: "", _reference_bits),
    ],
)


@torch.library.custom_op("neuro::spike_dense", mutates_args=())
def _dense(s: Tensor, weight: Tensor, input_major: Tensor | None) -> Tensor:
    return DENSE(Request(s.device.type, s.dtype), s, weight, input_major)


@_dense.register_fake
def _(s: Tensor, weight: Tensor, input_major: Tensor | None) -> Tensor:
    dtype = weight.dtype if weight.dtype.is_floating_point else torch.int32
    return s.new_empty((s.shape[0], weight.shape[0]), dtype=dtype)


@torch.library.custom_op("neuro::spike_bits", mutates_args=())
def _bits(words: Tensor, plus: Tensor, minus: Tensor | None, inputs: int) -> Tensor:
    return BITS(Request(words.device.type, words.dtype), words, plus, minus, inputs)


@_bits.register_fake
def _(words: Tensor, plus: Tensor, minus: Tensor | None, inputs: int) -> Tensor:
    return words.new_empty((words.shape[0], plus.shape[0]), dtype=torch.int32)
