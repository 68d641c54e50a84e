"""All timesteps of a neuron in registers on a GPU: one read of the input, one write of the spikes.

A program takes a block of neurons through every timestep, so that the potential never leaves the registers, and the
backward kernel computes the charged potentials anew from the input instead of reading them back. Bytes per neuron and
timestep at T = 4, from rest and without the last potential (which is one more per timestep in fp32):

                              fp32    16 bits
    forward, dense spikes      8       4
    forward, packed spikes     4.25    2.25
    backward                  12       6

Importing this needs Triton; `gpu.refuses` says whether to.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from neuro.kernels.gpu import interpreted, on_device
from neuro.kernels.lif.device import block_of, divided, gradient_of_h, start_potential, step
from neuro.kernels.lif.settings import Settings, empty_packed, in_storage_order, laid_out_as

CHUNK = 4
"""Timesteps whose loads are issued before the first of them is used, so that they are under way together."""

SEGMENT = 16
"""Timesteps whose charged potentials the backward kernel keeps in registers; longer inputs go in segments."""

BLOCK = 1024
"""Neurons of a program: eight to a thread, two 128-bit loads in fp32 and one in 16 bits."""

INLINE = not interpreted() and torch.version.hip is None
"""Whether kernels may hold PTX."""


@triton.jit
def _forward_kernel(
    x_ptr,
    v_ptr,
    s_ptr,
    v_last_ptr,
    n,
    tau,
    keeps,
    rest,
    threshold,
    levels,
    divisor,
    T: tl.constexpr,
    CHUNK: tl.constexpr,
    CHARGE: tl.constexpr,
    HARD: tl.constexpr,
    EXACT_INVERSE: tl.constexpr,
    LEARNED: tl.constexpr,
    FROM_REST: tl.constexpr,
    WRITE: tl.constexpr,
    KEEP_V: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n = tl.cast(n, tl.int64)
    start, lane, inside = block_of(n, BLOCK)
    if LEARNED:
        tau = tl.load(tau).to(tl.float32)
    v = start_potential(v_ptr, rest, start, lane, inside, FROM_REST)
    bits = tl.zeros((BLOCK,), dtype=tl.int32)
    for first in tl.static_range(0, T, CHUNK):
        xs = ()
        for i in tl.static_range(CHUNK):
            if first + i < T:
                xs = xs + (tl.load(x_ptr + (first + i) * n + start + lane, mask=inside, other=0.0),)  # noqa: RUF005
        for i in tl.static_range(CHUNK):
            if first + i < T:
                x = xs[i].to(tl.float32)
                _, s, v = step(v, x, tau, keeps, rest, threshold, levels, CHARGE, HARD, EXACT_INVERSE)
                if WRITE == "dense":
                    if CHARGE == "integer":
                        s = tl.div_rn(s, divisor)
                    tl.store(s_ptr + (first + i) * n + start + lane, s.to(s_ptr.dtype.element_ty), mask=inside)
                elif WRITE == "packed":
                    bits = bits | ((s != 0.0).to(tl.int32) << ((first + i) % 8))
                    if (first + i) % 8 == 7 or first + i == T - 1:
                        tl.store(s_ptr + ((first + i) // 8) * n + start + lane, bits.to(tl.uint8), mask=inside)
                        bits = tl.zeros((BLOCK,), dtype=tl.int32)
    if KEEP_V:
        tl.store(v_last_ptr + start + lane, v, mask=inside)


@triton.jit
def _backward_kernel(
    x_ptr,
    v_ptr,
    grad_s_ptr,
    grad_x_ptr,
    grad_v_ptr,
    grad_tau_ptr,
    n,
    tau,
    keeps,
    takes,
    rest,
    threshold,
    alpha,
    levels,
    divisor,
    T: tl.constexpr,
    CHUNK: tl.constexpr,
    CHARGE: tl.constexpr,
    HARD: tl.constexpr,
    EXACT_INVERSE: tl.constexpr,
    LEARNED: tl.constexpr,
    FROM_REST: tl.constexpr,
    DETACH: tl.constexpr,
    SURROGATE: tl.constexpr,
    LAST: tl.constexpr,
    KEEP_V: tl.constexpr,
    INLINE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n = tl.cast(n, tl.int64)
    start, lane, inside = block_of(n, BLOCK)
    if LEARNED:
        tau = tl.load(tau).to(tl.float32)
        keeps = 1.0 - 1.0 / tau
        takes = (1.0 / tau) if CHARGE == "lif" else 1.0
    v = start_potential(v_ptr, rest, start, lane, inside, FROM_REST)
    xs = ()
    for t in tl.static_range(T):
        xs = xs + (tl.load(x_ptr + t * n + start + lane, mask=inside, other=0.0),)  # noqa: RUF005
    hs = ()
    quotients = ()
    for t in tl.static_range(T):
        x = xs[t].to(tl.float32)
        if LEARNED:
            quotients = quotients + (  # noqa: RUF005
                divided((x - (v - rest)) if CHARGE == "lif" else (rest - v), tau, False),
            )
        h, _, v = step(v, x, tau, keeps, rest, threshold, levels, CHARGE, HARD, EXACT_INVERSE)
        hs = hs + (h,)  # noqa: RUF005
    grad_v = tl.zeros((BLOCK,), dtype=tl.float32)
    if not LAST:
        grad_v = tl.load(grad_v_ptr + start + lane, mask=inside, other=0.0)
    grad_tau = tl.zeros((BLOCK,), dtype=tl.float32)
    for first in tl.static_range(0, T, CHUNK):
        grads = ()
        for i in tl.static_range(CHUNK):
            if first + i < T:
                at = (T - 1 - first - i) * n + start
                grads = grads + (tl.load(grad_s_ptr + at + lane, mask=inside, other=0.0),)  # noqa: RUF005
        for i in tl.static_range(CHUNK):
            if first + i < T:
                grad_h = gradient_of_h(
                    hs[T - 1 - first - i], grads[i].to(tl.float32), grad_v, threshold, rest, alpha, levels, divisor,
                    CHARGE, HARD, DETACH, SURROGATE, INLINE,
                )  # fmt: skip
                if LEARNED:
                    grad_tau -= tl.where(inside, grad_h * quotients[T - 1 - first - i], 0.0)
                grad_v = grad_h * keeps
                grad_x = (grad_h * takes).to(grad_x_ptr.dtype.element_ty)
                tl.store(grad_x_ptr + (T - 1 - first - i) * n + start + lane, grad_x, mask=inside)
    if LEARNED:
        tl.store(grad_tau_ptr + tl.program_id(0), tl.sum(grad_tau, axis=0) / tau)
    if KEEP_V:
        tl.store(grad_v_ptr + start + lane, grad_v, mask=inside)


def forward(
    x: Tensor, v: Tensor | None, tau: Tensor | None, settings: Settings, packed: bool, keep_v: bool = True
) -> tuple[Tensor, Tensor]:
    """Run all timesteps.

    Args:
        x: input `[T, ...]`, fp32, fp16 or bf16; copied only where its timesteps do not follow each other in memory.
        v: potential before the first step, `[...]`; None for the resting potential, which is not read from memory.
        tau: a learned time constant, one number; None for that of `settings`.
        settings: the neuron.
        packed: return spikes as bits.
        keep_v: write the last potential, which costs as much as a timestep of fp32 spikes.

    Returns:
        Spikes in the shape, dtype and storage order of `x`, or packed over time, uint8 `[ceil(T/8), ...]`; and the
        last potential, fp32 `[...]`, empty where it is not kept.
    """
    x = in_storage_order(x)
    s = empty_packed(x) if packed else torch.empty_like(x)
    return s, _run_forward(x, v, tau, settings, s, "packed" if packed else "dense", keep_v)


def backward(
    grad_s: Tensor, x: Tensor, v: Tensor | None, tau: Tensor | None, settings: Settings, wants_v: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of `x`, of `v` (empty unless wanted) and of `tau` (empty where there is none).

    The charged potentials are computed again from `x` and `v`, which have to be those of `forward`.
    """
    x = in_storage_order(x)
    grad_s = laid_out_as(x, grad_s, x.dtype)
    grad_x = torch.empty_like(x)
    grad_v = torch.empty_like(x[0], dtype=torch.float32)
    starts = range(0, x.shape[0], SEGMENT)
    before: list[Tensor | None] = [None if v is None else laid_out_as(x[0], v, torch.float32)]
    for first in starts[:-1]:
        before.append(_run_forward(x[first : first + SEGMENT], before[-1], tau, settings, x, "nothing", True))
    grad_tau = [] if tau is None else [torch.zeros(1, device=x.device)]
    for first, potential in reversed(list(zip(starts, before, strict=True))):
        part = slice(first, first + SEGMENT)
        last, keep_v = part.stop >= x.shape[0], wants_v or first > 0
        sums = _run_backward(grad_s[part], x[part], potential, tau, settings, grad_x[part], grad_v, last, keep_v)
        grad_tau.append(sums)
    if tau is None:
        of_tau = x.new_empty(0, dtype=torch.float32)
    else:
        of_tau = torch.cat(grad_tau).sum(dtype=torch.float64).to(tau.dtype).reshape(tau.shape)
    return grad_x, grad_v if wants_v else grad_v.new_empty(0), of_tau


