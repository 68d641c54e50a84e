"""Meta-SpikeFormer, the Spike-driven Transformer V2.

Yao, Hu, Hu, Xu, Tian, Xu, Li: "Spike-driven Transformer V2: Meta Spiking Neural Network Architecture
Inspiring the Design of Next-generation Neuromorphic Chips", ICLR 2024, arXiv:2404.03663. Written afresh from
the paper and the published layer list. Sizes are in `configs/models/spikeformer_v2.yaml`.

    stem     7x7 stride 2 -> c1/2, BN (no neuron: direct encoding); one ConvBlock
    stage 1  neuron, 3x3 stride 2 -> c1; one ConvBlock
    stage 2  neuron, 3x3 stride 2 -> c2; two ConvBlocks
    stage 3  neuron, 3x3 stride 2 -> c3; six transformer blocks
    stage 4  neuron, 3x3 stride 1 -> c4; two transformer blocks
    head     mean over positions, neuron, Linear, mean over T

Tensors are `[T, B, C, H, W]`. Every shortcut adds membrane potentials, before the neuron. Difference from the
published code, on purpose: `drop_path` is applied (there it is built and never used).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from hardware_models.errors import InputError, unknown_name
from neuro.kernels.watching import is_watched
from neuro.models.attention import ATTENTIONS, SDSA3, NeuronFactory
from neuro.models.norm_neuron import each_step, normalized, shortcut
from neuro.models.registry import register_model
from neuro.models.reparameterize import ConvBN, RepConvBN, SeparableConvBN
from neuro.neurons import reset


@dataclass(frozen=True)
class SpikeformerV2Config:
    """What distinguishes one Meta-SpikeFormer from another.

    Attributes:
        widths: c1..c4, channels of the four stages; the stem has c1/2.
        depths: transformer blocks of stages 3 and 4.
        strides: of the stem and of the entries of stages 1, 2 and 3.
        stem_kernel: side of the stem's kernel.
        separable_kernel: side of SepConv's depthwise kernel.
        heads: attention heads.
        image_size: side of the input the sizes are meant for.
        in_channels: channels of the input.
        num_classes: outputs of the head.
        initial_gain: initial weight of every BatchNorm. With LIF neurons (tau 2, threshold 1) unit variance
            leaves most neurons below threshold; 2 = tau x threshold keeps a deep network firing from the
            first step, so that a short training suffices (the idea of tdBN, Zheng et al., AAAI 2021).
        drop_path: largest probability of skipping a transformer branch in training; grows with depth.
    """

    widths: tuple[int, int, int, int]
    depths: tuple[int, int] = (6, 2)
    strides: tuple[int, int, int, int] = (2, 2, 2, 2)
    stem_kernel: int = 7
    separable_kernel: int = 7
    heads: int = 8
    image_size: int = 224
    in_channels: int = 3
    num_classes: int = 1000
    initial_gain: float = 1.0
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        for name, count, least in (("widths", 4, 1), ("depths", 2, 0), ("strides", 4, 1)):
            given = getattr(self, name)
            if not (isinstance(given, Sequence) and len(given) == count and all(_whole(n, least) for n in given)):
                raise InputError(f"{name} was {given!r}; give {count} whole numbers of at least {least}.")
        for name in ("stem_kernel", "separable_kernel", "heads", "image_size", "in_channels", "num_classes"):
            if not _whole(getattr(self, name), 1):
                raise InputError(f"{name} was {getattr(self, name)!r}; give a whole number of at least 1.")
        if self.separable_kernel % 2 == 0:
            raise InputError(f"separable_kernel was {self.separable_kernel}; give an odd side, which keeps the size.")
        if self.widths[0] % 2:
            raise InputError(f"widths begin with {self.widths[0]}; give an even c1, since the stem has c1/2 channels.")
        for width in self.widths[2:]:
            if width % self.heads:
                raise InputError(f"width {width} does not divide into {self.heads} heads; change widths or heads.")
        if not (_number(self.drop_path) and 0 <= self.drop_path < 1):
            raise InputError(f"drop_path was {self.drop_path!r}; give a probability in [0, 1).")
        if not (_number(self.initial_gain) and self.initial_gain > 0):
            raise InputError(f"initial_gain was {self.initial_gain!r}; give a number above 0.")


def _number(given: object) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)


def _whole(number: object, least: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= least


class DropPath(nn.Module):
    """Stochastic depth: in training, drop the whole branch of a sample with probability p, scale the rest.

    Input `[T, B, ...]`; a sample is dropped for all timesteps (Huang et al., ECCV 2016).
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    @property
    def is_active(self) -> bool:
        """Whether it does anything now."""
        return self.training and self.probability > 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.is_active:
            return x
        keep = 1 - self.probability
        mask = x.new_empty((1, x.shape[1], *[1] * (x.dim() - 2))).bernoulli_(keep)
        return x * (mask / keep)

    def extra_repr(self) -> str:
        return f"probability={self.probability:.3g}"


