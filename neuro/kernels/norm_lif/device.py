"""The Triton kernels of norm_lif. A tile is `[R, K]` neurons: rows of neighbours, their timesteps kept in registers.

In a channels-last tensor a row lies along the channels, in a contiguous one along the positions of one channel, so that
no index is divided. The programs are numbered along one axis, for the others of a GPU end at 65535: `splits` programs
share the tiles of a column of tiles (`group`).
"""

from __future__ import annotations

import triton
import triton.language as tl

from neuro.kernels.lif.device import gradient_of_h, step


@triton.jit
def tile_of(
    tile, group, rows, row_stride, channels, INNER: tl.constexpr, LAST: tl.constexpr, R: tl.constexpr, K: tl.constexpr
):
    """Offsets and mask `[R, K]` of a tile of a timestep, and the channel of each column `[K]` with its mask.

    LAST: channels-last, a column is a channel; else a column is one of the INNER positions of one channel.
    """
    row = tl.cast(tile, tl.int64) * R + tl.arange(0, R)
    lane = tl.arange(0, K)
    if LAST:
        column = group * K + lane
        channel = column
        inside = column < channels
    else:
        parts: tl.constexpr = (INNER + K - 1) // K
        position = (group % parts) * K + lane
        channel = group // parts + tl.zeros((K,), dtype=tl.int32)
        column = channel * INNER + position
        inside = position < INNER
    offsets = row[:, None] * row_stride + column[None, :]
    mask = (row[:, None] < rows) & inside[None, :]
    return offsets, mask, channel, inside


@triton.jit
def store_sum(parts_ptr, acc, channel, inside, channels, group, split, INNER: tl.constexpr, LAST: tl.constexpr):
    """Add up a tile of sums and store those of its channels: `parts` is `[splits, channels]`."""
    if LAST:
        tl.store(parts_ptr + split.to(tl.int64) * channels + channel, tl.sum(acc, axis=0), mask=inside)
    else:
        parts: tl.constexpr = (INNER + acc.shape[1] - 1) // acc.shape[1]
        at = (split.to(tl.int64) * parts + group % parts) * channels + group // parts
        tl.store(parts_ptr + at, tl.sum(tl.sum(acc, axis=1), axis=0))


@triton.jit
def statistics_kernel(
    x_ptr,
    origin_ptr,
    sum_ptr,
    square_ptr,
    splits,
    rows,
    row_stride,
    channels,
    INNER: tl.constexpr,
    LAST: tl.constexpr,
    R: tl.constexpr,
    K: tl.constexpr,
):
    """Sums of the channels' deviations from `origin`, and of their squares."""
    split = tl.program_id(0) % splits
    group = tl.program_id(0) // splits
    total = tl.zeros((R, K), dtype=tl.float32)
    squares = tl.zeros((R, K), dtype=tl.float32)
    row_stride = tl.cast(row_stride, tl.int64)
    at, mask, channel, inside = tile_of(split, group, rows, row_stride, channels, INNER, LAST, R, K)
    origin = tl.load(origin_ptr + channel, mask=inside, other=0.0)[None, :]
    for tile in range(split, tl.cdiv(rows, R), splits):
        at, mask, channel, inside = tile_of(tile, group, rows, row_stride, channels, INNER, LAST, R, K)
        d = tl.where(mask, tl.load(x_ptr + at, mask=mask, other=0.0).to(tl.float32) - origin, 0.0)
        total += d
        squares += d * d
    store_sum(sum_ptr, total, channel, inside, channels, group, split, INNER, LAST)
    store_sum(square_ptr, squares, channel, inside, channels, group, split, INNER, LAST)


@triton.jit
def load_norm(weight_ptr, bias_ptr, mean_ptr, rstd_ptr, channel, inside, NORM: tl.constexpr):
    """Gain, shift, mean and 1 / deviation of the columns `[1, K]`, rounded as torch rounds them."""
    if NORM:
        mean = tl.load(mean_ptr + channel, mask=inside, other=0.0)
        rstd = tl.load(rstd_ptr + channel, mask=inside, other=0.0)
        gain = tl.load(weight_ptr + channel, mask=inside, other=0.0) * rstd
        shift = tl.fma(-mean, gain, tl.load(bias_ptr + channel, mask=inside, other=0.0))
    else:
        mean = tl.zeros(channel.shape, dtype=tl.float32)
        rstd = mean + 1.0
        gain = mean + 1.0
        shift = mean
    return gain[None, :], shift[None, :], mean[None, :], rstd[None, :]


