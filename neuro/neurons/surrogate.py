"""Surrogate gradients: a step forward, a smooth derivative backward.

Forward, every surrogate is the Heaviside step of the distance `x = h - v_threshold` between the charged
membrane potential and the threshold, with Θ(0) = 1. Backward, the step's derivative (zero almost everywhere)
is replaced by `derivative(x)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hardware_models.errors import InputError, unknown_name


@dataclass(frozen=True)
class Surrogate:
    """A spike function Θ(x) whose gradient is replaced by `derivative(x, alpha)`.

    Args:
        name: the surrogate's name in `SURROGATES`.
        derivative: maps a tensor of any shape and `alpha` to the derivative, same shape.
        alpha: sharpness; what it means is in the derivative's docstring.
    """

    name: str
    derivative: Callable[[Tensor, float], Tensor]
    alpha: float

    def __call__(self, x: Tensor) -> Tensor:
        """Return Θ(x) as 0 and 1 in the dtype and shape of `x`; NaN does not fire (its gradient is NaN)."""
        return _SurrogateSpike.apply(x, self.derivative, self.alpha)

    def with_alpha(self, alpha: float | None) -> Surrogate:
        """Return the same surrogate with another sharpness; None keeps the present one."""
        if alpha is None:
            return self
        if not (isinstance(alpha, int | float) and 0 < alpha < math.inf):
            raise InputError(f"surrogate {self.name!r} was given alpha={alpha!r}; give a finite number above 0.")
        return Surrogate(self.name, self.derivative, alpha)


class _SurrogateSpike(torch.autograd.Function):
    """Heaviside forward, `derivative` backward."""

    @staticmethod
    def forward(x: Tensor, derivative: Callable[[Tensor, float], Tensor], alpha: float) -> Tensor:
        return (x >= 0).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.derivative, ctx.alpha = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return grad_output * ctx.derivative(x, ctx.alpha), None, None


def sigmoid(x: Tensor, alpha: float) -> Tensor:
    """α σ(αx) (1 - σ(αx)), the derivative of σ(αx)."""
    s = torch.sigmoid(alpha * x)
    return alpha * s * (1 - s)


def atan(x: Tensor, alpha: float) -> Tensor:
    """(α/2) / (1 + (π α x / 2)²), the derivative of arctan(π α x / 2) / π + 1/2 (Fang et al., ICCV 2021)."""
    return (alpha / 2) / (1 + (math.pi / 2 * alpha * x).square())


def triangle(x: Tensor, alpha: float) -> Tensor:
    """α max(0, 1 - |x|), a dampened triangle of fixed width (Bellec et al., NeurIPS 2018, γ = α = 0.3)."""
    return alpha * (1 - x.abs()).clamp_min(0)


def rectangle(x: Tensor, alpha: float) -> Tensor:
    """α where |x| < 1/(2α), else 0: a window of area one (Wu et al., Frontiers in Neuroscience 2018)."""
    return alpha * (x.abs() < 0.5 / alpha).to(x.dtype)


def piecewise_quadratic(x: Tensor, alpha: float) -> Tensor:
    """max(0, α - α²|x|), a triangle of area one, from a piecewise quadratic (Esser et al., PNAS 2016)."""
    return (alpha - alpha * alpha * x.abs()).clamp_min(0)


SURROGATES: dict[str, Surrogate] = {
    "sigmoid": Surrogate("sigmoid", sigmoid, 4.0),
    "atan": Surrogate("atan", atan, 2.0),
    "triangle": Surrogate("triangle", triangle, 0.3),
    "rectangle": Surrogate("rectangle", rectangle, 1.0),
    "piecewise_quadratic": Surrogate("piecewise_quadratic", piecewise_quadratic, 1.0),
}


def surrogate(name: str, alpha: float | None = None) -> Surrogate:
    """Return the surrogate called `name`, with its usual sharpness unless `alpha` is given.

    Raises:
        InputError: an unknown name (the message lists the nearest), or alpha not above 0.
    """
    if name not in SURROGATES:
        raise unknown_name("surrogate", name, SURROGATES)
    return SURROGATES[name].with_alpha(alpha)
