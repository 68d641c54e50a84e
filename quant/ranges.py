"""From observed values to the range that a quantizer covers.

minmax      all of them
percentile  all but the outermost share on each side
mse         the range of least mean squared error, out of shrunken minmax ranges
histogram   the range whose quantized histogram is nearest in relative entropy (Migacz, TensorRT, GTC 2017)
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import torch
from torch import Tensor

from hardware_models.errors import InputError, unknown_name

RangeMethod = Literal["minmax", "percentile", "mse", "histogram"]

_SHRINKS: Final = 64
_MOST_VALUES: Final = 1 << 16
"""Of so many values at most the error of a range is estimated."""
_BINS: Final = 2048
_ENOUGH: Final = 15
"""Levels from which on one more at an end costs less than a clipped end."""


def find_range(
    values: Tensor, method: RangeMethod, levels: int, *, symmetric: bool, percentile: float = 99.99
) -> tuple[Tensor, Tensor]:
    """Return the low and the high end of the range to cover, `[C]` each; 0 lies inside, on a level where it can.

    Args:
        values: what was observed, `[C, n]`, one row for each range.
        method: see the head of this module.
        levels: how many steps the quantizer has from end to end.
        symmetric: whether the range is to be as long below 0 as above.
        percentile: share of the values that `percentile` covers, percent.

    Raises:
        InputError: an unknown method, no values, NaN or infinite ones, or a percentile outside of (50, 100].
    """
    if method not in get_args(RangeMethod):
        raise unknown_name("way to choose a range", method, get_args(RangeMethod))
    if values.numel() == 0:
        raise InputError("there are no values to choose a range from; give at least one batch of data.")
    if not bool(values.isfinite().all()):
        raise InputError("NaN or infinite values are to be quantized; find the layer that makes them.")
    if not 50 < percentile <= 100:
        raise InputError(f"the percentile was {percentile}; give more than 50 and at most 100.")
    values = values.detach().float()
    low, high = _chosen(values, method, levels, symmetric, percentile)
    return (low, high) if symmetric else _with_zero(low, high, levels)


def _chosen(values: Tensor, method: str, levels: int, symmetric: bool, percentile: float) -> tuple[Tensor, Tensor]:
    low, high = _minmax(values, symmetric)
    if method == "percentile":
        ends = _quantiles(values, percentile, symmetric)
        return torch.maximum(low, ends[0]), torch.minimum(high, ends[1])
    if method == "mse":
        return _least_error(values, low, high, levels, symmetric)
    if method == "histogram":
        shrunk = [_least_entropy(row, float(a), float(b), levels) for row, a, b in zip(values, low, high, strict=True)]
        factor = torch.tensor(shrunk, device=values.device)
        return low * factor, high * factor
    return low, high


def _with_zero(low: Tensor, high: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """Widen a range so that 0 is one of its levels and both ends stay inside; not where there are few levels.

    With its zero point rounded alone, a range would lose up to half a step at one end, where clipped values such as
    the white of pictures may lie.
    """
    if levels < _ENOUGH:
        return low, high
    below = torch.round(-low / (high - low).clamp_min(torch.finfo(torch.float32).tiny) * levels)
    step = torch.maximum(high / (levels - below).clamp_min(1), -low / below.clamp_min(1))
    inside = (below > 0) & (below < levels)
    return torch.where(inside, -below * step, low), torch.where(inside, (levels - below) * step, high)


def _minmax(values: Tensor, symmetric: bool) -> tuple[Tensor, Tensor]:
    low, high = values.amin(1).clamp_max(0), values.amax(1).clamp_min(0)
    if symmetric:
        high = torch.maximum(high, -low)
        low = -high
    return low, high


def _quantiles(values: Tensor, percentile: float, symmetric: bool) -> tuple[Tensor, Tensor]:
    def at(x: Tensor, share: float) -> Tensor:
        return x.kthvalue(max(1, min(x.shape[1], round(share * x.shape[1]))), dim=1).values

    if symmetric:
        high = at(values.abs(), percentile / 100)
        return -high, high
    return at(values, 1 - percentile / 100).clamp_max(0), at(values, percentile / 100).clamp_min(0)


def _least_error(values: Tensor, low: Tensor, high: Tensor, levels: int, symmetric: bool) -> tuple[Tensor, Tensor]:
    best = torch.full_like(low, torch.inf)
    found = torch.ones_like(low)
    for shrink in torch.linspace(1, 1 / _SHRINKS, _SHRINKS).tolist():
        start, end = low * shrink, high * shrink
        if not symmetric:
            start, end = _with_zero(start, end, levels)
        step = ((end - start) / levels).clamp_min(torch.finfo(torch.float32).tiny).unsqueeze(1)
        least = torch.round(start.unsqueeze(1) / step)
        codes = torch.clamp(torch.round(values / step), least, least + levels)
        error = (codes * step - values).square().mean(1)
        better = error < best
        best, found = torch.where(better, error, best), torch.where(better, shrink, found)
    return low * found, high * found


def _least_entropy(row: Tensor, low: float, high: float, levels: int) -> float:
    """The share of the range that keeps the histogram's distribution best.

    Raises nothing: a row of one value keeps its range.
    """
    reach = max(high, -low)
    counts = torch.histc(row.abs(), _BINS, 0, reach) if reach else row.new_zeros(_BINS)
    counts[0] = 0  # exact zeros are kept by any range
    if not counts.any():
        return 1.0
    steps = max(2, levels if low == 0 else levels // 2)
    best, found = torch.inf, 1.0
    for kept in range(max(steps, _BINS // 16), _BINS + 1, _BINS // 128):
        reference = counts[:kept].clone()
        reference[-1] += counts[kept:].sum()
        error = _divergence(reference, _requantized(counts[:kept], steps))
        if error < best:
            best, found = error, kept / _BINS
    return found


def _requantized(counts: Tensor, steps: int) -> Tensor:
    """Spread the counts of each step evenly over those of its bins that hold something."""
    owner = torch.arange(len(counts), device=counts.device) * steps // len(counts)
    filled = (counts > 0).float()
    total = counts.new_zeros(steps).index_add_(0, owner, counts)
    bins = counts.new_zeros(steps).index_add_(0, owner, filled)
    return (total / bins.clamp_min(1))[owner] * filled


def _divergence(p: Tensor, q: Tensor) -> float:
    p, q = p / p.sum(), q / q.sum().clamp_min(1e-30)
    where = p > 0
    return float((p[where] * (p[where] / q[where].clamp_min(1e-12)).log()).sum())
