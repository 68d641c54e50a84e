"""What low bits change in the mean of a layer's output, taken back by its bias.

Nagel et al. (arXiv:1906.04721, section 4.2) add E[y] - E[y'] to each channel of the quantized output y'. Where a
rectifier reads y, much of that mean is of values that it cuts off anyway, and correcting for those can do more harm
than good: the mean is taken over what passes on one of the two sides,

    b <- b + mean of (y - y') over all samples and positions where 0 < max(y, y')
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, fx, nn

from quant.capture.operators import operator_name

_WITH_BIAS: Final = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
                     "conv_transpose3d", "convolution")  # fmt: skip


def takes_bias(node: fx.Node) -> bool:
    """Whether the operator has a bias, or could have one."""
    return operator_name(node) in _WITH_BIAS


def is_rectified(node: fx.Node) -> bool:
    """Whether rectifiers alone read a value."""
    return bool(node.users) and all(
        one.op == "call_function" and (operator_name(one) == "relu" or ceiling(one) is not None) for one in node.users
    )


def ceiling(node: fx.Node) -> float | None:
    """Return where a clipped rectifier clips, 6 for ReLU6; None of any other operator."""
    if node.op != "call_function":
        return None
    if operator_name(node) == "relu6":
        return 6.0
    low, high = [*node.args[1:3], None, None][:2]
    if operator_name(node) in ("hardtanh", "clamp") and low == 0 and isinstance(high, int | float) and high > 0:
        return float(high)
    return None


def channel_axis(node: fx.Node, value: Tensor) -> int:
    """Return the axis of the output channels of an operator that takes a bias."""
    return value.dim() - 1 if operator_name(node) == "linear" else 1


def mean_difference(exact: Sequence[Tensor], quantized: Sequence[Tensor], axis: int, rectified: bool) -> Tensor:
    """Return the mean of y - y' for each channel, `[C]`; 0 for channels of which nothing counts.

    Args:
        exact: y for each batch.
        quantized: y' for each batch.
        axis: of the channels.
        rectified: count only what is above 0 in one of the two.
    """
    total: Tensor | float = 0.0
    count: Tensor | float = 0.0
    for y, found in zip(exact, quantized, strict=True):
        others = [i for i in range(y.dim()) if i != axis]
        counts = ((y > 0) | (found > 0)).double() if rectified else torch.ones_like(y, dtype=torch.float64)
        total = total + ((y - found) * counts).sum(others)
        count = count + counts.sum(others)
    assert isinstance(total, Tensor)
    assert isinstance(count, Tensor)
    return (total / count.clamp_min(1)).float()


@torch.no_grad()
def add_to_bias(module: fx.GraphModule, node: fx.Node, change: Tensor) -> fx.Node | None:
    """Add `[C]` to the bias of an operator; one that has none, or shares it with others, gets its own.

    Returns:
        The node that reads the bias where it is a new one.
    """
    arguments: list[Any] = [*node.args, *[None] * (3 - len(node.args))]
    old = arguments[2]
    if isinstance(old, fx.Node) and old.op == "get_attr":
        readers = [user for one in module.graph.find_nodes(op="get_attr", target=old.target) for user in one.users]
        bias = _tensor(module, str(old.target))
        if readers == [node]:
            bias.add_(change)
            return None
        change = bias + change
    elif old is not None:
        return None
    name = f"{node.name}_bias"
    module.register_parameter(name, nn.Parameter(change.clone()))
    with module.graph.inserting_before(node):
        made = module.graph.get_attr(name)
    arguments[2] = made
    node.args = tuple(arguments)
    module.recompile()
    return made


def _tensor(module: fx.GraphModule, path: str) -> Tensor:
    owner, _, name = path.rpartition(".")
    found: Tensor = getattr(module.get_submodule(owner), name)
    return found
