"""Spikes as bits: a spike that fp32 holds in 32 bits takes one.

Two layouts serve two ends:

- **time-packed bytes**, `pack`: bit `t % 8` of byte `t // 8` is timestep t of a neuron, `[T, ...]` to uint8
  `[ceil(T/8), ...]`. A kernel that runs all timesteps of a neuron writes them without talking to its neighbours.
- **words**, `pack_words`: 32 neighbours of the last axis in an int32, `[..., n]` to `[..., ceil(n/32)]`, the first in
  the lowest bit. A product of spikes reads them along the reduction; `popcount(a & b)` is the dot product of two rows.

Missing timesteps and neurons of the last byte or word are 0; the caller keeps T and n. Input may be bool, uint8, fp32,
fp16 or bf16 of any layout (made contiguous). The operators are registered with torch.library, without a gradient.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor

from hardware_models.errors import InputError
from neuro.kernels import gpu, native
from neuro.kernels.bitpack import cpu, reference
from neuro.kernels.dispatch import Implementation, Operator, Request

DTYPES: Final = (torch.bool, torch.uint8, torch.float16, torch.bfloat16, torch.float32)
"""What spikes may be held in."""


def pack(s: Tensor) -> Tensor:
    """Pack the timesteps of spikes `[T, ...]` into uint8 `[ceil(T/8), ...]`: `bits[k] = sum_j s[8k + j] 2^j`.

    Raises:
        InputError: another dtype, no axis, or a value other than 0 and 1.
    """
    _check_spikes(s)
    return torch.ops.neuro.bitpack_pack(s)


def unpack(bits: Tensor, steps: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Unpack uint8 `[ceil(T/8), ...]` into spikes `[T, ...]`, T = `steps`: `s[t] = bits[t // 8] >> t % 8 & 1`.

    Raises:
        InputError: bits of another dtype or count of bytes than T takes, or a dtype that holds no spikes.
    """
    _check_bits(bits, torch.uint8, 0, steps, 8, dtype)
    return torch.ops.neuro.bitpack_unpack(bits, steps, dtype)


def pack_words(s: Tensor) -> Tensor:
    """Pack the last axis of spikes `[..., n]` into int32 `[..., ceil(n/32)]`: `words[k] = sum_j s[32k + j] 2^j`.

    Raises:
        InputError: another dtype, no axis, or a value other than 0 and 1.
    """
    _check_spikes(s)
    return torch.ops.neuro.bitpack_pack_words(s)


