"""Where timesteps and channels lie in memory, so that kernels run on any order of the axes without a copy."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Along(NamedTuple):
    """What differs between channels: entry `i // run % channels` of `tensor` belongs to element i of the state.

    Attributes:
        tensor: fp32 `[channels]`.
        channels: how many there are; 1 where all elements share one.
        run: how many neighbours in memory share one.
    """

    tensor: Tensor
    channels: int
    run: int


def dense(x: Tensor) -> Tensor:
    """Return `x`, or where its elements overlap or leave gaps in memory a copy that a product of matrices can read."""
    if x.permute(_order(x)).is_contiguous():
        return x
    transposed = x.dim() > 2 and x.stride(-2) < x.stride(-1)
    return x.mT.contiguous().mT if transposed else x.contiguous()


def time_axis(x: Tensor) -> tuple[int, int]:
    """How many elements lie outside and inside the first axis of a dense tensor in memory."""
    order = _order(x)
    place = order.index(0)
    return (
        torch.Size(x.shape[axis] for axis in order[:place]).numel(),
        torch.Size(x.shape[axis] for axis in order[place + 1 :]).numel(),
    )


def laid_out(state: Tensor, x: Tensor | None) -> Tensor | None:
    """Return `x` expanded to the shape and in the memory layout of `state`, in fp32; a copy where it is not."""
    if x is None or (x.shape == state.shape and x.stride() == state.stride() and x.dtype == torch.float32):
        return x
    return torch.empty_like(state).copy_(x)


def along(state: Tensor, x: Tensor) -> Along:
    """Return how `x`, which broadcasts to `state`, lies along its one axis; several axes are written out."""
    axes = [axis - x.dim() for axis, size in enumerate(x.shape) if size > 1]
    if not axes:
        return Along(x.reshape(1).to(torch.float32), 1, 1)
    if len(axes) > 1:
        full = laid_out(state, x)
        assert full is not None
        return Along(full, full.numel(), 1)
    return Along(x.reshape(-1).to(torch.float32).contiguous(), x.shape[axes[0]], state.stride(axes[0]))


def _order(x: Tensor) -> list[int]:
    """The axes from the outermost in memory to the innermost."""
    return sorted(range(x.dim()), key=x.stride, reverse=True)