class SepConv(nn.Module):
    """Neuron, 1x1 (x2), neuron, depthwise 7x7 -> 1x1."""

    def __init__(self, dim: int, kernel: int, make_neuron: NeuronFactory) -> None:
        super().__init__()
        self.neuron1 = make_neuron(1.0)
        self.expand = ConvBN(dim, 2 * dim)
        self.neuron2 = make_neuron(1.0)
        self.separable: nn.Module = SeparableConvBN(2 * dim, dim, kernel)

    def forward(self, x: Tensor) -> Tensor:
        return each_step(self.separable, self.spikes(x))

    def spikes(self, x: Tensor) -> Tensor:
        """Return what the second half convolves."""
        return normalized(self.expand, self.neuron2, self.neuron1(x))


class ChannelConv(nn.Module):
    """Neuron, 3x3 (x4), neuron, 3x3."""

    def __init__(self, dim: int, make_neuron: NeuronFactory) -> None:
        super().__init__()
        self.neuron1 = make_neuron(1.0)
        self.expand = ConvBN(dim, 4 * dim, 3)
        self.neuron2 = make_neuron(1.0)
        self.project = ConvBN(4 * dim, dim, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.after_neuron1(self.neuron1(x))

    def after_neuron1(self, s: Tensor) -> Tensor:
        """Return what follows from the spikes of the first neuron."""
        return each_step(self.project, normalized(self.expand, self.neuron2, s))


class ConvBlock(nn.Module):
    """`x + SepConv(x)`, then `x + ChannelConv(x)`."""

    def __init__(self, dim: int, kernel: int, make_neuron: NeuronFactory) -> None:
        super().__init__()
        self.sep_conv = SepConv(dim, kernel, make_neuron)
        self.channel_conv = ChannelConv(dim, make_neuron)

    def forward(self, x: Tensor) -> Tensor:
        sep_conv, channel_conv = self.sep_conv, self.channel_conv
        if is_watched(sep_conv, channel_conv):
            x = x + sep_conv(x)
            return x + channel_conv(x)
        s, x = shortcut(sep_conv.separable, channel_conv.neuron1, sep_conv.spikes(x), x)
        return x + channel_conv.after_neuron1(s)


class SpikeDrivenSelfAttention(nn.Module):
    """Neuron, then q, k, v (RepConv, neuron each), SDSA over `heads`, RepConv."""

    def __init__(self, dim: int, heads: int, attention: str, make_neuron: NeuronFactory) -> None:
        super().__init__()
        self.heads = heads
        self.neuron = make_neuron(1.0)
        self.q: nn.Module = RepConvBN(dim)
        self.k: nn.Module = RepConvBN(dim)
        self.v: nn.Module = RepConvBN(dim)
        self.q_neuron = make_neuron(1.0)
        self.k_neuron = make_neuron(1.0)
        self.v_neuron = make_neuron(1.0)
        self.sdsa = ATTENTIONS[attention](make_neuron)
        self.project: nn.Module = RepConvBN(dim)

    def forward(self, x: Tensor) -> Tensor:
        return each_step(self.project, self.spikes(x))

    def spikes(self, x: Tensor) -> Tensor:
        """Return what the last convolution projects."""
        height, width = x.shape[-2:]
        x = self.neuron(x)
        q = self._to_heads(normalized(self.q, self.q_neuron, x))
        k = self._to_heads(normalized(self.k, self.k_neuron, x))
        v = self._to_heads(normalized(self.v, self.v_neuron, x))
        return self.sdsa(q, k, v).transpose(-2, -1).flatten(2, 3).unflatten(-1, (height, width))

    def _to_heads(self, x: Tensor) -> Tensor:
        """`[T, B, C, H, W]` -> `[T, B, heads, N, d]`."""
        return x.flatten(3).unflatten(2, (self.heads, -1)).transpose(-2, -1)


class ChannelMLP(nn.Module):
    """Neuron, 1x1 (x4), neuron, 1x1, on tokens."""

    def __init__(self, dim: int, make_neuron: NeuronFactory) -> None:
        super().__init__()
        self.neuron1 = make_neuron(1.0)
        self.expand = ConvBN(dim, 4 * dim, bias=True)
        self.neuron2 = make_neuron(1.0)
        self.project = ConvBN(4 * dim, dim, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.after_neuron1(self.neuron1(x))

    def after_neuron1(self, s: Tensor) -> Tensor:
        """Return what follows from the spikes of the first neuron."""
        return each_step(self.project, normalized(self.expand, self.neuron2, s))


class TransformerBlock(nn.Module):
    """`x + attention(x)`, then `x + MLP(x)`."""

    def __init__(self, dim: int, heads: int, attention: str, make_neuron: NeuronFactory, drop_path: float) -> None:
        super().__init__()
        self.attention = SpikeDrivenSelfAttention(dim, heads, attention, make_neuron)
        self.mlp = ChannelMLP(dim, make_neuron)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        attention, mlp, drop_path = self.attention, self.mlp, self.drop_path
        if drop_path.is_active or is_watched(attention, mlp, drop_path):
            x = x + drop_path(attention(x))
            return x + drop_path(mlp(x))
        s, x = shortcut(attention.project, mlp.neuron1, attention.spikes(x), x)
        return x + mlp.after_neuron1(s)


class DownSampling(nn.Module):
    """Neuron (none in the stem, which encodes the image directly), convolution, BatchNorm."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, make_neuron: NeuronFactory | None
    ) -> None:
        super().__init__()
        self.neuron = make_neuron(1.0) if make_neuron else nn.Identity()
        self.conv = ConvBN(in_channels, out_channels, kernel, stride, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return each_step(self.conv, self.neuron(x))


class SpikeformerV2(nn.Module):
    """Meta-SpikeFormer.

    Args:
        config: widths, depths and the like.
        make_neuron: called with a firing threshold for every neuron layer; ReLU here gives the float parent.
        timesteps: how often a static image is presented, T.
        attention: a key of `ATTENTIONS`.
    """

    def __init__(
        self,
        config: SpikeformerV2Config,
        make_neuron: NeuronFactory,
        timesteps: int = 4,
        attention: str = "sdsa3",
    ) -> None:
        super().__init__()
        if not _whole(timesteps, 1):
            raise InputError(f"timesteps was {timesteps}; give a whole number of at least 1.")
        if attention not in ATTENTIONS:
            raise unknown_name("attention", attention, ATTENTIONS)
        self.config = config
        self.timesteps = timesteps
        c1, c2, c3, c4 = config.widths
        stem_stride, stride1, stride2, stride3 = config.strides
        last = max(sum(config.depths) - 1, 1)
        drop = [config.drop_path * i / last for i in range(sum(config.depths))]

        def conv_blocks(dim: int, count: int) -> nn.Sequential:
            return nn.Sequential(*[ConvBlock(dim, config.separable_kernel, make_neuron) for _ in range(count)])

        def transformer_blocks(dim: int, drops: list[float]) -> nn.Sequential:
            return nn.Sequential(*[TransformerBlock(dim, config.heads, attention, make_neuron, p) for p in drops])

        self.stem = DownSampling(config.in_channels, c1 // 2, config.stem_kernel, stem_stride, None)
        self.stem_blocks = conv_blocks(c1 // 2, 1)
        self.down1 = DownSampling(c1 // 2, c1, 3, stride1, make_neuron)
        self.stage1 = conv_blocks(c1, 1)
        self.down2 = DownSampling(c1, c2, 3, stride2, make_neuron)
        self.stage2 = conv_blocks(c2, 2)
        self.down3 = DownSampling(c2, c3, 3, stride3, make_neuron)
        self.stage3 = transformer_blocks(c3, drop[: config.depths[0]])
        self.down4 = DownSampling(c3, c4, 3, 1, make_neuron)
        self.stage4 = transformer_blocks(c4, drop[config.depths[0] :])
        self.head_neuron = make_neuron(1.0)
        self.head = nn.Linear(c4, config.num_classes)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(module.weight, config.initial_gain)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[B, num_classes]`, the mean over T, for `[B, C, H, W]` or `[T, B, C, H, W]`."""
        return self.forward_steps(x).mean(0)

    def forward_steps(self, x: Tensor) -> Tensor:
        """Return the logits of every timestep, `[T, B, num_classes]`.

        A static `[B, C, H, W]` input is presented T times (direct encoding); a `[T, B, C, H, W]` input is
        taken as it is. Every pass starts from resting neurons.
        """
        reset(self)
        x = self._time_first(x)
        x = self.stem_blocks(self.stem(x))
        x = self.stage1(self.down1(x))
        x = self.stage2(self.down2(x))
        x = self.stage3(self.down3(x))
        x = self.stage4(self.down4(x))
        return self.head(self.head_neuron(x.mean((-2, -1))))

    def _time_first(self, x: Tensor) -> Tensor:
        if x.dim() not in (4, 5) or x.shape[-3] != self.config.in_channels:
            raise InputError(
                f"the model was given an input of shape {tuple(x.shape)}; "
                f"give [B, {self.config.in_channels}, H, W] or [T, B, {self.config.in_channels}, H, W]."
            )
        if x.dim() == 5 and x.shape[0] == 0:
            raise InputError(f"the model was given an input of shape {tuple(x.shape)}; T must be at least 1.")
        return x if x.dim() == 5 else x.unsqueeze(0).expand(self.timesteps, *x.shape)


def merge(model: nn.Module) -> nn.Module:
    """Return the inference form: a copy in which every re-parameterized part is one convolution.

    BatchNorms fold into their convolutions, RepConv becomes one dense 3x3, SepConv's second half one dense
    7x7, and the attention scale moves into the threshold, so that every convolution behind a neuron sees only
    spikes. `model` itself is left alone.
    """
    merged = copy.deepcopy(model).eval()
    for parent in list(merged.modules()):
        for name, child in parent.named_children():
            if isinstance(child, ConvBN | SeparableConvBN | RepConvBN):
                setattr(parent, name, child.merged())
        if isinstance(parent, SDSA3):
            parent.fold_scale()
    return merged


@register_model("spikeformer_v2", SpikeformerV2Config, merge)
def spikeformer_v2(
    config: SpikeformerV2Config, make_neuron: NeuronFactory, timesteps: int, attention: str
) -> SpikeformerV2:
    """Build Meta-SpikeFormer."""
    return SpikeformerV2(config, make_neuron, timesteps, attention)
