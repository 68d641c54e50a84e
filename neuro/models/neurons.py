"""Which neuron a model is built with: its name and parameters, as data."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn

from hardware_models.errors import InputError, unknown_name
from neuro.models.attention import NeuronFactory
from neuro.neurons import IF, LIF, PLIF, IntegerLIF
from neuro.neurons.surrogate import surrogate


class ReLU(nn.Module):
    """The neuron of the floating-point parent; stateless, so time is only another batch axis."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu()


_CLASSES: dict[str, type[nn.Module]] = {"if": IF, "lif": LIF, "plif": PLIF, "ilif": IntegerLIF, "relu": ReLU}
NEURONS = tuple(_CLASSES)
_SET_BY_THE_MODEL = {"v_threshold", "surrogate", "step_mode"}


def neuron_factory(
    name: str,
    surrogate_name: str = "sigmoid",
    alpha: float | None = None,
    parameters: dict[str, Any] | None = None,
) -> NeuronFactory:
    """Return a factory `make(v_threshold)` for the neuron called `name`.

    Args:
        name: `if`, `lif`, `plif`, `ilif` (integer LIF) or `relu` (the floating-point parent's activation).
        surrogate_name: the surrogate gradient of the spiking ones that have a threshold.
        alpha: its sharpness; None keeps the usual one.
        parameters: further arguments of the neuron's class, such as `tau`.

    Raises:
        InputError: an unknown neuron, surrogate or parameter, or a value that the neuron refuses.
    """
    gradient = surrogate(surrogate_name, alpha)
    given = parameters or {}
    if name not in _CLASSES:
        raise unknown_name("neuron", name, NEURONS)
    if name == "relu" and given:
        raise InputError(f"neuron 'relu' takes no parameters; leave out {', '.join(map(repr, given))}.")
    taken = set(inspect.signature(_CLASSES[name]).parameters)
    for key in given:
        if key not in taken - _SET_BY_THE_MODEL:
            raise unknown_name(f"parameter of neuron {name!r}", key, taken - _SET_BY_THE_MODEL)
    thresholded = {"v_threshold", "surrogate"} <= taken

    def make(v_threshold: float) -> nn.Module:
        by_model = {"v_threshold": v_threshold, "surrogate": gradient} if thresholded else {}
        return _CLASSES[name](**by_model, **given)

    make(1.0)  # a value that the neuron refuses is refused here, not in the middle of a model
    return make
