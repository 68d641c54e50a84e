"""Pure step equations of spiking neurons: charge, fire, reset. No state is kept here.

Each step takes the input current `x` and the membrane potential `v` of the previous step, both of one shape,
and returns the spikes `s` and the new `v`. With h the charged potential and Θ the Heaviside step:

    charge   h = v + x                                   IF
             h = v + (x - (v - v_reset)) / tau           LIF, decay_input
             h = v - (v - v_reset) / tau + x             LIF, not decay_input
    fire     s = Θ(h - v_threshold)                      Θ(0) = 1, surrogate gradient backward
    reset    v = h (1 - s) + v_reset s                   hard
             v = h - v_threshold s                       soft; the leak then pulls towards 0

Potentials are dimensionless, one step is one timestep, tau is counted in timesteps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from neuro.neurons.surrogate import SURROGATES, Surrogate


class FireReset(NamedTuple):
    """How a neuron fires and resets.

    Attributes:
        v_threshold: potential at which the neuron fires.
        v_reset: potential after a hard reset; None means soft reset (subtract the threshold).
        surrogate: the spike function and its backward derivative.
        detach_reset: keep the reset out of the gradient.
    """

    v_threshold: float | Tensor = 1.0
    v_reset: float | None = 0.0
    surrogate: Surrogate = SURROGATES["sigmoid"]
    detach_reset: bool = True


def fire_and_reset(h: Tensor, p: FireReset) -> tuple[Tensor, Tensor]:
    """Fire where the charged potential `h` reaches the threshold, then reset; return (s, v)."""
    s = p.surrogate(h - p.v_threshold)
    s_reset = s.detach() if p.detach_reset else s
    if p.v_reset is None:
        return s, h - p.v_threshold * s_reset
    if p.v_reset == 0:
        return s, h * (1 - s_reset)
    return s, h * (1 - s_reset) + p.v_reset * s_reset


def if_step(x: Tensor, v: Tensor, p: FireReset) -> tuple[Tensor, Tensor]:
    """One step of the integrate-and-fire neuron, h = v + x."""
    return fire_and_reset(v + x, p)


def lif_step(
    x: Tensor, v: Tensor, p: FireReset, tau: float | Tensor, decay_input: bool = True
) -> tuple[Tensor, Tensor]:
    """One step of the leaky integrate-and-fire neuron with time constant `tau` (timesteps)."""
    resting = p.v_reset or 0.0
    if decay_input:
        return fire_and_reset(v + (x - (v - resting)) / tau, p)
    return fire_and_reset(v - (v - resting) / tau + x, p)


class _RoundClamp(torch.autograd.Function):
    """round(clamp(x, 0, levels)); the gradient passes straight through where 0 <= x <= levels."""

    @staticmethod
    def forward(x: Tensor, levels: int) -> Tensor:
        return x.clamp(0, levels).round()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.levels = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grad_output * ((x >= 0) & (x <= ctx.levels)), None


def integer_lif_step(x: Tensor, v: Tensor, levels: int, tau: float, detach_reset: bool = True) -> tuple[Tensor, Tensor]:
    """One step of the integer LIF neuron (Luo et al., ECCV 2024; Yao et al., spike-driven transformer V3).

        h = v (1 - 1/tau) + x,    s = round(clamp(h, 0, levels)),    v = h - s

    `s` counts spikes, 0..levels, and is exactly the sum of `levels` binary sub-steps
    (`unroll_integer_spikes`).
    From v = 0 a single step is the stateless spike firing approximation of V3.
    """
    h = v * (1 - 1 / tau) + x
    s = _RoundClamp.apply(h, levels)
    return s, h - (s.detach() if detach_reset else s)


def unroll_integer_spikes(s: Tensor, levels: int) -> Tensor:
    """Unroll spike counts into binary sub-steps whose sum is `s`.

    Args:
        s: counts 0..levels, any shape `[...]`.
        levels: how many sub-steps one timestep has.

    Returns:
        `[levels, ...]` of 0 and 1; sub-step d fires where s > d, so a linear operator on the counts equals
        the sum of the same operator on the sub-steps.
    """
    sub_step = torch.arange(levels, device=s.device, dtype=s.dtype)
    return (s > sub_step.view(-1, *[1] * s.dim())).to(s.dtype)
