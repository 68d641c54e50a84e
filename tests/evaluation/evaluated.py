"""Small networks and splits to evaluate."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuro.data.batching import Normalise, TensorSplit
from neuro.models import create_model
from neuro.models.neurons import neuron_factory

CPU = torch.device("cpu")
PLAIN = Normalise((0.0,), (1.0,))


def noise_images(count: int, channels: int = 1, side: int = 8, seed: int = 0) -> Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed))


def labelled(count: int = 20, classes: int = 3, seed: int = 0) -> TensorSplit:
    """Images of noise and labels of chance."""
    labels = torch.randint(classes, (count,), generator=torch.Generator().manual_seed(seed))
    return TensorSplit(noise_images(count, seed=seed), labels, Normalise((0.5,), (0.25,)))


def spikeformer(seed: int = 0, classes: int = 3) -> nn.Module:
    """A small Meta-SpikeFormer whose BatchNorms hold statistics of noise."""
    torch.manual_seed(seed)
    overrides = {
        "widths": [8, 8, 8, 8],
        "strides": [1, 2, 2, 1],
        "image_size": 8,
        "num_classes": classes,
        "initial_gain": 3.0,
    }
    model = create_model(
        "spikeformer_v2", "tiny", make_neuron=neuron_factory("lif"), timesteps=4, overrides=overrides
    ).train()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0  # one batch gives them their statistics
        model((noise_images(64, seed=8) - 0.5) / 0.25)
        model.eval()
        model.head.weight *= 50
        model.head.bias -= model((noise_images(64, seed=9) - 0.5) / 0.25).mean(0)  # so that all classes are answered
    return model.train()


class Given(nn.Module):
    """Answers pixel (0, 0), which numbers the image, with logits that were written down, `[T, N, K]`."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward_steps(self, images: Tensor) -> Tensor:
        return self.logits[: len(images), images[0, :, 0, 0, 0].long()]

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_steps(images).mean(0)


def numbered(labels: list[int]) -> TensorSplit:
    """Images of one pixel that holds their own number."""
    return TensorSplit(torch.arange(len(labels)).view(-1, 1, 1, 1), torch.tensor(labels), PLAIN)
