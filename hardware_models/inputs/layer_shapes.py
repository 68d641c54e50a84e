"""Sizes of hand-written layers: from what a layer reads to its loop bounds and what it gives.

output = floor((input + 2 padding - dilation (kernel - 1) - 1) / stride) + 1             convolution, pool
output = (input - 1) stride - 2 padding + dilation (kernel - 1) + output padding + 1     transposed
output = ceil(input / stride)                                                            padding "same"
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from hardware_models.inputs.entries import Entries
from hardware_models.whole_numbers import ceil_divide
from hardware_models.workload import Bounds


class Shape(NamedTuple):
    """Sizes of a tensor of one sample and timestep.

    Attributes:
        channels: of a grid, its channels; of rows, their features.
        positions: height and width; of rows, their number.
        rows: whether it is written `[rows, features]`, not `[channels, height, width]`.
    """

    channels: int
    positions: tuple[int, ...]
    rows: bool = False

    @property
    def elements(self) -> int:
        """Number of values."""
        return self.channels * math.prod(self.positions)

    def __str__(self) -> str:
        sizes = (*self.positions, self.channels) if self.rows else (self.channels, *self.positions)
        return "x".join(map(str, sizes))


class Producer(NamedTuple):
    """A layer that is read, and the shape it gives."""

    name: str
    shape: Shape


def input_shape(entries: Entries, producers: Sequence[Producer], rows: bool) -> Shape:
    """Return the shape that a layer reads.

    It is the stated one, which must fit its producers, or that of its one producer; rows flatten a grid.

    Raises:
        InputError: nothing tells the shape, or it does not follow from the producers.
    """
    stated = _stated(entries, rows)
    if stated is not None:
        _check(entries, stated, producers)
        return stated
    if len({producer.shape for producer in producers}) != 1 or (len(producers) > 1 and entries.text("kind") != "add"):
        needed = "the sizes of what it reads" if not producers else "telling whether its inputs are added or joined"
        entries.missing("in", needed)
    shape = producers[0].shape
    if rows and not shape.rows:
        return Shape(shape.elements, (1,), True)
    if not rows and shape.rows and "kernel" in entries.given:
        entries.missing("in", f"the channels and positions of {shape} values from {producers[0].name}")
    return shape


def _stated(entries: Entries, rows: bool) -> Shape | None:
    sizes = entries.sizes("in")
    parts = {key: entries.size(key) for key in ("channels", "height", "width")}
    if sizes is None:
        if all(size is None for size in parts.values()):
            return None
        for key in ("channels", "height") if not rows else ("channels",):
            if parts[key] is None:
                entries.missing(key, "the sizes of what it reads")
        sizes = tuple(size for size in parts.values() if size is not None)
    elif any(size is not None for size in parts.values()):
        entries.refuse("the sizes are given twice, as in and as channels, height or width; keep one.")
    if rows:
        if len(sizes) > 2:
            entries.refuse(f"in has {len(sizes)} sizes; give features, or rows and features.")
        return Shape(sizes[-1], sizes[:-1] or (1,), True)
    return Shape(sizes[0], sizes[1:] or (1,))


def _check(entries: Entries, shape: Shape, producers: Sequence[Producer]) -> None:
    """Refuse a stated shape that is neither that of every producer nor theirs joined along the channels."""
    joined = sum(producer.shape.channels for producer in producers)
    alike = all(producer.shape.positions == shape.positions for producer in producers)
    if not producers or (alike and joined == shape.channels):
        return
    for name, given in producers:
        same_writing = given.rows == shape.rows
        if given.elements != shape.elements or (same_writing and given != shape):
            entries.refuse(f"it reads {shape} values, but {name} gives {given}; mend in, or name its producer in from.")


def check_elements(entries: Entries, side: str, elements: int, producer: Producer) -> None:
    """Refuse a matrix operand whose size is not that of its producer."""
    if producer.shape.elements != elements:
        entries.refuse(
            f"its {side} operand has {elements} values, but {producer.name} gives {producer.shape}; mend heads, m, k, "
            "n or from."
        )


class Window(NamedTuple):
    """The moving window of a convolution or pool, by axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    out: tuple[int, ...]


