"""Which neuron a model is built with: its name and parameters, as data."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hardware_models.errors import unknown_name
from neuro.models.attention import NeuronFactory
from neuro.neurons import IF, LIF, PLIF, IntegerLIF
from neuro.neurons.surrogate import surrogate


class ReLU(nn.Module):
    """The neuron of the floating-point parent; stateless, so time is only another batch axis."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu()


NEURONS = ("if", "lif", "plif", "ilif", "relu")


def neuron_factory(
    name: str, surrogate_name: str = "sigmoid", alpha: float | None = None, parameters: dict[str, Any] | None = None
) -> NeuronFactory:
    """Return a factory `make(v_threshold)` for the neuron called `name`.

    Args:
        name: `if`, `lif`, `plif`, `ilif` (integer LIF) or `relu` (the floating-point parent's activation).
        surrogate_name: the surrogate gradient of the spiking ones that have a threshold.
        alpha: its sharpness; None keeps the usual one.
        parameters: further arguments of the neuron's class, such as `tau`.

    Raises:
        InputError: an unknown neuron, surrogate or parameter.
    """
    gradient = surrogate(surrogate_name, alpha)
    given = parameters or {}
    thresholded = {"if": IF, "lif": LIF, "plif": PLIF}
    if name in thresholded:
        return lambda v_threshold: thresholded[name](v_threshold=v_threshold, surrogate=gradient, **given)
    if name == "ilif":
        return lambda v_threshold: IntegerLIF(**given)
    if name == "relu":
        return lambda v_threshold: ReLU()
    raise unknown_name("neuron", name, NEURONS)
