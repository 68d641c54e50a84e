"""Activations of few bits, packed: one bit plane for each bit, or int8 codes where the int8 product is faster.

The integers of an activation are q = factor * u - zero_point with unsigned codes u of `bits` bits:

    signs     u = x >= threshold,                                        q = 2 u - 1
    spikes    u = x, 0 or 1,                                             q = u
    levels    u = round(clamp(x / s + z, low, high)) - low,              q = u - (z - low)

Signs are 1 where x equals the threshold; levels round half to even, in float32, as
`torch.round(torch.clamp(x / s + z, low, high))` does. Scales are left to the epilogue of the product.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor

from hardware_models.errors import InputError
from quant.packed import library, reference
from quant.packed.library import pointer

_SIGNS, _LEVELS, _SPIKES, _BYTE_SPIKES = range(4)
_SPIKE_KINDS: Final = {
    torch.float32: _SPIKES,
    torch.uint8: _BYTE_SPIKES,
    torch.int8: _BYTE_SPIKES,
    torch.bool: _BYTE_SPIKES,
}
PARALLEL_NUMBERS: Final = 2**14
"""Numbers from which waking a second thread pays."""


class Layout(NamedTuple):
    """How an operand wants its activation.

    Attributes:
        form: `bits`: int64 words of 64 channels, `[planes, ..., groups * words]`, each group beginning a word; `codes`:
            int8 `[..., C]`.
        groups: of the layer that takes it.
    """

    form: str = "bits"
    groups: int = 1


class ActivationFormat(NamedTuple):
    """What the integers of an activation are; `SIGNS`, `SPIKES` and `levels(...)` are the formats there are.

    Attributes:
        bits: of the unsigned code u.
        factor: q = factor * u - zero_point.
        zero_point: 0 of the simulated network, in codes.
        low: what was subtracted from the simulated code.
        narrow: the simulated network leaves out the least code.
    """

    bits: int
    factor: int = 1
    zero_point: int = 0
    low: int = 0
    narrow: bool = False


SIGNS: Final = ActivationFormat(1, factor=2, zero_point=1)
SPIKES: Final = ActivationFormat(1)


def levels(bits: int, zero_point: int = 0, signed: bool = False, narrow: bool = False) -> ActivationFormat:
    """Return the format of uniform codes of 1..8 bits, `[0, 2^bits - 1]` or, signed, `[-2^(bits-1), 2^(bits-1) - 1]`.

    Narrow ones leave out the least code.

    Raises:
        InputError: bits are outside 1..8, or the zero point is no code.
    """
    if not isinstance(bits, int) or isinstance(bits, bool) or not 1 <= bits <= 8:
        raise InputError(f"activations of {bits} bits were asked for; give 1 to 8 bits.")
    low = -(2 ** (bits - 1)) if signed else 0
    if int(zero_point) != zero_point or not low <= zero_point < low + 2**bits:
        raise InputError(f"zero point {zero_point} was given; give a whole number in {low}..{low + 2**bits - 1}.")
    return ActivationFormat(bits, 1, int(zero_point) - low, low, narrow)


@dataclass(frozen=True, eq=False)
class PackedActivation:
    """Packed integers `[..., C]`.

    Attributes:
        data: int64 `[planes, ..., groups * words]` or int8 `[..., C]`, as `layout` says.
        shape: `[..., C]`.
    """

    data: Tensor
    shape: tuple[int, ...]
    format: ActivationFormat
    layout: Layout

    def integers(self) -> Tensor:
        """Return the integers q, int32 `[..., C]`."""
        if self.layout.form == "codes":
            return self.data.int() - code_zero(self.format)
        u = reference.from_planes(self.data, self.shape[-1], self.layout.groups)
        return u * self.format.factor - self.format.zero_point

    @property
    def nbytes(self) -> int:
        """Bytes of the packed data."""
        return self.data.nbytes


def code_zero(form: ActivationFormat) -> int:
    """Return the int8 code that stands for 0: q = code - code_zero."""
    if form.factor == 2:
        return 0
    return form.zero_point - (128 if form.bits == 8 else 0)


def pack_signs(x: Tensor, threshold: Tensor | float = 0.0, layout: Layout | None = None) -> PackedActivation:
    """Pack q = 1 where x >= threshold, else -1.

    Args:
        x: float32 `[..., C]`; a view of a contiguous `[B, C, ...]` with its channels moved last is read as it lies.
        threshold: one number, or `[C]`.
        layout: what the operand wants (`Operand.layout`).

    Raises:
        InputError: x or the threshold has another dtype or shape, or a gradient is asked for.
    """
    if x.dtype != torch.float32:
        raise InputError(f"activations were given as {x.dtype}; give float32.")
    limits = torch.as_tensor(threshold, dtype=torch.float32).detach()
    if limits.numel() != 1 and limits.shape != x.shape[-1:]:
        raise InputError(
            f"a threshold of shape {list(limits.shape)} was given for {list(x.shape)}; give one number or [C]."
        )
    limits = limits.reshape(-1).expand(x.shape[-1]).contiguous() if x.dim() else limits
    return _pack(x, SIGNS, layout or Layout(), library.Pack(kind=_SIGNS), limits)


def pack_levels(x: Tensor, scale: float, form: ActivationFormat, layout: Layout | None = None) -> PackedActivation:
    """Pack the uniform codes round(clamp(x / scale + zero_point, low, high)), half to even, in float32.

    Args:
        x: float32 `[..., C]`, as in `pack_signs`.
        scale: positive.
        form: from `levels`.
        layout: what the operand wants (`Operand.layout`).

    Raises:
        InputError: the scale is not a positive number, or x holds NaN, has another dtype or wants a gradient.
    """
    scale = float(scale)
    if not (math.isfinite(scale) and ctypes.c_float(scale).value > 0):
        raise InputError(f"a scale of {scale:g} was given; give a positive number, from a calibration for instance.")
    if x.dtype != torch.float32:
        raise InputError(f"activations were given as {x.dtype}; give float32.")
    if form.factor != 1:
        raise InputError("pack_levels was given the format of signs; give levels(bits), or call pack_signs.")
    high = form.low + 2**form.bits - 1
    zero_point, low = form.zero_point + form.low, form.low + form.narrow
    task = library.Pack(kind=_LEVELS, scale=scale, zero_point=zero_point, low=low, high=high, first=form.low)
    return _pack(x, form, layout or Layout(), task, None)


def pack_spikes(x: Tensor, layout: Layout | None = None) -> PackedActivation:
    """Pack spikes, 0 or 1: float32, bool, uint8 or int8 `[..., C]`.

    Raises:
        InputError: a value is neither 0 nor 1, or x has another dtype or wants a gradient.
    """
    if x.dtype not in _SPIKE_KINDS:
        raise InputError(f"spikes were given as {x.dtype}; give float32, bool, uint8 or int8.")
    return _pack(x, SPIKES, layout or Layout(), library.Pack(kind=_SPIKE_KINDS[x.dtype]), None)


def _pack(
    x: Tensor, form: ActivationFormat, layout: Layout, task: library.Pack, threshold: Tensor | None
) -> PackedActivation:
    _check(x, layout)
    wrong = 0
    if not library.available():
        data, wrong = reference.pack(x, form, layout, task, threshold)
    else:
        data = _empty(x, form, layout)
        if x.numel():
            _fill(task, x, form, layout)
            keep = threshold  # the task holds an address only
            task.threshold = pointer(keep)
            setattr(task, layout.form, data.data_ptr())
            source, task.channel_first = _as_it_lies(x)
            task.x = source.data_ptr()
            wrong = library.kernels().quant_packed_pack(task)
    if wrong:
        what = "neither 0 nor 1" if task.kind in (_SPIKES, _BYTE_SPIKES) else "NaN"
        raise InputError(f"{wrong} of {x.numel()} activations are {what}; look at the layer before.")
    return PackedActivation(data, tuple(x.shape), form, layout)


def _check(x: Tensor, layout: Layout) -> None:
    if x.device.type != "cpu":
        raise InputError(f"packed inference was given a tensor on {x.device}; give one on the CPU.")
    if torch.is_grad_enabled() and x.requires_grad:
        raise InputError("packed inference has no gradient; call it under torch.no_grad or torch.inference_mode.")
    if x.dim() < 2 or not x.shape[-1]:
        raise InputError(f"activations of shape {list(x.shape)} were given; give [..., C] with one channel or more.")
    if layout.form not in ("bits", "codes") or layout.groups < 1 or x.shape[-1] % layout.groups:
        raise InputError(
            f"{layout} was asked of {x.shape[-1]} channels; give bits or codes and groups that divide them."
        )


def _empty(x: Tensor, form: ActivationFormat, layout: Layout) -> Tensor:
    if layout.form == "codes":
        return torch.empty(x.shape, dtype=torch.int8)
    words = layout.groups * -(-(x.shape[-1] // layout.groups) // 64)
    return torch.empty(form.bits, *x.shape[:-1], words, dtype=torch.int64)


def _fill(task: library.Pack, x: Tensor, form: ActivationFormat, layout: Layout) -> None:
    task.batch, task.channels = x.shape[0], x.shape[-1]
    task.size = x.shape[1:-1].numel()
    task.groups, task.planes = layout.groups, form.bits
    task.threads = torch.get_num_threads() if x.numel() >= PARALLEL_NUMBERS else 1
    task.step, task.offset = form.factor, form.zero_point if form.factor == 2 else form.zero_point - code_zero(form)


def _as_it_lies(x: Tensor) -> tuple[Tensor, bool]:
    """A contiguous tensor, and whether it is channel-first."""
    if not x.is_contiguous() and x.dim() > 2:
        first = x.movedim(-1, 1)
        if first.is_contiguous():
            return first, True
    return x.contiguous(), False
