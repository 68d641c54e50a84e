"""The meaning of the kernel: spike-driven self-attention and its neuron, step by step.

q, k, v are spikes `[T, B, heads, N, d]` (N tokens, d channels of a head), s the spikes of the attention:

    SDSA-1        x = scale sum_n(k v)          s = q SN(x)
    SDSA-3, -4    x = scale q (k^T v)           s = SN(x)

with SN the IF or LIF neuron of `neuro.neurons.functional` over the T timesteps, from rest. k^T v <= N and the
product <= N d are integers: exact in fp32 below 2^24, which is what is computed in, whatever 16-bit type the spikes
come in.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Neuron(NamedTuple):
    """The attention's neuron.

    Attributes:
        v_threshold: potential at which it fires.
        v_reset: potential after a hard reset, and at rest; None means soft reset.
        tau: time constant in timesteps.
        decay_input: divide the input by tau too.
        leak: whether the potential leaks; without, it is an IF neuron.
    """

    v_threshold: float
    v_reset: float | None
    tau: float = 1.0
    decay_input: bool = False
    leak: bool = True


def sdsa(q: Tensor, k: Tensor, v: Tensor, kind: int, scale: float | Tensor, neuron: Neuron) -> tuple[Tensor, Tensor]:
    """Return the spikes, of q's shape and dtype, and the last potential `[B, heads, N or 1, d]`."""
    wide = q.dtype if q.dtype == torch.float64 else torch.float32
    q, k, v, dtype = q.to(wide), k.to(wide), v.to(wide), q.dtype
    x = (k * v).sum(dim=-2, keepdim=True) if kind == 1 else q @ (k.transpose(-2, -1) @ v)
    s, last = fire(x * scale, neuron)
    return (q * s if kind == 1 else s).to(dtype), last


def fire(x: Tensor, p: Neuron) -> tuple[Tensor, Tensor]:
    """Return the spikes of currents `x` `[T, ...]`, and the last potential `[...]`."""
    rest = p.v_reset or 0.0
    v, spikes = torch.full_like(x[0], rest), []
    for x_t in x:
        if not p.leak:
            h = v + x_t
        elif p.decay_input:
            h = v + (x_t - (v - rest)) / p.tau
        else:
            h = v - (v - rest) / p.tau + x_t
        s = (h >= p.v_threshold).to(h.dtype)
        v = h - p.v_threshold * s if p.v_reset is None else h * (1 - s) + rest * s
        spikes.append(s)
    return torch.stack(spikes), v