@triton.jit
def load_sum(x_ptr, residual_ptr, at, mask, gain, shift, NORM: tl.constexpr, RESIDUAL: tl.constexpr):
    """The neuron's input of a timestep, rounded to the dtype of x after each layer, in fp32."""
    x = tl.load(x_ptr + at, mask=mask, other=0.0)
    y = x.to(tl.float32)
    if NORM:
        y = tl.fma(y, gain + tl.zeros(y.shape, dtype=tl.float32), shift + tl.zeros(y.shape, dtype=tl.float32))
        y = y.to(x.dtype).to(tl.float32)
    if RESIDUAL:
        y += tl.load(residual_ptr + at, mask=mask, other=0.0).to(tl.float32)
        y = y.to(x.dtype).to(tl.float32)
    return y


@triton.jit
def forward_kernel(
    x_ptr,
    residual_ptr,
    v_ptr,
    weight_ptr,
    bias_ptr,
    mean_ptr,
    rstd_ptr,
    s_ptr,
    h_ptr,
    v_last_ptr,
    splits,
    rows,
    row_stride,
    channels,
    tau,
    keeps,
    rest,
    threshold,
    levels,
    divisor,
    T: tl.constexpr,
    NORM: tl.constexpr,
    RESIDUAL: tl.constexpr,
    KEEP_SUM: tl.constexpr,
    FROM_REST: tl.constexpr,
    CHARGE: tl.constexpr,
    HARD: tl.constexpr,
    EXACT_INVERSE: tl.constexpr,
    LEARNED: tl.constexpr,
    INNER: tl.constexpr,
    LAST: tl.constexpr,
    R: tl.constexpr,
    K: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """BatchNorm with given statistics, shortcut and neuron; the sum of both is written where KEEP_SUM."""
    tl.static_assert(not LEARNED)
    row_stride = tl.cast(row_stride, tl.int64)
    step_stride = rows * row_stride
    split = tl.program_id(0) % splits
    group = tl.program_id(0) // splits
    at, mask, channel, inside = tile_of(split, group, rows, row_stride, channels, INNER, LAST, R, K)
    gain, shift, _, _ = load_norm(weight_ptr, bias_ptr, mean_ptr, rstd_ptr, channel, inside, NORM)
    v = tl.zeros((R, K), dtype=tl.float32) + rest
    if not FROM_REST:
        v = tl.load(v_ptr + at, mask=mask, other=0.0)
    for first in tl.static_range(0, T, CHUNK):
        inputs = ()
        for i in tl.static_range(CHUNK):
            if first + i < T:
                y = load_sum(x_ptr, residual_ptr, (first + i) * step_stride + at, mask, gain, shift, NORM, RESIDUAL)
                inputs = inputs + (y,)  # noqa: RUF005
        for i in tl.static_range(CHUNK):
            if first + i < T:
                if KEEP_SUM:
                    kept = inputs[i].to(h_ptr.dtype.element_ty)
                    tl.store(h_ptr + (first + i) * step_stride + at, kept, mask=mask)
                _, s, v = step(v, inputs[i], tau, keeps, rest, threshold, levels, CHARGE, HARD, EXACT_INVERSE)
                if CHARGE == "integer":
                    s = tl.div_rn(s, divisor)
                tl.store(s_ptr + (first + i) * step_stride + at, s.to(s_ptr.dtype.element_ty), mask=mask)
    tl.store(v_last_ptr + at, v, mask=mask)


@triton.jit
def backward_kernel(
    grad_s_ptr,
    grad_h_ptr,
    x_ptr,
    residual_ptr,
    v_ptr,
    h_ptr,
    weight_ptr,
    bias_ptr,
    mean_ptr,
    rstd_ptr,
    mean_g_ptr,
    mean_gx_ptr,
    grad_x_ptr,
    grad_sum_ptr,
    grad_v_ptr,
    sum_ptr,
    sum_x_ptr,
    splits,
    rows,
    row_stride,
    channels,
    tau,
    keeps,
    rest,
    threshold,
    levels,
    divisor,
    takes,
    alpha,
    T: tl.constexpr,
    NORM: tl.constexpr,
    RESIDUAL: tl.constexpr,
    H_KEPT: tl.constexpr,
    GRAD_S: tl.constexpr,
    GRAD_H: tl.constexpr,
    GRAD_KEPT: tl.constexpr,
    SUMS: tl.constexpr,
    OF_BATCH: tl.constexpr,
    WRITE_X: tl.constexpr,
    WRITE_SUM: tl.constexpr,
    WRITE_V: tl.constexpr,
    FROM_REST: tl.constexpr,
    CHARGE: tl.constexpr,
    HARD: tl.constexpr,
    EXACT_INVERSE: tl.constexpr,
    LEARNED: tl.constexpr,
    DETACH: tl.constexpr,
    SURROGATE: tl.constexpr,
    INLINE: tl.constexpr,
    INNER: tl.constexpr,
    LAST: tl.constexpr,
    R: tl.constexpr,
    K: tl.constexpr,
):
    """One pass back through neuron and shortcut: SUMS over the batch, the gradient of x (WRITE_X), or both.

    Where OF_BATCH, the sums are known and the gradient of x goes through the statistics. Where GRAD_KEPT, the pass
    before has written the gradient of the sum, and the neuron is not run again.
    """
    tl.static_assert(not LEARNED)
    split = tl.program_id(0) % splits
    group = tl.program_id(0) // splits
    row_stride = tl.cast(row_stride, tl.int64)
    step_stride = rows * row_stride
    at, mask, channel, inside = tile_of(split, group, rows, row_stride, channels, INNER, LAST, R, K)
    gain, shift, mean, rstd = load_norm(weight_ptr, bias_ptr, mean_ptr, rstd_ptr, channel, inside, NORM)
    if OF_BATCH:
        mean_g = tl.load(mean_g_ptr + channel, mask=inside, other=0.0)[None, :]
        mean_gx = tl.load(mean_gx_ptr + channel, mask=inside, other=0.0)[None, :] * rstd
    total = tl.zeros((R, K), dtype=tl.float32)
    total_x = tl.zeros((R, K), dtype=tl.float32)
    for tile in range(split, tl.cdiv(rows, R), splits):
        at, mask, channel, inside = tile_of(tile, group, rows, row_stride, channels, INNER, LAST, R, K)
        hs = ()
        if not GRAD_KEPT:
            v = tl.zeros((R, K), dtype=tl.float32) + rest
            if not FROM_REST:
                v = tl.load(v_ptr + at, mask=mask, other=0.0)
            inputs = ()
            for t in tl.static_range(T):
                if H_KEPT:
                    y = tl.load(h_ptr + t * step_stride + at, mask=mask, other=0.0).to(tl.float32)
                else:
                    y = load_sum(x_ptr, residual_ptr, t * step_stride + at, mask, gain, shift, NORM, RESIDUAL)
                inputs = inputs + (y,)  # noqa: RUF005
            for t in tl.static_range(T):
                h, _, v = step(v, inputs[t], tau, keeps, rest, threshold, levels, CHARGE, HARD, EXACT_INVERSE)
                hs = hs + (h,)  # noqa: RUF005
        grad_v = tl.zeros((R, K), dtype=tl.float32)
        for back in tl.static_range(T):
            here = (T - 1 - back) * step_stride + at
            if GRAD_KEPT:
                g = tl.load(grad_sum_ptr + here, mask=mask, other=0.0).to(tl.float32)
            else:
                grad_s = tl.zeros((R, K), dtype=tl.float32)
                if GRAD_S:
                    grad_s = tl.load(grad_s_ptr + here, mask=mask, other=0.0).to(tl.float32)
                grad = gradient_of_h(
                    hs[T - 1 - back], grad_s, grad_v, threshold, rest, alpha, levels, divisor,
                    CHARGE, HARD, DETACH, SURROGATE, INLINE,
                )  # fmt: skip
                grad_v = grad * keeps
                g = grad * takes
                if GRAD_H:
                    g += tl.load(grad_h_ptr + here, mask=mask, other=0.0).to(tl.float32)
                if WRITE_SUM:
                    tl.store(grad_sum_ptr + here, g.to(grad_sum_ptr.dtype.element_ty), mask=mask)
            if SUMS or OF_BATCH:
                off = tl.load(x_ptr + here, mask=mask, other=0.0).to(tl.float32) - mean
            if SUMS:
                total += tl.where(mask, g, 0.0)
                total_x += tl.where(mask, g * (off * rstd), 0.0)
            if WRITE_X:
                if OF_BATCH:
                    g = g - (mean_g + off * mean_gx)
                tl.store(grad_x_ptr + here, (gain * g).to(grad_x_ptr.dtype.element_ty), mask=mask)
        if WRITE_V:
            tl.store(grad_v_ptr + at, grad_v, mask=mask)
    if SUMS:
        store_sum(sum_ptr, total, channel, inside, channels, group, split, INNER, LAST)
        store_sum(sum_x_ptr, total_x, channel, inside, channels, group, split, INNER, LAST)
