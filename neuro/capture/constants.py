"""What depends on no input is computed once: position tables, index tables, standardised weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_arg


def depends_on_input(graph: fx.Graph) -> set[fx.Node]:
    """Return the nodes that depend on an input, if only on its shape."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or any(one in found for one in node.all_input_nodes):
            found.add(node)
    return found


@torch.no_grad()
def compute_constants(module: fx.GraphModule) -> None:
    """Replace what depends on no input by buffers that hold its value."""
    graph, dynamic = module.graph, depends_on_input(module.graph)
    values: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        if node.op == "get_attr":
            values[node] = attribute(module, node.target)
        elif node.op == "call_function" and node not in dynamic:
            values[node] = node.target(*map_arg(node.args, values.get), **map_arg(node.kwargs, values.get))
    needed = {one for node in dynamic for one in node.all_input_nodes if one.op == "call_function"}
    for number, node in enumerate(n for n in list(graph.nodes) if n in needed and n not in dynamic):
        if not isinstance(values[node], Tensor):
            continue
        name = f"constant_{number}"
        module.register_buffer(name, values[node].detach().clone())
        with graph.inserting_before(node):
            made = graph.get_attr(name)
        made.meta = dict(node.meta)
        node.replace_all_uses_with(made)
    graph.eliminate_dead_code()
    module.recompile()


def attribute(module: fx.GraphModule, path: str) -> Any:
    """Return what a `get_attr` node with this target refers to."""
    found: Any = module
    for name in path.split("."):
        found = getattr(found, name)
    return found


def replace_attribute(module: fx.GraphModule, path: str, value: Tensor) -> None:
    """Put `value` where a `get_attr` node with this target looks: as a parameter where one was there, else a buffer."""
    *owners, name = path.split(".")
    owner = attribute(module, ".".join(owners)) if owners else module
    if name in owner._parameters:
        setattr(owner, name, torch.nn.Parameter(value, requires_grad=value.is_floating_point()))
    elif name in owner._buffers:
        setattr(owner, name, value)
    else:
        owner.register_parameter(name, torch.nn.Parameter(value))
