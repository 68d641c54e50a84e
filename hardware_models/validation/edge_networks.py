"""Networks whose time or energy was published on edge chips, layer by layer from their papers' tables.

Only convolutions and linear layers: biases, normalization and pooling are left out, additions change no shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from hardware_models.workload import Bounds, Layer, Operand, Workload


class _Stack:
    """Layers one after another on a square image; each reads what the one before it wrote."""

    def __init__(self, size: int, channels: int, bits: int) -> None:
        self.size = size
        self.channels = channels
        self.bits = bits
        self.layers: list[Layer] = []

    def conv(self, filters: int, kernel: int, stride: int = 1, groups: int = 1, padding: int | None = None) -> None:
        """Add a convolution, padded so that stride 1 keeps the size unless `padding` says otherwise."""
        pad = kernel // 2 if padding is None else padding
        out = (self.size + 2 * pad - kernel) // stride + 1
        self._add("conv", filters, self.size, out, kernel, stride, groups, pad)
        self.size = out

    def depthwise(self, kernel: int, stride: int = 1) -> None:
        self.conv(self.channels, kernel, stride, groups=self.channels)

    def pool(self, size: int) -> None:
        """Reduce the image to `size` without a layer."""
        self.size = size

    def linear(self, outputs: int) -> None:
        self.channels, self.size = self.channels * self.size * self.size, 1
        self._add("linear", outputs, 1, 1, 1, 1, 1, 0)

    def branch(self, channels: int, filters: int, stride: int, size: int) -> None:
        """Add the 1x1 convolution of a residual shortcut; the main path is left as it is."""
        main, self.channels = self.channels, channels
        self._add("conv", filters, size, (size - 1) // stride + 1, 1, stride, 1, 0)
        self.channels = main

    def workload(self, name: str) -> Workload:
        chained = [
            layer.model_copy(update={"consumers": (after.name,)})
            for layer, after in zip(self.layers, self.layers[1:], strict=False)
        ]
        return Workload(name=name, timesteps=1, batch=1, layers=(*chained, self.layers[-1]))

    def _add(
        self, operator: str, filters: int, size: int, out: int, kernel: int, stride: int, groups: int, pad: int
    ) -> None:
        image, result = (size, size), (out, out)
        bounds = Bounds(
            groups=groups,
            in_channels=self.channels,
            out_channels=filters,
            in_size=image if operator == "conv" else (1,),
            out_size=result if operator == "conv" else (1,),
            kernel=(kernel, kernel) if operator == "conv" else (1,),
            stride=(stride, stride) if operator == "conv" else (1,),
            padding=(pad, pad) if operator == "conv" else (0,),
        )
        weights = filters * self.channels // groups * kernel * kernel
        layer = Layer(
            name=f"{len(self.layers):03d} {operator} {kernel}x{kernel}",
            operator="conv" if operator == "conv" else "linear",
            op=operator,
            timesteps=1,
            bounds=bounds,
            operands=(
                dense_operand("input", self.channels * size * size, self.bits),
                dense_operand("weight", weights, self.bits),
            ),
            out_elements=filters * out * out,
            macs=bounds.macs,
        )
        self.layers.append(layer)
        self.channels = filters


def dense_operand(name: str, elements: int, bits: int) -> Operand:
    """Return an operand without zeros; one called `weight` is the weight."""
    return Operand(
        name=name,
        role="weight" if name == "weight" else "activation",
        bits=bits,
        signed=True,
        form="float",
        elements=elements,
        nonzero=(elements,),
        density=(1.0,),
    )


def mobilenet_v1(bits: int = 8) -> Workload:
    """MobileNet v1, 224 (Howard et al., arXiv:1704.04861, table 1): 569 M MACs, 4.2 M weights."""
    net = _Stack(224, 3, bits)
    net.conv(32, 3, 2)
    for filters, stride in (
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *[(512, 1)] * 5,
        (1024, 2),
        (1024, 1),
    ):
        net.depthwise(3, stride)
        net.conv(filters, 1)
    net.pool(1)
    net.linear(1000)
    return net.workload("MobileNet v1")


def mobilenet_v2(bits: int = 8) -> Workload:
    """MobileNet v2, 224 (Sandler et al., arXiv:1801.04381, table 2): 300 M MACs, 3.4 M weights."""
    net = _Stack(224, 3, bits)
    net.conv(32, 3, 2)
    table = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, filters, repeats, first_stride in table:
        for repeat in range(repeats):
            if expansion > 1:
                net.conv(net.channels * expansion, 1)
            net.depthwise(3, first_stride if repeat == 0 else 1)
            net.conv(filters, 1)
    net.conv(1280, 1)
    net.pool(1)
    net.linear(1000)
    return net.workload("MobileNet v2")


def vgg(name: str, convolutions: tuple[int, ...], bits: int) -> Workload:
    """VGG, 224 (Simonyan and Zisserman, arXiv:1409.1556, table 1); `convolutions` in each of the five stages."""
    net = _Stack(224, 3, bits)
    for filters, count in zip((64, 128, 256, 512, 512), convolutions, strict=True):
        for _ in range(count):
            net.conv(filters, 3)
        net.pool(net.size // 2)
    for outputs in (4096, 4096, 1000):
        net.linear(outputs)
    return net.workload(name)


def resnet(name: str, blocks: tuple[int, ...], size: int, bits: int, bottleneck: bool = True) -> Workload:
    """ResNet (He et al., arXiv:1512.03385, table 1), stride in the first convolution of a stage."""
    net = _Stack(size, 3, bits)
    net.conv(64, 7, 2)
    net.pool((net.size - 1) // 2 + 1)
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        for block in range(count):
            stride = 2 if stage and not block else 1
            before, at = net.channels, net.size
            if bottleneck:
                net.conv(width, 1, stride)
                net.conv(width, 3)
                net.conv(4 * width, 1)
            else:
                net.conv(width, 3, stride)
                net.conv(width, 3)
            if before != net.channels:
                net.branch(before, net.channels, stride, at)
    net.pool(1)
    net.linear(1000)
    return net.workload(name)


def cifar_cnn(bits: int) -> Workload:
    """The ten-layer CIFAR-10 network of Jia et al. 2020, widths as recalled: 2 x 128, 2 x 256, 2 x 256, 3 linear.

    The abstract says ten layers; nine carry weights here, so that the sizes are a reading, not a record.
    """
    net = _Stack(32, 3, bits)
    for filters in (128, 256, 256):
        net.conv(filters, 3)
        net.conv(filters, 3)
        net.pool(net.size // 2)
    for outputs in (1024, 1024, 10):
        net.linear(outputs)
    return net.workload(f"CIFAR-10, {bits} bit")


def spikesim_vgg9() -> Workload:
    """The example of SpikeSim's ela_spikesim.py: seven convolutions, T = 5, output sizes as listed there.

    SpikeSim lists sizes after pooling and counts one PE cycle for each position; to it all inputs are spikes.
    """
    channels = (3, 64, 64, 128, 128, 256, 256)
    filters, sizes = (64, 64, 128, 128, 256, 256, 256), (32, 16, 16, 8, 8, 8, 4)
    layers = []
    for index, (inputs, outputs, size) in enumerate(zip(channels, filters, sizes, strict=True)):
        bounds = Bounds(
            in_channels=inputs, out_channels=outputs, in_size=(size, size), out_size=(size, size), kernel=(3, 3)
        )
        elements = inputs * size * size
        spikes = Operand(
            name="input",
            bits=1,
            signed=False,
            form="binary",
            elements=elements,
            nonzero=(elements,) * 5,
            density=(1.0,) * 5,
        )
        weights = dense_operand("weight", inputs * outputs * 9, 4)
        layer = Layer(
            name=f"conv{index + 1}",
            operator="conv",
            op="conv",
            timesteps=5,
            bounds=bounds,
            operands=(spikes, weights),
            out_elements=outputs * size * size,
            acs=bounds.macs * 5,
            driven_by="input",
            consumers=(f"conv{index + 2}",) if index < 6 else (),
        )
        layers.append(layer)
    return Workload(name="VGG9, SpikeSim's example", timesteps=5, batch=1, layers=tuple(layers))


NETWORKS: Final[Mapping[str, Callable[[], Workload]]] = {
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "vgg16": lambda: vgg("VGG-16", (2, 2, 3, 3, 3), 8),
    "vgg19": lambda: vgg("VGG-19", (2, 2, 4, 4, 4), 8),
    "resnet50_299": lambda: resnet("ResNet-50, 299", (3, 4, 6, 3), 299, 8),
    "resnet152_299": lambda: resnet("ResNet-152, 299", (3, 8, 36, 3), 299, 8),
    **{
        f"resnet{depth}_256_fp{bits}": partial(
            resnet, f"ResNet-{depth}, 256, fp{bits}", blocks, 256, bits, bottleneck=depth == 50
        )
        for depth, blocks in {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}.items()
        for bits in (16, 32)
    },
    "resnet34_binary": lambda: resnet("ResNet-34, binary", (3, 4, 6, 3), 224, 1, bottleneck=False),
    "cifar_cnn_1bit": lambda: cifar_cnn(1),
    "cifar_cnn_4bit": lambda: cifar_cnn(4),
    "spikesim_vgg9": spikesim_vgg9,
}
"""Builders by the names that the data files use."""
