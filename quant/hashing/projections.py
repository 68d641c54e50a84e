"""Which projections queries, keys and values come from, and projections without the rows that nobody reads.

Networks often compute queries, keys and values in one linear operator. Where keys are no longer read, their rows are
taken out: what is left becomes a linear operator for each of the others.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from quant.capture.constants import attribute, depends_on_values
from quant.capture.operators import kind_of, operator_name
from quant.capture.samples import batch_symbol, where

aten = torch.ops.aten

_KEEP_TOKENS = (
    *("view", "reshape", "_unsafe_view", "permute", "transpose", "t", "movedim", "swapaxes", "flatten", "unflatten"),
    *("unsqueeze", "squeeze", "select", "unbind", "split", "split_with_sizes", "chunk", "tensor_split", "expand"),
    *("stack", "clone", "contiguous", "alias", "detach", "_to_copy", "to", "type_as"),
)
"""Moves that bring axes in order, or take queries, keys and values apart."""

_SAMPLES = 2
"""Samples of the trial that follows values through moves."""

_SAMPLES_FIRST, _TOKENS_FIRST = (0, 2, 1, 3), (1, 2, 0, 3)
"""Permutations to `[B, heads, N, width]` from a projection of `[B, N, ...]` and of `[N, B, ...]`."""


@dataclass(frozen=True)
class _Reader:
    """One operand of a hashed attention and the rows of a projection that it is made of.

    Attributes:
        role: `query`, `key` or `value`.
        node: the operand, `[B, heads, N, width]`.
        rows: `[heads, width]`, or None where it is something else than these rows of one token after the other.
        order: how `[.., .., heads, width]` with the axes of the projection becomes the operand.
    """

    role: str
    node: fx.Node
    rows: Tensor | None
    order: tuple[int, ...] = _SAMPLES_FIRST


def sources(node: fx.Node, dynamic: Collection[fx.Node]) -> set[fx.Node]:
    """Return what the linear operators and convolutions nearest before `node` read, up to copies and views.

    Where tokens are moved on the way, that is where the walk ends.
    """
    found, seen, todo = set(), set(), [node]
    while todo:
        one = todo.pop()
        if one in seen or one not in dynamic:
            continue
        seen.add(one)
        kind = kind_of(one, dynamic) if one.op == "call_function" else None
        if kind == "synapse":
            found.add(_unmoved(one.args[0]))
        elif kind is None or (kind == "move" and not _keeps_tokens(one)):
            found.add(one)
        else:
            todo.extend(one.all_input_nodes)
    return found


def _keeps_tokens(move: fx.Node) -> bool:
    """Whether a move is not known to leave out, exchange or add tokens."""
    name = operator_name(move)
    axis: Any = move.args[1] if len(move.args) > 1 else 0
    if name in ("slice", "narrow", "cat", "concat"):  # these may take heads or queries out of the last axis
        return bool(axis % len(move.meta["val"].shape) == len(move.meta["val"].shape) - 1)
    return name in _KEEP_TOKENS


def _unmoved(node: Any) -> fx.Node:
    while node.op == "call_function" and operator_name(node) in ("view", "reshape", "clone", "contiguous"):
        node = node.args[0]
    found: fx.Node = node
    return found


def drop_unread_rows(module: fx.GraphModule, attentions: dict[str, fx.Node]) -> dict[str, str]:
    """Split each projection of hashed attentions of which not all rows are read.

    Args:
        module: the graph, without dead code.
        attentions: the calls of hashed attentions, by path.

    Returns:
        By the path of an attention, the projection that lost rows and how many of how many are left.
    """
    dropped = {}
    for path, call in attentions.items():
        for linear, readers in _projections(module, call).items():
            total = linear.meta["val"].shape[-1]
            every = [reader.rows for reader in readers if reader.rows is not None]
            left = sum(rows.numel() for rows in every)
            if len(every) == len(readers) and left < total:
                for reader in readers:
                    _project_alone(module, linear, reader)
                dropped[path] = f"{left} of {total} rows of {where(linear)} are left"
    module.graph.eliminate_dead_code()
    return dropped


def _projections(module: fx.GraphModule, call: fx.Node) -> dict[fx.Node, list[_Reader]]:
    """The linear operators that only this attention reads, with its operands that come from each."""
    dynamic = depends_on_values(module.graph)
    found: dict[fx.Node, list[_Reader]] = {}
    for role, node in zip(("query", "key", "value"), call.args, strict=True):
        chain = _chain(node, dynamic)
        if chain and chain[0].target is aten.linear.default and _constant_weights(chain[0]):
            found.setdefault(chain[0], []).append(_reader(role, chain, batch_symbol(module.graph)))
    return {linear: readers for linear, readers in found.items() if _ends(linear, dynamic) == {call}}


def _chain(node: Any, dynamic: Collection[fx.Node]) -> list[fx.Node]:
    """The nodes from what is no move to `node`."""
    chain: list[fx.Node] = []
    while isinstance(node, fx.Node) and node.op == "call_function":
        chain.insert(0, node)
        if not _moves(node, dynamic):
            return chain
        node = node.args[0]
    return []


def _moves(node: fx.Node, dynamic: Collection[fx.Node]) -> bool:
    value = node.meta.get("val")
    takes_out = getattr(node.target, "__name__", "") == "getitem" and isinstance(value, Tensor)
    return takes_out or kind_of(node, dynamic) == "move" or isinstance(value, tuple | list)


def _constant_weights(linear: fx.Node) -> bool:
    return all(one is None or (isinstance(one, fx.Node) and one.op == "get_attr") for one in linear.args[1:3])


def _ends(linear: fx.Node, dynamic: Collection[fx.Node]) -> set[fx.Node]:
    """What reads the operator's result, moved or not."""
    found, todo = set(), [linear]
    while todo:
        for user in todo.pop().users:
            if user.op == "call_function" and _moves(user, dynamic):
                todo.append(user)
            elif isinstance(user.meta.get("val"), Tensor) or user.op == "output":
                found.add(user)
    return found


