"""The meaning of a multi-step neuron: its step equations, T times. Everything else is tested against this.

    h_t = v_(t-1) + x_t                                              IF
    h_t = v_(t-1) + (x_t - (v_(t-1) - v_reset)) / tau                LIF that decays its input
    h_t = v_(t-1) - (v_(t-1) - v_reset) / tau + x_t                  LIF that does not
    s_t = Θ(h_t - v_threshold)                                       with the surrogate derivative backward
    v_t = h_t (1 - s_t) + v_reset s_t,  or  h_t - v_threshold s_t    hard, or soft reset

and `IntegerNeuron`'s. Potentials are single precision where the input has 16 bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuro.kernels.lif.settings import IntegerNeuron, Neuron, potential_dtype


def multi_step(x: Tensor, v: Tensor | None, neuron: Neuron | IntegerNeuron) -> tuple[Tensor, Tensor]:
    """Return the spikes `[T, ...]` of the input `[T, ...]`, in its dtype, and the last potential `[...]`.

    `v` `[...]` is the potential before the first step, None for the resting potential.
    """
    dtype = potential_dtype(x)
    v = torch.full_like(x[0], neuron.rest, dtype=dtype) if v is None else v.to(dtype)
    spikes = []
    for x_t in x.to(dtype).unbind(0):
        s, v = _integer_step(x_t, v, neuron) if isinstance(neuron, IntegerNeuron) else _step(x_t, v, neuron)
        spikes.append(s)
    return torch.stack(spikes).to(x.dtype), v.detach()


def packed(s: Tensor) -> Tensor:
    """Return spikes `[T, ...]` as uint8 `[ceil(T/8), ...]`: bit t % 8 of byte t // 8 is the spike of timestep t."""
    bits = torch.zeros((-(-s.shape[0] // 8), *s.shape[1:]), dtype=torch.uint8, device=s.device)
    for t, s_t in enumerate(s.unbind(0)):
        bits[t // 8] |= (s_t != 0).to(torch.uint8) << (t % 8)
    return bits


def _step(x: Tensor, v: Tensor, neuron: Neuron) -> tuple[Tensor, Tensor]:
    p, tau = neuron.fire_reset, neuron.tau
    if not neuron.leak:
        h = v + x
    elif neuron.decay_input:
        h = v + (x - (v - neuron.rest)) / tau
    else:
        h = v - (v - neuron.rest) / tau + x
    s = p.surrogate(h - p.v_threshold)
    s_reset = s.detach() if p.detach_reset else s
    if p.v_reset is None:
        return s, h - p.v_threshold * s_reset
    v = h * (1 - s_reset)
    return s, v + p.v_reset * s_reset if p.v_reset else v


def _integer_step(x: Tensor, v: Tensor, neuron: IntegerNeuron) -> tuple[Tensor, Tensor]:
    h = v * (1 - 1 / neuron.tau) + x
    clamped = h.clamp(0, neuron.levels)
    s = clamped.round().detach() + (clamped - clamped.detach())
    return s / neuron.divisor, h - (s.detach() if neuron.detach_reset else s)
