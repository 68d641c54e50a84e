"""Two small networks for 28 x 28 images in 10 classes, to be trained in minutes and made into low-bit variants.

neuro convert --model benchmarks.low_bit_networks:small_cnn --to w4a4 --data fashion-mnist
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class _Block(nn.Module):
    """conv 3x3, BatchNorm, shortcut, ReLU: a shortcut around every convolution, as binary networks want (Bi-Real)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True), nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, outputs, H / stride, W / stride]`."""
        return self.relu(self.norm(self.conv(x)) + self.shortcut(x))


class SmallCNN(nn.Module):
    """A stem and six such blocks, 14 x 14 to 4 x 4; `width` channels at first."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        wide, wider = 2 * width, 4 * width
        shapes = [(width, width, 1), (width, width, 1), (width, wide, 2), (wide, wide, 1), (wide, wider, 2)]
        self.blocks = nn.Sequential(*(_Block(*shape) for shape in [*shapes, (wider, wider, 1)]))
        self.head = nn.Linear(wider, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[B, 10]` of images `[B, 1, 28, 28]`."""
        x = self.blocks(self.relu(self.norm(self.stem(x))))
        return self.head(x.mean((2, 3)))


class _Layer(nn.Module):
    """Pre-norm transformer layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.up, self.act, self.down = nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, N, C]`."""
        B, N, C = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(B, N, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, N, C)
        x = x + self.project(mixed)
        return x + self.down(self.act(self.up(self.norm2(x))))


class TinyViT(nn.Module):
    """Patches of 4 x 4 through a convolution, learned positions, `depth` layers, mean over tokens."""

    def __init__(self, width: int = 64, depth: int = 4, heads: int = 4) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            nn.Conv2d(1, width // 2, 3, 2, 1, bias=False),
            nn.BatchNorm2d(width // 2),
            nn.ReLU(),
            nn.Conv2d(width // 2, width, 3, 2, 1),
        )
        self.position = nn.Parameter(torch.randn(1, 49, width) * 0.02)
        self.layers = nn.Sequential(*(_Layer(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[B, 10]` of images `[B, 1, 28, 28]`."""
        x = self.embed(x).flatten(2).transpose(1, 2) + self.position
        return self.head(self.norm(self.layers(x)).mean(1))


def small_cnn() -> tuple[nn.Module, Tensor]:
    """Return the network with random weights, and an input."""
    return SmallCNN(), torch.randn(2, 1, 28, 28)


def tiny_vit() -> tuple[nn.Module, Tensor]:
    """Return the network with random weights, and an input."""
    return TinyViT(), torch.randn(2, 1, 28, 28)
