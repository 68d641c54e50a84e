"""The operators that spikes drive: a linear operator, and the product of two spiking values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from neuro.capture.samples import SamplePlace
from neuro.coding.clock import Clock
from neuro.coding.coding import Coding

Linear = Callable[[Tensor, Tensor], Tensor]
"""`operator(spikes, weight)`: linear in the spikes, without bias."""

Bilinear = Callable[[Tensor, Tensor], Tensor]
"""`operator(a, b)`: linear in each."""


class Current(nn.Module):
    """Adds up what arrives and gives the value it stands for: y_t = P_t / n_t^degree, P_t the sum so far.

    Args:
        place: where the result holds its samples.
        clock: the timesteps that run.
        coding: what the spikes stand for.
        degree: how many spiking operands the operator multiplies.
    """

    def __init__(self, place: SamplePlace, clock: Clock, coding: Coding, degree: int) -> None:
        super().__init__()
        self.place, self.clock, self.coding, self.degree = place, clock, coding, degree
        self.arrived: Tensor | None = None

    def forward(self, current: Tensor) -> Tensor:
        """Return the value at each timestep, in the shape of `current`."""
        sums = running_sum(self.place.split(current, self.clock.steps), self.arrived)
        self.arrived = sums[-1]
        presentations = self.coding.presentations(self.clock.first, self.clock.steps)
        if presentations is not None:
            sums = sums / presentations.pow(self.degree).view(-1, *[1] * (sums.dim() - 1))
        return self.place.join(sums)

    def reset(self) -> None:
        """Forget what arrived."""
        self.arrived = None


class Synapse(nn.Module):
    """A linear operator on spikes: y_t = (1 / n_t) W (s_1 + ... + s_t) + b.

    Args:
        operator: the operator without its bias.
        weight: the constant operand.
        bias: added to the value once, broadcast; None for none.
        current: adds up.
    """

    def __init__(self, operator: Linear, weight: Tensor, bias: Tensor | None, current: Current) -> None:
        super().__init__()
        self.operator, self.current = operator, current
        _keep(self, "weight", weight)
        _keep(self, "bias", bias)

    def forward(self, spikes: Tensor) -> Tensor:
        """Return the value of the operator's result at each timestep."""
        value = self.current(self.operator(spikes, self.weight))
        return value if self.bias is None else value + self.bias


class Product(nn.Module):
    """The product of two spiking values, additions only: with A, B the sums of their spikes a, b,

        A_t B_t - A_(t-1) B_(t-1) = A_t b_t + a_t B_(t-1).

    Each term has an operand of spikes. `operator` is a matrix product, a product by elements, or any bilinear one.

    Args:
        operator: bilinear.
        left, right: where the operands hold their samples.
        current: adds up.
    """

    def __init__(self, operator: Bilinear, left: SamplePlace, right: SamplePlace, current: Current) -> None:
        super().__init__()
        self.operator, self.current = operator, current
        self.left, self.right = left, right
        self.sums: tuple[Tensor, Tensor] | None = None

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the value of the product at each timestep; `a` and `b` are spikes."""
        steps = self.current.clock.steps
        before = self.sums or (None, None)
        left = running_sum(self.left.split(a, steps).clone(), before[0])
        right = running_sum(self.right.split(b, steps).clone(), before[1])
        first = torch.zeros_like(right[:1]) if before[1] is None else before[1].unsqueeze(0)
        earlier = torch.cat([first, right[:-1]])
        self.sums = left[-1], right[-1]
        return self.current(
            self.operator(self.left.join(left), b) + self.operator(a, self.right.join(earlier))
        )

    def reset(self) -> None:
        """Forget the sums."""
        self.sums = None


def running_sum(x: Tensor, before: Tensor | None) -> Tensor:
    """Return x_1, x_1 + x_2, ... along the first axis, beginning with `before`; in place where no gradient is wanted."""
    if torch.is_grad_enabled() and x.requires_grad:
        sums = x.cumsum(0)
        return sums if before is None else sums + before
    if before is not None:
        x[0] += before
    for t in range(1, x.shape[0]):
        x[t] += x[t - 1]
    return x


def _keep(module: nn.Module, name: str, value: Any) -> None:
    if isinstance(value, nn.Parameter) or value is None:
        module.register_parameter(name, value)
    else:
        module.register_buffer(name, value)
