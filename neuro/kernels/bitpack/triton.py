"""Packing spikes on a GPU; `reference` says what the functions mean.

Spikes are compared as bit patterns, so that one kernel serves every dtype of a width. Whether all were spikes is one
number that the host waits for. Importing this needs Triton; `gpu.refuses` says whether to.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from neuro.kernels.bitpack.cpu import _ONE
from neuro.kernels.gpu import on_device

BLOCK = 1024
WORDS = 64

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32}


@triton.jit
def _pack_kernel(s_ptr, bits_ptr, wrong_ptr, n, T, ONE: tl.constexpr, MASK: tl.constexpr, BLOCK: tl.constexpr):
    n = tl.cast(n, tl.int64)
    plane = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    bits = tl.zeros((BLOCK,), dtype=tl.int32)
    wrong = tl.zeros((BLOCK,), dtype=tl.int32)
    for j in tl.static_range(8):
        x = tl.load(s_ptr + (plane * 8 + j) * n + at, mask=at < tl.where(plane * 8 + j < T, n, 0), other=0)
        fires = (x & MASK) != 0
        wrong |= (fires & (x != ONE)).to(tl.int32)
        bits |= fires.to(tl.int32) << j
    tl.store(bits_ptr + plane * n + at, bits.to(tl.uint8), mask=at < n)
    if tl.max(wrong, axis=0) != 0:
        tl.store(wrong_ptr, 1)


@triton.jit
def _unpack_kernel(bits_ptr, s_ptr, n, T, ONE: tl.constexpr, BLOCK: tl.constexpr):
    n = tl.cast(n, tl.int64)
    plane = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    bits = tl.load(bits_ptr + plane * n + at, mask=at < n, other=0).to(tl.int32)
    for j in tl.static_range(8):
        s = ((bits >> j) & 1) * ONE
        tl.store(
            s_ptr + (plane * 8 + j) * n + at, s.to(s_ptr.dtype.element_ty), mask=at < tl.where(plane * 8 + j < T, n, 0)
        )


@triton.jit
def words_at(words, row_words, size, WORDS: tl.constexpr):
    """Places `[WORDS, 32]` of the spikes of the words `[WORDS]`, and which of them are there."""
    word = words % row_words
    lane = word[:, None] * 32 + tl.arange(0, 32)[None, :]
    return (words // row_words)[:, None] * size + lane, lane < size


@triton.jit
def _pack_words_kernel(
    s_ptr, words_ptr, wrong_ptr, count, row_words, size, ONE: tl.constexpr, MASK: tl.constexpr, WORDS: tl.constexpr
):
    words = tl.program_id(0).to(tl.int64) * WORDS + tl.arange(0, WORDS)
    at, there = words_at(words, row_words, size, WORDS)
    x = tl.load(s_ptr + at, mask=there & (words < count)[:, None], other=0)
    fires = (x & MASK) != 0
    packed = tl.sum(fires.to(tl.int32) << tl.arange(0, 32)[None, :], axis=1)
    tl.store(words_ptr + words, packed, mask=words < count)
    wrong = (fires & (x != ONE)).to(tl.int32)
    if tl.max(tl.max(wrong, axis=1), axis=0) != 0:
        tl.store(wrong_ptr, 1)


@triton.jit
def _unpack_words_kernel(words_ptr, s_ptr, count, row_words, size, ONE: tl.constexpr, WORDS: tl.constexpr):
    words = tl.program_id(0).to(tl.int64) * WORDS + tl.arange(0, WORDS)
    at, there = words_at(words, row_words, size, WORDS)
    packed = tl.load(words_ptr + words, mask=words < count, other=0)
    s = ((packed[:, None] >> tl.arange(0, 32)[None, :]) & 1) * ONE
    tl.store(s_ptr + at, s.to(s_ptr.dtype.element_ty), mask=there & (words < count)[:, None])


@triton.jit
def _popcount_kernel(bits_ptr, counts_ptr, rows, size, R: tl.constexpr, K: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)
    counts = tl.zeros((R, K), dtype=tl.int32)
    for start in range(tl.program_id(1) * K, size, tl.num_programs(1) * K):
        column = start + tl.arange(0, K)
        mask = (row[:, None] < rows) & (column[None, :] < size)
        x = tl.load(bits_ptr + row[:, None] * size + column[None, :], mask=mask, other=0).to(tl.int32)
        x = x - ((x >> 1) & 0x55)
        x = (x & 0x33) + ((x >> 2) & 0x33)
        counts += (x + (x >> 4)) & 0x0F
    total = tl.sum(counts, axis=1)
    tl.store(counts_ptr + tl.program_id(1).to(tl.int64) * rows + row, total, mask=row < rows)


def pack(s: Tensor, exact: bool) -> tuple[Tensor, bool]:
    """As `reference.pack`."""
    s = s.contiguous()
    steps, n = s.shape[0], s.shape[1:].numel()
    bits = torch.empty((-(-steps // 8), *s.shape[1:]), dtype=torch.uint8, device=s.device)
    wrong = torch.zeros(1, dtype=torch.int32, device=s.device)
    if bits.numel():
        with on_device(s):
            _pack_kernel[(triton.cdiv(n, BLOCK), bits.shape[0])](
                _patterns(s), bits, wrong, n, steps, **_constants(s.dtype, exact), BLOCK=BLOCK
            )
    return bits, not wrong.item()


def unpack(bits: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """As `reference.unpack`."""
    bits = bits.contiguous()
    n = bits.shape[1:].numel()
    s = torch.empty((steps, *bits.shape[1:]), dtype=dtype, device=bits.device)
    if s.numel():
        with on_device(bits):
            _unpack_kernel[(triton.cdiv(n, BLOCK), bits.shape[0])](
                bits, _patterns(s), n, steps, ONE=_ONE[dtype], BLOCK=BLOCK
            )
    return s


def pack_words(s: Tensor, exact: bool) -> tuple[Tensor, bool]:
    """As `reference.pack_words`."""
    s = s.contiguous()
    size = s.shape[-1]
    words = torch.empty((*s.shape[:-1], -(-size // 32)), dtype=torch.int32, device=s.device)
    wrong = torch.zeros(1, dtype=torch.int32, device=s.device)
    if words.numel():
        with on_device(s):
            _pack_words_kernel[(triton.cdiv(words.numel(), WORDS),)](
                _patterns(s),
                words,
                wrong,
                words.numel(),
                words.shape[-1],
                size,
                **_constants(s.dtype, exact),
                WORDS=WORDS,
            )
    return words, not wrong.item()


def unpack_words(words: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """As `reference.unpack_words`."""
    words = words.contiguous()
    s = torch.empty((*words.shape[:-1], size), dtype=dtype, device=words.device)
    if s.numel():
        with on_device(words):
            _unpack_words_kernel[(triton.cdiv(words.numel(), WORDS),)](
                words, _patterns(s), words.numel(), words.shape[-1], size, ONE=_ONE[dtype], WORDS=WORDS
            )
    return s


def popcount(bits: Tensor) -> Tensor:
    """As `reference.popcount`."""
    rows_shape = bits.shape[:-1]
    flat = bits.contiguous().view(torch.uint8).reshape(rows_shape.numel(), -1)
    rows, size = flat.shape
    if not flat.numel():
        return torch.zeros(rows_shape, dtype=torch.int64, device=bits.device)
    columns = min(triton.next_power_of_2(size), 2 * BLOCK)
    height = max(2 * BLOCK // columns, 1)
    # One long row is shared out; a program's own count stays far below 2^31.
    splits = min(triton.cdiv(size, columns), 1024)
    counts = torch.empty((splits, rows), dtype=torch.int32, device=bits.device)
    with on_device(bits):
        _popcount_kernel[(triton.cdiv(rows, height), splits)](flat, counts, rows, size, R=height, K=columns)
    return counts.sum(0, dtype=torch.int64).reshape(rows_shape)


def _patterns(s: Tensor) -> Tensor:
    """The tensor's bits as integers."""
    return s.view(_INTEGERS[s.element_size()])


def _constants(dtype: torch.dtype, exact: bool) -> dict[str, int]:
    """The pattern of a spike, and the bits that count: a zero's sign only where the very bits have to come back."""
    width = 8 * torch.empty((), dtype=dtype).element_size()
    signed_zero = dtype.is_floating_point and not exact
    return {"ONE": _ONE[dtype], "MASK": 2 ** (width - 1) - 1 if signed_zero else -1}
