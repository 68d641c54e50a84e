"""Convolutions that train in several pieces and run as one.

Each class holds the pieces as they train; `merged()` gives the single `nn.Conv2d` they equal at inference.
Merging is what makes Meta-SpikeFormer spike-driven: the tensors between the pieces are not spikes, so before
merging the inner convolutions need multiplications; after merging the one dense convolution sees only spikes,
at the price of more operations. `folded()` is what runs fastest on dense hardware: the convolutions as they train,
every BatchNorm and border part of their weights and biases.

All inputs here are `[N, C, H, W]`; merges are computed in double precision.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Affine(NamedTuple):
    """y = gain * x + shift, per channel, in double precision."""

    gain: Tensor
    shift: Tensor


def _batchnorm_affine(bn: nn.BatchNorm2d) -> _Affine:
    """The affine map that `bn` is at inference, from its running statistics."""
    if bn.running_var is None or bn.running_mean is None:
        raise TypeError("a BatchNorm without running statistics cannot be merged")
    gain = bn.weight.double() / (bn.running_var.double() + bn.eps).sqrt()
    return _Affine(gain, bn.bias.double() - bn.running_mean.double() * gain)


def _conv_with(
    weight: Tensor, bias: Tensor | None, like: nn.Conv2d, padding: tuple[int, int], groups: int = 1
) -> nn.Conv2d:
    """A convolution with the given double-precision weight and bias, in the dtype of `like`."""
    conv = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        (weight.shape[2], weight.shape[3]),
        stride=(like.stride[0], like.stride[1]),
        padding=padding,
        groups=groups,
        bias=bias is not None,
        device=like.weight.device,
        dtype=like.weight.dtype,
    )
    with torch.no_grad():
        conv.weight.copy_(weight)
        if bias is not None and conv.bias is not None:
            conv.bias.copy_(bias)
    return conv


def _per_output(gain: Tensor, weight: Tensor) -> Tensor:
    """The double-precision weight whose outputs are `gain` times as large."""
    return weight.double() * gain.view(-1, 1, 1, 1)


class NormalizedConv(nn.Module):
    """One convolution or several, and a BatchNorm behind them."""

    bn: nn.BatchNorm2d

    def before_norm(self, x: Tensor) -> Tensor:
        """Return what the BatchNorm normalises."""
        raise TypeError(f"{type(self).__name__} must define before_norm(x)")

    def merged(self) -> nn.Conv2d:
        """Return the one dense convolution this equals at inference."""
        raise TypeError(f"{type(self).__name__} must define merged()")

    def folded(self) -> nn.Module:
        """Return the convolutions this equals at inference, as many and as large as they train."""
        raise TypeError(f"{type(self).__name__} must define folded()")

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.before_norm(x))


class ConvBN(NormalizedConv):
    """Convolution and BatchNorm; `merged()` folds the BatchNorm into the convolution."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, bias: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=bias)
        self.bn = nn.BatchNorm2d(out_channels)

    def before_norm(self, x: Tensor) -> Tensor:
        return self.conv(x)

    @torch.no_grad()
    def merged(self) -> nn.Conv2d:
        gain, shift = _batchnorm_affine(self.bn)
        bias = self.conv.bias.double() if self.conv.bias is not None else 0.0
        padding = (self.conv.kernel_size[0] // 2, self.conv.kernel_size[1] // 2)
        return _conv_with(_per_output(gain, self.conv.weight), bias * gain + shift, self.conv, padding)

    def folded(self) -> nn.Conv2d:
        return self.merged()


class SeparableConvBN(NormalizedConv):
    """Depthwise convolution, 1x1 convolution, BatchNorm; `merged()` is one dense convolution."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 7) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, kernel, padding=kernel // 2, groups=in_channels, bias=False
        )
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def before_norm(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))

    @torch.no_grad()
    def merged(self) -> nn.Conv2d:
        gain, shift = _batchnorm_affine(self.bn)
        weight = self.pointwise.weight.double() * self.depthwise.weight.double().transpose(0, 1)
        kernel_h, kernel_w = self.depthwise.kernel_size
        padding = (kernel_h // 2, kernel_w // 2)
        return _conv_with(_per_output(gain, weight), shift, self.depthwise, padding)

    @torch.no_grad()
    def folded(self) -> nn.Sequential:
        gain, shift = _batchnorm_affine(self.bn)
        pointwise = _conv_with(_per_output(gain, self.pointwise.weight), shift, self.pointwise, (0, 0))
        return nn.Sequential(self.depthwise, pointwise)


class RepConvBN(NormalizedConv):
    """RepConv and the BatchNorm behind it: 1x1, BN, pad, depthwise 3x3, 1x1, BN, BN.

    The border is padded with what the first BatchNorm makes of a zero, so the pieces equal one zero-padded
    dense 3x3 convolution exactly, at the border too.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn_expand = nn.BatchNorm2d(channels)
        self.depthwise = nn.Conv2d(channels, channels, 3, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn_pointwise = nn.BatchNorm2d(channels)
        self.bn = nn.BatchNorm2d(channels)

    def before_norm(self, x: Tensor) -> Tensor:
        x = self._pad_with_batchnorm_of_zero(self.bn_expand(self.expand(x)))
        return self.bn_pointwise(self.pointwise(self.depthwise(x)))

    def _pad_with_batchnorm_of_zero(self, x: Tensor) -> Tensor:
        bn = self.bn_expand
        assert bn.running_mean is not None
        assert bn.running_var is not None
        # No gradient flows to the border value, as in the published code.
        border = bn.bias - bn.running_mean * bn.weight / (bn.running_var + bn.eps).sqrt()
        border = border.detach().to(x.dtype).view(1, -1, 1, 1)
        return F.pad(x - border, (1, 1, 1, 1)) + border

    @torch.no_grad()
    def merged(self) -> nn.Conv2d:
        first, gain, bias = self._affines()
        expand = self.expand.weight.double()[:, :, 0, 0]  # [mid, in]
        pointwise = self.pointwise.weight.double()[:, :, 0, 0]  # [out, mid]
        depthwise = self.depthwise.weight.double()[:, 0]  # [mid, 3, 3]
        weight = torch.einsum("om,mhw,m,mi->oihw", pointwise, depthwise, first.gain, expand)
        return _conv_with(_per_output(gain, weight), bias, self.depthwise, (1, 1))

    @torch.no_grad()
    def folded(self) -> nn.Sequential:
        # Less the shift of the first BatchNorm, which is all that the border holds, the border is zeros; what the
        # shift adds is the same everywhere.
        first, gain, bias = self._affines()
        depthwise = self.depthwise
        return nn.Sequential(
            _conv_with(_per_output(first.gain, self.expand.weight), None, self.expand, (0, 0)),
            _conv_with(depthwise.weight.double(), None, depthwise, (1, 1), groups=depthwise.groups),
            _conv_with(_per_output(gain, self.pointwise.weight), bias, self.pointwise, (0, 0)),
        )

    def _affines(self) -> tuple[_Affine, Tensor, Tensor]:
        """The first BatchNorm, and gain and bias of all that follows the last convolution."""
        first, middle, last = map(_batchnorm_affine, (self.bn_expand, self.bn_pointwise, self.bn))
        pointwise = self.pointwise.weight.double()[:, :, 0, 0]
        of_shift = pointwise @ (self.depthwise.weight.double()[:, 0].sum((1, 2)) * first.shift)
        gain = middle.gain * last.gain
        return first, gain, gain * of_shift + last.gain * middle.shift + last.shift
