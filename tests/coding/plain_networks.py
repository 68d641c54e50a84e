"""Small networks of plain PyTorch, one for each way to write something, with inputs and what must be seen in them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from quant.capture import Captured, capture


@dataclass(frozen=True)
class Case:
    """`make` returns a network and its inputs; `products` are the operators that spikes must drive."""

    make: Callable[[], tuple[nn.Module, tuple[Tensor, ...]]]
    products: dict[str, int]


class Of(nn.Module):
    """A function of the inputs, with modules and parameters."""

    def __init__(self, function: Callable[..., Any], *modules: nn.Module, **parameters: Tensor) -> None:
        super().__init__()
        self.function, self.m = function, nn.ModuleList(modules)
        for name, value in parameters.items():
            self.register_parameter(name, nn.Parameter(value))

    def forward(self, *x: Tensor) -> Any:
        return self.function(self, *x)


def r(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def _case(products: dict[str, int], make: Callable[[], nn.Module], *inputs: Tensor) -> Case:
    def made() -> tuple[nn.Module, tuple[Tensor, ...]]:
        torch.manual_seed(0)
        model = make().eval()
        for one in model.modules():
            if isinstance(one, nn.modules.batchnorm._BatchNorm | nn.InstanceNorm2d) and one.running_mean is not None:
                nn.init.normal_(one.running_mean)
                nn.init.uniform_(one.running_var, 0.5, 2)
            if isinstance(one, nn.modules.batchnorm._BatchNorm) and one.affine:
                nn.init.normal_(one.weight)
                nn.init.normal_(one.bias)
        return model, inputs

    return Case(made, products)


def _assigned(self: nn.Module, x: Tensor) -> Tensor:
    y = x.clone()
    y[:, 1:3] = x[:, 0:2] * 2
    y[:, 0] += 1
    return self.m[0](y)


def _weights_for_each_sample(self: nn.Module, x: Tensor) -> Tensor:
    weight = self.m[0](x.mean((2, 3))).view(-1, 2, 3, 3)
    return F.conv2d(x.reshape(1, -1, 5, 5), weight, groups=x.shape[0]).view(x.shape[0], -1, 3, 3)


def _rotated(self: nn.Module, x: Tensor) -> Tensor:
    q = self.m[0](x)
    return q * self.c + torch.stack([-q[..., 1::2], q[..., ::2]], -1).flatten(-2) * self.c


def _encoder(batch_first: bool) -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=batch_first, activation="gelu")
    return nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)


CASES: dict[str, Case] = {
    "encoder": _case({"linear": 4, "matmul": 2}, lambda: _encoder(True), r(2, 3, 8)),
    "encoder, sequence first": _case(
        {"linear": 4, "matmul": 2},
        lambda: Of(lambda s, x: s.m[0](x.transpose(0, 1)).transpose(0, 1), _encoder(False)),
        r(2, 3, 8),
    ),
    "decoder": _case(
        {"linear": 7, "matmul": 4},
        lambda: nn.TransformerDecoderLayer(8, 2, 12, batch_first=True),
        r(2, 3, 8),
        r(2, 4, 8),
    ),
    "attention with its weights": _case(
        {"linear": 2, "bmm": 2},
        lambda: Of(lambda s, x: s.m[0](x, x, x), nn.MultiheadAttention(8, 2, batch_first=True)),
        r(2, 3, 8),
    ),
    "causal attention of groups": _case(
        {"matmul": 2},
        lambda: Of(
            lambda s, q, kv: F.scaled_dot_product_attention(q, kv, kv, is_causal=True, enable_gqa=True, scale=0.7)
        ),
        r(2, 4, 3, 5),
        r(2, 2, 3, 5),
    ),
    "LSTM": _case({"linear": 3, "mul": 5}, lambda: nn.LSTM(4, 5, batch_first=True), r(2, 2, 4)),
    "GRU, sequence first": _case(
        {"linear": 3, "mul": 3},
        lambda: Of(lambda s, x: s.m[0](x.transpose(0, 1))[0].transpose(0, 1), nn.GRU(4, 5)),
        r(2, 2, 4),
    ),
    "LSTM cell": _case({"linear": 2, "mul": 2}, lambda: Of(lambda s, x: s.m[0](x)[0], nn.LSTMCell(4, 5)), r(2, 4)),
    "GRU cell": _case({"linear": 2, "mul": 1}, lambda: Of(lambda s, x: s.m[0](x), nn.GRUCell(4, 5)), r(2, 4)),
    "conv 1d": _case(
        {"conv1d": 2},
        lambda: nn.Sequential(
            nn.Conv1d(3, 6, 3, padding="same"),
            nn.BatchNorm1d(6),
            nn.PReLU(6),
            nn.Conv1d(6, 4, 3, groups=2, padding=1, padding_mode="circular"),
        ),
        r(2, 3, 9),
    ),
    "conv 3d": _case(
        {"conv3d": 1},
        lambda: nn.Sequential(nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4), nn.ELU(), nn.MaxPool3d(2)),
        r(2, 2, 6, 6, 6),
    ),
    "transposed conv in groups": _case(
        {"conv_transpose2d": 2},
        lambda: nn.Sequential(
            nn.ConvTranspose2d(4, 6, 3, 2, groups=2),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.ConvTranspose2d(6, 3, 2, bias=False),
            nn.BatchNorm2d(3),
        ),
        r(2, 4, 5, 5),
    ),
    "conv with weights for each sample": _case(
        {"linear": 1, "conv2d": 1}, lambda: Of(_weights_for_each_sample, nn.Linear(2, 36)), r(2, 2, 5, 5)
    ),
    "conv with weights from another input": _case(
        {"conv1d": 1},
        lambda: Of(
            lambda s, x, w: F.conv1d(x.reshape(1, -1, 5), w.reshape(-1, 4, 1), groups=x.shape[0]).view(x.shape[0], 3, 5)
        ),
        r(2, 4, 5),
        r(2, 12),
    ),
    "one convolution before two norms": _case(
        {"conv2d": 2},
        lambda: Of(
            lambda s, x: s.m[1](s.m[0](x)) + s.m[2](s.m[0](x + 1)),
            nn.Conv2d(2, 3, 3),
            nn.BatchNorm2d(3),
            nn.BatchNorm2d(3),
        ),
        r(2, 2, 5, 5),
    ),
    "norm first": _case(
        {"conv2d": 1}, lambda: nn.Sequential(nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 3, 3)), r(2, 2, 5, 5)
    ),
    "norm of tokens after linear": _case(
        {"linear": 1}, lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(3)), r(2, 3, 4)
    ),
    "norm of flattened tokens after linear": _case(
        {"linear": 1},
        lambda: nn.Sequential(nn.Linear(4, 5), nn.Flatten(0, 1), nn.BatchNorm1d(5), nn.Unflatten(0, (-1, 3))),
        r(2, 3, 4),
    ),
    "bilinear": _case({"linear": 1, "matmul": 1}, lambda: nn.Bilinear(4, 5, 6), r(2, 4), r(2, 5)),
    "embedding": _case(
        {"linear": 1},
        lambda: Of(lambda s, x: s.m[1](s.m[0](x).flatten(1)), nn.Embedding(10, 4), nn.Linear(12, 3)),
        torch.tensor([[1, 2, 3], [4, 0, 9]]),
    ),
    "einsum of three": _case(
        {"mul": 1, "bmm": 1},
        lambda: Of(lambda s, x, y: torch.einsum("bic,bjc,oc->bijo", x, y, s.w), w=r(3, 4)),
        r(2, 5, 4),
        r(2, 6, 4),
    ),
    "weight norms": _case(
        {"linear": 2},
        lambda: nn.Sequential(weight_norm(nn.Linear(4, 5)), nn.Tanh(), spectral_norm(nn.Linear(5, 3))),
        r(2, 4),
    ),
    "upsampling": _case(
        {"conv2d": 1},
        lambda: nn.Sequential(nn.Conv2d(2, 4, 1), nn.Upsample(scale_factor=2, mode="bilinear"), nn.PixelShuffle(2)),
        r(2, 2, 4, 4),
    ),
    "instance norm": _case(
        {"conv2d": 1},
        lambda: nn.Sequential(nn.Conv2d(2, 4, 1), nn.InstanceNorm2d(4, affine=True), nn.GroupNorm(2, 4), nn.GELU()),
        r(2, 2, 4, 4),
    ),
    "GLU": _case({"linear": 1, "mul": 1}, lambda: nn.Sequential(nn.Linear(4, 8), nn.GLU()), r(2, 4)),
    "interpolation": _case(
        {"mul": 2},
        lambda: Of(lambda s, x, y: torch.lerp(x, y, x.sigmoid()) + torch.addcmul(x, x, y, value=0.5)),
        r(2, 4),
        r(2, 4),
    ),
    "product added": _case(
        {"matmul": 1, "bmm": 1},
        lambda: Of(lambda s, x, y: torch.baddbmm(x @ y, x, y, beta=0.5, alpha=2.0)),
        r(2, 3, 4),
        r(2, 4, 5),
    ),
    "distances": _case({"matmul": 1}, lambda: Of(lambda s, x, y: torch.cdist(x, y)), r(2, 3, 4), r(2, 5, 4)),
    "cosine": _case({"mul": 1}, lambda: Of(lambda s, x, y: F.cosine_similarity(x, y)), r(2, 4), r(2, 4)),
    "squares": _case({"linear": 1}, lambda: Of(lambda s, x: s.m[0](x * x + x**2), nn.Linear(4, 3)), r(2, 4)),
    "a matrix times itself": _case({"bmm": 1}, lambda: Of(lambda s, x: torch.bmm(x, x)), r(2, 4, 4)),
    "a learned query": _case(
        {"matmul": 2},
        lambda: Of(lambda s, x: (s.p.expand(x.shape[0], -1, -1) @ x.transpose(1, 2)).softmax(-1) @ x, p=r(1, 3, 4)),
        r(2, 5, 4),
    ),
    "keywords, in place and out": _case(
        {"linear": 1},
        lambda: Of(
            lambda s, x: torch.add(
                input=x.clone().add_(1).relu_(), other=F.linear(input=x, weight=s.w), out=torch.empty_like(x)
            ),
            w=r(4, 4),
        ),
        r(2, 4),
    ),
    "writes into its input": _case({"linear": 1}, lambda: Of(lambda s, x: s.m[0](x.mul_(2)), nn.Linear(4, 3)), r(2, 4)),
    "assigned slices": _case({"linear": 1}, lambda: Of(_assigned, nn.Linear(4, 3)), r(2, 4)),
    "chosen": _case(
        {"linear": 1}, lambda: Of(lambda s, x: s.m[0](torch.where(x > 0, x, 0.1 * x)), nn.Linear(4, 3)), r(2, 4)
    ),
    "best of": _case(
        {"linear": 1}, lambda: Of(lambda s, x: s.m[0](torch.gather(x, 1, x.topk(2)[1])), nn.Linear(2, 3)), r(2, 4)
    ),
    "Fourier": _case(
        {"linear": 1},
        lambda: Of(
            lambda s, x: torch.fft.irfft2(torch.fft.rfft2(s.m[0](x)) * torch.view_as_complex(s.w)),
            nn.Linear(4, 4),
            w=r(3, 4, 3, 2),
        ),
        r(2, 3, 4, 4),
    ),
    "rotary positions": _case({"linear": 1}, lambda: Of(_rotated, nn.Linear(4, 4), c=r(4)), r(2, 3, 4)),
    "one layer twice": _case({"linear": 2}, lambda: nn.Sequential(*[nn.Linear(4, 4)] * 2), r(2, 4)),
    "masked by a comparison": _case(
        {"linear": 1}, lambda: Of(lambda s, x: s.m[0](x * (x > 0)), nn.Linear(4, 3)), r(2, 4)
    ),
    "windows beside the batch": _case(
        {"linear": 1, "matmul": 1},
        lambda: Of(
            lambda s, x: (
                (s.m[0](x.unflatten(1, (2, 2)).transpose(0, 1).flatten(0, 1)) @ s.m[0].weight.new_ones(4, 1))
                .unflatten(0, (2, -1))
                .transpose(0, 1)
                .flatten(1)
            ),
            nn.Linear(4, 4),
        ),
        r(3, 4, 4),
    ),
}


@functools.cache
def captured(name: str) -> Captured:
    """The graph of a case; it is left as it is by whoever asks."""
    return capture(*CASES[name].make())
