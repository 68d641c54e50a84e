"""How much a network fires while it is trained, and the price of firing more than a budget allows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from hardware_models.errors import InputError
from neuro.neurons import SpikingNeuron


class FiringRates:
    """Counts the spikes of every neuron of a network while it runs, with their gradient.

    While it watches, neurons run as modules of their own, not inside a kernel with BatchNorm.

    Args:
        model: the network.

    Raises:
        InputError: nothing in it fires.
    """

    def __init__(self, model: nn.Module) -> None:
        self._neurons = [one for one in model.modules() if isinstance(one, SpikingNeuron)]
        if not self._neurons:
            raise InputError(
                f"a spike budget was set for a {type(model).__name__}, which has no spiking neurons that it could "
                "watch; leave it out, or train form spiking."
            )
        self._spikes: list[Tensor] = []
        self._places = 0

    @contextlib.contextmanager
    def watching(self) -> Iterator[FiringRates]:
        """Count what is fired meanwhile, from nothing."""
        self._spikes, self._places = [], 0
        handles = [neuron.register_forward_hook(self._count) for neuron in self._neurons]
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def _count(self, neuron: nn.Module, given: tuple[Any, ...], spikes: Tensor) -> None:
        self._spikes.append(spikes.float().abs().sum())
        self._places += spikes.numel()

    def mean(self) -> Tensor:
        """Return the spikes per neuron and timestep, mean over all neurons; integer spikes count as many."""
        return torch.stack(self._spikes).sum() / self._places


class SpikeBudget:
    """The constraint that a network fires at most b spikes per neuron and timestep, by its Lagrangian.

        L' = (L + p r / b) / (1 + p),   p <- max(0, p + eta (r / b - 1)) after every step

    r is the rate of the batch. The price p rises as long as the budget is exceeded, and falls back to 0 where it is not
    (dual ascent: Boyd & Vandenberghe, Convex Optimization, 2004, section 5.5). Dividing by 1 + p, which moves no
    minimum, keeps the size of the gradient.

    Args:
        budget: b.
        speed: eta.
    """

    def __init__(self, budget: float, speed: float) -> None:
        self.budget, self.speed, self.price = budget, speed, 0.0

    def priced(self, loss: Tensor, rate: Tensor) -> Tensor:
        """Return L' of a batch's loss and rate."""
        return (loss + self.price * rate / self.budget) / (1 + self.price)

    def update(self, rate: float) -> None:
        """Move the price after a step that fired at `rate`."""
        self.price = max(0.0, self.price + self.speed * (rate / self.budget - 1))

    def state_dict(self) -> dict[str, float]:
        """What a resumed training needs."""
        return {"price": self.price}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Continue from what was saved."""
        self.price = float(state["price"])
