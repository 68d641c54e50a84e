"""Which implementation runs a multi-step neuron."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from neuro.kernels import gpu, native
from neuro.kernels.dispatch import Implementation, Operator, Request
from neuro.kernels.lif import cpu, fused, operators, reference
from neuro.kernels.lif.settings import SURROGATES, IntegerNeuron, Neuron, SurrogateLike

_AnyNeuron = Neuron | IntegerNeuron


def choose(x: Tensor, neuron: _AnyNeuron) -> str:
    """Return the name of the implementation that serves this call."""
    if isinstance(neuron, IntegerNeuron):
        return _chosen(x.device.type, x.dtype, "integer", "", False, False)
    p = neuron.fire_reset
    return _chosen(
        x.device.type,
        x.dtype,
        "binary",
        unknown_surrogate(p.surrogate),
        isinstance(p.v_threshold, Tensor),
        isinstance(neuron.tau, Tensor),
    )


def run(
    implementation: str, x: Tensor, v: Tensor | None, neuron: _AnyNeuron, packed: bool = False
) -> tuple[Tensor, Tensor]:
    """Run the neuron by the implementation of that name; arguments and results as in `reference.multi_step`.

    Packed spikes may come without the last potential.
    """
    return _RUN[implementation](x, v, neuron, packed)


def _through_library(x: Tensor, v: Tensor | None, neuron: _AnyNeuron, packed: bool) -> tuple[Tensor, Tensor]:
    tau = neuron.tau.to(torch.float32) if isinstance(neuron.tau, Tensor) else None
    v = None if v is None else v.to(torch.float32)
    return operators.forward(x, v, tau, neuron.settings(), packed)


def _fused(x: Tensor, v: Tensor | None, neuron: _AnyNeuron, packed: bool) -> tuple[Tensor, Tensor]:
    assert isinstance(neuron, Neuron)  # others are refused
    s, v_last = fused.multi_step(x, v, neuron)
    return reference.packed(s) if packed else s, v_last


def _reference(x: Tensor, v: Tensor | None, neuron: _AnyNeuron, packed: bool) -> tuple[Tensor, Tensor]:
    s, v_last = reference.multi_step(x, v, neuron)
    return reference.packed(s) if packed else s, v_last


@torch.compiler.assume_constant_result
def _chosen(
    device: str, dtype: torch.dtype, kind: str, unknown_surrogate: str, learned_threshold: bool, learned_tau: bool
) -> str:
    details = {
        "kind": kind,
        "unknown_surrogate": unknown_surrogate,
        "learned_threshold": learned_threshold,
        "learned_tau": learned_tau,
    }
    return OPERATOR.choose(Request(device, dtype, details)).implementation.name


def unknown_surrogate(surrogate: SurrogateLike) -> str:
    """The name of a surrogate that the kernels do not know; empty where they do.

    A derivative of somebody else's under a name of ours is not ours.
    """
    ours = surrogate.derivative.__module__ == "neuro.neurons.surrogate"
    return "" if ours and surrogate.name in SURROGATES else surrogate.name


def _has_no_kernel(request: Request) -> str:
    """Why no compiled kernel serves a neuron, wherever it is."""
    unknown = request.details.get("unknown_surrogate")
    if unknown:
        return f"surrogate {unknown!r} is not one that the kernels know"
    return "the threshold is learned" if request.details.get("learned_threshold") else ""


def _native_refuses(request: Request) -> str:
    if request.device != "cpu":
        return f"the tensor is on {request.device}, not on the CPU"
    if request.dtype not in cpu.DTYPES:
        return f"dtype {str(request.dtype).removeprefix('torch.')}"
    return _has_no_kernel(request) or native.why_not()


def _triton_refuses(request: Request) -> str:
    return gpu.refuses(request) or _has_no_kernel(request)


def _fused_refuses(request: Request) -> str:
    if request.details.get("kind") == "integer":
        return "integer LIF"
    if not request.dtype.is_floating_point:
        return f"dtype {str(request.dtype).removeprefix('torch.')}"
    learned = [name for name in ("threshold", "tau") if request.details.get(f"learned_{name}")]
    return f"the {learned[0]} is learned" if learned else ""


def _takes_all(request: Request) -> str:
    return ""


OPERATOR: Final = Operator(
    "lif",
    [
        Implementation("triton", _triton_refuses, _through_library),
        Implementation("native", _native_refuses, _through_library),
        Implementation("fused", _fused_refuses, _fused),
        Implementation("reference", _takes_all, _reference),
    ],
)
_RUN: Final = {one.name: one.run for one in OPERATOR.implementations}
