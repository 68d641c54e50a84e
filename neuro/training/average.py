"""A moving average of a network's weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from neuro.training.sharded_checkpoint import like


class Average:
    """w' <- d w' + (1 - d) w after every step, of all parameters and floating-point buffers.

    In step n (from 1) d is min(decay, n / (n + 9)): the first steps, which start from random weights, are soon
    forgotten.

    Args:
        model: whose weights are averaged.
        decay: of the average, by step.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self._of = _averaged(model)
        self.weights = {name: tensor.detach().clone() for name, tensor in self._of.items()}
        cut = [name for name, tensor in self.weights.items() if isinstance(tensor, DTensor)]
        # Tensors that processes hold parts of and whole ones do not go into one operator.
        self._alike = [names for names in (cut, [name for name in self.weights if name not in cut]) if names]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 9))
        for names in self._alike:
            averages, current = [self.weights[name] for name in names], [self._of[name].detach() for name in names]
            torch._foreach_lerp_(averages, current, 1 - decay)

    @torch.no_grad()
    def exchange(self) -> None:
        """Put the average where the weights are, and the weights where the average is."""
        for name, tensor in self._of.items():
            kept = tensor.detach().clone()
            tensor.detach().copy_(self.weights[name])
            self.weights[name].copy_(kept)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The network has the averaged weights meanwhile."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    def state_dict(self) -> dict[str, object]:
        """What a resumed training needs."""
        return {"steps": self.steps, "weights": self.weights}

    def load_state_dict(self, state: dict[str, dict[str, Tensor] | int]) -> None:
        """Continue from what was saved."""
        steps, weights = state["steps"], state["weights"]
        if not isinstance(steps, int) or not isinstance(weights, dict) or weights.keys() != self.weights.keys():
            raise ValueError("the average is of other weights")
        self.steps = steps
        for name, tensor in weights.items():
            self.weights[name].copy_(like(tensor, self.weights[name]))


def _averaged(model: nn.Module) -> dict[str, Tensor]:
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
