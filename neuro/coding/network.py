"""`SpikingNetwork`: a captured network whose products are driven by spikes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn

from hardware_models.errors import InputError
from neuro.coding.clock import Clock
from neuro.coding.encoder import Encoder


class Converted(NamedTuple):
    """What became of one operator of the captured graph.

    Attributes:
        node: its name in the graph.
        path: the module it came from.
        operator: such as `conv2d`.
        kind: a kind of `neuro.coding.operators`, or `kept` for one without a rule that was to stay as it is.
        module: the `Synapse` or `Product` that took its place; empty for an operator that runs on values.
    """

    node: str
    path: str
    operator: str
    kind: str
    module: str


class SpikingNetwork(nn.Module):
    """Runs a spiking network over T timesteps; its input is presented in every one.

    Args:
        graph: the rewritten graph, with `Encoder`, `Synapse` and `Product` modules.
        clock: the clock that these share.
        timesteps: T.
        piece: timesteps that are computed at once, as further samples of a batch; memory grows with it.
        operators: what became of each operator, in order.
    """

    def __init__(
        self,
        graph: fx.GraphModule,
        clock: Clock,
        timesteps: int,
        piece: int,
        operators: tuple[Converted, ...] = (),
    ) -> None:
        super().__init__()
        if timesteps < 1 or piece < 1:
            raise InputError(f"timesteps was {timesteps} and piece {piece}; give whole numbers of at least 1.")
        self.graph, self.clock, self.timesteps, self.piece = graph, clock, timesteps, piece
        self.operators = operators

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the output after T timesteps, `[B, ...]`, for inputs `[B, ...]`."""
        for output in self.over_time(*inputs):
            last = output[-1]
        return last

    def over_time(self, *inputs: Tensor, timesteps: int | None = None) -> Iterator[Tensor]:
        """Yield the output after each timestep, `[piece, B, ...]`, piece after piece; state is carried on."""
        wanted = timesteps or self.timesteps
        self.reset()
        try:
            for first in range(0, wanted, self.piece):
                self.clock.first, self.clock.steps = first, min(self.piece, wanted - first)
                output = self.graph(*(_repeated(x, self.clock.steps) for x in inputs))
                yield output.unflatten(0, (self.clock.steps, -1))
        finally:
            self.reset()

    def encoders(self) -> dict[str, Encoder]:
        """Return the neurons by their name in the graph."""
        return {name: module for name, module in self.graph.named_modules() if isinstance(module, Encoder)}

    def reset(self) -> None:
        """Forget all state."""
        for module in self.graph.modules():
            forget = getattr(module, "reset", None)
            if callable(forget):
                forget()
        self.clock.first, self.clock.steps = 0, 1


def _repeated(x: Tensor, steps: int) -> Tensor:
    return x if steps == 1 else torch.cat([x] * steps)
