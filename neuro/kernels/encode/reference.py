"""The meaning of values as spikes, in plain torch: everything else is tested against this.

`encode` is a neuron that sends a value, `decode` the sum of what arrives. With n_t the presentations, E_t what was sent
and P_t what arrived up to timestep t,

    r_t = n_t x_t - E_(t-1),    s_t = fire(r_t),    E_t = E_(t-1) + s_t            encode
    P_t = P_(t-1) + c_t,        y_t = P_t / d_t + bias                             decode

A neuron subtracts what it sent (soft reset), so that an error is sent later and not lost. State is single precision
where spikes have 16 bits, and holds what was sent: spikes after rounding. NaN stays NaN, in every kind of spikes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

Fire = Callable[[Tensor, Tensor, int], Tensor]
"""`fire(r, unit, levels)`: what is sent of the remainder `r`; `unit` broadcasts to it."""

_BITS: Final = {torch.float32: (torch.int32, 23, 0xFF), torch.float64: (torch.int64, 52, 0x7FF)}
"""Integers of the width, bits of the mantissa, and the largest exponent."""


def power_of_two(r: Tensor, unit: Tensor, levels: int) -> Tensor:
    """Signed multi-threshold neuron: the nearest of 0 and +-unit 2^-k, k = 0 ... levels - 1.

    `unit` is a power of two, so every spike is one: a receiver shifts its weight and adds. Nearest means that |r| in
    [0.75, 1.5) 2^e gives 2^e; below half the smallest there is no spike. Multi-threshold neurons: Huang et al.,
    "Towards High-performance Spiking Transformers from ANN to SNN Conversion", ACM MM 2024, arXiv:2502.21193.
    """
    integers, mantissa, exponents = _BITS[r.dtype]
    smallest = unit * 2.0 ** (1 - levels)
    # Half a mantissa more, then none: 2^round(log2). NaN's bits overflow, and NaN is put back below.
    nearest = ((r.abs().view(integers) + (1 << mantissa - 1)) & (exponents << mantissa)).view(r.dtype)
    size = torch.minimum(nearest, unit).maximum(smallest)
    return torch.where(2 * r.abs() >= smallest, torch.copysign(size, r), torch.where(r.isnan(), r, 0.0))


def ternary(r: Tensor, unit: Tensor, levels: int) -> Tensor:
    """+-unit where |r| is at least half of it, else 0."""
    return torch.where(2 * r.abs() >= unit, torch.copysign(unit, r), torch.where(r.isnan(), r, 0.0))


def binary(r: Tensor, unit: Tensor, levels: int) -> Tensor:
    """The unit where r is at least half of it, else 0: an IF neuron that starts at half its threshold."""
    return torch.where(2 * r >= unit, unit, torch.where(r.isnan(), r, 0.0))


def integer(r: Tensor, unit: Tensor, levels: int) -> Tensor:
    """The nearest multiple of the unit, at most +-levels of it."""
    return unit * torch.clamp(torch.round(r / unit), -levels, levels)


def ideal(r: Tensor, unit: Tensor, levels: int) -> Tensor:
    """All that is left: no quantization; what the rules of conversion are tested with."""
    return r


SPIKES: Final[dict[str, Fire]] = {
    "power-of-two": power_of_two,
    "ternary": ternary,
    "binary": binary,
    "integer": integer,
    "ideal": ideal,
}
"""By name; the place of a name is its number in the compiled kernels."""


def reach(kind: str, levels: int) -> float:
    """How many units a remainder may be away from 0 and still pass its gradient."""
    return {"integer": levels + 1.0, "ideal": math.inf}.get(kind, 2.0)


def straight_through(r: Tensor, unit: Tensor, kind: str, levels: int, dtype: torch.dtype) -> Tensor:
    """Spikes of `kind`, rounded to `dtype`; backward the gradient passes where |r| is within reach, else it is 0."""
    s = SPIKES[kind](r.detach(), unit, levels).to(dtype).to(r.dtype)
    if not (torch.is_grad_enabled() and r.requires_grad):
        return s
    return s + torch.where(r.abs() <= reach(kind, levels) * unit, r - r.detach(), 0.0)


def encode(
    x: Tensor, sent: Tensor | None, unit: Tensor, presentations: Tensor | None, kind: str, levels: int, summed: bool
) -> tuple[Tensor, Tensor]:
    """Return the spikes `[T, ...]` of the values `[T, ...]`, in their dtype, and the sum sent so far `[...]`.

    If `summed`, what the spikes stand for, E_t / n_t, in place of the spikes.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    unit = unit.to(dtype)
    sent = torch.zeros_like(x[0], dtype=dtype) if sent is None else sent.to(dtype)
    found = []
    for t, x_t in enumerate(x.to(dtype).unbind(0)):
        presented = 1.0 if presentations is None else presentations[t].to(dtype)
        spikes = straight_through(presented * x_t - sent, unit, kind, levels, x.dtype)
        sent = sent + spikes
        found.append(sent / presented if summed else spikes)
    return torch.stack(found).to(x.dtype), sent


def decode(
    currents: Tensor, arrived: Tensor | None, divisors: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the values `[T, ...]` of the currents `[T, ...]`, in their dtype, and the sum that arrived `[...]`."""
    dtype = torch.promote_types(currents.dtype, torch.float32)
    total = torch.zeros_like(currents[0], dtype=dtype) if arrived is None else arrived.to(dtype)
    values = []
    for t, current in enumerate(currents.to(dtype).unbind(0)):
        total = total + current
        value = total if divisors is None else total / divisors[t].to(dtype)
        values.append(value if bias is None else value + bias.to(dtype))
    return torch.stack(values).to(currents.dtype), total
