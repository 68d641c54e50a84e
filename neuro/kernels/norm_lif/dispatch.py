"""Which implementation runs norm_lif."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from neuro.kernels import gpu, native
from neuro.kernels.dispatch import Implementation, Operator, Request
from neuro.kernels.lif.dispatch import unknown_surrogate
from neuro.kernels.lif.settings import IntegerNeuron, Neuron
from neuro.kernels.norm_lif import cpu, operators, reference
from neuro.kernels.norm_lif.cpu import Inputs
from neuro.kernels.norm_lif.reference import Norm, Output

_AnyNeuron = Neuron | IntegerNeuron


def choose(x: Tensor, neuron: _AnyNeuron) -> str:
    """Return the name of the implementation that serves this call."""
    if isinstance(neuron, IntegerNeuron):
        return _chosen(x.device.type, x.dtype, x.shape[0], "integer", "")
    p = neuron.fire_reset
    learned = "threshold" if isinstance(p.v_threshold, Tensor) else "tau" if isinstance(neuron.tau, Tensor) else ""
    return _chosen(x.device.type, x.dtype, x.shape[0], learned, unknown_surrogate(p.surrogate))


def run(
    implementation: str,
    x: Tensor,
    norm: Norm | None,
    neuron: _AnyNeuron,
    residual: Tensor | None,
    v: Tensor | None,
    keep_sum: bool,
) -> Output:
    """Run the implementation of that name; arguments and results as in `reference.norm_lif`."""
    return _RUN[implementation](x, norm, neuron, residual, v, keep_sum)


def _through_library(
    x: Tensor, norm: Norm | None, neuron: _AnyNeuron, residual: Tensor | None, v: Tensor | None, keep_sum: bool
) -> Output:
    weight, bias, mean, rstd = (None,) * 4 if norm is None else _parameters(x, norm)
    given = Inputs(x, residual, None if v is None else v.to(torch.float32), weight, bias)
    eps = 0.0 if norm is None else norm.eps
    s, h, v_last, batch_mean, var, _ = operators.forward(given, mean, rstd, neuron.settings(), eps, keep_sum)
    of_batch = norm is not None and mean is None
    return Output(s, h if keep_sum else None, v_last, batch_mean if of_batch else None, var if of_batch else None)


def _parameters(x: Tensor, norm: Norm) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Weight, bias, mean and 1 / sqrt(var + eps), the latter two as torch rounds them; None for the batch's own."""
    weight = torch.ones(x.shape[2], device=x.device) if norm.weight is None else norm.weight.float()
    bias = torch.zeros(x.shape[2], device=x.device) if norm.bias is None else norm.bias.float()
    if norm.mean is None or norm.var is None:
        return weight, bias, None, None
    return weight, bias, norm.mean.float(), torch.rsqrt(norm.var.float() + norm.eps)


@torch.compiler.assume_constant_result
def _chosen(device: str, dtype: torch.dtype, timesteps: int, kind: str, unknown_surrogate: str) -> str:
    details = {"timesteps": timesteps, "kind": kind, "unknown_surrogate": unknown_surrogate}
    return OPERATOR.choose(Request(device, dtype, details)).implementation.name


def _has_no_kernel(request: Request) -> str:
    """Why no compiled kernel serves a neuron, wherever it is."""
    unknown, kind = request.details.get("unknown_surrogate"), request.details.get("kind")
    if unknown:
        return f"surrogate {unknown!r} is not one that the kernels know"
    return f"the {kind} is learned" if kind in ("threshold", "tau") else ""


def _native_refuses(request: Request) -> str:
    if request.device != "cpu":
        return f"the tensor is on {request.device}, not on the CPU"
    if request.dtype not in cpu.DTYPES:
        return f"dtype {str(request.dtype).removeprefix('torch.')}"
    if request.details.get("timesteps", 1) > cpu.LONGEST:
        return f"more than {cpu.LONGEST} timesteps"
    return _has_no_kernel(request) or native.why_not()


def _triton_refuses(request: Request) -> str:
    return gpu.refuses(request) or _has_no_kernel(request)


def _takes_all(request: Request) -> str:
    return ""


OPERATOR: Final = Operator(
    "norm_lif",
    [
        Implementation("triton", _triton_refuses, _through_library),
        Implementation("native", _native_refuses, _through_library),
        Implementation("reference", _takes_all, reference.norm_lif),
    ],
)
_RUN: Final = {one.name: one.run for one in OPERATOR.implementations}
