"""Recognise by value what an operand is: binary, ternary, small-integer or power-of-two spikes, up to one scale, or
float.

A product with spikes needs no multiplier: `scale` moves into the other operand, an integer spike n stands for n unit
spikes, and a power of two shifts the other operand. Recognition is exact for every element, never taken from a type
or a name: a sample proposes a scale or a mantissa, and all elements have to confirm it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

import torch
from torch import Tensor

from hardware_models.workload import MOST_LEVELS, Form

MAX_INTEGER_SPIKE: Final = 15
"""Largest spike count that is treated as that many accumulates; beyond it, a multiplication is the cheaper
and the honest reading (an 8-bit pixel is no spike)."""

_SAMPLE = 4096
_FIRST_LOOK = 256
_CHUNK = 1 << 17
"""Elements checked at a time: the passes over one piece stay in the processor's cache."""


class Values(NamedTuple):
    """What the values of a tensor are: `scale` times integers of the given form.

    Attributes:
        form: binary, ternary, integer, power-of-two or float.
        scale: the common factor, of powers of two the smallest; 1 for float.
        signed: whether negative values occur; a floating-point number always has a sign bit.
        bits: width of one value in that form (of powers of two: sign and level); for float, of the tensor's dtype.
        low: smallest integer (0 or above unless signed); 0 for float.
        high: largest integer; 0 for float.
        powers: whether every value that is not zero is, exactly, a power of two times the scale.
    """

    form: Form
    scale: float
    signed: bool
    bits: int
    low: int = 0
    high: int = 0
    powers: bool = False

    @property
    def levels(self) -> int:
        """Thresholds from the smallest to the largest power of two; 0 for other forms."""
        return max(self.high, -self.low).bit_length() if self.form == "power-of-two" else 0


SILENT: Final = Values("binary", 1.0, False, 1, powers=True)
"""An all-zero tensor: nothing fires."""


def recognise(x: Tensor) -> Values:
    """Return what the values of `x` are; exact over all elements.

    Tensors with NaN or infinity, complex and empty tensors are float. An all-zero tensor is binary.
    """
    if x.numel() == 0 or x.is_complex() or x.dtype == torch.bool:
        return integers(0, 1, 1.0, powers=True) if x.dtype == torch.bool and x.numel() else _as_float(x)
    if x.is_floating_point() and x.element_size() == 1:
        values = recognise(x.float())  # few operations know 8-bit floating point
        return values if values.form != "float" else _as_float(x)
    flat = in_memory_order(x)
    levels = _levels(_sample(flat, _FIRST_LOOK))
    powers = share_mantissa(levels)
    if not powers and common_scale(levels, x.dtype) is None:
        return _as_float(x)  # most floating-point tensors end here
    if len(levels) <= 1 and (first := _single_level(flat, levels)) is not None:
        return first
    if powers and (found := _by_bits(flat)) is not None:
        return found
    return _by_levels(x, flat, levels | _levels(_sample(flat, _SAMPLE)))