def _run_forward(
    x: Tensor, v: Tensor | None, tau: Tensor | None, settings: Settings, s: Tensor, write: str, keep_v: bool
) -> Tensor:
    """Write spikes into `s` and return the last potential."""
    v_last = torch.empty_like(x[0], dtype=torch.float32) if keep_v else x.new_empty(0, dtype=torch.float32)
    n = x[0].numel()
    if n:
        with on_device(x):
            _forward_kernel[(triton.cdiv(n, BLOCK),)](
                x,
                x if v is None else laid_out_as(x[0], v, torch.float32),
                s,
                v_last,
                n,
                **neuron(settings, tau),
                T=x.shape[0],
                CHUNK=CHUNK,
                FROM_REST=v is None,
                WRITE=write,
                KEEP_V=keep_v,
                BLOCK=BLOCK,
                num_warps=4,
                enable_fp_fusion=False,
            )
    return v_last


def _run_backward(
    grad_s: Tensor,
    x: Tensor,
    v: Tensor | None,
    tau: Tensor | None,
    settings: Settings,
    grad_x: Tensor,
    grad_v: Tensor,
    last: bool,
    keep_v: bool,
) -> Tensor:
    """Write the gradients of a segment, `grad_v` in place, and return the parts of that of tau."""
    n, block = x[0].numel(), backward_block(x.shape[0], tau is not None)
    programs = triton.cdiv(n, block)
    sums = torch.empty(0 if tau is None else programs, device=x.device)
    if n:
        with on_device(x):
            _backward_kernel[(programs,)](
                x,
                x if v is None else v,
                grad_s,
                grad_x,
                grad_v,
                sums,
                n,
                **neuron(settings, tau),
                **gradient(settings),
                T=x.shape[0],
                CHUNK=CHUNK,
                FROM_REST=v is None,
                LAST=last,
                KEEP_V=keep_v,
                BLOCK=block,
                num_warps=4,
                enable_fp_fusion=False,
            )
    return sums


