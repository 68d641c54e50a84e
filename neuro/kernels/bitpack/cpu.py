"""The compiled CPU kernel of packed spikes; `reference` says what the functions mean."""

from __future__ import annotations

import ctypes
import functools
from typing import Any, Final

import torch
from torch import Tensor

from neuro.kernels import native

_ONE: Final = {
    torch.bool: 1,
    torch.uint8: 1,
    torch.float16: 0x3C00,
    torch.bfloat16: 0x3F80,
    torch.float32: 0x3F800000,
}
"""The bit pattern of a spike."""


def pack(s: Tensor, exact: bool) -> tuple[Tensor, bool]:
    """Pack `[T, ...]` into uint8 `[ceil(T/8), ...]`; also return whether all were spikes."""
    steps, size = s.shape[0], s[0].numel() if len(s) else 0
    bits = torch.empty((-(-steps // 8), *s.shape[1:]), dtype=torch.uint8)
    return bits, _pack("pack", s, bits, steps, size, exact)


def unpack(bits: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """Unpack uint8 `[ceil(T/8), ...]` into `[T, ...]`."""
    s = torch.empty((steps, *bits.shape[1:]), dtype=dtype)
    return _unpack("unpack", bits, s, steps, s[0].numel() if steps else 0)


def pack_words(s: Tensor, exact: bool) -> tuple[Tensor, bool]:
    """Pack `[..., n]` into int32 `[..., ceil(n/32)]`; where not all were spikes, the words mean nothing."""
    size = s.shape[-1]
    words = torch.empty((*s.shape[:-1], -(-size // 32)), dtype=torch.int32)
    return words, _pack("pack_words", s, words, s.shape[:-1].numel(), size, exact)


def unpack_words(words: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """Unpack int32 `[..., ceil(n/32)]` into `[..., n]`."""
    s = torch.empty((*words.shape[:-1], size), dtype=dtype)
    return _unpack("unpack_words", words, s, s.shape[:-1].numel(), size)


def popcount(bits: Tensor) -> Tensor:
    """Count the set bits of every row of the last axis, as int64."""
    bits = bits.contiguous()
    counts = torch.empty(bits.shape[:-1], dtype=torch.int64)
    rows, size = counts.numel(), bits.shape[-1] * bits.element_size()
    _function("popcount")(bits.data_ptr(), counts.data_ptr(), rows, size, torch.get_num_threads())
    return counts


def _pack(name: str, s: Tensor, into: Tensor, rows: int, size: int, exact: bool) -> bool:
    s = s.contiguous()
    width = 8 * s.element_size()
    # The sign of a zero counts only where the very bits have to come back.
    signed_zero = s.is_floating_point() and not exact
    mask = 2 ** (width - 1) - 1 if signed_zero else 2**width - 1
    wrong = _function(f"{name}_{width}")(
        s.data_ptr(), into.data_ptr(), rows, size, _ONE[s.dtype], mask, torch.get_num_threads()
    )
    return not wrong


def _unpack(name: str, bits: Tensor, into: Tensor, rows: int, size: int) -> Tensor:
    bits = bits.contiguous()
    function = _function(f"{name}_{8 * into.element_size()}")
    function(bits.data_ptr(), into.data_ptr(), rows, size, _ONE[into.dtype], torch.get_num_threads())
    return into


@functools.cache
def _function(name: str) -> Any:
    function = getattr(native.library(), f"neuro_bitpack_{name}")
    pointer, count, pattern, number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_uint32, ctypes.c_int
    if name.startswith("pack"):
        function.argtypes = [pointer, pointer, count, count, pattern, number, number]
        function.restype = number
    elif name.startswith("unpack"):
        function.argtypes = [pointer, pointer, count, count, pattern, number]
        function.restype = None
    else:
        function.argtypes = [pointer, pointer, count, count, number]
        function.restype = None
    return function
