"""Softmax attention of any network exchanged for hashed attention, and a record of what became of each."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from hardware_models.errors import InputError, unknown_name
from quant.capture import Captured, SamplePlace, capture
from quant.capture.constants import depends_on_values, drop_unread, tensor_names
from quant.capture.samples import line
from quant.hashing.attention import HashedAttention, Offset, check_bits
from quant.hashing.learning import learn_hashes
from quant.hashing.patterns import SoftmaxAttention, find_attentions
from quant.hashing.projections import drop_unread_rows, insert, sources

aten = torch.ops.aten


@dataclass(frozen=True)
class Became:
    """What became of one softmax attention.

    Attributes:
        path: of its module.
        became: `hashed`, or `kept` as it was.
        note: why it was kept; of a hashed one, what hashes its keys and what its projections lost.
        heads: number of heads with hash functions of their own; 0 where it was kept.
        queries: number of queries.
        keys: number of keys.
        separation: how much nearer the codes of similar tokens are, by bit, see `learn_hashes`.
    """

    path: str
    became: Literal["hashed", "kept"]
    note: str
    heads: int = 0
    queries: int = 0
    keys: int = 0
    separation: float = 0.0


class Hashed(NamedTuple):
    """A converted network and what became of each of its softmax attentions, in order of execution."""

    network: fx.GraphModule
    record: tuple[Became, ...]


def hash_attention(
    model: nn.Module | ExportedProgram,
    example: Tensor | tuple[Tensor, ...] | dict[str, Tensor],
    *,
    bits: int = 16,
    anchors: int = 25,
    select: Sequence[str] = ("*",),
    keep: Sequence[str] = (),
    share: bool = True,
    offset: Offset = "all",
    pairs: int = 10,
    iterations: int = 100,
    seed: int = 0,
) -> Hashed:
    """Exchange softmax attention for `HashedAttention`, with hash functions learned from the example.

    Layers learn one after the other, each from what the hashed layers before it hand on. The answer of the network
    changes, so it has to be trained further; gradients pass the signs straight through.

    Args:
        model: a module in evaluation mode, or an exported program with a dynamic batch.
        example: its input, inputs by position or by name, each with the batch as first axis.
        bits: of a code, 1 to 64.
        anchors: of the kernel.
        select: which attentions to hash, as patterns of module paths such as `stages.0.*`.
        keep: which to leave as they are, though selected; the only way past one that hashing cannot express.
        share: let queries be the keys wherever both are projections of the same tokens, as EcoFormer does; the keys'
            projection is dropped. Otherwise keys stay and are hashed by the same functions.
        offset: see `HashedAttention`.
        pairs: see `learn_hashes`.
        iterations: see `learn_hashes`.
        seed: of anchors and hash functions.

    Returns:
        The network, which takes inputs by position, and the record.

    Raises:
        InputError: no softmax attention, none selected, a pattern without a match, a selected attention with a bias,
            a mask or a form that hashing cannot express, or activations that nothing can be learned from.
    """
    check_bits(bits)
    captured = capture(model, example)
    found = find_attentions(captured.graph)
    chosen = _choose(found, select, keep)
    _refuse_obstacles(one for one in found if one.path in chosen)
    dynamic = depends_on_values(captured.graph.graph)
    before = tensor_names(captured.graph)
    hashed = {}
    for attention in found:
        if attention.path in chosen:
            hashed[attention.path] = _Site(captured, attention, share, dynamic)
    replaced: dict[fx.Node, fx.Node] = {}
    for number, site in enumerate(hashed.values()):
        site.replace(bits, anchors, offset, seed + number, replaced)
    captured.graph.graph.eliminate_dead_code()
    dropped = drop_unread_rows(captured.graph, {path: site.call for path, site in hashed.items()})
    drop_unread(captured.graph, before)
    captured.graph.graph.lint()
    captured.graph.recompile()
    modules = {path: site.module for path, site in hashed.items()}
    learned = _learn(captured, modules, pairs, iterations, seed)
    record = []
    for one in found:
        if one.path in hashed:
            record.append(hashed[one.path].became(learned[one.path], dropped.get(one.path, "")))
        else:
            asked = any(fnmatch.fnmatchcase(one.path, pattern) for pattern in keep)
            reasons = ["as asked" if asked else "not selected", *([one.obstacle] if one.obstacle else [])]
            record.append(Became(one.path, "kept", "; ".join(reasons)))
    return Hashed(captured.graph, tuple(record))


def _choose(found: list[SoftmaxAttention], select: Sequence[str], keep: Sequence[str]) -> set[str]:
    """Return the paths to hash."""
    if not found:
        raise InputError(
            "the network holds no softmax attention (a softmax over the last axis that multiplies values), expected "
            "at least one; give a network with attention."
        )
    paths = [one.path for one in found]
    for pattern in (*select, *keep):
        if not fnmatch.filter(paths, pattern):
            raise unknown_name("pattern of attention paths", pattern, paths)

    def matches(path: str, patterns: Sequence[str]) -> bool:
        return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)

    chosen = {path for path in paths if matches(path, select) and not matches(path, keep)}
    if not chosen:
        raise InputError(f"keep={list(keep)} leaves none of {len(paths)} attentions to hash; keep fewer.")
    return chosen


def _refuse_obstacles(chosen: Iterable[SoftmaxAttention]) -> None:
    refused = [one for one in chosen if one.obstacle]
    if refused:
        first = refused[0]
        more = f" ({len(refused) - 1} more like it: {', '.join(one.path for one in refused[1:])})" * (len(refused) > 1)
        raise InputError(
            f"the attention of {line(first.product)} cannot be hashed because {first.obstacle}{more}; "
            f"keep it with keep=[{', '.join(repr(one.path) for one in refused)}]."
        )


class _Site:
    """One attention of the graph on its way to a hashed one.

    Args:
        captured: the graph.
        attention: without an obstacle.
        share: whether keys shall be queries where that is possible.
        dynamic: the nodes that depend on the values of the inputs.
    """

    module: HashedAttention
    call: fx.Node

    def __init__(self, captured: Captured, attention: SoftmaxAttention, share: bool, dynamic: set[fx.Node]) -> None:
        self._graph, self._attention = captured.graph, attention
        query, key = _known(attention.query), _known(attention.key)
        self.queries, self.width = (int(size) for size in query.meta["val"].shape[-2:])
        self.keys = int(key.meta["val"].shape[-1 if attention.turned else -2])
        self.heads = _heads(query, captured.samples.get(query.name), captured)
        self.alone = self._why_alone(query, key, share, dynamic)

    def _why_alone(self, query: fx.Node, key: fx.Node, share: bool, dynamic: set[fx.Node]) -> str:
        """Why keys are not the queries; empty where they are."""
        if not share:
            return "as asked"
        if self.queries != self.keys:
            return f"{self.queries} queries meet {self.keys} keys"
        same = sources(query, dynamic) == sources(key, dynamic)
        return "" if same else "queries and keys are not projections of the same tokens"

    def replace(self, bits: int, anchors: int, offset: Offset, seed: int, replaced: dict[fx.Node, fx.Node]) -> None:
        """Put the module in the place of the attention; `replaced` has the results that others stand for by now."""
        attention, graph = self._attention, self._graph.graph
        if offset == "own" and self.queries != self.keys:
            raise InputError(
                f"{attention.path}: {self.queries} queries meet {self.keys} keys, but offset 'own' adds a query its "
                "own value; use offset='all', or keep this attention."
            )
        self.module = HashedAttention(self.heads, self.width, bits, anchors, offset, seed)
        self.module.eval()
        place = f"{attention.path}.hashed".replace("#", "_").removeprefix("the network.")
        self._graph.add_submodule(place, self.module)
        product = attention.product
        value = product.meta["val"]
        with graph.inserting_before(product):
            query, key, values = (
                replaced.get(one, one) for one in map(_known, (attention.query, attention.key, attention.value))
            )
            keys = self._by_heads(self._tokens_first(key)) if self.alone else None
            self.call = graph.call_module(place, (self._by_heads(query), keys, self._by_heads(values)))
            self.call.meta = dict(product.meta)
            made = self.call
            if value.dim() != 4 or value.shape[1] != self.heads:
                self.call.meta["val"] = value.reshape(-1, self.heads, *value.shape[-2:])
                shape = [-1 if isinstance(size, torch.SymInt) else size for size in value.shape]
                made = insert(graph, aten.reshape.default, (self.call, shape), product)
        product.replace_all_uses_with(made)
        replaced[product] = made

    def became(self, separation: float, dropped: str) -> Became:
        """Return the line of the record."""
        keys = f"keys hashed on their own: {self.alone}" if self.alone else "keys are the queries"
        note = f"{keys}; {dropped}" if dropped else keys
        return Became(self._attention.path, "hashed", note, self.heads, self.queries, self.keys, separation)

    def _tokens_first(self, key: fx.Node) -> fx.Node:
        if not self._attention.turned:
            return key
        return insert(self._graph.graph, aten.transpose.int, (key, -2, -1), self._attention.product)

    def _by_heads(self, node: fx.Node) -> fx.Node:
        """`[B, heads, N, d]` of `[..., N, d]`."""
        shape = node.meta["val"].shape
        if len(shape) == 4 and shape[1] == self.heads:
            return node
        wanted = [-1, self.heads, *(int(size) for size in shape[-2:])]
        return insert(self._graph.graph, aten.reshape.default, (node, wanted), node)


def _known(node: fx.Node | None) -> fx.Node:
    assert node is not None  # there is no obstacle
    return node


def _heads(query: fx.Node, place: SamplePlace | None, captured: Captured) -> int:
    """How many matrices in a row have hash functions of their own: the heads, where the axes show them."""
    shape = query.meta["val"].shape
    if len(shape) >= 4 and not isinstance(shape[-3], torch.SymInt):
        return int(shape[-3])
    if len(shape) == 3 and place is not None and (place.axis, place.outer) == (0, 1):
        expression: Any = shape[0].node.expr
        return int(expression.subs(dict.fromkeys(expression.free_symbols, 1)))
    return 1


def _learn(
    captured: Captured, modules: dict[str, HashedAttention], pairs: int, iterations: int, seed: int
) -> dict[str, float]:
    """Run the example; each attention learns when its turn comes. Returns separations by path."""
    found: dict[str, float] = {}

    def hook(path: str) -> Any:
        def learn(module: nn.Module, args: tuple[Any, ...]) -> None:
            assert isinstance(module, HashedAttention)
            try:
                found[path] = learn_hashes(module, args[0], args[1], pairs=pairs, iterations=iterations, seed=seed)
            except InputError as error:
                raise InputError(f"{path}: {error}") from error

        return learn

    handles = [module.register_forward_pre_hook(hook(path)) for path, module in modules.items()]
    try:
        with torch.no_grad():
            captured.graph(*captured.example)
    finally:
        for handle in handles:
            handle.remove()
    return found
