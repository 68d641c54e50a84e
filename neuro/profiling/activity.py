"""How active a tensor was: non-zero values by timestep and channel, and the unit spikes they stand for."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

from neuro.profiling.forms import Values, recognise


class Activity(NamedTuple):
    """Counts over one recorded call, summed over the batch.

    Attributes:
        values: what the values are.
        elements: size of one timestep, over the batch.
        nonzero: `[steps, C]` counts of non-zero values by channel, int64.
        channel_elements: how many elements a channel has in one timestep, over the batch.
        magnitude: `[steps]` sums of |integer value|, float64 holding exact integers; empty for float values.
        accumulates: `[steps]` sums of |integer value| x fan-out of its position; empty for float values.
    """

    values: Values
    elements: int
    nonzero: Tensor
    channel_elements: int
    magnitude: Tensor
    accumulates: Tensor


class Layout(NamedTuple):
    """A tensor seen as `[steps, batch, channels, positions...]`."""

    steps: int
    channels: int
    positions: tuple[int, ...]

    def view(self, x: Tensor) -> Tensor:
        """Return `x` as `[steps, batch, channels, *positions]`."""
        return x.reshape(self.steps, -1, self.channels, *self.positions)


def measure(x: Tensor, layout: Layout, fan_out: tuple[Tensor, ...] | None = None) -> Activity:
    """Measure the activity of `x`.

    Args:
        x: `[steps * batch, channels, *positions]` or any tensor that reshapes to `layout`.
        layout: which axes are time, channels and positions.
        fan_out: for each axis of positions, how many outputs read an input at that index; None where every
            element is read once (the caller then scales `magnitude` itself).
    """
    values = recognise(x)
    seen = layout.view(x.detach())
    if values.form == "float":
        nonzero = _by_channel(seen.ne(0))
        none = torch.empty(0, dtype=torch.float64)
        return Activity(values, seen[0].numel(), nonzero, _channel_elements(seen), none, none)
    counts = seen.abs() if values.signed else seen
    magnitude, accumulates = _weighted_sums(counts, fan_out)
    unit = abs(values.scale)
    nonzero = _by_channel(seen.ne(0)) if values.form == "integer" else (magnitude / unit).round().long()
    return Activity(
        values,
        seen[0].numel(),
        nonzero,
        _channel_elements(seen),
        (magnitude.sum(1) / unit).round(),
        (accumulates.sum(1) / unit).round(),
    )


def _channel_elements(seen: Tensor) -> int:
    return seen[0].numel() // max(1, seen.shape[2])


def _by_channel(mask: Tensor) -> Tensor:
    """Count True by timestep and channel, `[steps, C]`."""
    return mask.flatten(3).sum(dim=(1, 3)) if mask.dim() > 3 else mask.sum(dim=1)


def _weighted_sums(counts: Tensor, fan_out: tuple[Tensor, ...] | None) -> tuple[Tensor, Tensor]:
    """Return `[steps, C]` sums of `counts`, plain and weighted by the fan-out of each position.

    Both come from one pass over the data: the innermost axis is multiplied by two columns, ones and fan-out.
    """
    if counts.dtype not in (torch.float32, torch.float64):
        counts = counts.float()
    if counts.dim() == 3 or fan_out is None:
        flat = counts.flatten(3) if counts.dim() > 3 else counts.unsqueeze(-1)
        plain = flat.sum(dim=-1).double().sum(dim=1)
        return plain, plain
    *outer, inner = fan_out
    columns = torch.stack([torch.ones_like(inner), inner], dim=-1).to(counts)
    sums = (counts @ columns).double()  # [steps, batch, C, outer..., 2]
    for weights in reversed(outer):
        plain, weighted = sums[..., 0].sum(-1), (sums[..., 1] * weights.to(sums)).sum(-1)
        sums = torch.stack([plain, weighted], dim=-1)
    sums = sums.sum(dim=1)
    return sums[..., 0], sums[..., 1]


@functools.cache
def conv_fan_out(
    in_size: tuple[int, ...],
    out_size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[Tensor, ...]:
    """For each axis, how many (output, tap) pairs of a convolution read each input index.

    Input i is read by output o through tap k where `o * stride + k * dilation - padding == i`; the fan-out of a
    position is the product over the axes (times the output channels of its group).
    """
    axes = []
    for size, out, taps, step, pad, spread in zip(in_size, out_size, kernel, stride, padding, dilation, strict=True):
        index = torch.arange(out).view(-1, 1) * step + torch.arange(taps).view(1, -1) * spread - pad
        inside = index[(index >= 0) & (index < size)]
        axes.append(torch.bincount(inside, minlength=size).double())
    return tuple(axes)
