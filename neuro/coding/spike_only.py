"""Functions that are not linear, without floating-point products: written with ladders and products of spikes.

Given to `capture` as decompositions, so that what is inside softmax and normalisation becomes operators of the graph:
sums and means are additions, maxima and rectifiers are comparisons, exponentials, reciprocals and roots are ladders
(`neuro.coding.ladder`), and squares and quotients are products of two spiking values.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

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


SPIKE_ONLY: dict[Any, Any] = {
    aten.softmax.int: softmax,
    aten.layer_norm.default: layer_norm,
    aten.group_norm.default: group_norm,
}
"""Decompositions for `capture`."""
