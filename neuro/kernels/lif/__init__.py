"""Multi-step IF, LIF, PLIF and integer LIF: all timesteps in one pass, the potential never in memory.

Forward reads the input once and writes spikes, dense or packed over time, and the last potential. Backward computes
the charged potentials again from the input, so that nothing but the input is kept for it. In bytes per neuron and
timestep at T timesteps, fp32 (half of the first terms in 16 bits):

    forward, dense       4 + 4 + 4/T        input, spikes, last potential
    forward, packed      4 + 1/8 + 0        T a multiple of 8; without the last potential
    backward             4 + 4 + 4          input, gradient of the spikes, gradient of the input

Spikes and potentials equal `reference` bit for bit on every device and in every dtype; gradients agree to 1e-6 of
the largest in fp32. Potentials are fp32 where the input has 16 bits, also under autocast.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hardware_models.errors import InputError
from neuro.kernels.lif.dispatch import choose, run
from neuro.kernels.lif.settings import FireResetLike, IntegerNeuron, Neuron

__all__ = ["FireResetLike", "IntegerNeuron", "Neuron", "integer_multi_step", "multi_step", "multi_step_packed"]


def multi_step(
    x: Tensor,
    v: Tensor | None,
    p: FireResetLike,
    tau: float | Tensor = 1.0,
    decay_input: bool = False,
    leak: bool = True,
) -> tuple[Tensor, Tensor]:
    """Run IF (`leak=False`), LIF or PLIF (a learned `tau`) over all timesteps; equations in `reference`.

    Args:
        x: input `[T, ...]`. Channels-last and any other order of the neurons in memory is kept; an input whose
            timesteps do not follow each other without gaps is copied.
        v: potential before the first step, `[...]` or what expands to it; None for the resting potential.
        p: firing and reset. A threshold that is a tensor is stepped through autograd.
        tau: time constant in timesteps; a tensor of one number gets a gradient.
        decay_input: divide the input by tau too.
        leak: whether the potential leaks.

    Returns:
        Spikes `[T, ...]` in the dtype of `x`, and the last potential `[...]` (at least fp32, without a gradient).

    Raises:
        InputError: `x` has no timestep, or `v` does not fit it.
    """
    neuron = Neuron(p, tau, decay_input, leak)
    return run(choose(x, neuron), x, _potential(x, v), neuron)


def multi_step_packed(
    x: Tensor,
    v: Tensor | None,
    p: FireResetLike,
    tau: float | Tensor = 1.0,
    decay_input: bool = False,
    leak: bool = True,
) -> Tensor:
    """Return the spikes of `multi_step` as bits, without a gradient, for inference.

    Returns:
        uint8 `[ceil(T/8), ...]`: bit t % 8 of byte t // 8 is the spike of timestep t.
    """
    neuron = Neuron(p, tau, decay_input, leak)
    with torch.no_grad():
        return run(choose(x, neuron), x, _potential(x, v), neuron, packed=True)[0]


def integer_multi_step(
    x: Tensor, v: Tensor | None, levels: int, tau: float, detach_reset: bool = True, divisor: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Run integer LIF over all timesteps.

        h_t = v_(t-1) (1 - 1/tau) + x_t,    s_t = round(clamp(h_t, 0, levels)),    v_t = h_t - s_t

    Args:
        x, v: as in `multi_step`; the resting potential is 0.
        levels: the largest spike count of a timestep.
        tau: time constant in timesteps, >= 1.
        detach_reset: keep the reset out of the gradient.
        divisor: the output is the count over this; `levels` where activations have to stay in [0, 1].

    Returns:
        Counts over `divisor` `[T, ...]` in the dtype of `x`, and the last potential `[...]` (at least fp32, without a
        gradient).

    Raises:
        InputError: as `multi_step`.
    """
    neuron = IntegerNeuron(levels, tau, detach_reset, divisor)
    return run(choose(x, neuron), x, _potential(x, v), neuron)


def _potential(x: Tensor, v: Tensor | None) -> Tensor | None:
    if x.dim() == 0 or x.shape[0] == 0:
        raise InputError(f"a neuron was given input of shape {tuple(x.shape)}; give [T, ...] with T at least 1.")
    if v is None or v.shape == x.shape[1:]:
        return v
    try:
        return v.expand(x.shape[1:])
    except RuntimeError as error:
        raise InputError(
            f"a neuron was given a potential of shape {tuple(v.shape)} for input {tuple(x.shape)}; give [...] of it."
        ) from error