def _sample(flat: Tensor, size: int) -> Tensor:
    return flat[:: max(1, flat.numel() // size)]


def integers(low: int, high: int, scale: float, powers: bool) -> Values:
    """The form of integers between `low` and `high` times `scale`; both ends occur, or are 0.

    Those beyond `MAX_INTEGER_SPIKE` are `powers` of two, of `MOST_LEVELS` levels at most.
    """
    signed, largest = low < 0, max(-low, high)
    if largest == 0:
        return SILENT
    if largest > MAX_INTEGER_SPIKE:
        states = largest.bit_length() * (2 if signed else 1) + 1
        return Values("power-of-two", scale, signed, (states - 1).bit_length(), low, high, powers)
    if largest > 1:
        return Values("integer", scale, signed, largest.bit_length() + signed, low, high, powers)
    if low < 0 < high:
        return Values("ternary", scale, True, 2, low, high, powers)
    return Values("binary", -scale if signed else scale, signed, 1, 0, 1, powers)


def in_memory_order(x: Tensor) -> Tensor:
    """Return the elements of `x` in one axis: those of memory where it is dense there, a copy where not."""
    x = x.detach()
    if x.is_contiguous():
        return x.view(-1)
    return x.as_strided((x.numel(),), (1,)) if is_dense(x) else x.reshape(-1)


def is_dense(x: Tensor) -> bool:
    """Whether the elements of `x` fill a piece of memory, each place once, in any order of the axes."""
    expected = 1
    for stride, size in sorted((s, n) for s, n in zip(x.stride(), x.shape, strict=True) if n != 1):
        if stride != expected:
            return False
        expected *= size
    return True


def _as_float(x: Tensor) -> Values:
    signed = x.is_complex() or x.is_floating_point() or (x.numel() > 0 and x.min().item() < 0)
    return Values("float", 1.0, bool(signed), x.element_size() * 8)


def _levels(sample: Tensor) -> set[float]:
    """The distinct magnitudes above zero."""
    return {abs(value) for value in sample.tolist()} - {0}


def _single_level(flat: Tensor, levels: set[float]) -> Values | None:
    """The form of a tensor of zeros and one positive value, by far the most frequent case; None for any other.

    Subtracting the value where an element is not zero leaves zero everywhere: exact, and quick to check.
    """
    if not flat.is_floating_point():
        return None
    scale = float(next(iter(levels), 0.0)) or float(flat.max())
    if not 0 < scale < math.inf:
        return None
    pieces = _pieces(flat)
    fires = torch.empty_like(pieces[0])
    for chunk in pieces:
        here = fires[: chunk.numel()]
        torch.ne(chunk, 0, out=here)
        torch.sub(chunk, here, alpha=scale, out=here)
        low, high = torch.aminmax(here)
        if not (low == 0 and high == 0):
            return None
    return integers(0, 1, scale, powers=True)


def share_mantissa(levels: Collection[float]) -> bool:
    """Whether all `levels` (above zero) are powers of two times one factor, of `MOST_LEVELS` levels at most."""
    if not levels:
        return True
    mantissa, _ = math.frexp(next(iter(levels)))
    return all(math.frexp(level)[0] == mantissa for level in levels) and max(levels) < min(levels) * 2**MOST_LEVELS


_MANTISSAS: Final = {torch.float32: (torch.int32, (1 << 23) - 1), torch.float64: (torch.int64, (1 << 52) - 1)}
"""By type of floating-point number: integers of its width, and the bits of the mantissa."""


def _by_bits(flat: Tensor) -> Values | None:
    """The form of a tensor whose values share one mantissa, bit by bit, and so are powers of two times one factor;
    None of any other, and where subnormal numbers are among them, whose mantissa has no leading one."""
    low, high = (float(v) for v in flat.aminmax())
    largest = max(-low, high)
    if largest == 0:
        return SILENT
    wide = flat.dtype if flat.dtype in _MANTISSAS else torch.float32 if flat.is_floating_point() else torch.float64
    if not largest < (math.inf if flat.is_floating_point() else 2.0**53):
        return None
    integer, mask = _MANTISSAS[wide]
    most = smallest = int(torch.tensor(largest, dtype=wide).view(integer))
    for chunk in _pieces(flat):
        seen = chunk.to(wide).abs().view(integer)
        if not _have_mantissa(seen, mask, most & mask):
            return None
        smallest = min(smallest, _smallest(seen))
    scale = float(torch.tensor(smallest, dtype=integer).view(wide))
    if smallest <= mask or not share_mantissa({scale, largest}):
        return None
    return integers(round(low / scale), round(high / scale), scale, powers=True)


def _have_mantissa(seen: Tensor, mask: int, mantissa: int) -> bool:
    """Whether numbers whose bits are `seen` are zero or have this mantissa."""
    found = seen & mask
    largest = int(found.amax())
    if mantissa == 0:
        return largest == 0
    if largest == 0:
        return not seen.any()
    # A mantissa of zeros belongs to zero alone, or to a power of two among numbers that are none.
    return _smallest(found) == mantissa == largest and int(found.count_nonzero()) == int(seen.count_nonzero())


def _smallest(bits: Tensor) -> int:
    """The smallest integer above zero; zeros wrap around to the largest there is, and so does their minimum."""
    return int((bits - 1).bitwise_and_(torch.iinfo(bits.dtype).max).amin()) + 1


def _by_levels(x: Tensor, flat: Tensor, levels: set[float]) -> Values:
    """Look for the scale of which all elements are multiples; those that do not fit join the levels."""
    low, high = (v.item() for v in flat.aminmax())
    largest = max(abs(low), abs(high))
    if not math.isfinite(largest):
        return _as_float(x)
    if largest == 0:
        return SILENT
    levels = levels | {largest}
    while (scale := common_scale(levels, x.dtype)) is not None:
        misfits = next(_misfits(flat, scale), None)
        if misfits is None:
            return integers(round(low / scale), round(high / scale), scale, powers=False)
        levels |= misfits
    return _as_float(x)


def _pieces(flat: Tensor) -> tuple[Tensor, ...]:
    return flat.split(_CHUNK) if flat.device.type == "cpu" else (flat,)


def _misfits(flat: Tensor, scale: float) -> Iterator[set[float]]:
    """Yield the levels, piece by piece, that are no multiples of `scale`."""
    for chunk in _pieces(flat):
        ratio = as_ratio(chunk, scale)
        wrong = ~_near_integers(ratio, flat.dtype)
        if bool(wrong.any()):
            yield _levels(chunk[wrong][:_SAMPLE])


def as_ratio(x: Tensor, scale: float) -> Tensor:
    """Return `x / scale` in at least single precision."""
    return (x if x.dtype in (torch.float32, torch.float64) else x.float()) / scale


def common_scale(levels: Collection[float], dtype: torch.dtype) -> float | None:
    """The largest factor of which all `levels` (above zero, of precision `dtype`) are multiples up to
    `MAX_INTEGER_SPIKE`; 1.0 of no levels, None where there is no such factor."""
    if not levels:
        return 1.0
    largest, tolerance = max(levels), _tolerance(dtype)
    if len(levels) > MAX_INTEGER_SPIKE or not all(map(math.isfinite, levels)):
        return None
    for count in range(1, MAX_INTEGER_SPIKE + 1):
        ratios = [level / largest * count for level in levels]
        if all(abs(ratio - round(ratio)) <= round(ratio) * tolerance for ratio in ratios):
            return largest / count
    return None


def _near_integers(ratio: Tensor, dtype: torch.dtype) -> Tensor:
    """Where a ratio is an integer, up to the rounding of a tensor of `dtype`: zero only where it is exactly zero."""
    rounded = ratio.round()
    return (ratio - rounded).abs_() <= rounded.abs_() * _tolerance(dtype)


def _tolerance(dtype: torch.dtype) -> float:
    """Relative error allowed to a value that stands for an integer times a scale: one unit in the last place
    of 16-bit numbers, eight of single precision; integers must be exact."""
    return max(1.05 * torch.finfo(dtype).eps, 1e-6) if dtype.is_floating_point else 1e-9
