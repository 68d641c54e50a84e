"""`SpikingNetwork`: a captured network whose products are driven by spikes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

import torch
from torch import Tensor, fx, nn

from hardware_models.errors import InputError
from neuro.coding.clock import Clock
from neuro.coding.encoder import Encoder
from neuro.coding.synapse import Current, Product
from neuro.kernels.watching import is_watched

PIECE_BYTES: Final = 24 << 20
"""Most bytes of one value in a piece of timesteps, where nobody chose the piece: more leave the caches, and from 32 MiB
on glibc gives memory back after every use and takes it anew, page by page."""


class Converted(NamedTuple):
    """What became of one operator of the captured graph.

    Attributes:
        node: its name in the graph.
        path: the module it came from.
        operator: such as `conv2d`.
        kind: a kind of `quant.capture.operators`, or `kept` for one without a rule that was to stay as it is.
        module: the `Synapse`, `Product` or `Ladder` that took its place; empty for an operator that runs on values.
    """

    node: str
    path: str
    operator: str
    kind: str
    module: str

    @property
    def is_driven(self) -> bool:
        """Whether spikes drive it: a `Synapse` or a `Product`."""
        return self.kind in ("synapse", "product")


class SpikingNetwork(nn.Module):
    """Runs a spiking network over T timesteps; its input is presented in every one.

    Args:
        graph: the rewritten graph, with `Encoder`, `Synapse` and `Product` modules.
        clock: the clock that these share.
        timesteps: T.
        piece: timesteps that are computed at once, as further samples of a batch; memory grows with it. None for as
            many samples and timesteps as run well (`PIECE_BYTES`), and all where the network is compiled or exported.
        operators: what became of each operator, in order.
    """

    def __init__(
        self,
        graph: fx.GraphModule,
        clock: Clock,
        timesteps: int,
        piece: int | None,
        operators: tuple[Converted, ...] = (),
    ) -> None:
        super().__init__()
        if timesteps < 1 or (piece is not None and piece < 1):
            raise InputError(f"timesteps was {timesteps} and piece {piece}; give whole numbers of at least 1.")
        self.layers, self.clock, self.timesteps, self.piece = graph, clock, timesteps, piece
        self.operators = operators
        self._sample_elements = _sample_elements(graph.graph)

    @property
    def graph(self) -> fx.GraphModule:
        """The rewritten graph; `torch.export` takes no submodule of this name."""
        return self.layers

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the output after T timesteps, `[B, ...]`, for inputs `[B, ...]`."""
        self._begin(self.timesteps)
        groups = [inputs]
        if self.piece is None and not (self.clock.shows_spikes or torch.compiler.is_compiling()):
            # Fewer samples and more timesteps at once: the less state there is to keep from piece to piece.
            samples = max(1, self._at_once() // self.timesteps)
            groups = list(zip(*(x.split(samples) for x in inputs), strict=True))
        outputs = [self._last_output(group) for group in groups]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def over_time(self, *inputs: Tensor, timesteps: int | None = None) -> Iterator[Tensor]:
        """Yield the output after each timestep, `[piece, B, ...]`, piece after piece; state is carried on."""
        wanted = timesteps or self.timesteps
        self._begin(wanted)
        size = self._piece_size(inputs)
        try:
            for first in range(0, wanted, size):
                yield self._piece(first, size, inputs)
        finally:
            self.reset()

    def _begin(self, timesteps: int) -> None:
        self.clock.timesteps = timesteps
        self.clock.shows_spikes = is_watched(*self.layers.modules())

    def _at_once(self) -> int:
        """How many samples times timesteps run well at once; 0 where one is too much already."""
        return PIECE_BYTES // (4 * self._sample_elements)

    def _piece_size(self, inputs: tuple[Tensor, ...]) -> int:
        if self.piece is not None:
            return self.piece
        if torch.compiler.is_compiling():
            return self.clock.timesteps
        most = max(1, self._at_once() // max(1, inputs[0].shape[0]))
        return math.ceil(self.clock.timesteps / math.ceil(self.clock.timesteps / most))  # as equal as can be

    def _last_output(self, inputs: tuple[Tensor, ...]) -> Tensor:
        size = self._piece_size(inputs)
        for first in range(0, self.timesteps, size):
            output = self._piece(first, size, inputs)
        return output[-1]

    def _piece(self, first: int, size: int, inputs: tuple[Tensor, ...]) -> Tensor:
        """Run the timesteps of a piece after `first` ones and return the output after each, `[piece, B, ...]`."""
        self.clock.first, self.clock.steps = first, min(size, self.clock.timesteps - first)
        output: Tensor = self.layers(*(_repeated(x, self.clock.steps) for x in inputs))
        return output.unflatten(0, (self.clock.steps, output.shape[0] // self.clock.steps))

    def encoders(self) -> dict[str, Encoder]:
        """Return the neurons by their name in the graph."""
        return {name: module for name, module in self.layers.named_modules() if isinstance(module, Encoder)}

    def reset(self) -> None:
        """Give the memory of all state back; a run begins without state in any case, and ends without."""
        for module in self.layers.modules():
            if isinstance(module, Encoder | Current | Product):
                module.reset()
        self.clock.first, self.clock.steps = 0, 1


def _repeated(x: Tensor, steps: int) -> Tensor:
    return x if steps == 1 else torch.cat([x] * steps)


def _sample_elements(graph: fx.Graph) -> int:
    """How many elements the largest value of the network has for each sample."""
    largest, batch = 1, 1
    for node in graph.nodes:
        value = node.meta.get("val")
        if node.op == "get_attr" or not isinstance(value, Tensor):
            continue
        shape = [size.node.hint if isinstance(size, torch.SymInt) else size for size in value.shape]
        largest = max(largest, math.prod(shape))
        if node.op == "placeholder":
            batch = shape[0]
    return math.ceil(largest / batch)
