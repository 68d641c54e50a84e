"""The meaning of packed spikes, in plain torch; the same functions as in `cpu` and `triton`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def pack(s: Tensor, exact: bool) -> tuple[Tensor, bool]:
    """Pack `[T, ...]` into uint8 `[ceil(T/8), ...]`; also return whether all were spikes."""
    weights = 2 ** torch.arange(8, device=s.device).view(1, 8, *[1] * (s.dim() - 1))
    groups = _padded(s != 0, 0, 8).unflatten(0, (-1, 8))
    return (groups * weights).sum(1).to(torch.uint8), _are_spikes(s, exact)


def unpack(bits: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """Unpack uint8 `[ceil(T/8), ...]` into `[T, ...]`."""
    shifts = torch.arange(8, device=bits.device, dtype=torch.uint8).view(1, 8, *[1] * (bits.dim() - 1))
    return (bits.unsqueeze(1) >> shifts & 1).flatten(0, 1)[:steps].to(dtype)


def pack_words(s: Tensor, exact: bool) -> tuple[Tensor, bool]:
    """Pack `[..., n]` into int32 `[..., ceil(n/32)]`; also return whether all were spikes."""
    weights = 2 ** torch.arange(32, device=s.device)
    words = (_padded(s != 0, -1, 32).unflatten(-1, (-1, 32)) * weights).sum(-1)
    return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32), _are_spikes(s, exact)


def unpack_words(words: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """Unpack int32 `[..., ceil(n/32)]` into `[..., n]`."""
    shifts = torch.arange(32, device=words.device, dtype=torch.int32)
    return (words.unsqueeze(-1) >> shifts & 1).flatten(-2)[..., :size].to(dtype)


def popcount(bits: Tensor) -> Tensor:
    """Count the set bits of every row of the last axis, as int64."""
    shifts = torch.arange(8, device=bits.device, dtype=torch.uint8)
    return (bits.contiguous().view(torch.uint8).unsqueeze(-1) >> shifts & 1).sum((-2, -1))


def _padded(fires: Tensor, axis: int, multiple: int) -> Tensor:
    """Add silent spikes at the end of the first or last axis up to a multiple."""
    missing = -fires.shape[axis] % multiple
    after_others = [0, 0] * (fires.dim() - 1) if axis == 0 else []
    return F.pad(fires, [*after_others, 0, missing])


def _are_spikes(s: Tensor, exact: bool) -> bool:
    """Whether all are 0 or 1; `exact` also refuses the negative zero of floats, which bits would not give back."""
    negative_zero = s.signbit().any() if exact and s.is_floating_point() else False
    return not bool(((s != 0) & (s != 1)).any() | negative_zero)
