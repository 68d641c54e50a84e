"""Networks whose width and depth are chosen too: a protocol, and the smallest network that has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from hardware_models.errors import InputError

Value = int | float | str
Choice = Mapping[str, Value]
"""One value for each name of `Elastic.choices()`; empty for a network that is not elastic."""


@runtime_checkable
class Elastic(Protocol):
    """A network that holds many, which share its weights."""

    def choices(self) -> Mapping[str, Sequence[Value]]:
        """Return the values of each choice, such as `{"depth": (2, 3)}`.

        The last values together are the largest network. Its layers are those that are searched: any other has some of
        them, under the same module paths.
        """
        ...

    def subnet(self, choice: Choice) -> nn.Module:
        """Return the network of one value for each choice, in evaluation mode."""
        ...


def largest(network: Elastic) -> dict[str, Value]:
    """Return the last value of each choice.

    Raises:
        InputError: a choice without values.
    """
    found: dict[str, Value] = {}
    for name, values in network.choices().items():
        if not values:
            raise InputError(f"the elastic network's choice {name!r} has no values; give it at least one.")
        found[name] = values[-1]
    return found


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, width]`."""
        return x + self.linear(x).relu()


class _Perceptron(nn.Module):
    def __init__(self, inputs: int, width: int, depth: int, outputs: int) -> None:
        super().__init__()
        self.stem = nn.Linear(inputs, width)
        self.blocks = nn.Sequential(*(_Residual(width) for _ in range(depth)))
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, outputs]` of `[B, inputs]`."""
        return self.head(self.blocks(self.stem(x).relu()))


class ElasticPerceptron(nn.Module):
    """A residual perceptron of elastic width and depth: an example of the protocol.

    A narrower network takes the first units of every layer, a shallower one the first blocks. It is trained by drawing
    a choice for each batch: a subnet's parameters share memory with this module's, and a step on them is one on these.

    Args:
        inputs, outputs: sizes of a sample and of the answer.
        widths: units of the hidden layers, rising.
        depths: numbers of residual blocks, rising.
    """

    def __init__(self, inputs: int, outputs: int, widths: Sequence[int] = (16, 32), depths: Sequence[int] = (1, 3)):
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.widths, self.depths = tuple(widths), tuple(depths)
        self.whole = _Perceptron(inputs, max(widths), max(depths), outputs)

    def choices(self) -> Mapping[str, Sequence[Value]]:
        """Return widths and depths."""
        return {"width": self.widths, "depth": self.depths}

    def subnet(self, choice: Choice) -> nn.Module:
        """Return a perceptron whose weights are views of this one's."""
        with torch.device("meta"):
            made = _Perceptron(self.inputs, int(choice["width"]), int(choice["depth"]), self.outputs)
        whole = self.whole.state_dict()
        views = {name: whole[name][tuple(map(slice, one.shape))] for name, one in made.state_dict().items()}
        made.load_state_dict(views, assign=True)
        return made.eval()
