"""Merging re-parameterized convolutions, on a real photograph and with random BatchNorm statistics."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from sklearn.datasets import load_sample_image
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.models.reparameterize import ConvBN, RepConvBN, SeparableConvBN

CHANNELS = 48


@cache
def _photo() -> Tensor:
    """A photograph of 427x640 pixels as `[1, 48, 106, 160]`: every channel one pixel of a 4x4 block."""
    pixels = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1).float() / 255
    return F.pixel_unshuffle(pixels[None, :, :424], 4)


def _randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for m in module.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.weight.uniform_(0.5, 1.5, generator=generator)
                m.bias.uniform_(-1, 1, generator=generator)
                m.running_mean.uniform_(-1, 1, generator=generator)
                m.running_var.uniform_(0.05, 2, generator=generator)
            elif isinstance(m, nn.Conv2d):
                m.weight.normal_(0, (m.weight[0].numel()) ** -0.5, generator=generator)
    return module.eval()


def _error(module: nn.Module, x: Tensor) -> tuple[float, float]:
    """The merged form's largest error relative to the output's largest value: anywhere, on the border."""
    with torch.no_grad():
        before, after = module(x), module.merged()(x)
    assert before.shape == after.shape
    error = (before - after).abs() / before.abs().max()
    border = torch.ones(before.shape[-2:], dtype=torch.bool)
    border[1:-1, 1:-1] = False
    return error.max().item(), error[..., border].max().item()


PIECES = {
    "repconv": lambda: RepConvBN(CHANNELS),
    "sepconv-7x7": lambda: SeparableConvBN(CHANNELS, 20),
    "sepconv-3x3": lambda: SeparableConvBN(CHANNELS, 20, 3),
    "conv-1x1": lambda: ConvBN(CHANNELS, 20),
    "conv-3x3-bias": lambda: ConvBN(CHANNELS, 20, 3, bias=True),
    "conv-3x3-stride": lambda: ConvBN(CHANNELS, 20, 3, stride=2, bias=True),
    "conv-7x7-stride": lambda: ConvBN(CHANNELS, 20, 7, stride=2),
}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", PIECES)
def test_merged_equals_pieces_on_a_photograph(name: str, seed: int) -> None:
    module = _randomised(PIECES[name](), seed)
    assert max(_error(module, _photo())) <= 1e-5
    assert max(_error(module, (_photo() > 0.5).float())) <= 1e-5  # as spikes
    assert max(_error(module.double(), _photo().double())) <= 1e-13


def test_the_border_is_where_zero_padding_would_be_wrong() -> None:
    # The same pieces padded with zeros instead: equal inside, far off on the border.
    module = _randomised(RepConvBN(CHANNELS))
    with torch.no_grad():
        padded = F.pad(module.bn_expand(module.expand(_photo())), (1, 1, 1, 1))
        wrong = module.bn(module.bn_pointwise(module.pointwise(module.depthwise(padded))))
        right = module(_photo())
    error = (wrong - right).abs() / right.abs().max()
    assert error[..., 1:-1, 1:-1].max() < 1e-5
    assert error[..., 0, :].max() > 0.05


def test_repconv_with_statistics_gathered_from_the_photograph() -> None:
    module = RepConvBN(CHANNELS)
    for _ in range(5):
        module(_photo())
    assert module.bn_expand.running_mean.abs().max() > 0.01
    assert max(_error(module.eval(), _photo())) <= 1e-5


def test_repconv_pads_in_training_with_the_running_statistics() -> None:
    torch.manual_seed(0)
    module = _randomised(RepConvBN(CHANNELS)).train()
    x = module.bn_expand(module.expand(_photo()))
    padded = module._pad_with_batchnorm_of_zero(x)
    bn = module.bn_expand
    border = F.batch_norm(torch.zeros(1, CHANNELS, 1, 1), bn.running_mean, bn.running_var, bn.weight, bn.bias)
    torch.testing.assert_close(padded[..., 1:-1, 1:-1], x)
    for edge in (padded[..., 0, :], padded[..., -1, :], padded[..., 0], padded[..., -1]):
        torch.testing.assert_close(edge, border[..., 0].expand_as(edge), atol=1e-5, rtol=1e-5)


def test_shapes_of_the_merged_convolutions() -> None:
    rep, sep = RepConvBN(6).merged(), SeparableConvBN(6, 4, 7).merged()
    assert (rep.weight.shape, rep.padding, rep.groups) == ((6, 6, 3, 3), (1, 1), 1)
    assert (sep.weight.shape, sep.padding, sep.groups) == ((4, 6, 7, 7), (3, 3), 1)
    strided = ConvBN(3, 4, 7, stride=2).merged()
    assert (strided.stride, strided.padding) == ((2, 2), (3, 3))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_merged_keeps_the_dtype(dtype: torch.dtype) -> None:
    merged = RepConvBN(4).to(dtype).merged()
    assert merged.weight.dtype == merged.bias.dtype == dtype


def test_batchnorm_without_statistics_is_refused() -> None:
    module = ConvBN(3, 4)
    module.bn = nn.BatchNorm2d(4, track_running_stats=False)
    with pytest.raises(TypeError, match="without running statistics"):
        module.merged()
