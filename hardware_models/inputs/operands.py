"""Operands and operation counts that follow from stated shapes, widths and densities.

A density stated for an operand is taken as uniform over positions and channels, so

    non-zero values of a timestep = elements x density
    accumulates of a timestep     = unit spikes per value x (output, tap) pairs inside the input x outputs per group

Padding fires no spikes, so the accumulates leave it out, as a measured Workload does; multiply-accumulates count
it as data. Counts are exact integers: a Workload states them over as many samples as make them whole.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from hardware_models.whole_numbers import ceil_divide
from hardware_models.workload import Bounds, Form, Operand

MOST_SAMPLES: Final = 10_000
"""Samples that counts are stated over at most; densities of more than four decimals are rounded to that."""


class Signal(NamedTuple):
    """What is known of an operand's values.

    Attributes:
        form: which values occur.
        bits: width of one stored value.
        signed: whether negative values occur.
        density: share of non-zero values, one for each timestep; of a weight, one.
        units: mean unit spikes of one value, one for each timestep; None where the values are no spikes, so that
            they are multiplied.
    """

    form: Form
    bits: int
    signed: bool
    density: tuple[float, ...]
    units: tuple[float, ...] | None = None


def dense(bits: int, timesteps: int = 1, form: Form = "integer") -> Signal:
    """Return signed values that are multiplied and of which none is known to be zero."""
    return Signal(form, bits, True, (1.0,) * timesteps)


def samples_for(signals: Iterable[Signal]) -> int:
    """Return over how many samples the counts of `signals` are whole numbers, at most `MOST_SAMPLES`."""
    shares = {share for signal in set(signals) for share in (*signal.density, *(signal.units or ()))}
    samples = 1
    while samples < MOST_SAMPLES and any(_in_samples(share, samples)[1] for share in shares):
        samples *= 10
    return samples


@functools.lru_cache(maxsize=4096)
def _in_samples(share: float, samples: int) -> tuple[int, float]:
    """Return `share * samples` as a whole number and what is left of it, 0 up to the share's own rounding."""
    scaled = share * samples
    whole = round(scaled)
    rest = scaled - whole
    return whole, rest if abs(rest) > 1e-12 * max(1.0, scaled) else 0.0


def _count(each: int, share: float, samples: int) -> int:
    """Return `each * share * samples`, exact where the share is a whole number of samples."""
    whole, rest = _in_samples(share, samples)
    return each * whole + (round(each * rest) if rest else 0)


def activation(name: str, signal: Signal, elements: int, batch: int) -> Operand:
    """Return the operand of an activation of `elements` values in one sample and timestep."""
    units = signal.units or ()
    return Operand(
        name=name,
        bits=signal.bits,
        signed=signal.signed,
        form=signal.form,
        elements=elements,
        nonzero=tuple(_count(elements, share, batch) for share in signal.density),
        magnitude=tuple(_count(elements, mean, batch) for mean in units),
        density=signal.density,
    )


def weight(signal: Signal, elements: int) -> Operand:
    """Return the operand of a weight of `elements` values."""
    return Operand(
        name="weight",
        role="weight",
        bits=signal.bits,
        signed=signal.signed,
        form=signal.form,
        elements=elements,
        nonzero=(round(elements * signal.density[0]),),
        density=signal.density,
    )


def weight_elements(bounds: Bounds) -> int:
    """Return the size of the weight of a convolution or linear layer."""
    return bounds.out_channels * (bounds.in_channels // bounds.groups) * math.prod(bounds.kernel)


def operations(
    bounds: Bounds, timesteps: int, batch: int, signals: Mapping[str, Signal]
) -> tuple[int, tuple[int, ...], str | None]:
    """Return multiply-accumulates over batch and timesteps, accumulates of each timestep, and what drives the latter.

    The cheapest operand that needs no multiplier drives the layer: spikes among the activations, or a weight
    whose values are binary or ternary. Without one, every operation is a multiply-accumulate.

    Args:
        bounds: the loop bounds.
        timesteps: how often the layer runs.
        batch: samples that are counted.
        signals: its two operands by name.
    """
    accumulates: dict[str, tuple[int, ...]] = {}
    for name, signal in signals.items():
        if name == "weight":
            if signal.form in ("binary", "ternary"):
                size = weight_elements(bounds)
                each = bounds.macs * batch * round(size * signal.density[0]) // size
                accumulates[name] = (each,) * timesteps
        elif signal.units is not None:
            reached = _inside(bounds)
            accumulates[name] = tuple(_count(reached, mean, batch) for mean in signal.units)
    if not accumulates:
        return bounds.macs * timesteps * batch, (), None
    driven_by = min(accumulates, key=lambda name: sum(accumulates[name]))
    return 0, accumulates[driven_by], driven_by


def _inside(bounds: Bounds) -> int:
    """Multiply-accumulates of one sample and timestep whose input is no padding."""
    if bounds.kernel == (1,) and bounds.padding == (0,):
        return bounds.macs
    sizes = (bounds.out_size, bounds.in_size)
    over, within = reversed(sizes) if bounds.transposed else sizes
    axes = zip(over, within, bounds.kernel, bounds.stride, bounds.padding, bounds.dilation, strict=True)
    return bounds.out_channels * (bounds.in_channels // bounds.groups) * math.prod(_pairs(*axis) for axis in axes)


@functools.lru_cache(maxsize=4096)
def _pairs(over: int, within: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Count the (i, k), i < over and k < kernel, with 0 <= i * stride + k * dilation - padding < within."""
    count = 0
    for tap in range(kernel):
        shift = padding - tap * dilation
        first, last = max(0, ceil_divide(shift, stride)), min(over - 1, (within - 1 + shift) // stride)
        count += max(0, last - first + 1)
    return count
