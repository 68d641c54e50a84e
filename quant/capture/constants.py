"""What depends on no input is computed once: position tables, index tables, standardised weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg


def depends_on_input(graph: fx.Graph) -> set[fx.Node]:
    """Return the nodes that depend on an input, if only on its shape."""
    return _reached(graph, lambda node: True)


def depends_on_values(graph: fx.Graph) -> set[fx.Node]:
    """Return the nodes whose values, and not only shapes, depend on what the inputs hold."""
    return _reached(
        graph, lambda node: not str(node.target).startswith("aten.sym_") and str(node.target) not in _MADE_LIKE
    )


def _reached(graph: fx.Graph, hands_on: Callable[[fx.Node], bool]) -> set[fx.Node]:
    """Return the inputs, and the nodes that something of them reaches through nodes that hand it on."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or (hands_on(node) and any(one in found for one in node.all_input_nodes)):
            found.add(node)
    return found


_MADE_LIKE = {
    f"aten.{name}.default"
    for name in ("zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty")
}
"""Operators that read the shape and type of a tensor, and not its values."""


@torch.no_grad()
def compute_constants(module: fx.GraphModule) -> None:
    """Replace what depends on no input by tensors that hold its value.

    They are parameters where they come from one, so that they can be trained on; a tensor that repeats itself is kept
    once.
    """
    graph, dynamic = module.graph, depends_on_input(module.graph)
    wanted = {one for node in dynamic for one in node.all_input_nodes if one.op == "call_function"} - dynamic
    values: dict[fx.Node, Any] = {}
    trained: set[fx.Node] = set()
    for node in [one for one in graph.nodes if one not in dynamic]:
        if node.op == "get_attr":
            values[node] = attribute(module, node.target)
        elif node.op == "call_function":
            values[node] = node.target(*map_arg(node.args, values.get), **map_arg(node.kwargs, values.get))
        value = values.get(node)
        is_trained = isinstance(value, nn.Parameter) and value.requires_grad
        if is_trained or any(one in trained for one in node.all_input_nodes):
            trained.add(node)
        if node in wanted and isinstance(value, Tensor):
            made = _keep(module, node, value, node in trained)
            node.replace_all_uses_with(made, lambda user: user in dynamic)
        for one in node.all_input_nodes:
            if all(user in values or user in dynamic for user in one.users):
                values[one] = None  # large ones would add up
    graph.eliminate_dead_code()
    module.recompile()


def _keep(module: fx.GraphModule, node: fx.Node, value: Tensor, trained: bool) -> fx.Node:
    """Make the value of `node` a tensor of the module, and return the node that reads it."""
    name = f"constant_{node.name}"
    if trained and value.is_floating_point():
        module.register_parameter(name, nn.Parameter(value.clone(memory_format=torch.contiguous_format)))
    else:
        once = value[tuple(slice(1) if step == 0 else slice(None) for step in value.stride())]
        module.register_buffer(name, once.clone().expand(value.shape))
    with module.graph.inserting_before(node):
        made = module.graph.get_attr(name)
    made.meta = dict(node.meta)
    return made


def attribute(module: fx.GraphModule, path: str) -> Any:
    """Return what a `get_attr` node with this target refers to."""
    found: Any = module
    for name in path.split("."):
        found = getattr(found, name)
    return found


def drop_unread(module: fx.GraphModule, names: Iterable[str]) -> None:
    """Take out those of the named parameters and buffers that no node reads."""
    read = {node.target for node in module.graph.nodes if node.op == "get_attr"}
    for name in set(names) - read:
        *owners, last = name.split(".")
        delattr(attribute(module, ".".join(owners)) if owners else module, last)
    module.delete_all_unused_submodules()


def tensor_names(module: nn.Module) -> list[str]:
    """Return the names of all parameters and buffers, also of those that are one tensor."""
    every = (module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False))
    return [name for found in every for name, _ in found]
