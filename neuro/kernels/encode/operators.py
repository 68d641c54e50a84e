"""The kernels registered with torch.library: autograd, torch.compile, torch.export and fake tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neuro.kernels.encode import cpu
from neuro.kernels.encode.layout import dense

_STATE = torch.float32
_NEURON = "Tensor x, Tensor? sent, Tensor unit, Tensor? presentations, str kind, int levels, bool summed"


@torch.library.custom_op(
    "neuro::encode", mutates_args=(), device_types="cpu", schema=f"({_NEURON}) -> (Tensor, Tensor)"
)
def encode(
    x: Tensor, sent: Tensor | None, unit: Tensor, presentations: Tensor | None, kind: str, levels: int, summed: bool
) -> tuple[Tensor, Tensor]:
    """As `reference.encode`."""
    return cpu.encode(x, sent, unit, presentations, kind, levels, summed)


@encode.register_kernel("cuda")
def _encode_cuda(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    from neuro.kernels.encode import triton

    return triton.encode(x, *rest)


@encode.register_fake
def _encode_fake(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    x = dense(x)
    return torch.empty_like(x), torch.empty_like(x[0], dtype=_STATE)


@torch.library.custom_op(
    "neuro::encode_backward",
    mutates_args=(),
    device_types="cpu",
    schema=f"(Tensor grad_s, Tensor grad_last, {_NEURON}) -> (Tensor, Tensor)",
)
def _encode_backward(grad_s: Tensor, grad_last: Tensor, *neuron: Any) -> tuple[Tensor, Tensor]:
    return cpu.encode_backward(grad_s, grad_last, *neuron)


@_encode_backward.register_kernel("cuda")
def _encode_backward_cuda(grad_s: Tensor, grad_last: Tensor, *neuron: Any) -> tuple[Tensor, Tensor]:
    from neuro.kernels.encode import triton

    return triton.encode_backward(grad_s, grad_last, *neuron)


@_encode_backward.register_fake
def _encode_backward_fake(grad_s: Tensor, grad_last: Tensor, x: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    x = dense(x)
    return torch.empty_like(x), torch.empty_like(x[0], dtype=_STATE)


def _remember_neuron(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.kind, ctx.levels, ctx.summed = inputs
    ctx.save_for_backward(*tensors)


def _differentiate_encode(ctx: Any, grad_s: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
    grad_x, grad_sent = _encode_backward(grad_s, grad_last, *ctx.saved_tensors, ctx.kind, ctx.levels, ctx.summed)
    return grad_x, grad_sent if ctx.needs_input_grad[1] else None, None, None, None, None, None


encode.register_autograd(_differentiate_encode, setup_context=_remember_neuron)


@torch.library.custom_op(
    "neuro::decode",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor currents, Tensor? arrived, Tensor? divisors, Tensor? bias) -> (Tensor, Tensor)",
)
def decode(
    currents: Tensor, arrived: Tensor | None, divisors: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """As `reference.decode`."""
    return cpu.decode(currents, arrived, divisors, bias)


@decode.register_kernel("cuda")
def _decode_cuda(currents: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    from neuro.kernels.encode import triton

    return triton.decode(currents, *rest)


@decode.register_fake
def _decode_fake(currents: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    currents = dense(currents)
    return torch.empty_like(currents), torch.empty_like(currents[0], dtype=_STATE)


def _remember_currents(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    currents, _, divisors, bias = inputs
    ctx.save_for_backward(divisors)
    ctx.dtype, ctx.bias = currents.dtype, None if bias is None else (bias.shape, bias.dtype)


def _differentiate_decode(ctx: Any, grad: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
    """Every current is in all sums from its timestep on: sums that run backwards."""
    (divisors,) = ctx.saved_tensors
    grad, of_bias = grad.to(_STATE), None
    if ctx.bias is not None and ctx.needs_input_grad[3]:
        of_bias = grad.sum_to_size(ctx.bias[0]).to(ctx.bias[1])
    if divisors is not None:
        grad = grad / divisors.to(_STATE).view(-1, *[1] * (grad.dim() - 1))
    sums = grad.flip(0).cumsum(0).flip(0) + grad_last
    return sums.to(ctx.dtype), sums[0] if ctx.needs_input_grad[1] else None, None, of_bias


decode.register_autograd(_differentiate_decode, setup_context=_remember_currents)
