"""The Triton kernels of spike-driven attention: products on tensor cores, exact, and the potential in registers over T.

Bits are multiplied as int8 with int32 sums, spikes that are stored as numbers as fp16 with fp32 sums: both are exact,
and values other than 0 and 1 are those of an fp16 product. q (k^T v) is such a product too, k^T v <= N being split into
two digits of 11 bits where N > 2048: fp16 holds integers to 2048, fp32 sums to 2^24.

Sizes and the strides within an image are constants, so that accesses along tokens are wide where their number allows.
"""

from __future__ import annotations

import triton
import triton.language as tl

from neuro.kernels.lif.device import step


@triton.jit
def head_of(HEADS: tl.constexpr):
    """The image and the head of this program."""
    return (tl.program_id(0) // HEADS).to(tl.int64), (tl.program_id(0) % HEADS).to(tl.int64)


@triton.jit
def places(rows, row_step, columns, column_step, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Offsets `[rows, columns]` within a head, and which of them are there."""
    at = rows[:, None] * row_step + columns[None, :] * column_step
    return at, (rows[:, None] < ROWS) & (columns[None, :] < COLUMNS)


@triton.jit
def spikes_at(ptr, where, t, stride_t, PACKED_IN: tl.constexpr):
    """The spikes of timestep `t` at `places`, as they are stored, or the bits of time-packed bytes."""
    offsets, mask = where
    if PACKED_IN:
        byte = tl.load(ptr + tl.cast(t // 8, tl.int64) * stride_t + offsets, mask=mask, other=0)
        x = (byte.to(tl.int32) >> (t % 8)) & 1
    else:
        x = tl.load(ptr + tl.cast(t, tl.int64) * stride_t + offsets, mask=mask, other=0)
    return x


@triton.jit
def attention_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    out_ptr,
    last_ptr,
    scale_ptr,
    q_t,
    q_b: tl.constexpr, q_h: tl.constexpr, q_n: tl.constexpr, q_d: tl.constexpr,
    k_t,
    k_b: tl.constexpr, k_h: tl.constexpr, k_n: tl.constexpr, k_d: tl.constexpr,
    v_t,
    v_b: tl.constexpr, v_h: tl.constexpr, v_n: tl.constexpr, v_d: tl.constexpr,
    out_t,
    out_b: tl.constexpr, out_h: tl.constexpr, out_n: tl.constexpr, out_d: tl.constexpr,
    tau,
    keeps,
    rest,
    threshold,
    levels,
    divisor,
    HEADS: tl.constexpr,
    N: tl.constexpr,
    D: tl.constexpr,
    T: tl.constexpr,
    PACKED_IN: tl.constexpr,
    PACKED_OUT: tl.constexpr,
    BITS: tl.constexpr,
    WIDE: tl.constexpr,
    CHARGE: tl.constexpr,
    HARD: tl.constexpr,
    EXACT_INVERSE: tl.constexpr,
    LEARNED: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BD: tl.constexpr,
    BE: tl.constexpr,
):  # fmt: skip
    """SDSA-3 and -4: a program has BM tokens and BE channels of the result of one head."""
    tl.static_assert(not LEARNED)
    image, head = head_of(HEADS)
    tokens = tl.program_id(1) * BM + tl.arange(0, BM)
    columns = tl.program_id(2) * BE + tl.arange(0, BE)
    scale = tl.load(scale_ptr).to(tl.float32)
    q_ptr += image * q_b + head * q_h
    k_ptr += image * k_b + head * k_h
    v_ptr += image * v_b + head * v_h
    within, kept = places(tokens, out_n, columns, out_d, N, D)
    result = image * out_b + head * out_h + within
    potential = tl.zeros((BM, BE), dtype=tl.float32) + rest
    bits = tl.zeros((BM, BE), dtype=tl.int32)
    for t in range(T):
        product = tl.zeros((BM, BE), dtype=tl.float32)
        for first in range(0, D, BD):
            rows = first + tl.arange(0, BD)
            pairs = tl.zeros((BD, BE), dtype=tl.int32) if BITS else tl.zeros((BD, BE), dtype=tl.float32)
            for start in range(0, N, BN):
                n = start + tl.arange(0, BN)
                k = spikes_at(k_ptr, places(rows, k_d, n, k_n, D, N), t, k_t, PACKED_IN)
                v = spikes_at(v_ptr, places(n, v_n, columns, v_d, N, D), t, v_t, PACKED_IN)
                if BITS:
                    pairs = tl.dot(k.to(tl.int8), v.to(tl.int8), pairs, out_dtype=tl.int32)
                else:
                    pairs = tl.dot(k.to(tl.float16), v.to(tl.float16), pairs)
            q = spikes_at(q_ptr, places(tokens, q_n, rows, q_d, N, D), t, q_t, PACKED_IN).to(tl.float16)
            if WIDE:
                high = tl.floor(pairs.to(tl.float32) * (1.0 / 2048.0))
                product = tl.dot(q, (pairs.to(tl.float32) - high * 2048.0).to(tl.float16), product)
                product += 2048.0 * tl.dot(q, high.to(tl.float16))
            else:
                product = tl.dot(q, pairs.to(tl.float16), product)
        _, s, potential = step(
            potential, product * scale, tau, keeps, rest, threshold, levels, CHARGE, HARD, EXACT_INVERSE
        )
        if PACKED_OUT:
            bits |= s.to(tl.int32) << (t % 8)
            if (t % 8 == 7) | (t == T - 1):
                at = tl.cast(t // 8, tl.int64) * out_t + result
                tl.store(out_ptr + at, bits.to(tl.uint8), mask=kept)
                bits = tl.zeros((BM, BE), dtype=tl.int32)
        else:
            at = tl.cast(t, tl.int64) * out_t + result
            tl.store(out_ptr + at, s.to(out_ptr.dtype.element_ty), mask=kept)
    tl.store(last_ptr + result, potential, mask=kept)


@triton.jit
def mask_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    out_ptr,
    last_ptr,
    scale_ptr,
    q_t,
    q_b: tl.constexpr, q_h: tl.constexpr, q_n: tl.constexpr, q_d: tl.constexpr,
    k_t,
    k_b: tl.constexpr, k_h: tl.constexpr, k_n: tl.constexpr, k_d: tl.constexpr,
    v_t,
    v_b: tl.constexpr, v_h: tl.constexpr, v_n: tl.constexpr, v_d: tl.constexpr,
    out_t,
    out_b: tl.constexpr, out_h: tl.constexpr, out_n: tl.constexpr, out_d: tl.constexpr,
    tau,
    keeps,
    rest,
    threshold,
    levels,
    divisor,
    HEADS: tl.constexpr,
    N: tl.constexpr,
    D: tl.constexpr,
    T: tl.constexpr,
    PACKED_IN: tl.constexpr,
    PACKED_OUT: tl.constexpr,
    CHARGE: tl.constexpr,
    HARD: tl.constexpr,
    EXACT_INVERSE: tl.constexpr,
    LEARNED: tl.constexpr,
    BN: tl.constexpr,
    BE: tl.constexpr,
):  # fmt: skip
    """SDSA-1: a program has BE channels of one head, all tokens; eight timesteps at a time, whose spikes are bits."""
    tl.static_assert(not LEARNED)
    image, head = head_of(HEADS)
    columns = tl.program_id(1) * BE + tl.arange(0, BE)
    scale = tl.load(scale_ptr).to(tl.float32)
    q_ptr += image * q_b + head * q_h
    k_ptr += image * k_b + head * k_h
    v_ptr += image * v_b + head * v_h
    out_ptr += image * out_b + head * out_h
    potential = tl.zeros((BE,), dtype=tl.float32) + rest
    for first in tl.static_range(0, T, 8):
        fires = tl.zeros((BE,), dtype=tl.int32)
        for j in tl.static_range(8):
            if first + j < T:
                both = tl.zeros((BN, BE), dtype=tl.float32)
                for start in range(0, N, BN):
                    n = start + tl.arange(0, BN)
                    k = spikes_at(k_ptr, places(n, k_n, columns, k_d, N, D), first + j, k_t, PACKED_IN)
                    v = spikes_at(v_ptr, places(n, v_n, columns, v_d, N, D), first + j, v_t, PACKED_IN)
                    both += k.to(tl.float32) * v.to(tl.float32)
                x = tl.sum(both, axis=0) * scale
                _, s, potential = step(potential, x, tau, keeps, rest, threshold, levels, CHARGE, HARD, EXACT_INVERSE)
                fires |= s.to(tl.int32) << j
        for start in range(0, N, BN):
            n = start + tl.arange(0, BN)
            out_at, inside = places(n, out_n, columns, out_d, N, D)
            bits = tl.zeros((BN, BE), dtype=tl.int32)
            for j in tl.static_range(8):
                if first + j < T:
                    q = spikes_at(q_ptr, places(n, q_n, columns, q_d, N, D), first + j, q_t, PACKED_IN)
                    passes = (fires[None, :] >> j) & 1
                    if PACKED_OUT:
                        bits |= ((q != 0).to(tl.int32) & passes) << j
                    else:
                        masked = q.to(tl.float32) * passes.to(tl.float32)
                        at = tl.cast(first + j, tl.int64) * out_t + out_at
                        tl.store(out_ptr + at, masked.to(out_ptr.dtype.element_ty), mask=inside)
            if PACKED_OUT:
                tl.store(out_ptr + tl.cast(first // 8, tl.int64) * out_t + out_at, bits.to(tl.uint8), mask=inside)
    tl.store(last_ptr + (image * HEADS + head) * D + columns, potential, mask=columns < D)
