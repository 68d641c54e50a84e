"""The operators that spikes drive: a linear operator, and the product of two spiking values."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from neuro.coding.clock import Clock
from neuro.coding.coding import Coding
from neuro.kernels.encode import decode
from quant.capture.samples import SamplePlace

Linear = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""`operator(spikes, weight, bias)`: linear in the spikes, plus the bias `[C]` where there is one."""

Bilinear = Callable[[Tensor, Tensor], Tensor]
"""`operator(a, b)`: linear in each."""


class Current(nn.Module):
    """Adds up what arrives and gives the value it stands for: y_t = P_t / n_t^degree + bias, P_t the sum so far.

    Args:
        place: where the result holds its samples.
        clock: the timesteps that run.
        coding: what the spikes stand for.
        degree: how many spiking operands the operator multiplies.

    Attributes:
        arrived: P after the last piece, `[B, ...]`, while another piece follows; else None.
    """

    def __init__(self, place: SamplePlace, clock: Clock, coding: Coding, degree: int) -> None:
        super().__init__()
        self.place, self.clock, self.coding, self.degree = place, clock, coding, degree
        self.arrived: Tensor | None = None

    def forward(self, current: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return the value at each timestep, in the shape of `current`."""
        clock = self.clock
        divisors = self.coding.presentations(clock.first, clock.steps)
        if divisors is not None:
            divisors = divisors.pow(self.degree).to(current.device)
        before = self.arrived if clock.first else None
        values, arrived = decode(self.place.split(current, clock.steps), before, divisors, bias)
        self.arrived = arrived if clock.goes_on else None
        return self.place.join(values)

    def reset(self) -> None:
        """Forget what arrived."""
        self.arrived = None


class Synapse(nn.Module):
    """A linear operator on spikes: y_t = (1 / n_t) W (s_1 + ... + s_t) + b.

    Args:
        operator: the operator.
        weight: the constant operand.
        bias: added to the value once, broadcast; None for none.
        current: adds up.
    """

    accumulates = True  # what it computes beside the operator is its state (`neuro.profiling`)
    weight: Tensor
    bias: Tensor | None

    def __init__(self, operator: Linear, weight: Tensor, bias: Tensor | None, current: Current) -> None:
        super().__init__()
        self.operator, self.current = operator, current
        _keep(self, "weight", weight)
        _keep(self, "bias", bias)

    def forward(self, spikes: Tensor) -> Tensor:
        """Return the value of the operator's result at each timestep."""
        if not self.current.clock.shows_spikes:  # spikes are then what they stand for so far
            return self.operator(spikes, self.weight, None if self.bias is None else self.bias.flatten())
        value: Tensor = self.current(self.operator(spikes, self.weight, None), self.bias)
        return value


class Product(nn.Module):
    """The product of two spiking values, additions only: with A, B the sums of their spikes a, b,

        A_t B_t - A_(t-1) B_(t-1) = A_t b_t + a_t B_(t-1).

    Each term has an operand of spikes. `operator` is a matrix product, a product by elements, or any bilinear one.

    Args:
        operator: bilinear.
        left, right: where the operands hold their samples.
        current: adds up.
    """

    accumulates = True

    def __init__(self, operator: Bilinear, left: SamplePlace, right: SamplePlace, current: Current) -> None:
        super().__init__()
        self.operator, self.current = operator, current
        self.left, self.right = left, right
        self.sums: tuple[Tensor, Tensor] | None = None

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the value of the product at each timestep; `a` and `b` are spikes."""
        clock = self.current.clock
        if not clock.shows_spikes:  # a and b are then A_t / n_t and B_t / n_t
            return self.operator(a, b)
        before = self.sums if self.sums and clock.first else (None, None)
        left, last_left = decode(self.left.split(a, clock.steps), before[0])
        right, last_right = decode(self.right.split(b, clock.steps), before[1])
        first = torch.zeros_like(right[0]) if before[1] is None else before[1].to(right.dtype)
        earlier = torch.cat([first.unsqueeze(0), right[:-1]])
        self.sums = (last_left, last_right) if clock.goes_on else None
        terms = self.operator(self.left.join(left), b) + self.operator(a, self.right.join(earlier))
        value: Tensor = self.current(terms)
        return value

    def reset(self) -> None:
        """Forget the sums."""
        self.sums = None


def _keep(module: nn.Module, name: str, value: Tensor | None) -> None:
    """Keep what is trained as a parameter, also where it was given as a view of one; what is not as a buffer."""
    if value is None or isinstance(value, nn.Parameter):
        module.register_parameter(name, value)
    elif value.requires_grad:
        module.register_parameter(name, nn.Parameter(value.detach()))
    else:
        module.register_buffer(name, value)