def _reader(role: str, chain: list[fx.Node], symbol: Any) -> _Reader:
    """Follow numbers from a projection through the moves behind it."""
    linear, *moves = chain
    shape = [_size(one, symbol) for one in linear.meta["val"].shape]
    total = shape[-1]
    values: dict[fx.Node, Any] = {linear: torch.arange(torch.Size(shape).numel()).view(shape)}

    def value(node: fx.Node) -> Any:
        return values[node] if node in values else _size(node.meta["val"], symbol)

    for node in moves:
        target: Any = node.target
        values[node] = target(*map_arg(node.args, value), **map_arg(node.kwargs, value))
    index: Tensor = values[chain[-1]]
    if index.dim() == 4:
        samples, _, tokens, _ = index.shape
        rows, places = index % total, index // total
        first = rows[:1, :, :1]
        for order in (_SAMPLES_FIRST, _TOKENS_FIRST):
            axes = (samples, tokens) if order == _SAMPLES_FIRST else (tokens, samples)
            each = torch.arange(samples * tokens).view(*axes, 1, 1).permute(order)
            if rows.equal(first.expand_as(rows)) and places.equal(each.expand_as(places)):
                return _Reader(role, chain[-1], first[0, :, 0], order)
    return _Reader(role, chain[-1], None)


def _size(size: Any, symbol: Any) -> int:
    return int(size.node.expr.subs(symbol, _SAMPLES)) if isinstance(size, torch.SymInt) else int(size)


def _project_alone(module: fx.GraphModule, linear: fx.Node, reader: _Reader) -> None:
    """Give an operand a linear operator of its own, with its rows alone."""
    assert reader.rows is not None
    rows, graph = reader.rows.flatten(), module.graph
    heads, width = reader.rows.shape
    tensors: list[fx.Node | None] = []
    with graph.inserting_before(linear):
        for argument in linear.args[1:3]:
            assert argument is None or isinstance(argument, fx.Node)
            tensors.append(argument and _take_rows(module, argument, reader.role, rows))
        made = insert(graph, aten.linear.default, (linear.args[0], *tensors), linear)
        tokens = reader.node.meta["val"].shape[2]
        axes = [-1, tokens] if reader.order == _SAMPLES_FIRST else [tokens, -1]
        split = insert(graph, aten.reshape.default, (made, [*axes, heads, width]), reader.node)
        moved = insert(graph, aten.permute.default, (split, list(reader.order)), reader.node)
    reader.node.replace_all_uses_with(moved)


def _take_rows(module: fx.GraphModule, tensor: fx.Node, role: str, rows: Tensor) -> fx.Node:
    old = attribute(module, str(tensor.target))
    owner, _, last = str(tensor.target).rpartition(".")
    name = f"{role}_{last}"
    parameter = nn.Parameter(old.detach()[rows].clone(), requires_grad=old.requires_grad)
    (attribute(module, owner) if owner else module).register_parameter(name, parameter)
    made = module.graph.get_attr(f"{owner}.{name}" if owner else name)
    made.meta["val"] = tensor.meta["val"][: len(rows)] if "val" in tensor.meta else parameter
    return made


def insert(graph: fx.Graph, target: Any, args: tuple[Any, ...], like: fx.Node) -> fx.Node:
    """Call an operator at the place of insertion, as part of the module that `like` came from."""
    node = graph.call_function(target, args)
    node.meta = dict(like.meta)
    node.meta["val"] = target(*map_arg(args, lambda one: one.meta["val"]))
    return node
