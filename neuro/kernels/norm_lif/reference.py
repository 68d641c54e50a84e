"""The meaning of norm_lif: BatchNorm, a shortcut, and a neuron over all timesteps.

    y = weight (x - mean) / sqrt(var + eps) + bias        per channel; mean and var of the batch, or given
    h = y + residual                                      the shortcut adds membrane potentials
    s, v = LIF or IF over T, from v, on h                 `neuro.kernels.lif.reference`

y and h are rounded to the dtype of x, as layer after layer rounds them; between these roundings everything is
single precision. torch evaluates y as

    gain = weight * rstd,  shift = fma(-mean, gain, bias),  y = fma(x, gain, shift),

one rounding each, with `rstd = rsqrt(var + eps)`; an implementation that does the same gives the same bits.

Backward, with g_h the gradient that comes back through the neuron plus the one of the sum h itself:

    grad residual = g_h
    grad bias     = sum g_h                               sums over T, B and positions, n elements each
    grad weight   = sum g_h x_hat,                        x_hat = (x - mean) rstd
    grad x        = gain (g_h - (grad bias + x_hat grad weight) / n)      statistics of the batch
    grad x        = gain g_h                                              given statistics
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from neuro.kernels.lif import reference as lif
from neuro.kernels.lif.settings import IntegerNeuron, Neuron


class Norm(NamedTuple):
    """BatchNorm's parameters, `[C]` each.

    Attributes:
        weight: gain; None for 1.
        bias: shift; None for 0.
        mean: given mean; None (with `var`) for the batch's own.
        var: given variance.
        eps: added to the variance.
    """

    weight: Tensor | None
    bias: Tensor | None
    mean: Tensor | None
    var: Tensor | None
    eps: float = 1e-5


class Output(NamedTuple):
    """What norm_lif returns.

    Attributes:
        s: spikes, shape and dtype of x.
        h: the sum y + residual, for the next shortcut; None where it was not asked for.
        v: the last potential, `[B, C, ...]`, without a gradient.
        mean: of the batch, `[C]`, single precision; None where statistics were given.
        var: of the batch (divided by n, not n - 1), likewise.
    """

    s: Tensor
    h: Tensor | None
    v: Tensor
    mean: Tensor | None
    var: Tensor | None


def norm_lif(
    x: Tensor,
    norm: Norm | None,
    neuron: Neuron | IntegerNeuron,
    residual: Tensor | None,
    v: Tensor | None,
    keep_sum: bool,
) -> Output:
    """Run BatchNorm (None: none), shortcut and neuron over `[T, B, C, ...]`, one after the other."""
    h, mean, var = x, None, None
    if norm is not None:
        flat = x.flatten(0, 1)
        if norm.mean is None:
            var, mean = torch.var_mean(flat.detach().float(), [0, *range(2, flat.dim())], correction=0)
        h = F.batch_norm(flat, norm.mean, norm.var, norm.weight, norm.bias, norm.mean is None, 0.0, norm.eps)
        h = h.unflatten(0, x.shape[:2])
    if residual is not None:
        h = h + residual
    s, last = lif.multi_step(h, v, neuron)
    return Output(s, h if keep_sum else None, last, mean, var)
