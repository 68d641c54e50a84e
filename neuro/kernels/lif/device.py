"""One timestep of a neuron on a GPU: what the Triton kernels of several operators call.

Potentials are fp32. Every operation is rounded by itself, in the order of the step equations (kernels are compiled with
`enable_fp_fusion=False`), so that spikes equal those of the reference bit for bit. The surrogate's exponential and
quotient are the approximate instructions of the GPU; a derivative is within 1e-6 of the surrogate's largest value.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def charge(v, x, tau, keeps, rest, CHARGE: tl.constexpr, EXACT_INVERSE: tl.constexpr):
    """The charged potential; `tau` is 1 / tau where EXACT_INVERSE, and `keeps` is 1 - 1 / tau."""
    if CHARGE == "if":
        h = v + x
    elif CHARGE == "integer":
        h = v * keeps + x
    elif CHARGE == "lif":
        h = v + divided(x - (v - rest), tau, EXACT_INVERSE)
    else:
        h = v - divided(v - rest, tau, EXACT_INVERSE) + x
    return h


@triton.jit
def divided(x, tau, EXACT_INVERSE: tl.constexpr):
    """x / tau, correctly rounded."""
    q = x * tau if EXACT_INVERSE else tl.div_rn(x, tau)
    return q


@triton.jit
def fire(h, threshold, levels, CHARGE: tl.constexpr):
    """Spikes, 0 or 1 in fp32; counts 0..levels of an integer neuron."""
    if CHARGE == "integer":
        # Adding and subtracting 1.5 2^23 rounds to the nearest integer, ties to even; NaN stays NaN.
        count = tl.where(h < 0.0, 0.0, h)
        s = (tl.where(count > levels, levels, count) + 12582912.0) - 12582912.0
    else:
        s = tl.where(h >= threshold, 1.0, 0.0)
    return s


@triton.jit
def reset(h, s, threshold, rest, CHARGE: tl.constexpr, HARD: tl.constexpr):
    """The potential after a step. Products and no selection: infinity times zero is NaN here as in the reference."""
    if CHARGE == "integer":
        v = h - s
    elif HARD:
        v = h * (1.0 - s) + rest * s
    else:
        v = h - threshold * s
    return v


@triton.jit
def step(
    v,
    x,
    tau,
    keeps,
    rest,
    threshold,
    levels,
    CHARGE: tl.constexpr,
    HARD: tl.constexpr,
    EXACT_INVERSE: tl.constexpr,
):
    """One timestep: the charged potential, the spikes, and the potential after it."""
    h = charge(v, x, tau, keeps, rest, CHARGE, EXACT_INVERSE)
    s = fire(h, threshold, levels, CHARGE)
    return h, s, reset(h, s, threshold, rest, CHARGE, HARD)


@triton.jit
def reciprocal(x, INLINE: tl.constexpr):
    """1 / x within one unit in the last place: one instruction where a quotient needs eight."""
    if INLINE:
        r = tl.inline_asm_elementwise("rcp.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)
    else:
        r = 1.0 / x
    return r


@triton.jit
def exp2(x, INLINE: tl.constexpr):
    """2^x within two units in the last place, results below 2^-126 being 0."""
    if INLINE:
        e = tl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)
    else:
        e = tl.exp2(x)
    return e


@triton.jit
def derivative(x, alpha, SURROGATE: tl.constexpr, INLINE: tl.constexpr):
    """The surrogate's derivative at the distance `x` from the threshold; NaN stays NaN where torch keeps it."""
    if SURROGATE == "sigmoid":
        # Even in x; the exponential of -|alpha x| cannot overflow and loses nothing where sigma is close to 1.
        e = exp2(-1.4426950408889634 * tl.abs(alpha * x), INLINE)
        r = reciprocal(1.0 + e, INLINE)
        g = alpha * e * r * r
    elif SURROGATE == "atan":
        scaled = 1.5707963267948966 * alpha * x
        g = 0.5 * alpha * reciprocal(1.0 + scaled * scaled, INLINE)
    elif SURROGATE == "triangle":
        height = 1.0 - tl.abs(x)
        g = alpha * tl.where(height < 0.0, 0.0, height)
    elif SURROGATE == "rectangle":
        g = tl.where(tl.abs(x) < 0.5 / alpha, alpha, 0.0)
    else:
        tl.static_assert(SURROGATE == "piecewise_quadratic")
        height = alpha - alpha * alpha * tl.abs(x)
        g = tl.where(height < 0.0, 0.0, height)
    return g


@triton.jit
def gradient_of_h(
    h,
    grad_s,
    grad_v,
    threshold,
    rest,
    alpha,
    levels,
    divisor,
    CHARGE: tl.constexpr,
    HARD: tl.constexpr,
    DETACH: tl.constexpr,
    SURROGATE: tl.constexpr,
    INLINE: tl.constexpr,
):
    """The gradient of a step's charged potential, given those of its spikes and of the potential after it."""
    if CHARGE == "integer":
        of_s = grad_s / divisor
        if not DETACH:
            of_s = of_s - grad_v
        grad_h = of_s * tl.where((h >= 0.0) & (h <= levels), 1.0, 0.0) + grad_v
    else:
        of_s = grad_s
        kept = grad_v
        if HARD:
            kept = grad_v * tl.where(h >= threshold, 0.0, 1.0)
        if not DETACH:
            of_s = grad_s + (rest - h) * grad_v if HARD else grad_s - threshold * grad_v
        grad_h = tl.fma(of_s, derivative(h - threshold, alpha, SURROGATE, INLINE), kept)
    return grad_h


@triton.jit
def block_of(n, BLOCK: tl.constexpr):
    """The neurons of this program out of `n`: the first one, the lanes beside it, and which of them are there."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    lane = tl.arange(0, BLOCK)
    return start, lane, lane < tl.minimum(n - start, BLOCK).to(tl.int32)


@triton.jit
def start_potential(v_ptr, rest, start, lane, inside, FROM_REST: tl.constexpr):
    """The potential before the first step; nothing is read where neurons start from rest."""
    if FROM_REST:
        v = tl.zeros(lane.shape, dtype=tl.float32) + rest
    else:
        v = tl.load(v_ptr + start + lane, mask=inside, other=0.0)
    return v
