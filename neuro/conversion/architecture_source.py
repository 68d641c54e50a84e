"""The floating-point parent of a registered architecture, as a network of single images that can be quantized."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hardware_models.errors import InputError
from neuro.conversion.networks import build_float_parent, load_data
from neuro.conversion.spec import RunSpec, validate_spec
from neuro.models import merge_model
from neuro.sources import Source


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

    Raises:
        InputError: an unknown architecture, variant or data set; or weights, which a parent has none of.
    """
    if weights is not None:
        raise InputError(
            f"--weights {weights} are of a spiking network; leave them out, the parent of {name} is trained."
        )
    model = {"name": name} | ({} if variant is None else {"variant": variant})
    spec: RunSpec = validate_spec({"model": model, "data": {"name": data, "image_size": image_size}, "seed": seed})
    dataset = load_data(spec)
    network = OneStep(name, build_float_parent(spec, dataset)).eval()
    example = torch.randn(2, dataset.in_channels, dataset.image_size, dataset.image_size)
    return Source(name, network, (example,), trained=False)
