"""Runs a graph node by node over all batches at once: what a node needs can be chosen from all data before it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, fx
from torch.fx.node import map_arg

from quant.capture.constants import attribute, depends_on_input


class Walk:
    """The values of a graph that are still to be read, for each batch.

    Args:
        module: whose graph is run; a graph module.
        batches: inputs by position.
    """

    def __init__(self, module: fx.GraphModule, batches: Sequence[tuple[Tensor, ...]]) -> None:
        self.module, self.batches = module, batches
        self.nodes = list(module.graph.nodes)
        self.dynamic = depends_on_input(module.graph)
        self._inputs = iter(range(len(batches[0])))
        self._values: dict[fx.Node, list[Any]] = {}
        self._done: set[fx.Node] = set()

    def values(self, node: fx.Node) -> list[Any]:
        """Return what a node computed for each batch, while something is still to read it."""
        found = self._values[node]
        return found if node in self.dynamic else found * len(self.batches)

    def holds(self, node: fx.Node) -> bool:
        """Whether a node was computed and something is still to read it."""
        return node in self._values

    def peek(self, node: fx.Node) -> list[Any]:
        """Return what a node would compute now."""
        return [self._call(node, i) for i in range(len(self.batches))]

    def compute(self, node: fx.Node) -> None:
        """Run a node; forget what only this one was to read."""
        if node.op == "placeholder":
            place = next(self._inputs)
            found = [batch[place] for batch in self.batches]
        else:
            found = [self._call(node, i) for i in range(len(self.batches) if node in self.dynamic else 1)]
        self._values[node] = found
        self._done.add(node)
        for one in node.all_input_nodes:
            if all(user in self._done for user in one.users):
                self._values.pop(one, None)

    def until(self, name: str) -> fx.Node:
        """Run the nodes up to the one with this name that have not run yet; return that one."""
        for node in self.nodes:
            if node not in self._done:
                self.compute(node)
            if node.name == name:
                return node
        raise KeyError(name)

    def again(self, node: fx.Node) -> None:
        """Compute a node once more, whose tensor or quantizer was changed, with what it reads."""
        for one in [*node.all_input_nodes, node]:
            if one is node or (one in self._done and one not in self._values):
                self._values[one] = [self._call(one, 0)]

    def apply(self, node: fx.Node, change: Callable[[Any], Any]) -> None:
        """Change what a node computed."""
        self._values[node] = [change(one) for one in self._values[node]]

    def _call(self, node: fx.Node, batch: int) -> Any:
        def read(one: fx.Node) -> Any:
            found = self._values[one]
            return found[batch if len(found) > 1 else 0]

        if node.op == "get_attr":
            return attribute(self.module, str(node.target))
        args, kwargs = map_arg(node.args, read), map_arg(node.kwargs, read)
        if node.op == "call_module":
            return self.module.get_submodule(str(node.target))(*args, **kwargs)
        if node.op == "output":
            return args[0]
        assert callable(node.target)
        return node.target(*args, **kwargs)
