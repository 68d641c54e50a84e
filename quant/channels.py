"""Which axis of a tensor of the graph holds its channels."""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx

from quant.capture.operators import operator_name


def output_axis(operator: fx.Node, place: int) -> int | None:
    """Return the axis of the output channels in a weight that is argument number `place`; None where there is none."""
    name = operator_name(operator)
    shape = _shape(operator.args[place])
    if name in ("embedding", "embedding_bag", "_embedding_bag"):
        return None  # a scale for each word would be as large as a narrow word
    if "transpose" in name or (name == "convolution" and operator.args[6]):
        groups = operator.args[8 if name == "convolution" else 6] if len(operator.args) > 6 else 1
        return 1 if groups == 1 else None  # the outputs of all groups share the axis
    if "conv" in name or name == "linear":
        return 0
    if len(shape) < 2:
        return None
    return len(shape) - 1 if place == 1 else len(shape) - 2  # columns of the right matrix, rows of the left one


def channels_of(value: fx.Node, reader: fx.Node) -> tuple[int | None, int]:
    """Return axis and number of the channels of a value, by the nearest layer that reads or makes it.

    Args:
        value: the value.
        reader: who reads it; if no layer, what comes behind it is followed, then what comes before.

    Returns:
        (None, 1) where no layer tells.
    """
    for start, step in ((reader, _behind), (value, _before)):
        axis = _follow(start, value, step)
        if axis is not None:
            return axis, int(_shape(value)[axis])
    return None, 1


def _behind(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users), None)


def _before(node: fx.Node) -> fx.Node | None:
    return next((one for one in node.all_input_nodes if one.op != "get_attr"), None)


def _follow(start: fx.Node, value: fx.Node, step: Any) -> int | None:
    """Walk over operators that keep the shape until a layer is met."""
    node: fx.Node | None = start
    for _ in range(12):
        if node is None:
            return None
        name = operator_name(node) if node.op == "call_function" else ""
        dims = len(_shape(value))
        if "conv" in name:
            return dims - int(name.rpartition("conv")[2][-2:-1] or 2) - 1 if name != "convolution" else 1
        if name == "linear" or "matmul" in name or name in ("layer_norm", "native_layer_norm"):
            return dims - 1
        if "norm" in name or "norm" in str(node.target).lower() or "pool" in name:
            return 1
        if node is not value and len(_shape(node)) != dims:
            return None
        if name in ("permute", "transpose", "view", "reshape"):
            return None
        node = step(node)
    return None


def _shape(node: Any) -> tuple[Any, ...]:
    value = node.meta.get("val") if isinstance(node, fx.Node) else None
    return tuple(value.shape) if isinstance(value, Tensor) else ()
