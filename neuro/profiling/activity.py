"""How active a tensor was: non-zero values by timestep and channel, and the accumulates that they take."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from neuro.profiling.forms import MAX_INTEGER_SPIKE, SILENT, Values, as_ratio, common_scale, integers, share_mantissa
from neuro.profiling.timeline import Time, time_first

FanOut = tuple[Tensor, ...]
"""For each axis of positions, how many outputs read an input at that index."""

_EXACT_IN_SINGLE = 1 << 24
"""Integers below this add up in single precision without rounding, in any order."""


class Activity(NamedTuple):
    """Counts over one recorded call, summed over the batch.

    Attributes:
        values: what the values are.
        elements: size of one timestep, over the batch.
        nonzero: `[steps, C]` counts of non-zero values by channel, int64.
        magnitude: `[steps]` unit spikes, float64 holding exact integers: sums of |integer value|, each power of two
            counted once; empty for float values.
        accumulates: `[steps]` the same times the fan-out of their positions; empty for float values.
        shifted: `[steps]` accumulates if each value takes one, shifted, whatever its size; only of powers of two,
            whatever their form, else empty.
    """

    values: Values
    elements: int
    nonzero: Tensor
    magnitude: Tensor
    accumulates: Tensor
    shifted: Tensor

    @property
    def is_spikes(self) -> bool:
        """Whether additions suffice."""
        return self.values.form != "float"

    @property
    def channel_elements(self) -> int:
        """How many elements a channel has in one timestep, over the batch."""
        return self.elements // max(1, self.nonzero.shape[1])


class Layout(NamedTuple):
    """Which axes of a tensor are time, channels and positions.

    Attributes:
        time: where the timesteps are; None where the tensor holds one.
        channels: number of channels.
        positions: sizes of the axes behind the channels.
    """

    time: Time | None
    channels: int
    positions: tuple[int, ...] = ()

    def view(self, x: Tensor) -> Tensor:
        """Return `x` as `[steps, batch, channels, positions]`."""
        return time_first(x, self.time).reshape(self.steps, -1, self.channels, math.prod(self.positions))

    @property
    def steps(self) -> int:
        """Timesteps in the tensor."""
        return self.time.steps if self.time else 1


def measure(x: Tensor, values: Values, layout: Layout, fan_out: FanOut | None = None) -> Activity:
    """Measure the activity of `x`.

    Args:
        x: the tensor.
        values: what its values are.
        layout: which axes are time, channels and positions.
        fan_out: by axis of positions; None where every element is read once (the caller then scales the
            accumulates itself).
    """
    counts = _unit_spikes(layout.view(x.detach()), values)
    elements = counts[0].numel()
    if values.form == "float":
        return _of_floats(values, elements, _sums(counts, 1).long())
    magnitude, accumulates = _summed(counts, max(values.high, -values.low) if _by_size(values) else 1, fan_out)
    nonzero, shifted = magnitude, accumulates
    if _by_size(values):
        nonzero, shifted = _summed(_indicator(counts), 1, fan_out if values.powers else None)
    known = shifted if values.powers else _none()
    return Activity(values, elements, nonzero.long(), magnitude.sum(1), accumulates, known)


def _of_floats(values: Values, elements: int, nonzero: Tensor) -> Activity:
    return Activity(values, elements, nonzero, _none(), _none(), _none())


def _none() -> Tensor:
    return torch.empty(0, dtype=torch.float64)


def _by_size(values: Values) -> bool:
    """Whether a value stands for as many unit spikes as its size says, and not for one."""
    return values.form == "integer"


def _summed(counts: Tensor, bound: int, fan_out: FanOut | None) -> tuple[Tensor, Tensor]:
    """Sums of `counts` by timestep and channel, `[steps, C]`; by timestep, times the fan-out of their positions."""
    alone = _sums(counts, bound)
    return alone, (alone if fan_out is None else _weighted_sums(counts, fan_out, bound)).sum(1)


def _unit_spikes(seen: Tensor, values: Values) -> Tensor:
    """|x| / scale as exact integers in floating point; for floats and powers of two, where they are not zero."""
    if not _by_size(values):
        unit = values.form == "binary" and values.scale == 1.0 and seen.dtype in (torch.float32, torch.float64)
        return seen if unit else _indicator(seen)
    counts = as_ratio(seen, values.scale).round_()
    return counts.abs_() if values.signed else counts


def _indicator(seen: Tensor) -> Tensor:
    """1 where `seen` is not zero, in single precision."""
    if seen.dtype == torch.float32:
        return torch.ne(seen, 0, out=torch.empty_like(seen))
    return seen.ne(0).float()


def _sums(counts: Tensor, bound: int) -> Tensor:
    """Sums of `counts` (integers up to `bound`), `[steps, batch, C, P] -> [steps, C]`, exact, in double."""
    if counts.shape[3] > 1:
        exact = counts.shape[3] * bound < _EXACT_IN_SINGLE
        return counts.sum(3, dtype=None if exact else torch.float64).double().sum(1)
    rows = counts.squeeze(3)
    if rows.shape[1] * bound < _EXACT_IN_SINGLE:
        return rows.sum(1).double()
    return rows.sum(1, dtype=torch.float64)


def _weighted_sums(counts: Tensor, fan_out: FanOut, bound: int) -> Tensor:
    """Sums of `counts` times the fan-out of their position, `[steps, C]`, exact, in double."""
    weights = functools.reduce(lambda a, b: torch.outer(a, b).flatten(), fan_out)
    largest = float(weights.amax()) * bound * counts.shape[3]
    exact = torch.float32 if largest < _EXACT_IN_SINGLE else torch.float64
    rows = counts.reshape(-1, counts.shape[3]).to(exact)
    return (rows @ weights.to(rows)).view(counts.shape[:3]).double().sum(1)


def join(parts: list[Activity]) -> Activity:
    """The activity of consecutive calls, one timestep or more each, as if one tensor had held them all.

    The scale is the common one: a timestep of {0, 2} beside a timestep of {0, 1, 2} holds two unit spikes; beside one
    of {0, 1/16} it holds powers of two. It is float where one timestep is, or where the scales have no common factor.
    """
    if len(parts) == 1:
        return parts[0]
    nonzero = torch.cat([part.nonzero for part in parts])
    values = _common_values([part.values for part in parts if bool(part.nonzero.any())])
    if values.form == "float":
        return _of_floats(values, parts[0].elements, nonzero)
    shifted = torch.cat([part.shifted for part in parts]) if values.powers else _none()
    if values.form == "power-of-two":
        return Activity(values, parts[0].elements, nonzero, nonzero.sum(1).double(), shifted, shifted)
    units = [_units(part.values, values) for part in parts]
    magnitude = torch.cat([part.magnitude * unit for part, unit in zip(parts, units, strict=True)])
    accumulates = torch.cat([part.accumulates * unit for part, unit in zip(parts, units, strict=True)])
    return Activity(values, parts[0].elements, nonzero, magnitude, accumulates, shifted)


def _units(part: Values, common: Values) -> int:
    """How many of the common unit spikes one unit spike of a part is."""
    return round(abs(part.scale / common.scale)) or 1


def _common_values(active: list[Values]) -> Values:
    if not active:
        return SILENT
    floats = [values for values in active if values.form == "float"]
    if floats:
        return max(floats, key=lambda values: values.bits)
    ends = [(v.low * v.scale, v.high * v.scale) for v in active]
    low, high = min(0.0, *(min(e) for e in ends)), max(0.0, *(max(e) for e in ends))
    levels = {abs(level) for v, e in zip(active, ends, strict=True) for level in (*e, v.scale) if level}
    powers = all(values.powers for values in active) and share_mantissa(levels)
    scale = min(levels) if powers else common_scale(levels, torch.float32)
    if scale is None or (not powers and max(-low, high) / scale > MAX_INTEGER_SPIKE + 0.5):
        return Values("float", 1.0, True, 32)
    return integers(round(low / scale), round(high / scale), scale, powers)


@functools.cache
def conv_fan_out(
    in_size: tuple[int, ...],
    out_size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> FanOut:
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


@functools.cache
def transposed_fan_out(
    in_size: tuple[int, ...],
    out_size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> FanOut:
    """The same for a transposed convolution, where input i writes output `i * stride + k * dilation - padding`."""
    axes = []
    for size, out, taps, step, pad, spread in zip(in_size, out_size, kernel, stride, padding, dilation, strict=True):
        reached = torch.arange(size).view(-1, 1) * step + torch.arange(taps).view(1, -1) * spread - pad
        axes.append(((reached >= 0) & (reached < out)).sum(1).double())
    return tuple(axes)
