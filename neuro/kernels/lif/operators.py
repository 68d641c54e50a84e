"""The compiled kernels registered with torch.library: autograd, torch.compile, torch.export and fake tensors.

`neuro::lif_forward` and `neuro::lif_backward` take the neuron as the fields of `Settings`, in their order. Under
autocast they keep the dtype of their input: potentials are fp32 in any case.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neuro.kernels.lif import cpu
from neuro.kernels.lif.settings import Settings, empty_packed, in_storage_order

_NEURON = (
    "str charge, float tau_value, float v_threshold, float? v_reset, str surrogate, float alpha, bool detach_reset, "
    "int levels, float divisor"
)
_POTENTIAL = torch.float32


def forward(x: Tensor, v: Tensor | None, tau: Tensor | None, settings: Settings, packed: bool) -> tuple[Tensor, Tensor]:
    """Run all timesteps through torch.library; arguments and results as in `cpu.forward`."""
    s, v_last = _forward(x, v, tau, *settings, packed)
    return s, v_last


@torch.library.custom_op(
    "neuro::lif_forward",
    mutates_args=(),
    device_types="cpu",
    schema=f"(Tensor x, Tensor? v, Tensor? tau, {_NEURON}, bool packed) -> (Tensor, Tensor)",
)
def _forward(x: Tensor, v: Tensor | None, tau: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor]:
    *settings, packed = rest
    return cpu.forward(x, v, tau, Settings(*settings), packed)


@_forward.register_kernel("cuda")
def _forward_cuda(x: Tensor, v: Tensor | None, tau: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor]:
    from neuro.kernels.lif import triton

    *settings, packed = rest
    return triton.forward(x, v, tau, Settings(*settings), packed, keep_v=not packed)


@_forward.register_fake
def _forward_fake(x: Tensor, v: Tensor | None, tau: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor]:
    x = in_storage_order(x)
    if rest[-1]:
        return empty_packed(x), x.new_empty(0, dtype=_POTENTIAL)
    return torch.empty_like(x), torch.empty_like(x[0], dtype=_POTENTIAL)


@torch.library.custom_op(
    "neuro::lif_backward",
    mutates_args=(),
    device_types="cpu",
    schema=(f"(Tensor grad_s, Tensor x, Tensor? v, Tensor? tau, {_NEURON}, bool wants_v) -> (Tensor, Tensor, Tensor)"),
)
def _backward(grad_s: Tensor, x: Tensor, v: Tensor | None, tau: Tensor | None, *rest: Any) -> tuple[Tensor, ...]:
    *settings, wants_v = rest
    return cpu.backward(grad_s, x, v, tau, Settings(*settings), wants_v)


@_backward.register_kernel("cuda")
def _backward_cuda(grad_s: Tensor, x: Tensor, v: Tensor | None, tau: Tensor | None, *rest: Any) -> tuple[Tensor, ...]:
    from neuro.kernels.lif import triton

    *settings, wants_v = rest
    return triton.backward(grad_s, x, v, tau, Settings(*settings), wants_v)


@_backward.register_fake
def _backward_fake(grad_s: Tensor, x: Tensor, v: Tensor | None, tau: Tensor | None, *rest: Any) -> tuple[Tensor, ...]:
    x = in_storage_order(x)
    grad_v = torch.empty_like(x[0], dtype=_POTENTIAL) if rest[-1] else x.new_empty(0, dtype=_POTENTIAL)
    return torch.empty_like(x), grad_v, x.new_empty(0, dtype=_POTENTIAL) if tau is None else torch.empty_like(tau)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, v, tau, *rest = inputs
    ctx.save_for_backward(x, v, tau)
    ctx.settings, ctx.packed = rest[:-1], rest[-1]
    ctx.mark_non_differentiable(*output[int(not ctx.packed) :])
    ctx.set_materialize_grads(False)  # else zeros would be written for the last potential


def _differentiate(ctx: Any, grad_s: Tensor, grad_v_last: Tensor | None) -> tuple[Tensor | None, ...]:
    x, v, tau = ctx.saved_tensors
    _, wants_v, wants_tau = ctx.needs_input_grad[:3]
    grad_x, grad_v, grad_tau = _backward(grad_s, x, v, tau, *ctx.settings, wants_v)
    nothing = [None] * (len(ctx.settings) + 1)
    return grad_x, grad_v if wants_v else None, grad_tau if wants_tau else None, *nothing


_forward.register_autograd(_differentiate, setup_context=_remember)