def window(entries: Entries, positions: tuple[int, ...], pool: bool = False, transposed: bool = False) -> Window:
    """Return the window over `positions` and the sizes of its result.

    Raises:
        InputError: a size is missing, has the wrong number of axes, or the kernel exceeds the padded input.
    """
    axes = len(positions)
    kernel = _by_axis(entries, "kernel", axes)
    if kernel is None:
        entries.missing("kernel", "its window")
    stride = _by_axis(entries, "stride", axes) or (kernel if pool else (1,) * axes)
    dilation = _by_axis(entries, "dilation", axes) or (1,) * axes
    spread = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
    if str(entries.raw("padding")).lower() == "same":
        if transposed:
            entries.refuse("padding is 'same', which a transposed convolution does not have; give numbers.")
        out = tuple(ceil_divide(size, step) for size, step in zip(positions, stride, strict=True))
        total = [max(0, (o - 1) * s + w - p) for o, s, w, p in zip(out, stride, spread, positions, strict=True)]
        return Window(kernel, stride, tuple(pad // 2 for pad in total), dilation, out)
    padding = _by_axis(entries, "padding", axes, least=0) or (0,) * axes
    if transposed:
        extra = _by_axis(entries, "output_padding", axes, least=0) or (0,) * axes
        grown = zip(positions, stride, padding, spread, extra, strict=True)
        out = tuple((size - 1) * step - 2 * pad + wide + more for size, step, pad, wide, more in grown)
    else:
        out = tuple(
            (size + 2 * pad - wide) // step + 1
            for size, pad, wide, step in zip(positions, padding, spread, stride, strict=True)
        )
    if min(out) < 1:
        kind = "padding exceeds what the kernel gives" if transposed else "kernel is larger than the padded input"
        entries.refuse(f"its {kind}: {_x(kernel)} on {_x(positions)} with padding {_x(padding)}; mend one of them.")
    return Window(kernel, stride, padding, dilation, out)


def conv_bounds(entries: Entries, shape: Shape, depthwise: bool, transposed: bool) -> Bounds:
    """Return the loop bounds of a convolution on `shape`; a depthwise one has a group for each channel."""
    groups = shape.channels if depthwise else entries.size("groups") or 1
    filters = entries.size("filters") or (shape.channels if depthwise else None)
    if filters is None:
        entries.missing("filters", "its output channels")
    if shape.channels % groups or filters % groups:
        entries.refuse(
            f"{shape.channels} input channels and {filters} filters do not divide into {groups} groups; mend one of "
            "them."
        )
    sizes = window(entries, shape.positions, transposed=transposed)
    return Bounds(
        groups=groups,
        in_channels=shape.channels,
        out_channels=filters,
        in_size=shape.positions,
        out_size=sizes.out,
        kernel=sizes.kernel,
        stride=sizes.stride,
        padding=sizes.padding,
        dilation=sizes.dilation,
        transposed=transposed,
    )


def linear_bounds(entries: Entries, shape: Shape) -> Bounds:
    """Return the loop bounds of a linear layer on rows."""
    filters = entries.size("filters")
    if filters is None:
        entries.missing("filters", "its outputs")
    return Bounds(in_channels=shape.channels, out_channels=filters, in_size=shape.positions, out_size=shape.positions)


def matmul_bounds(entries: Entries) -> Bounds:
    """Return the loop bounds of `heads` products `[m, k] x [k, n]`."""
    sizes = {key: entries.size(key) for key in ("m", "k", "n")}
    for key, size in sizes.items():
        if size is None:
            entries.missing(key, "its product [m, k] x [k, n]")
    heads, m, k, n = entries.size("heads") or 1, sizes["m"] or 0, sizes["k"] or 0, sizes["n"] or 0
    return Bounds(groups=heads, in_channels=heads * k, out_channels=heads * n, in_size=(m,), out_size=(m,))


def _by_axis(entries: Entries, key: str, axes: int, least: int = 1) -> tuple[int, ...] | None:
    sizes = entries.sizes(key, least)
    if sizes is None or len(sizes) == axes:
        return sizes
    if len(sizes) != 1:
        entries.refuse(f"{key} has {len(sizes)} sizes for {axes} axes; give one, or one for each axis.")
    return sizes * axes


def _x(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))
