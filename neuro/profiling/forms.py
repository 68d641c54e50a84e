"""Recognise by value what an operand is: binary, ternary, small-integer spikes, up to one scale, or float.

A product with spikes needs no multiplier: `scale` moves into the other operand and an integer spike n stands
for n unit spikes. Recognition is exact for every element, never taken from a type or a name.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from hardware_models.workload import Form

MAX_INTEGER_SPIKE = 15
"""Largest spike count that is treated as that many accumulates; beyond it, a multiplication is the cheaper
and the honest reading (an 8-bit pixel is no spike)."""

_SAMPLE = 4096
_TOLERANCE = 1e-5


class Values(NamedTuple):
    """What the values of a tensor are: `scale` times integers of the given form.

    Attributes:
        form: binary, ternary, integer or float.
        scale: the common factor; 1 for float.
        signed: whether negative values occur.
        bits: width of one value in that form; for float, of the tensor's dtype.
    """

    form: Form
    scale: float
    signed: bool
    bits: int


def recognise(x: Tensor) -> Values:
    """Return what the values of `x` are; exact over all elements.

    Tensors with NaN or infinity are float. An all-zero tensor is binary: nothing fires.
    """
    as_float = Values("float", 1.0, True, x.element_size() * 8)
    if x.numel() == 0 or x.is_complex():
        return as_float
    if x.dtype == torch.bool:
        return Values("binary", 1.0, False, 1)
    low, high = (v.item() for v in x.aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        return as_float
    largest = max(abs(low), abs(high))
    if largest == 0:
        return Values("binary", 1.0, False, 1)
    scale = _common_scale(x, largest)
    if scale is None:
        return as_float._replace(signed=low < 0)
    return _integer_values(round(low / scale), round(high / scale), scale)


def _integer_values(low: int, high: int, scale: float) -> Values:
    """The form of integers between `low` and `high` times `scale`."""
    signed = low < 0
    largest = max(-low, high)
    if largest == 1:
        if low < 0 < high:
            return Values("ternary", scale, True, 2)
        return Values("binary", -scale if signed else scale, signed, 1)
    return Values("integer", scale, signed, largest.bit_length() + signed)


def _common_scale(x: Tensor, largest: float) -> float | None:
    """The factor that makes every element an integer of at most `MAX_INTEGER_SPIKE`, or None.

    A sample proposes the factor, all elements check it, and those that do not fit join the sample. A sample
    without a factor settles the question for the whole tensor, so most floating-point tensors cost little.
    """
    flat = x.detach().reshape(-1)
    sample = flat[:: max(1, flat.numel() // _SAMPLE)]
    levels = torch.unique(torch.cat([sample.abs().double(), torch.tensor([largest], dtype=torch.float64)]))
    if levels.numel() <= 2 and bool((flat.count_nonzero() == (flat == largest).count_nonzero())):
        return largest  # unsigned binary, by far the most frequent case
    while True:
        scale = _scale_of(levels)
        if scale is None:
            return None
        ratio = flat / scale
        misfits = flat[~_near_integers(ratio)]
        if misfits.numel() == 0:
            return scale
        levels = torch.unique(torch.cat([levels, misfits[:_SAMPLE].abs().double()]))


def _scale_of(levels: Tensor) -> float | None:
    """The largest factor of which all `levels` (sorted, double) are multiples up to `MAX_INTEGER_SPIKE`."""
    if levels.numel() > MAX_INTEGER_SPIKE + 1:
        return None
    largest = levels[-1].item()
    for count in range(1, MAX_INTEGER_SPIKE + 1):
        if bool(_near_integers(levels * (count / largest)).all()):
            return largest / count
    return None


def _near_integers(ratio: Tensor) -> Tensor:
    """Where a ratio is an integer, up to the rounding of the tensor's own precision."""
    rounded = ratio.round()
    return (ratio - rounded).abs_() <= _TOLERANCE * MAX_INTEGER_SPIKE