def backward_block(steps: int, learned: bool = False) -> int:
    """Neurons of a program of the backward kernel: fewer when each keeps more in registers."""
    kept = steps * (2 if learned else 1)
    return BLOCK if kept <= 8 else BLOCK // 2 if kept <= 16 else BLOCK // 4


def neuron(settings: Settings, tau: Tensor | None = None) -> dict[str, Any]:
    """The kernels' arguments about the neuron."""
    # Dividing by a power of two equals multiplying by its inverse, bit for bit.
    exact = tau is None and math.frexp(settings.tau)[0] == 0.5 and settings.tau < 2.0**126
    return {
        "tau": tau if tau is not None else 1 / settings.tau if exact else float(settings.tau),
        "keeps": 1.0 if settings.charge == "if" else 1 - 1 / settings.tau,
        "rest": float(settings.rest),
        "threshold": float(settings.v_threshold),
        "levels": float(settings.levels),
        "divisor": float(settings.divisor),
        "CHARGE": settings.charge,
        "HARD": settings.v_reset is not None,
        "EXACT_INVERSE": exact,
        "LEARNED": tau is not None,
    }


def gradient(settings: Settings) -> dict[str, Any]:
    """The kernels' arguments about the gradient, beside those of `neuron`."""
    return {
        "takes": 1 / settings.tau if settings.charge == "lif" else 1.0,
        "alpha": float(settings.alpha),
        "SURROGATE": settings.surrogate,
        "DETACH": settings.detach_reset,
        "INLINE": INLINE,
    }
