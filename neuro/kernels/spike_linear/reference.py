"""The meaning of the kernels: products of spikes in plain torch, integers exactly.

With s in {0, 1}, and p the padding of a depthwise convolution:

    y[m, n] = sum_k s[m, k] w[n, k]
    y[t, b, c, i, j] = sum_uv s[t, b, c, i + u - p, j + v - p] w[c, u, v]
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from neuro.kernels.bitpack import reference as bitpack


def product(s: Tensor, weight: Tensor) -> Tensor:
    """Multiply spikes `[M, K]` and weights `[N, K]`: int32 for integer weights, else the weights' dtype."""
    if weight.dtype.is_floating_point:
        return s.to(weight.dtype) @ weight.t()
    return (s.double() @ weight.double().t()).to(torch.int32)


def depthwise(bits: Tensor, weight: Tensor, timesteps: int, padding: int) -> Tensor:
    """Convolve time-packed spikes `[ceil(T/8), B, C, H, W]` with `[C, k, k]`; int32 for int8 weights, else fp32."""
    wide = torch.float32 if weight.dtype.is_floating_point else torch.float64
    s = bitpack.unpack(bits, timesteps, wide).flatten(0, 1)
    y = F.conv2d(s, weight.to(wide).unsqueeze(1), padding=padding, groups=weight.shape[0])
    return y.unflatten(0, (timesteps, bits.shape[1])).to(torch.float32 if wide == torch.float32 else torch.int32)
