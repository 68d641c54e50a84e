"""Where a layer of a graph takes its taps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx

from quant.capture.operators import operator_name
from quant.packed.formats import UnpackableError

_UNKNOWN = 1024


@dataclass(frozen=True)
class Places:
    """A convolution or linear layer without its weight.

    Attributes:
        axis: of the channels of its input and of its output.
        dims: axes of its input.
        positions: of the output, for each sample; 1024 where the graph does not tell.
        bias: the node that holds it.
        groups: of a convolution.
        settings: stride, padding and dilation of a convolution.
    """

    axis: int
    dims: int
    positions: int
    bias: fx.Node | None
    groups: int = 1
    settings: dict[str, Any] = field(default_factory=dict)


def places(node: fx.Node, kernel: tuple[int, ...]) -> Places:
    """Return how a node takes the taps of a kernel, whose sizes are () for a linear layer.

    Raises:
        UnpackableError: it is no convolution of one or two axes and no linear layer.
    """
    arguments: list[Any] = list(node.args)
    name, shape = operator_name(node), _shape(node)
    if name == "linear":
        dims = len(shape)
        return Places(max(dims - 1, 0), dims, _positions(shape, 1, dims - 1), _bias(arguments))
    if name in ("conv1d", "conv2d"):
        axes = int(name[-2])
        stride, padding, dilation, groups = (arguments[3:] + [1, 0, 1, 1][len(arguments[3:]) :])[:4]
    elif name == "convolution" and not arguments[6] and len(arguments[3]) in (1, 2):
        axes = len(arguments[3])
        stride, padding, dilation, groups = *arguments[3:6], arguments[8]
    else:
        raise UnpackableError(f"{name}: packed are convolutions of one or two axes and linear layers")
    dilation = _each(dilation, axes)
    if isinstance(padding, str):
        padding = _padding(padding, kernel, dilation)
    settings = {"stride": _each(stride, axes), "padding": _each(padding, axes), "dilation": dilation}
    return Places(1, axes + 2, _positions(shape, 2, 4), _bias(arguments), groups, settings)


def _each(value: Any, axes: int) -> tuple[int, ...]:
    found = (value,) if isinstance(value, int) else tuple(value)
    return found * axes if len(found) == 1 else found


def _padding(words: str, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    """What `valid` and `same` stand for."""
    if words == "valid":
        return (0,) * len(dilation)
    whole = [by * (size - 1) for by, size in zip(dilation, kernel, strict=True)]
    if any(one % 2 for one in whole):
        raise UnpackableError("a padding that is wider on one side")
    return tuple(one // 2 for one in whole)


def _bias(arguments: list[Any]) -> fx.Node | None:
    found: fx.Node | None = arguments[2] if len(arguments) > 2 else None
    if found is not None and found.op != "get_attr":
        raise UnpackableError("a bias that is computed")
    return found


def _positions(shape: tuple[Any, ...], first: int, end: int) -> int:
    """The product of those axes whose size is known."""
    return math.prod(size for size in shape[first:end] if isinstance(size, int)) if shape else _UNKNOWN


def _shape(node: fx.Node) -> tuple[Any, ...]:
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, Tensor) else ()