def unpack_words(words: Tensor, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Unpack int32 `[..., ceil(n/32)]` into spikes `[..., n]`, n = `size`: `s[i] = words[i // 32] >> i % 32 & 1`.

    Raises:
        InputError: words of another dtype or count than n takes, or a dtype that holds no spikes.
    """
    _check_bits(words, torch.int32, -1, size, 32, dtype)
    return torch.ops.neuro.bitpack_unpack_words(words, size, dtype)


def popcount(bits: Tensor, per_row: bool = False) -> Tensor:
    """Count the spikes in packed `bits`, as int64: all of them `[]`, or those of every row of the last axis `[...]`.

    Raises:
        InputError: neither uint8 nor int32, or no axis.
    """
    if bits.dtype not in (torch.uint8, torch.int32) or bits.dim() == 0:
        raise InputError(f"popcount was given {bits.dtype} of shape {tuple(bits.shape)}; give packed spikes.")
    return torch.ops.neuro.bitpack_popcount(bits if per_row else bits.reshape(-1))


def exact_words(s: Tensor) -> Tensor | None:
    """Pack a flat `[n]` tensor into words that give back its very bits; None where it is no spike tensor.

    A value other than 0 and 1 is met early, so that asking is cheap. Negative zero is such a value.
    """
    if s.dtype not in DTYPES:
        return None
    words, are_spikes = _BITPACK(_request(s), "pack_words", s, True)
    return words if are_spikes else None


def _without_compiler(request: Request) -> str:
    return native.why_not() if request.device == "cpu" else f"device {request.device}"


def _call(module: Any, function: str, *arguments: Any) -> Any:
    return getattr(module, function)(*arguments)


def _call_triton(function: str, *arguments: Any) -> Any:
    # Loaded late, since Triton is no part of a machine without a GPU.
    return _call(importlib.import_module("neuro.kernels.bitpack.triton"), function, *arguments)


_BITPACK: Final = Operator(
    "bitpack",
    [
        Implementation("triton", partial(gpu.refuses, dtypes=(*DTYPES, torch.int32)), _call_triton),
        Implementation("native", _without_compiler, partial(_call, cpu)),
        Implementation("reference", lambda request: "", partial(_call, reference)),
    ],
)


def _request(tensor: Tensor) -> Request:
    return Request(tensor.device.type, tensor.dtype)


def _only_spikes(packed: tuple[Tensor, bool]) -> Tensor:
    bits, are_spikes = packed
    if not are_spikes:
        raise InputError("spikes were to be packed, but the tensor has a value other than 0 and 1; pack only spikes.")
    return bits


@torch.library.custom_op("neuro::bitpack_pack", mutates_args=())
def _pack(s: Tensor) -> Tensor:
    return _only_spikes(_BITPACK(_request(s), "pack", s, False))


@_pack.register_fake
def _(s: Tensor) -> Tensor:
    return s.new_empty(((s.shape[0] + 7) // 8, *s.shape[1:]), dtype=torch.uint8)


@torch.library.custom_op("neuro::bitpack_unpack", mutates_args=())
def _unpack(bits: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    return _BITPACK(_request(bits), "unpack", bits, steps, dtype)


@_unpack.register_fake
def _(bits: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    return bits.new_empty((steps, *bits.shape[1:]), dtype=dtype)


@torch.library.custom_op("neuro::bitpack_pack_words", mutates_args=())
def _pack_words(s: Tensor) -> Tensor:
    return _only_spikes(_BITPACK(_request(s), "pack_words", s, False))


@_pack_words.register_fake
def _(s: Tensor) -> Tensor:
    return s.new_empty((*s.shape[:-1], (s.shape[-1] + 31) // 32), dtype=torch.int32)


@torch.library.custom_op("neuro::bitpack_unpack_words", mutates_args=())
def _unpack_words(words: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    return _BITPACK(_request(words), "unpack_words", words, size, dtype)


@_unpack_words.register_fake
def _(words: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    return words.new_empty((*words.shape[:-1], size), dtype=dtype)


@torch.library.custom_op("neuro::bitpack_popcount", mutates_args=())
def _popcount(bits: Tensor) -> Tensor:
    return _BITPACK(_request(bits), "popcount", bits)


@_popcount.register_fake
def _(bits: Tensor) -> Tensor:
    return bits.new_empty(bits.shape[:-1], dtype=torch.int64)


def _check_spikes(s: Tensor) -> None:
    if s.dtype not in DTYPES or s.dim() == 0:
        raise InputError(
            f"spikes were given as {s.dtype} of shape {tuple(s.shape)}; give bool, uint8, fp16, bf16 or fp32 with at "
            "least one axis."
        )


def _check_bits(bits: Tensor, packed: torch.dtype, axis: int, size: int, per_item: int, dtype: torch.dtype) -> None:
    if dtype not in DTYPES:
        raise InputError(f"spikes were asked for as {dtype}; choose bool, uint8, fp16, bf16 or fp32.")
    if bits.dtype != packed or bits.dim() == 0 or size < 0 or bits.shape[axis] != -(-size // per_item):
        raise InputError(
            f"{bits.dtype} of shape {tuple(bits.shape)} was given as the bits of {size}; give {packed} with "
            f"{-(-size // per_item)} on axis {axis}."
        )
