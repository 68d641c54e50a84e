"""Small networks of the kinds that low-bit variants are made of, with biases other than 0, so that few sums tie."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import quant


class Convolutions(nn.Module):
    """Plain, depthwise and transposed convolutions, BatchNorm, a sum, pools and a linear layer; `[B, 3, 8, 8]`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.depthwise, self.norm2 = nn.Conv2d(8, 8, 3, padding="same", groups=8, bias=False), nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.head = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.stem(x)).relu()
        y = (y + self.norm2(self.depthwise(y))).relu()
        y = self.up(nn.functional.max_pool2d(y, 2)).relu()
        return self.head(y.mean((2, 3)))


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """A vision transformer of one block with `nn.MultiheadAttention`; `[B, 3, 8, 8]`."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 5, width) / 4)
        self.blocks, self.norm, self.head = nn.Sequential(Block(width)), nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.patches(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.token.expand(x.shape[0], -1, -1), y], 1) + self.positions
        return self.head(self.norm(self.blocks(y))[:, 0])


class Words(nn.Module):
    """A table, a product with a parameter and a linear layer, on numbers of words `[B, 6]`."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.mix = nn.Embedding(20, 8, padding_idx=0), nn.Parameter(torch.randn(8, 8))
        self.head = nn.Linear(8, 4)

    def forward(self, words: Tensor) -> Tensor:
        return self.head((self.table(words) @ self.mix).relu().mean(1))


Networks = Callable[[str, int], tuple[nn.Module, Tensor]]

_KINDS: dict[str, type[nn.Module]] = {"cnn": Convolutions, "vit": Transformer, "words": Words}


@pytest.fixture(scope="session")
def networks() -> Networks:
    """Return a function from a kind and a seed to a network in evaluation mode and an input for it."""

    def make(kind: str, seed: int = 0) -> tuple[nn.Module, Tensor]:
        torch.manual_seed(seed)
        network = _KINDS[kind]()
        for name, one in network.named_parameters():
            if "bias" in name:
                nn.init.uniform_(one, -0.3, 0.3)
        x = torch.randint(0, 20, (4, 6)) if kind == "words" else torch.randn(4, 3, 8, 8)
        return network.eval(), x

    return make


@pytest.fixture(scope="session")
def quantized(networks: Networks) -> Callable[[str, str], tuple[quant.QuantizedNetwork, Tensor]]:
    """Return a function from a kind of network and a recipe to the quantized network and its input; made once."""

    @functools.cache
    def make(kind: str, recipe: str) -> tuple[quant.QuantizedNetwork, Tensor]:
        network, x = networks(kind, 0)
        return quant.quantize(network, recipe, x, timesteps=2), x

    return make
