"""Small networks of the forms that quantization meets."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ResNetLike(nn.Module):
    """A stem, a block with a shortcut, one that halves the image, depthwise and transposed convolutions, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn0 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv1, self.bn1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12)
        self.short, self.bns = nn.Conv2d(8, 12, 1, 2, bias=False), nn.BatchNorm2d(12)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.up = nn.ConvTranspose2d(12, 6, 2, 2)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn0(self.stem(x))), 2)
        x = F.relu(self.bn1(self.conv1(x)) + x)
        x = F.relu(self.bn2(self.conv2(x)) + self.bns(self.short(x)))
        x = F.relu(self.up(F.relu(self.depthwise(x))))
        return self.head(x.mean((2, 3)))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, fused: bool) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        B, N, C = x.shape
        q, k, v = self.qkv(x).view(B, N, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = (q @ k.transpose(-2, -1) / (C // self.heads) ** 0.5).softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(B, N, C))


class ViT(nn.Module):
    """Two pre-norm layers; attention written out (`plain`), fused (`sdpa`) or torch's own layer (`mha`)."""

    def __init__(self, attention: str, width: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 17, width) * 0.1)
        self.norms1 = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.norms2 = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        made = {
            "plain": lambda: _Attention(width, heads, fused=False),
            "sdpa": lambda: _Attention(width, heads, fused=True),
            "mha": lambda: nn.MultiheadAttention(width, heads, batch_first=True),
        }[attention]
        self.attentions = nn.ModuleList(made() for _ in range(2))
        mlps = (nn.Sequential(nn.Linear(width, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, width)) for _ in range(2))
        self.mlps = nn.ModuleList(mlps)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        for norm1, attention, norm2, mlp in zip(self.norms1, self.attentions, self.norms2, self.mlps, strict=True):
            y = norm1(x)
            x = x + (attention(y, y, y)[0] if isinstance(attention, nn.MultiheadAttention) else attention(y))
            x = x + mlp(norm2(x))
        return self.head(self.norm(x)[:, 0])


class Words(nn.Module):
    """An embedding, a 1-d convolution, a gate and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 8)
        self.conv, self.gate = nn.Conv1d(8, 8, 3, padding=1), nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        x = F.silu(self.conv(self.words(tokens).transpose(1, 2))).transpose(1, 2)
        return self.head((x * torch.sigmoid(self.gate(x))).mean(1))


def warmed(model: nn.Module, x: Tensor) -> nn.Module:
    """Give BatchNorm layers statistics of their own, and put the network into evaluation mode."""
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(x)
    return model.eval()


def network(name: str) -> tuple[nn.Module, Tensor]:
    """Return a network with random weights and inputs, `[8, ...]`."""
    torch.manual_seed(0)
    if name == "words":
        return Words().eval(), torch.randint(0, 11, (8, 7))
    x = torch.randn(8, 3, 16, 16)
    model = ResNetLike() if name == "resnet" else ViT(name)
    return warmed(model, x), x


NETWORKS = ["resnet", "plain", "sdpa", "mha"]
