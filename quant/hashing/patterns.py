"""Where a captured graph computes softmax attention: softmax(scale q k^T) v, and what else stands in between.

What is looked for is a softmax whose result multiplies another value that depends on the input. Scaling is followed,
for codes do not depend on the lengths of queries and keys; anything else is an obstacle, which is named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from quant.capture.constants import attribute, depends_on_values
from quant.capture.operators import kind_of, operator_name
from quant.capture.samples import where

_SOFTMAX = ("softmax", "_softmax", "_safe_softmax")
_PRODUCTS = ("matmul", "bmm", "mm")
_PASSES = ("clone", "contiguous", "alias", "detach", "_to_copy", "to", "type_as", "lift_fresh_copy")
_SCALES = ("mul", "multiply", "div", "divide", "true_divide")
_FOLLOWED = ("move", "scale", "synapse")
_MASKS = ("masked_fill", "where", "masked_scatter")


@dataclass(frozen=True)
class SoftmaxAttention:
    """One softmax attention of a graph.

    Attributes:
        path: of the module that computes it; `#2` and so on where a module has several.
        product: the last matrix product, whose result is that of the attention.
        scores: the first matrix product; None where there is an obstacle.
        query: `[..., N, d]`; the value before it was scaled.
        key: `[..., d, M]` where `turned`, else `[..., M, d]`; the value before it was scaled.
        value: `[..., M, e]`.
        turned: whether `key` still has tokens as its last axis.
        scales: the nodes that only scale.
        obstacle: why hashing cannot express it; empty where it can.
    """

    path: str
    product: fx.Node
    scores: fx.Node | None = None
    query: fx.Node | None = None
    key: fx.Node | None = None
    value: fx.Node | None = None
    turned: bool = False
    scales: tuple[fx.Node, ...] = ()
    obstacle: str = ""


class _Walk(NamedTuple):
    """Where a walk against the edges ended, over which scalings, and what stood in its way."""

    end: fx.Node
    scales: tuple[fx.Node, ...] = ()
    obstacle: str = ""


def find_attentions(module: fx.GraphModule) -> list[SoftmaxAttention]:
    """Return the softmax attentions of a graph whose nodes have fake values, in order of execution."""
    dynamic = depends_on_values(module.graph)
    found: list[SoftmaxAttention] = []
    for softmax in module.graph.nodes:
        if softmax.op == "call_function" and operator_name(softmax) in _SOFTMAX:
            for product in _products_of(softmax, dynamic):
                paths = [one.path.partition("#")[0] for one in found]
                again = paths.count(where(product))
                path = where(product) + (f"#{again + 1}" if again else "")
                found.append(_read(module, softmax, product, path, dynamic))
    return found


def strip(node: Any, through: Callable[[fx.Node], bool]) -> fx.Node:
    """Walk back over first operands as long as `through` holds."""
    while node.op == "call_function" and through(node):
        node = node.args[0]
    found: fx.Node = node
    return found


def passes(node: fx.Node) -> bool:
    """Whether a node hands on what it reads, unchanged."""
    return operator_name(node) in _PASSES


def _products_of(softmax: fx.Node, dynamic: Collection[fx.Node]) -> list[fx.Node]:
    """The products of a softmax's result, moved, scaled or mixed among heads, with another value."""
    found, todo = [], [softmax]
    while todo:
        node = todo.pop()
        for user in node.users:
            if operator_name(user) in _PRODUCTS:
                others = [one for one in user.args[:2] if one is not node]
                if any(one in dynamic for one in others):
                    found.append(user)
            elif user.op == "call_function" and kind_of(user, dynamic) in _FOLLOWED:
                todo.append(user)
    return found


