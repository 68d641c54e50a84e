"""Integer products by torch's own int8 kernel, `torch._int_mm`."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

from neuro.kernels.dispatch import Request
from neuro.kernels.spike_linear import reference


def int_product(s: Tensor, weight: Tensor) -> Tensor:
    """Multiply `[M, K]` and `[N, K]`, both int8, exactly; int32 `[M, N]`."""
    if not (s.numel() and weight.numel()):
        return torch.zeros(s.shape[0], weight.shape[0], dtype=torch.int32, device=s.device)
    if s.is_cuda:
        return _on_tensor_cores(s, weight)
    if _inexact():
        return reference.product(s, weight)
    if s.shape[1] == 1:  # torch 2.13 returns what lay in memory: a transposed single column fools it
        s, weight = F.pad(s, (0, 1)), F.pad(weight, (0, 1))
    return torch._int_mm(s, weight.t())


def refuses(request: Request) -> str:
    """Why torch's int8 product cannot serve; empty where it can."""
    return _inexact() if request.device == "cpu" else ""


def _on_tensor_cores(s: Tensor, weight: Tensor) -> Tensor:
    """cuBLAS takes more than 16 rows, and multiples of 8 along the other axes: fill up with zeros."""
    (rows, inputs), columns = s.shape, weight.shape[0]
    s = F.pad(s, (0, -inputs % 8, 0, max(17 - rows, 0)))
    weight = F.pad(weight, (0, -inputs % 8, 0, -columns % 8))
    return torch._int_mm(s, weight.t())[:rows, :columns]


@functools.cache
def _inexact() -> str:
    """Tell processors on which the CPU's int8 product saturates sums of two products in 16 bits."""
    s = torch.ones(32, 64, dtype=torch.int8)
    for value in (-128, 127):
        weight = torch.full((32, 64), value, dtype=torch.int8)
        if not torch.equal(torch._int_mm(s, weight.t()), reference.product(s, weight)):
            return "torch's int8 product is not exact on this processor"
    return ""
