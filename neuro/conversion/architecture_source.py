"""The floating-point parent of a registered architecture, as a network of single images that can be quantized."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hardware_models.errors import InputError
from neuro.conversion.networks import build_float_parent, load_data
from neuro.conversion.spec import RunSpec, fitting_weights, read_trained, validate_spec
from neuro.hub import is_folder, network_folder
from neuro.models import merge_model
from neuro.sources import Source
from neuro.weights import load_weights


class OneStep(nn.Module):
    """An architecture at T = 1, which wants time first, for images `[B, C, H, W]`."""

    def __init__(self, name: str, network: nn.Module) -> None:
        super().__init__()
        self.name, self.network = name, network

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `[B, K]`."""
        logits: Tensor = self.network(images.unsqueeze(0))
        return logits

    def merged(self) -> OneStep:
        """Return its inference form, whose RepConv and SepConv are single convolutions."""
        return OneStep(self.name, merge_model(self.name, self.network.eval())).eval()


def architecture_source(
    name: str, variant: str | None, data: str, image_size: int | None, weights: str | None, seed: int
) -> Source:
    """Build the parent with ReLU for every neuron, for the classes and the size of a data set.

    Args:
        name: the architecture.
        variant: its size; None takes the architecture's own.
        data: name of the data set.
        image_size: side of the images; None takes the variant's own.
        weights: `hub:NAME` or a run directory of form `float`, whose attention and overrides the parent takes; None
            for random ones.
        seed: of random weights.

    Raises:
        InputError: an unknown architecture, variant or data set; or weights of another network, or of no float one.
    """
    model: dict[str, Any] = {"name": name} | ({} if variant is None else {"variant": variant})
    if weights is not None:
        model |= _own_settings(name, weights)
    spec: RunSpec = validate_spec({"model": model, "data": {"name": data, "image_size": image_size}, "seed": seed})
    file = None if weights is None else fitting_weights(spec.model, "float")
    dataset = load_data(spec)
    parent = build_float_parent(spec, dataset)
    if file is not None:
        load_weights(file, parent)
    example = torch.randn(2, dataset.in_channels, dataset.image_size, dataset.image_size)
    return Source(name, OneStep(name, parent).eval(), (example,), trained=file is not None)


def _own_settings(name: str, weights: str) -> dict[str, Any]:
    """What the folder of the weights decides of the parent; of a single file nobody knows which form it is of."""
    if not is_folder(weights):
        raise InputError(
            f"--weights {weights} does not tell whether it is of the float parent of {name}; give hub:NAME or the "
            "run directory of neuro train --form float."
        )
    trained = read_trained(network_folder(weights)).built.model
    return {"weights": weights, "attention": trained.attention, "overrides": trained.overrides}
