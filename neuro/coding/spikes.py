"""Spikes that a neuron can send: from what is left to send to what is sent now.

Each is a pure function of the remainder r = target - sent so far, and of a unit (the threshold), which may be one
number or one for each channel. The neuron subtracts what it sent (soft reset), so an error is sent later and not lost.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Fire = Callable[[Tensor, Tensor, int], Tensor]
"""`fire(r, unit, levels)`; the result has the shape of `r`."""


def power_of_two(r: Tensor, unit: Tensor, levels: int) -> Tensor:
    """Signed multi-threshold neuron: the nearest of 0 and +-unit 2^-k, k = 0 ... levels - 1.

    `unit` is a power of two, so every spike is one: a receiver shifts its weight and adds. Nearest means that |r| in
    [0.75, 1.5) 2^e gives 2^e; below half the smallest there is no spike. Multi-threshold neurons: Huang et al., "Towards
    High-performance Spiking Transformers from ANN to SNN Conversion", ACM MM 2024, arXiv:2502.21193.
    """
    smallest = unit * 2.0 ** (1 - levels)
    bits = r.abs().view(torch.int32)
    nearest = ((bits + 0x400000) & 0x7F800000).view(torch.float32)  # half a mantissa more, then none: 2^round
    size = torch.minimum(nearest, unit).maximum(smallest)
    return torch.where(2 * r.abs() >= smallest, torch.copysign(size, r), 0.0)


def ternary(r: Tensor, unit: Tensor, levels: int) -> Tensor:
    """+-unit where |r| is at least half of it, else 0."""
    return torch.where(2 * r.abs() >= unit, torch.copysign(unit, r), 0.0)


def binary(r: Tensor, unit: Tensor, levels: int) -> Tensor:
    """The unit where r is at least half of it, else 0: an IF neuron that starts at half its threshold."""
    return torch.where(2 * r >= unit, unit, 0.0)


def integer(r: Tensor, unit: Tensor, levels: int) -> Tensor:
    """The nearest multiple of the unit, at most +-levels of it."""
    return unit * torch.clamp(torch.round(r / unit), -levels, levels)


def ideal(r: Tensor, unit: Tensor, levels: int) -> Tensor:
    """All that is left: no quantization; what the rules of conversion are tested with."""
    return r


SPIKES: dict[str, Fire] = {
    "power-of-two": power_of_two,
    "ternary": ternary,
    "binary": binary,
    "integer": integer,
    "ideal": ideal,
}
"""By name."""


def straight_through(fire: Fire, r: Tensor, unit: Tensor, levels: int) -> Tensor:
    """`fire` forward; backward the gradient passes where |r| is at most twice the unit, the neuron's reach, else 0."""
    if not (torch.is_grad_enabled() and r.requires_grad):
        return fire(r, unit, levels)
    passed = torch.where(r.abs() <= 2 * unit, r, r.detach())
    return passed + (fire(r.detach(), unit, levels) - r).detach()
