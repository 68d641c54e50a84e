"""Functions that are not linear, without floating-point products: written with ladders and products of spikes.

Given to `capture` as decompositions, so that what is inside softmax and normalisation becomes operators of the graph:
sums and means are additions, maxima and rectifiers are comparisons, exponentials, reciprocals and roots are ladders
(`neuro.coding.ladder`), and squares and quotients are products of two spiking values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, fx

from neuro.coding.ladder import FUNCTIONS, Ladder

if TYPE_CHECKING:
    from neuro.coding.network import SpikingNetwork

aten = torch.ops.aten


def softmax(x: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """exp(x - max x) times the reciprocal of its sum."""
    x = x if dtype is None else x.to(dtype)
    powers = torch.exp(x - torch.amax(x, dim, keepdim=True))
    return powers * torch.reciprocal(torch.sum(powers, dim, keepdim=True))


def _standardised(x: Tensor, axes: list[int], eps: float) -> Tensor:
    """(x - mean) times the reciprocal root of its variance over `axes`."""
    centred = x - torch.mean(x, axes, keepdim=True)
    return centred * torch.rsqrt(torch.mean(centred * centred, axes, keepdim=True) + eps)


def layer_norm(
    x: Tensor,
    normalized_shape: list[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """Standardised over the last axes, times a constant, plus a constant."""
    out = _standardised(x, list(range(-len(normalized_shape), 0)), eps)
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


def group_norm(
    x: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    """Standardised over each group of channels, times a constant for each channel, plus a constant."""
    grouped = x.reshape(x.shape[0], num_groups, -1)
    out = _standardised(grouped, [-1], eps).reshape(x.shape)
    shape = [1, -1, *[1] * (x.dim() - 2)]
    out = out if weight is None else out * weight.reshape(shape)
    return out if bias is None else out + bias.reshape(shape)


def rms_norm(x: Tensor, normalized_shape: list[int], weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """x times the reciprocal root of its mean square over the last axes, times a constant."""
    axes = list(range(-len(normalized_shape), 0))
    out = x * torch.rsqrt(torch.mean(x * x, axes, keepdim=True) + (torch.finfo(x.dtype).eps if eps is None else eps))
    return out if weight is None else out * weight


def log_softmax(x: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """x - max x - log of the sum of exp(x - max x)."""
    x = x if dtype is None else x.to(dtype)
    below = x - torch.amax(x, dim, keepdim=True)
    return below - torch.log(torch.sum(torch.exp(below), dim, keepdim=True))


def hardsigmoid(x: Tensor) -> Tensor:
    """x / 6 + 1/2 between 0 and 1."""
    return torch.clamp(x + 3, 0, 6) * (1 / 6)


def hardswish(x: Tensor) -> Tensor:
    """x hardsigmoid(x): a product of two values."""
    return x * hardsigmoid(x)


def square(x: Tensor) -> Tensor:
    """x x: a product of two values."""
    return x * x


def power(x: Tensor, exponent: float) -> Tensor:
    """Squares, roots and reciprocals; other powers have no form of spikes."""
    return _POWERS[exponent](x) if exponent in _POWERS else NotImplemented


_POWERS: dict[float, Callable[[Tensor], Tensor]] = {
    2: square,
    0.5: torch.sqrt,
    -0.5: torch.rsqrt,
    -1: torch.reciprocal,
}


def quotient(x: Tensor, divisor: Tensor) -> Tensor:
    """x times the reciprocal of the divisor."""
    return x * torch.reciprocal(divisor)


SPIKE_ONLY: dict[Any, Any] = {
    aten.softmax.int: softmax,
    aten.log_softmax.int: log_softmax,
    aten.layer_norm.default: layer_norm,
    aten.group_norm.default: group_norm,
    aten.rms_norm.default: rms_norm,
    aten.hardsigmoid.default: hardsigmoid,
    aten.hardswish.default: hardswish,
    aten.square.default: square,
    aten.pow.Tensor_Scalar: power,
    aten.div.Tensor: quotient,
}
"""Decompositions for `capture`."""

COMPARISONS: Final = frozenset({
    "relu", "relu6", "hardtanh", "clamp", "clamp_min", "clamp_max", "clip", "threshold", "leaky_relu", "prelu",
    "_prelu_kernel", "abs", "sign", "max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices",
    "max_pool3d_with_indices", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "amax",
    "amin", "max", "min", "maximum", "minimum", "fmax", "fmin", "cummax", "cummin", "topk", "sort",
})  # fmt: skip
"""Operators that compare values, and at most multiply by a constant."""

TOLERANCE: Final = 1 / 256
"""Of every ladder."""


@torch.no_grad()
def out_of_reach(network: SpikingNetwork, inputs: tuple[Tensor, ...]) -> list[str]:
    """Return the ladders that see values outside of the interval they were made for, by name in the graph."""
    found: dict[str, None] = {}

    def look(name: str) -> Callable[[Ladder, tuple[Tensor]], None]:
        def hook(ladder: Ladder, given: tuple[Tensor]) -> None:
            if not ladder.reaches(given[0]):
                found[name] = None

        return hook

    ladders = [(name, one) for name, one in network.graph.named_modules() if isinstance(one, Ladder)]
    handles = [one.register_forward_pre_hook(look(name)) for name, one in ladders]
    try:
        for _ in network.over_time(*inputs):
            pass
    finally:
        for handle in handles:
            handle.remove()
    return list(found)


def ladder_of(node: fx.Node) -> Ladder | None:
    """Return the ladder that computes a node; None where there is none, or its settings are not the usual."""
    packet = getattr(node.target, "overloadpacket", None)
    name = getattr(packet, "__name__", "")
    settings: dict[Any, Any] = {**dict(enumerate(node.args[1:])), **node.kwargs}
    if name == "gelu" and settings.get("approximate") == "tanh":
        return Ladder("gelu-tanh", TOLERANCE)
    usual = all(value in (1, 1.0, "none", 20, 20.0) for value in settings.values())
    return Ladder(name, TOLERANCE) if name in FUNCTIONS and usual else None
