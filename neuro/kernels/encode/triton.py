"""All timesteps of an encoder in registers on a GPU; `reference` says what the functions mean.

A program takes a block of neurons through every timestep. Each operation is rounded by itself
(`enable_fp_fusion=False`), so that spikes equal those of the reference bit for bit. Importing this needs Triton;
`gpu.refuses` says whether to.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from neuro.kernels.encode.layout import along, dense, laid_out, time_axis
from neuro.kernels.encode.reference import reach
from neuro.kernels.gpu import on_device

BLOCK = 1024


@triton.jit
def _copysign(size, r):
    sign = r.to(tl.int32, bitcast=True) & -2147483648
    return (size.to(tl.int32, bitcast=True) | sign).to(tl.float32, bitcast=True)


@triton.jit
def _fire(r, unit, shrink, levels, KIND: tl.constexpr):
    """Spikes of a remainder; NaN stays NaN."""
    size = tl.abs(r)
    none = tl.where(r != r, r, 0.0)
    if KIND == "power-of-two":
        smallest = unit * shrink
        bits = (size.to(tl.int32, bitcast=True) + 0x400000) & 0x7F800000
        nearest = bits.to(tl.float32, bitcast=True)
        nearest = tl.where(nearest < unit, nearest, unit)
        nearest = tl.where(nearest > smallest, nearest, smallest)
        s = tl.where(2.0 * size >= smallest, _copysign(nearest, r), none)
    elif KIND == "ternary":
        s = tl.where(2.0 * size >= unit, _copysign(unit, r), none)
    elif KIND == "binary":
        s = tl.where(2.0 * r >= unit, unit, none)
    elif KIND == "integer":
        q = tl.div_rn(r, unit)
        # Adding and subtracting 1.5 2^23 rounds to the nearest integer, ties to even, where |q| < 2^22; beyond the
        # levels it is cut off anyway. NaN stays NaN.
        q = tl.where(q < -levels, -levels, tl.where(q > levels, levels, q))
        s = unit * ((q + 12582912.0) - 12582912.0)
    else:
        s = r
    return s


@triton.jit
def _encode_kernel(
    x_ptr,
    sent_ptr,
    unit_ptr,
    presentations_ptr,
    out_ptr,
    last_ptr,
    n,
    inner,
    steps,
    channels,
    run,
    shrink,
    levels,
    reach,
    FROM_NOTHING: tl.constexpr,
    PRESENTED: tl.constexpr,
    KIND: tl.constexpr,
    WRITE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Write the spikes, the values they stand for so far, or whether each remainder passes its gradient."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    here = at // inner * inner * steps + at % inner
    unit = tl.load(unit_ptr + at // run % channels, mask=inside, other=1.0)
    sent = tl.zeros((BLOCK,), dtype=tl.float32)
    if not FROM_NOTHING:
        sent = tl.load(sent_ptr + at, mask=inside, other=0.0)
    for t in range(steps):
        x = tl.load(x_ptr + here + t * inner, mask=inside, other=0.0).to(tl.float32)
        if PRESENTED:
            presented = tl.load(presentations_ptr + t)
            x = presented * x
        r = x - sent
        s = _fire(r, unit, shrink, levels, KIND).to(x_ptr.dtype.element_ty)
        sent += s.to(tl.float32)
        if WRITE == "spikes":
            tl.store(out_ptr + here + t * inner, s, mask=inside)
        elif WRITE == "passes":
            tl.store(out_ptr + here + t * inner, (tl.abs(r) <= reach * unit).to(tl.uint8), mask=inside)
        else:
            value = sent
            if PRESENTED:
                value = tl.div_rn(sent, tl.zeros((BLOCK,), dtype=tl.float32) + presented)
            tl.store(out_ptr + here + t * inner, value.to(x_ptr.dtype.element_ty), mask=inside)
    tl.store(last_ptr + at, sent, mask=inside)


@triton.jit
def _backward_kernel(
    grad_s_ptr,
    grad_last_ptr,
    passes_ptr,
    presentations_ptr,
    grad_x_ptr,
    grad_sent_ptr,
    n,
    inner,
    steps,
    PRESENTED: tl.constexpr,
    SUMMED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    here = at // inner * inner * steps + at % inner
    carry = tl.load(grad_last_ptr + at, mask=inside, other=0.0)
    for back in range(steps):
        t = steps - 1 - back
        g = tl.load(grad_s_ptr + here + t * inner, mask=inside, other=0.0).to(tl.float32)
        passes = tl.load(passes_ptr + here + t * inner, mask=inside, other=0) != 0
        presented = 1.0
        if PRESENTED:
            presented = tl.load(presentations_ptr + t)
        if SUMMED:
            carry += g / presented
            of_r = tl.where(passes, carry, 0.0)
        else:
            of_r = tl.where(passes, g + carry, 0.0)
        tl.store(grad_x_ptr + here + t * inner, (presented * of_r).to(grad_x_ptr.dtype.element_ty), mask=inside)
        carry -= of_r
    tl.store(grad_sent_ptr + at, carry, mask=inside)


@triton.jit
def _decode_kernel(
    currents_ptr,
    arrived_ptr,
    divisors_ptr,
    bias_ptr,
    values_ptr,
    last_ptr,
    n,
    inner,
    steps,
    channels,
    run,
    FROM_NOTHING: tl.constexpr,
    DIVIDED: tl.constexpr,
    BIASED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    here = at // inner * inner * steps + at % inner
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    if not FROM_NOTHING:
        total = tl.load(arrived_ptr + at, mask=inside, other=0.0)
    if BIASED:
        bias = tl.load(bias_ptr + at // run % channels, mask=inside, other=0.0)
    for t in range(steps):
        total += tl.load(currents_ptr + here + t * inner, mask=inside, other=0.0).to(tl.float32)
        value = total
        if DIVIDED:
            value = tl.div_rn(total, tl.zeros((BLOCK,), dtype=tl.float32) + tl.load(divisors_ptr + t))
        if BIASED:
            value = value + bias
        tl.store(values_ptr + here + t * inner, value.to(values_ptr.dtype.element_ty), mask=inside)
    tl.store(last_ptr + at, total, mask=inside)


def encode(
    x: Tensor, sent: Tensor | None, unit: Tensor, presentations: Tensor | None, kind: str, levels: int, summed: bool
) -> tuple[Tensor, Tensor]:
    """As `reference.encode`, without a gradient; results lie in memory as `x` does."""
    x = dense(x)
    s = torch.empty_like(x)
    return s, _encode(x, sent, unit, presentations, kind, levels, "values" if summed else "spikes", s)


def encode_backward(
    grad_s: Tensor,
    grad_last: Tensor,
    x: Tensor,
    sent: Tensor | None,
    unit: Tensor,
    presentations: Tensor | None,
    kind: str,
    levels: int,
    summed: bool,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of `x` and of `sent`, given those of the spikes and of the last sum."""
    x = dense(x)
    grad_x, passes = torch.empty_like(x), torch.empty_like(x, dtype=torch.uint8)
    grad_sent = _encode(x, sent, unit, presentations, kind, levels, "passes", passes)
    if x.numel():
        grad_s, after = torch.empty_like(x).copy_(grad_s), laid_out(grad_sent, grad_last)
        n, inner = grad_sent.numel(), time_axis(x)[1]
        with on_device(x):
            _backward_kernel[(triton.cdiv(n, BLOCK),)](
                grad_s, after, passes, _floats(presentations, x), grad_x, grad_sent, n, inner, x.shape[0],
                PRESENTED=presentations is not None, SUMMED=summed, BLOCK=BLOCK, enable_fp_fusion=False,
            )  # fmt: skip
    return grad_x, grad_sent