def _read(
    module: fx.GraphModule, softmax: fx.Node, product: fx.Node, path: str, dynamic: Collection[fx.Node]
) -> SoftmaxAttention:
    left: Any = product.args[0]
    right: Any = product.args[1]
    if strip(left, passes) is not softmax:
        return SoftmaxAttention(path, product, obstacle="the result of its softmax is changed before it weighs values")
    axis, dims = softmax.args[1], len(softmax.meta["val"].shape)
    if axis not in (-1, dims - 1):
        return SoftmaxAttention(path, product, obstacle=f"its softmax is over axis {axis} of {dims}")
    walk = _walk(module, softmax.args[0], per_score=True)
    if walk.obstacle:
        return SoftmaxAttention(path, product, obstacle=walk.obstacle)
    if operator_name(walk.end) not in _PRODUCTS or any(one not in dynamic for one in walk.end.args[:2]):
        reason = f"its scores come from {walk.end.target}, not from a product of queries and keys"
        return SoftmaxAttention(path, product, obstacle=reason)
    query, key = (_walk(module, one, per_score=False) for one in walk.end.args[:2])
    turned = not _turns(key.end)
    if not turned:  # the scale may stand on either side of the transposition
        inner = _walk(module, key.end.args[0], per_score=False)
        key = _Walk(inner.end, (*key.scales, *inner.scales))
    scales = (*walk.scales, *query.scales, *key.scales)
    shapes = [tuple(node.meta["val"].shape[:-2]) for node in (query.end, key.end, right)]
    if any(shape != shapes[0] for shape in shapes):
        reason = "its queries, keys and values do not have the same samples and heads"
        return SoftmaxAttention(path, product, obstacle=reason)
    if len(shapes[0]) == 0:
        return SoftmaxAttention(path, product, obstacle="its queries have two axes, so the batch is one of the tokens")
    return SoftmaxAttention(path, product, walk.end, query.end, key.end, right, turned, scales)


def _walk(module: fx.GraphModule, start: Any, per_score: bool) -> _Walk:
    """Walk back over copies and positive scalings: of scores, or of queries and keys token by token."""
    node, scales = start, []
    while node.op == "call_function":
        name = operator_name(node)
        if name in _SCALES and _is_positive_scale(module, node, per_score):
            scales.append(node)
            node = next(one for one in node.args[:2] if not _is_constant(one))
        elif passes(node):
            node = node.args[0]
        else:
            break
    return _Walk(node, tuple(scales), _obstacle(node) if per_score else "")


def _obstacle(node: fx.Node) -> str:
    name = operator_name(node)
    if name in ("add", "sub"):
        return "a bias or mask is added to its scores"
    if name in _MASKS:
        return "its scores are masked"
    if name in _SCALES:
        return "its scores are multiplied by what is no positive constant of each head"
    return ""


def _is_positive_scale(module: fx.GraphModule, node: fx.Node, per_score: bool) -> bool:
    """Whether it multiplies all scores of a head, or all of a query, by one positive constant."""
    first, second = node.args[:2]
    if node.kwargs or (not _is_constant(second) and (not _is_constant(first) or "mul" not in operator_name(node))):
        return False
    factor: Any = second if _is_constant(second) else first
    if not isinstance(factor, fx.Node):
        return bool(factor > 0)
    value = attribute(module, str(factor.target))
    axes = 2 if per_score else 1
    alike = isinstance(value, Tensor) and all(size == 1 for size in value.shape[-axes:])
    return alike and bool((value > 0).all())


def _is_constant(argument: Any) -> bool:
    return isinstance(argument, int | float) or (isinstance(argument, fx.Node) and argument.op == "get_attr")


def _turns(node: fx.Node) -> bool:
    """Whether a node exchanges the last two axes and does nothing else."""
    if node.op != "call_function":
        return False
    name, dims = operator_name(node), node.meta["val"].dim()
    last = {dims - 2, dims - 1}
    if name in ("transpose", "swapaxes"):
        exchanged: Any = node.args[1:3]
        return {axis % dims for axis in exchanged} == last
    if name == "permute":
        order: Any = node.args[1]
        return [axis % dims for axis in order] == [*range(dims - 2), dims - 1, dims - 2]
    return node.target is torch.ops.aten.t.default
