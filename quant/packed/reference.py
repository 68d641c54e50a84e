"""The meaning of packed inference in plain torch; it also serves where nothing can be compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from quant.packed.activations import ActivationFormat, Layout
    from quant.packed.library import Pack
    from quant.packed.products import Epilogue


def pack(x: Tensor, form: ActivationFormat, layout: Layout, task: Pack, threshold: Tensor | None) -> tuple[Tensor, int]:
    """Return packed x `[..., C]` and how many of its numbers are wrong."""
    wrong = 0
    if threshold is not None:
        u = (x >= threshold).int()
    elif task.scale:
        levels = torch.clamp(x / task.scale + task.zero_point, task.low, task.high)
        wrong = int(levels.isnan().sum())
        u = (levels.round() - task.first).nan_to_num().int()
    else:
        wrong = int(((x != 0) & (x != 1)).sum())
        u = (x != 0).int()
    if layout.form == "bits":
        return to_planes(u, form.bits, layout.groups), wrong
    offset = 128 if form.bits == 8 and form.factor == 1 else form.factor - 1
    return (u * form.factor - offset).to(torch.int8), wrong


def to_planes(u: Tensor, bits: int, groups: int) -> Tensor:
    """Pack codes `[..., C]` into int64 `[bits, ..., groups * words]`."""
    each = u.shape[-1] // groups
    grouped = F.pad(u.to(torch.int64).unflatten(-1, (groups, each)), (0, -each % 64)).unflatten(-1, (-1, 64))
    planes = torch.stack([grouped >> i & 1 for i in range(bits)])
    return (planes << torch.arange(64)).sum(-1).flatten(-2)


def from_planes(planes: Tensor, channels: int, groups: int) -> Tensor:
    """Return the codes, int32 `[..., C]`, of int64 `[bits, ..., groups * words]`."""
    bits = (planes.unflatten(-1, (groups, -1)).unsqueeze(-1) >> torch.arange(64) & 1).flatten(-2)
    powers = 2 ** torch.arange(len(planes)).view(-1, *[1] * (bits.dim() - 1))
    return (bits[..., : channels // groups] * powers).sum(0, dtype=torch.int32).flatten(-2)


def product(
    q: Tensor, w: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int
) -> Tensor:
    """Convolve integers `[B, H, W, C]` and `[O, C / groups, kh, kw]`; int32 `[B, H', W', O]`."""
    y = F.conv2d(q.movedim(-1, 1).double(), w.double(), None, tuple(stride), tuple(padding), tuple(dilation), groups)
    return y.movedim(1, -1).to(torch.int32).contiguous()


def epilogue(sums: Tensor, by: Epilogue, residual: Tensor | None) -> Tensor:
    """Return prelu(steps(sums * scale + shift) + steps(residual) - before, slope) + after, float32."""
    y = sums.float() * by.scale
    if by.shift is not None:
        y = y + by.shift
    if residual is not None:
        y = y + residual if by.steps is None else by.steps.round(y) + by.steps.round(residual)
    if by.before is not None:
        y = y - by.before
    if by.slope is not None:
        y = torch.where(y < 0, y * by.slope, y)
    return y if by.after is None else y + by.after