def decode(
    currents: Tensor, arrived: Tensor | None, divisors: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """As `reference.decode`, without a gradient; results lie in memory as `currents` do."""
    currents = dense(currents)
    values, last = torch.empty_like(currents), torch.empty_like(currents[0], dtype=torch.float32)
    if currents.numel():
        start = laid_out(last, arrived)
        shift = along(last, last.new_zeros(()) if bias is None else bias)
        n, inner = last.numel(), time_axis(currents)[1]
        with on_device(currents):
            _decode_kernel[(triton.cdiv(n, BLOCK),)](
                currents, last if start is None else start, _floats(divisors, currents), shift.tensor, values, last,
                n, inner, currents.shape[0], shift.channels, shift.run, FROM_NOTHING=start is None,
                DIVIDED=divisors is not None, BIASED=bias is not None, BLOCK=BLOCK, enable_fp_fusion=False,
            )  # fmt: skip
    return values, last


def _encode(
    x: Tensor,
    sent: Tensor | None,
    unit: Tensor,
    presentations: Tensor | None,
    kind: str,
    levels: int,
    write: str,
    out: Tensor,
) -> Tensor:
    """Take every neuron through its timesteps, write into `out`, and return the last sum."""
    last = torch.empty_like(x[0], dtype=torch.float32)
    if x.numel():
        start, units = laid_out(last, sent), along(last, unit)
        n, inner = last.numel(), time_axis(x)[1]
        with on_device(x):
            _encode_kernel[(triton.cdiv(n, BLOCK),)](
                x, last if start is None else start, units.tensor, _floats(presentations, x), out, last, n, inner,
                x.shape[0], units.channels, units.run, 2.0 ** (1 - levels), float(levels), reach(kind, levels),
                FROM_NOTHING=start is None, PRESENTED=presentations is not None, KIND=kind, WRITE=write,
                BLOCK=BLOCK, enable_fp_fusion=False,
            )  # fmt: skip
    return last


def _floats(numbers: Tensor | None, x: Tensor) -> Tensor:
    """Numbers by timestep in fp32; any tensor where there are none."""
    return x if numbers is None else numbers.to(torch.float32).contiguous()
