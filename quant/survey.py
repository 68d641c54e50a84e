"""What is known of a graph before quantizers stand in it: its first and last layers, the signs of its values."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, fx

from quant.capture.operators import kind_of
from quant.recipes import End


def ends(graph: fx.Graph, dynamic: Collection[fx.Node]) -> dict[fx.Node, End]:
    """Return the layers with weights that no other such layer comes before, and those that none comes behind."""
    layers = {one for one in graph.nodes if one.op == "call_function" and kind_of(one, dynamic) == "synapse"}
    after: set[fx.Node] = set()
    before: set[fx.Node] = set()
    for node in graph.nodes:
        if any(one in after or one in layers for one in node.all_input_nodes):
            after.add(node)
    for node in reversed(list(graph.nodes)):
        if any(one in before or one in layers for one in node.users):
            before.add(node)
    first: dict[fx.Node, End] = dict.fromkeys(layers - after, "first")
    return first | dict.fromkeys(layers - before, "last")


@torch.no_grad()
def seen(module: fx.GraphModule, inputs: tuple[Tensor, ...]) -> dict[fx.Node, tuple[float, int]]:
    """Run the graph; return the least value of each floating point tensor, and how many it holds of a sample."""
    found: dict[fx.Node, tuple[float, int]] = {}
    samples = inputs[0].shape[0]

    class Watcher(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if isinstance(value, Tensor) and value.is_floating_point() and n.op != "get_attr" and value.numel():
                found[n] = float(value.amin()), value.numel() // samples
            return value

    module.eval()
    Watcher(module, garbage_collect_values=True).run(*inputs)
    return found
