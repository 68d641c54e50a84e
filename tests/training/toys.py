"""Small data and networks for the training loop."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuro.data.base import Dataset
from neuro.data.batching import Normalise, TensorSplit
from neuro.models import create_model
from neuro.models.neurons import neuron_factory


def striped_images(count: int, seed: int, side: int = 8) -> tuple[Tensor, Tensor]:
    """Noisy pictures of two classes, stripes upright or lying."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    bright = (torch.arange(side) // 2 % 2).float() * 0.5
    images = torch.rand(count, 1, side, side, generator=generator) * 0.5
    images[labels == 0] += bright.view(1, -1)
    images[labels == 1] += bright.view(-1, 1)
    return images, labels


def stripes(train: int = 32, test: int = 16) -> Dataset:
    normalise = Normalise((0.5,), (0.5,))
    return Dataset(
        name="stripes",
        source="made here",
        classes=("upright", "lying"),
        in_channels=1,
        image_size=8,
        train=TensorSplit(*striped_images(train, 0), normalise),
        test=TensorSplit(*striped_images(test, 1), normalise),
    )


SMALL, CAPABLE = [8, 8, 8, 8], [16, 16, 32, 32]
"""Widths: the least that can be built, and the least that learns stripes."""


def spiking_network(seed: int = 0, drop_path: float = 0.0, widths: list[int] = SMALL) -> nn.Module:
    """A small Meta-SpikeFormer."""
    torch.manual_seed(seed)
    overrides = {
        "widths": widths,
        "strides": [1, 2, 2, 1],
        "image_size": 8,
        "num_classes": 2,
        "drop_path": drop_path,
        "initial_gain": 3.0,
    }
    return create_model(
        "spikeformer_v2",
        "tiny",
        make_neuron=neuron_factory("lif", alpha=2.0),
        timesteps=2,
        overrides=overrides,
    )


class TwoParameters(nn.Module):
    """Logits (w x, b) of the mean pixel x: one weight of two axes and one bias."""

    def __init__(self, weight: float = 0.3, bias: float = -0.2) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[weight]]))
        self.bias = nn.Parameter(torch.tensor([bias]))

    def forward(self, images: Tensor) -> Tensor:
        x = images.mean((0, 2, 3, 4))
        return torch.stack([self.weight[0, 0] * x, self.bias[0].expand_as(x)], -1)


class PerStep(nn.Module):
    """A linear classifier that gives the logits of every timestep."""

    timesteps = 3

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.head = nn.Linear(64, 2)

    def forward_steps(self, images: Tensor) -> Tensor:
        return self.head(images.flatten(2))

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_steps(images).mean(0)
