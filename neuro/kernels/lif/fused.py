"""All timesteps of IF and LIF in one autograd node: the same values as the step equations, less to remember.

The charge of both is affine, `h_t = a v_(t-1) + b x_t + c`, so one backward recursion serves both:

    dL/dh_t     = dL/ds_t g(h_t - v_threshold) + dL/dv_t dv_t/dh_t
    dL/dx_t     = b dL/dh_t
    dL/dv_(t-1) = a dL/dh_t

with g the surrogate derivative, and dv/dh = 1 - s + (v_reset - h) g for a hard reset, 1 - v_threshold g for a
soft one; `detach_reset` leaves the terms in g out. Only the charged potentials h are kept; stepping through
autograd keeps several tensors a timestep.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neuro.kernels.lif.settings import FireResetLike, Neuron, potential_dtype


def multi_step(x: Tensor, v: Tensor | None, neuron: Neuron) -> tuple[Tensor, Tensor]:
    """Run IF or LIF over all timesteps, as `reference.multi_step` does; threshold and tau have to be numbers.

    Spikes and potentials equal the reference's bit for bit.
    """
    dtype = potential_dtype(x)
    v = torch.full_like(x[0], neuron.rest, dtype=dtype) if v is None else v.to(dtype)
    s, v_last = _MultiStep.apply(x.to(dtype), v, neuron.fire_reset, neuron.tau, neuron.decay_input, neuron.leak)
    return s.to(x.dtype), v_last


class _MultiStep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, v: Tensor, p: FireResetLike, tau: float, decay_input: bool, leak: bool
    ) -> tuple[Tensor, Tensor]:
        h, s = torch.empty_like(x), torch.empty_like(x)
        for x_t, h_t, s_t in zip(x.unbind(0), h.unbind(0), s.unbind(0), strict=True):
            _charge(x_t, v, h_t, p.v_reset or 0.0, tau, decay_input, leak)
            torch.ge(h_t, p.v_threshold, out=s_t)
            v = _reset(h_t, s_t, p)
        ctx.save_for_backward(h, s)
        ctx.p = p
        ctx.keeps = 1 - 1 / tau if leak else 1.0
        ctx.takes = 1 / tau if leak and decay_input else 1.0
        ctx.mark_non_differentiable(v)
        return s, v

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor, None, None, None, None]:
        h, s = ctx.saved_tensors
        p: FireResetLike = ctx.p
        derivative = p.surrogate.derivative(h - p.v_threshold, p.surrogate.alpha)
        through_reset = _reset_derivative(h, s, derivative, p)
        grad_h = derivative.mul_(grads[0])
        # Nothing follows the last reset, which may be of an infinite potential: it must not even be multiplied by 0.
        grad_v = grad_h[-1] * ctx.keeps
        for t in reversed(range(len(h) - 1)):
            grad_h_t = grad_h[t]
            grad_h_t += grad_v if through_reset is None else grad_v * through_reset[t]
            torch.mul(grad_h_t, ctx.keeps, out=grad_v)
        return grad_h.mul_(ctx.takes), grad_v, None, None, None, None


def _charge(x: Tensor, v: Tensor, h: Tensor, resting: float, tau: float, decay_input: bool, leak: bool) -> None:
    """Write the charged potential into `h`, in the order of operations of the step equations."""
    if not leak:
        torch.add(v, x, out=h)
        return
    above_rest = v - resting if resting else v
    if decay_input:
        torch.sub(x, above_rest, out=h).div_(tau).add_(v)
    else:
        torch.sub(v, above_rest / tau, out=h).add_(x)


def _reset(h: Tensor, s: Tensor, p: FireResetLike) -> Tensor:
    if p.v_reset is None:
        return h - p.v_threshold * s
    after = h * (1 - s)
    return after.add_(s, alpha=p.v_reset) if p.v_reset else after


def _reset_derivative(h: Tensor, s: Tensor, derivative: Tensor, p: FireResetLike) -> Tensor | None:
    """dv/dh for all timesteps; None stands for 1."""
    if p.v_reset is None:
        return None if p.detach_reset else 1 - p.v_threshold * derivative
    kept = 1 - s
    return kept if p.detach_reset else kept.addcmul_(p.v_reset - h, derivative)
