"""Values as spikes and back: all timesteps of a neuron in one pass over memory, its state in registers.

`encode` sends a value as spikes whose sum follows it, `decode` adds up what arrives and gives the value it stands for;
equations in `reference`. In bytes per element and timestep at T timesteps, fp32 (half of the first terms in 16 bits):

    encode            4 + 4 + 4/T      values, spikes, last sum
    encode, backward  4 + 4 + 4 + 4/T  values, gradient of the spikes, gradient of the values, gradient of the first sum
    decode            4 + 4 + 4/T      currents, values, last sum

Results equal `reference` bit for bit in every dtype. The time axis may lie anywhere in memory, and channels-last stays.
"""

from __future__ import annotations

from torch import Tensor

from hardware_models.errors import InputError, unknown_name
from neuro.kernels.encode.dispatch import DECODE, ENCODE, run
from neuro.kernels.encode.reference import SPIKES, Fire

__all__ = ["SPIKES", "Fire", "decode", "encode"]


def encode(
    x: Tensor,
    sent: Tensor | None,
    unit: Tensor,
    presentations: Tensor | None,
    kind: str,
    levels: int,
    summed: bool = False,
) -> tuple[Tensor, Tensor]:
    """Send values as spikes: r_t = n_t x_t - E_(t-1), s_t = fire(r_t), E_t = E_(t-1) + s_t.

    The gradient goes straight through where |r_t| is within the neuron's reach: two units, levels + 1 of them for
    integer spikes, any for ideal ones; with m_t that mask, g_t the gradient of s_t and G_t that of E_t,

        dr_t = m_t (g_t + G_t),    dx_t = n_t dr_t,    G_(t-1) = G_t - dr_t.

    Args:
        x: values `[T, ...]`.
        sent: what was sent before, `[...]`; None for nothing.
        unit: threshold, in the unit of `n_t x_t`; broadcasts to `[...]`.
        presentations: n_t `[T]`; None where it is always 1.
        kind: a name of `SPIKES`.
        levels: thresholds of power-of-two spikes, or the most units of an integer one.
        summed: return what the spikes stand for so far, E_t / n_t, in place of the spikes: where nobody looks at the
            spikes, what is linear in them need not be added up over time.

    Returns:
        Spikes (or E_t / n_t) `[T, ...]` in the dtype of `x`, and the sum sent so far `[...]`, at least fp32; both with
        a gradient.

    Raises:
        InputError: an unknown kind, no timestep, or less than one level.
    """
    if kind not in SPIKES:
        raise unknown_name("kind of spikes", kind, SPIKES)
    if levels < 1:
        raise InputError(f"spikes were to have {levels} levels; give at least 1.")
    _check_timesteps(x, presentations)
    found: tuple[Tensor, Tensor] = run(ENCODE, x, sent, unit, presentations, kind, levels, summed)
    return found


def decode(
    currents: Tensor, arrived: Tensor | None, divisors: Tensor | None = None, bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Add up what arrives: P_t = P_(t-1) + c_t, y_t = P_t / d_t + bias.

    Args:
        currents: `[T, ...]`.
        arrived: what arrived before, `[...]`; None for nothing.
        divisors: d_t `[T]`; None where it is always 1. Without a gradient.
        bias: broadcasts to `[...]`; None for none.

    Returns:
        Values `[T, ...]` in the dtype of `currents`, and the sum that arrived `[...]`, at least fp32.

    Raises:
        InputError: no timestep.
    """
    _check_timesteps(currents, divisors)
    found: tuple[Tensor, Tensor] = run(DECODE, currents, arrived, divisors, bias)
    return found


def _check_timesteps(x: Tensor, by_timestep: Tensor | None) -> None:
    if x.dim() == 0 or x.shape[0] == 0:
        raise InputError(f"spikes over time were asked of shape {tuple(x.shape)}; give [T, ...] with T at least 1.")
    if by_timestep is not None and by_timestep.shape != x.shape[:1]:
        raise InputError(
            f"{tuple(by_timestep.shape)} numbers were given for {x.shape[0]} timesteps; give one for each of them."
        )
