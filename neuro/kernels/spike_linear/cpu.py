"""Products of spikes by the compiled kernels `native.c`."""

from __future__ import annotations

import ctypes
import functools
from typing import Final

import torch
from torch import Tensor

from neuro.kernels import native

_CONVERSIONS: Final = {
    torch.float32: "neuro_spike_bytes_f32",
    torch.float16: "neuro_spike_bytes_f16",
    torch.bfloat16: "neuro_spike_bytes_bf16",
    torch.bool: "neuro_spike_bytes_u8",
    torch.uint8: "neuro_spike_bytes_u8",
    torch.int8: "neuro_spike_bytes_u8",
}
_TILE: Final = 32
_POSITIONS: Final = 128


def spike_bytes(s: Tensor) -> tuple[Tensor, int, int]:
    """Return spikes as bytes (uint8), how many are 1, and how many are neither 0 nor 1."""
    s = s.contiguous()
    out, found = torch.empty_like(s, dtype=torch.uint8), (ctypes.c_int64 * 2)()
    convert = getattr(_kernels(), _CONVERSIONS[s.dtype])
    convert(s.data_ptr(), out.data_ptr(), s.numel(), found, torch.get_num_threads())
    return out, found[0], found[1]


def popcount(words: Tensor, plus: Tensor, minus: Tensor | None) -> Tensor:
    """Multiply spikes `[M, W]` and bit planes `[N, W]`, both int32 words; int32 `[M, N]`."""
    (rows, width), columns = words.shape, plus.shape[0]
    y = torch.empty(rows, columns, dtype=torch.int32)
    tiles = torch.zeros(2 * -(-columns // _TILE) * _TILE * width, dtype=torch.int32)
    operands = [x.contiguous() for x in (words, plus, *([] if minus is None else [minus]))]
    pointers = [x.data_ptr() for x in operands] + ([None] if minus is None else [])
    _kernels().neuro_spike_popcount(
        *pointers, y.data_ptr(), tiles.data_ptr(), rows, columns, width, torch.get_num_threads()
    )
    return y


def gather(s: Tensor, input_major: Tensor) -> Tensor:
    """Multiply spikes `[M, K]` (bytes) and weights `[K, N]`, fp32 or int8, by adding the rows that spikes select."""
    integer = input_major.dtype == torch.int8
    y = torch.empty(s.shape[0], input_major.shape[1], dtype=torch.int32 if integer else torch.float32)
    run = _kernels().neuro_spike_gather_i8 if integer else _kernels().neuro_spike_gather_f32
    run(s.data_ptr(), input_major.data_ptr(), y.data_ptr(), *s.shape, y.shape[1], torch.get_num_threads())
    return y


def depthwise(bits: Tensor, weight: Tensor, timesteps: int, padding: int) -> Tensor:
    """Convolve time-packed spikes as `reference.depthwise` does."""
    _, batch, channels, height, width = bits.shape
    side, integer = weight.shape[-1], weight.dtype == torch.int8
    size = (height + 2 * padding - side + 1, width + 2 * padding - side + 1)
    y = torch.empty(timesteps, batch, channels, *size, dtype=torch.int32 if integer else torch.float32)
    if not y.numel():
        return y
    threads = torch.get_num_threads()
    part = -(-((height + 2 * padding) * (width + 2 * padding) + 2 * _POSITIONS) // 64) * 64
    memory = torch.zeros(3 * part * threads, dtype=torch.int16 if integer else torch.float32)
    run = _kernels().neuro_spike_depthwise_i8 if integer else _kernels().neuro_spike_depthwise_f32
    bits, weight = bits.contiguous(), weight.contiguous()
    run(
        bits.data_ptr(), weight.data_ptr(), y.data_ptr(), timesteps, batch, channels, height, width, side, padding,
        threads, memory.data_ptr(), part,
    )  # fmt: skip
    return y


@functools.cache
def _kernels() -> ctypes.CDLL:
    library, pointer, number = native.library(), ctypes.c_void_p, ctypes.c_int64
    for name in _CONVERSIONS.values():
        getattr(library, name).argtypes = [pointer, pointer, number, pointer, number]
    library.neuro_spike_popcount.argtypes = [*[pointer] * 5, *[number] * 4]
    for name in ("neuro_spike_gather_f32", "neuro_spike_gather_i8"):
        getattr(library, name).argtypes = [*[pointer] * 3, *[number] * 4]
    for name in ("neuro_spike_depthwise_f32", "neuro_spike_depthwise_i8"):
        getattr(library, name).argtypes = [*[pointer] * 3, *[number] * 8, pointer, number]
    return library
