"""The compiled kernels registered with torch.library: autograd, torch.compile, torch.export and fake tensors.

`neuro::norm_lif_forward` and `neuro::norm_lif_backward` take the neuron as the fields of `Settings`, in their order.
Under autocast they keep the dtype of their input: what they compute is fp32 in any case.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neuro.kernels.lif.settings import Settings
from neuro.kernels.norm_lif import cpu
from neuro.kernels.norm_lif.cpu import Inputs

_NEURON = (
    "str charge, float tau, float v_threshold, float? v_reset, str surrogate, float alpha, bool detach_reset, "
    "int levels, float divisor"
)
_INPUTS = "Tensor x, Tensor? residual, Tensor? v, Tensor? weight, Tensor? bias, Tensor? mean, Tensor? rstd"
_FIELDS = len(Settings._fields)


def forward(
    given: Inputs, mean: Tensor | None, rstd: Tensor | None, settings: Settings, eps: float, keep_sum: bool
) -> tuple[Tensor, ...]:
    """Run through torch.library; arguments and results as in `cpu.forward`."""
    return _forward(*given, mean, rstd, *settings, eps, keep_sum)


@torch.library.custom_op(
    "neuro::norm_lif_forward",
    mutates_args=(),
    device_types="cpu",
    schema=f"({_INPUTS}, {_NEURON}, float eps, bool keep_sum) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _forward(*arguments: Any) -> tuple[Tensor, ...]:
    return cpu.forward(*_told(arguments))


@_forward.register_kernel("cuda")
def _forward_cuda(*arguments: Any) -> tuple[Tensor, ...]:
    from neuro.kernels.norm_lif import triton

    return triton.forward(*_told(arguments))


@_forward.register_fake
def _forward_fake(*arguments: Any) -> tuple[Tensor, ...]:
    given, mean, _, _, _, keep_sum = _told(arguments)
    x = cpu.dense(given.x)
    size = x.shape[2] if given.weight is not None and mean is None else 0
    statistics = [x.new_empty(size, dtype=torch.float32) for _ in range(3)]
    h = torch.empty_like(x) if keep_sum else x.new_empty(0)
    return torch.empty_like(x), h, torch.empty_like(x[0], dtype=torch.float32), *statistics


def _told(arguments: tuple[Any, ...]) -> tuple[Inputs, Tensor | None, Tensor | None, Settings, float, bool]:
    """The flat arguments of the registered operator as those of `cpu.forward`."""
    mean, rstd, *settings, eps, keep_sum = arguments[len(Inputs._fields) :]
    return Inputs(*arguments[: len(Inputs._fields)]), mean, rstd, Settings(*settings), eps, keep_sum


@torch.library.custom_op(
    "neuro::norm_lif_backward",
    mutates_args=(),
    device_types="cpu",
    schema=(
        f"(Tensor? grad_s, Tensor? grad_h, {_INPUTS}, Tensor? h, {_NEURON}, bool batch_statistics, bool wants_sum, "
        "bool wants_v) -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
    ),
)
def _backward(*arguments: Any) -> tuple[Tensor, ...]:
    return cpu.backward(*_told_backward(arguments))


@_backward.register_kernel("cuda")
def _backward_cuda(*arguments: Any) -> tuple[Tensor, ...]:
    from neuro.kernels.norm_lif import triton

    return triton.backward(*_told_backward(arguments))


@_backward.register_fake
def _backward_fake(*arguments: Any) -> tuple[Tensor, ...]:
    _, _, given, _, _, _, _, _, wants_sum, wants_v = _told_backward(arguments)
    x = cpu.dense(given.x)
    grad_v = torch.empty_like(x[0], dtype=torch.float32) if wants_v else x.new_empty(0, dtype=torch.float32)
    size = 0 if given.weight is None else x.shape[2]
    of_norm = [x.new_empty(size, dtype=torch.float32) for _ in range(2)]
    return torch.empty_like(x), torch.empty_like(x) if wants_sum else x.new_empty(0), grad_v, *of_norm


def _told_backward(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The flat arguments of the registered operator as those of `cpu.backward`."""
    grad_s, grad_h, *rest = arguments
    given, (mean, rstd, h, *rest) = Inputs(*rest[: len(Inputs._fields)]), rest[len(Inputs._fields) :]
    return grad_s, grad_h, given, h, mean, rstd, Settings(*rest[:_FIELDS]), *rest[_FIELDS:]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    given, mean, rstd, settings, _, keep_sum = _told(inputs)
    _, h, *without_gradient = output
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*without_gradient, *(() if keep_sum else (h,)))
    ctx.batch_statistics = given.weight is not None and mean is None
    if ctx.batch_statistics:
        mean, rstd = output[3], output[5]
    ctx.settings, ctx.has_residual = settings, given.residual is not None
    residual = None if keep_sum else given.residual
    ctx.save_for_backward(*given._replace(residual=residual), mean, rstd, h if keep_sum else None)


def _differentiate(ctx: Any, grad_s: Tensor | None, grad_h: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    wants_x, wants_residual, wants_v, wants_weight, wants_bias = ctx.needs_input_grad[: len(Inputs._fields)]
    x, residual, v, weight, bias, mean, rstd, h = ctx.saved_tensors
    wants_sum = wants_residual and (ctx.batch_statistics or weight is not None)
    grad_x, grad_sum, grad_v, grad_weight, grad_bias = _backward(
        *(grad_s, grad_h, x, residual, v, weight, bias, mean, rstd, h),
        *ctx.settings,
        *(ctx.batch_statistics, wants_sum, wants_v),
    )
    # Without BatchNorm x and residual have one gradient.
    of_residual = (grad_sum if wants_sum else grad_x) if wants_residual else None
    gradients = (
        grad_x if wants_x else None,
        of_residual,
        grad_v if wants_v else None,
        grad_weight if wants_weight else None,
        grad_bias if wants_bias else None,
    )
    return *gradients, *[None] * (2 + _FIELDS + 2)


_forward.register_autograd(_differentiate, setup_context=_remember)
