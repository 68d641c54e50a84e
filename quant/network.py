"""`QuantizedNetwork`: a captured network with quantizers on what its operators read."""

from __future__ import annotations

import hashlib
import json
from typing import Final, NamedTuple

import torch
from torch import Tensor, fx, nn

from hardware_models.errors import InputError
from quant.quantizers import Quantizer, every
from quant.recipes import Recipe

WEIGHTS: Final = "weight_quantizers"
VALUES: Final = "quantizers"
"""Where a network holds the quantizers of its weights, by their names, and those of its values."""


class Quantized(NamedTuple):
    """What became of one operator.

    Attributes:
        node: its name in the graph.
        path: the module it came from.
        operator: such as `conv2d`.
        kind: of `quant.capture.operators`, or `kept` for one without a rule that was to stay in floating point.
        weight: name of its weight's quantizer; empty where it has none.
        inputs: names of the quantizers of what it reads, in order; empty where it reads values as they are.
        parameter: name of its weight; empty where it has none.
    """

    node: str
    path: str
    operator: str
    kind: str
    weight: str = ""
    inputs: tuple[str, ...] = ()
    parameter: str = ""


class QuantizedNetwork(nn.Module):
    """Runs a network whose values are held by few bits, simulated in floating point.

    A spiking variant presents its input in each of T timesteps, `[T B, ...]` inside, and answers with the mean.

    Attributes:
        layers: the graph; parameters keep the names they had.
        recipe: what it was made by.
        timesteps: T; 1 where nothing fires.
        operators: what became of each operator, in order.
        notes: what the reader has to know, as sentences.
    """

    def __init__(
        self,
        layers: fx.GraphModule,
        recipe: Recipe,
        timesteps: int,
        operators: tuple[Quantized, ...],
        notes: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.layers, self.recipe, self.timesteps = layers, recipe, timesteps
        self.operators, self.notes = operators, notes

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the output, `[B, ...]`, for inputs `[B, ...]`."""
        return averaged(self.layers(*presented(inputs, self.timesteps)), self.timesteps)

    def quantizers(self) -> dict[str, Quantizer]:
        """Return the quantizers by the names that `operators` uses."""
        return every(self.layers)

    def get_extra_state(self) -> Tensor:
        """Return what tells the quantizers apart from others', for the state dict: a digest of their kinds."""
        kinds = sorted(
            (name, type(one).__name__, one.bits, *one.limits(), sorted(one.state_dict()))
            for name, one in self.quantizers().items()
        )
        digest = hashlib.sha256(json.dumps(kinds).encode()).digest()
        return torch.tensor(list(digest[:8]), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Refuse tensors of a network whose quantizers are of other kinds, where the same codes mean other values.

        Which values are never negative is seen in the samples that a network is quantized with.

        Raises:
            InputError: they are.
        """
        if not torch.equal(torch.as_tensor(state).cpu(), self.get_extra_state()):
            raise InputError(
                "the state is of a network with quantizers of other kinds, which other samples or weights lead to; "
                "quantize with the same, or keep the network by quant.export.export_safetensors and load_quantized."
            )

    def bits(self) -> int:
        """Return how many bits the weights and other tensors take: quantized ones their width, others 32 a number.

        Scales count as others; what a quantizer learned for activations counts too.
        """
        widths = {one.parameter: self.quantizers()[one.weight].bits for one in self.operators if one.weight}
        kept = {**dict(self.layers.named_parameters()), **dict(self.layers.named_buffers())}
        return sum(tensor.numel() * widths.get(name, 8 * tensor.element_size()) for name, tensor in kept.items())


def presented(inputs: tuple[Tensor, ...], timesteps: int) -> tuple[Tensor, ...]:
    """Return inputs `[B, ...]` as a graph takes them: the same in each of T timesteps, `[T B, ...]`."""
    return inputs if timesteps == 1 else tuple(torch.cat([x] * timesteps) for x in inputs)


def averaged(output: Tensor, timesteps: int) -> Tensor:
    """Return the mean over time, `[B, ...]`, of what a graph answers, `[T B, ...]`."""
    return output if timesteps == 1 else output.unflatten(0, (timesteps, -1)).mean(0)


def check_finite(network: nn.Module) -> None:
    """Refuse scales that are zero, NaN or infinite.

    Raises:
        InputError: the first of them.
    """
    for name, quantizer in every(network).items():
        for part, value in (*quantizer.named_parameters(), *quantizer.named_buffers()):
            if part in ("scale_", "clip_", "threshold_") and not bool((value.isfinite() & (value != 0)).all()):
                raise InputError(
                    f"{name}.{part} holds {float(value.detach().flatten()[0])}, expected a finite scale other than 0; "
                    "calibrate the network again, or train it with a lower learning rate."
                )
