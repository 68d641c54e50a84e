"""Networks that take milliseconds, as a user's own factories."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SIZE = 16


class Attention(nn.Module):
    """One convolution, one block of attention with a gate, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 4, stride=4)
        self.norm = nn.LayerNorm(16)
        self.qkv = nn.Linear(16, 48)
        self.gate = nn.Linear(16, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        x = x + nn.functional.scaled_dot_product_attention(q, k, v) * torch.sigmoid(self.gate(x))
        return self.head(nn.functional.gelu(x).mean(1))


def cnn() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip
    return model, torch.randn(2, 3, SIZE, SIZE)


def attention() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return Attention(), torch.randn(2, 3, SIZE, SIZE)


class Sorted(nn.Module):
    """Uses an operator that no conversion has a rule for."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.special.bessel_j0(x.mean((2, 3)).repeat(1, 4)))


def bessel() -> tuple[nn.Module, Tensor]:
    return Sorted(), torch.randn(2, 3, SIZE, SIZE)
