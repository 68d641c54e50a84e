"""What a multi-step neuron is told, as plain numbers and words, so that it passes through torch.library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import torch
from torch import Tensor

SURROGATES: Final = ("sigmoid", "atan", "triangle", "rectangle", "piecewise_quadratic")
"""The surrogates of `neuro.neurons.surrogate` that the compiled kernels know; their place is their number."""

CHARGES: Final = ("if", "lif", "lif_undecayed", "integer")
"""How a neuron charges; their place is their number."""


class SurrogateLike(Protocol):
    """A surrogate, as `neuro.neurons.Surrogate` is one."""

    @property
    def name(self) -> str: ...
    @property
    def alpha(self) -> float: ...
    @property
    def derivative(self) -> Callable[[Tensor, float], Tensor]: ...
    def __call__(self, x: Tensor, /) -> Tensor: ...


class FireResetLike(Protocol):
    """How a neuron fires and resets, as `neuro.neurons.FireReset` says it."""

    @property
    def v_threshold(self) -> float | Tensor: ...
    @property
    def v_reset(self) -> float | None: ...
    @property
    def surrogate(self) -> SurrogateLike: ...
    @property
    def detach_reset(self) -> bool: ...


class Neuron(NamedTuple):
    """IF (`leak` False), LIF or PLIF.

    Attributes:
        fire_reset: how it fires and resets.
        tau: time constant in timesteps, >= 1; a tensor of one number where it is learned.
        decay_input: divide the input by tau too.
        leak: whether the potential leaks.
    """

    fire_reset: FireResetLike
    tau: float | Tensor = 1.0
    decay_input: bool = False
    leak: bool = True

    @property
    def rest(self) -> float:
        """The potential that the leak pulls towards, and that the neuron starts from."""
        return self.fire_reset.v_reset or 0.0

    def settings(self) -> Settings:
        """The neuron as plain numbers; a learned tau is left out."""
        p = self.fire_reset
        charge = "if" if not self.leak else "lif" if self.decay_input else "lif_undecayed"
        tau = 1.0 if isinstance(self.tau, Tensor) else self.tau
        assert not isinstance(p.v_threshold, Tensor)  # refused before
        return Settings(charge, tau, p.v_threshold, p.v_reset, p.surrogate.name, p.surrogate.alpha, p.detach_reset)


class IntegerNeuron(NamedTuple):
    """Integer LIF: h = v (1 - 1/tau) + x, s = round(clamp(h, 0, levels)), v = h - s; the output is s / divisor.

    Attributes:
        levels: the largest spike count.
        tau: time constant in timesteps, >= 1.
        detach_reset: keep the reset out of the gradient.
        divisor: of the output.
    """

    levels: int
    tau: float
    detach_reset: bool = True
    divisor: float = 1.0

    @property
    def rest(self) -> float:
        """The potential that the neuron starts from."""
        return 0.0

    def settings(self) -> Settings:
        """The neuron as plain numbers."""
        return Settings("integer", self.tau, detach_reset=self.detach_reset, levels=self.levels, divisor=self.divisor)


class Settings(NamedTuple):
    """A neuron, all of it but its input and its state.

    Attributes:
        charge: `if`, `lif`, `lif_undecayed` (tau leaves the input alone) or `integer`.
        tau: time constant in timesteps; a learned one is given beside the settings, as a tensor.
        v_threshold: firing threshold.
        v_reset: potential after a hard reset; None for a soft one.
        surrogate: name of the surrogate derivative.
        alpha: its sharpness.
        detach_reset: keep the reset out of the gradient.
        levels: the largest spike count (`integer`).
        divisor: the output is the count over this (`integer`).
    """

    charge: str
    tau: float = 1.0
    v_threshold: float = 1.0
    v_reset: float | None = None
    surrogate: str = "sigmoid"
    alpha: float = 1.0
    detach_reset: bool = True
    levels: int = 1
    divisor: float = 1.0

    @property
    def rest(self) -> float:
        """The potential that the leak pulls towards, and that neurons start from."""
        return self.v_reset or 0.0


def potential_dtype(x: Tensor) -> torch.dtype:
    """The dtype of the membrane potential: that of the input, but never fewer than 32 bits."""
    return torch.promote_types(x.dtype, torch.float32)


def in_storage_order(x: Tensor) -> Tensor:
    """Return `x` `[T, ...]` such that its timesteps follow each other in memory without gaps.

    The neurons may lie in any order (channels-last, for example): it is kept. Otherwise a contiguous copy.
    """
    order = sorted(range(1, x.dim()), key=x.stride, reverse=True)
    return x if x.permute(0, *order).is_contiguous() else x.contiguous()


def laid_out_as(like: Tensor, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return `x` in the shape and strides of `like`, which has no gaps, and in `dtype`; a copy where it is not."""
    if x.shape == like.shape and x.stride() == like.stride() and x.dtype == dtype:
        return x
    return torch.empty_like(like, dtype=dtype).copy_(x)


def empty_packed(x: Tensor) -> Tensor:
    """Return room for the packed spikes of `x` `[T, ...]`, in its storage order: uint8 `[ceil(T/8), ...]`."""
    shape, neurons = x.shape[1:], x[0].numel()
    return torch.empty_strided(
        ((x.shape[0] + 7) // 8, *shape), (neurons, *x.stride()[1:]), dtype=torch.uint8, device=x.device
    )
