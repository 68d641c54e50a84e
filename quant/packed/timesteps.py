"""What comes before the first spike is the same in every timestep, and is computed once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from quant.capture.constants import depends_on_input
from quant.packed.modules import Pack
from quant.quantizers import Spikes


class Repeat(nn.Module):
    """Presents samples in each of T timesteps: `[..., B, ...]` becomes `[..., T B, ...]`; or a size, T times as large.

    Args:
        timesteps: T.
        axis: of the batch.
    """

    def __init__(self, timesteps: int, axis: int) -> None:
        super().__init__()
        self.timesteps, self.axis = timesteps, axis

    def forward(self, x: Any) -> Any:
        """Return the repeated tensor, or the size."""
        return torch.cat([x] * self.timesteps, self.axis) if isinstance(x, Tensor) else x * self.timesteps

    def extra_repr(self) -> str:
        return f"timesteps={self.timesteps}, axis={self.axis}"


def repeat_late(module: fx.GraphModule, timesteps: int) -> bool:
    """Let a graph take `[B, ...]` and present it T times only where what follows changes from timestep to timestep.

    Returns:
        Whether it does so: not where the graph does not tell which axis holds the batch.
    """
    graph, dynamic = module.graph, depends_on_input(module.graph)
    timed = _timed(module)
    edges = [
        (node, reader) for node in graph.nodes if node in dynamic - timed for reader in node.users if reader in timed
    ]
    axes = {node: _batch_axis(node) for node, _ in edges}
    if any(axis is None for axis in axes.values()):
        return False
    made: dict[fx.Node, fx.Node] = {}
    for node, reader in edges:
        if node not in made:
            name = f"timesteps.{node.name}"
            module.add_submodule(name, Repeat(timesteps, axes[node] or 0))
            with graph.inserting_after(node):
                made[node] = graph.call_module(name, (node,))
        reader.replace_input_with(node, made[node])
    return True


def _timed(module: fx.GraphModule) -> set[fx.Node]:
    """The nodes whose value differs between timesteps, and the packed values that are read together with such."""
    timed = {node for node in module.graph.nodes if node.op == "output" or _fires(module, node)}
    while True:
        count = len(timed)
        for node in module.graph.nodes:
            if any(one in timed for one in node.all_input_nodes):
                timed.add(node)
        timed |= {
            node for node in module.graph.nodes if _is(module, node, Pack) and any(u in timed for u in node.users)
        }
        if len(timed) == count:
            return timed


def _fires(module: fx.GraphModule, node: fx.Node) -> bool:
    if node.op != "call_module":
        return False
    found = module.get_submodule(str(node.target))
    return isinstance(found, Spikes) or (isinstance(found, Pack) and found.packing.neurons is not None)


def _is(module: fx.GraphModule, node: fx.Node, kind: type[nn.Module]) -> bool:
    return node.op == "call_module" and isinstance(module.get_submodule(str(node.target)), kind)


def _batch_axis(node: fx.Node) -> int | None:
    """The axis of the batch, where it is the only one of unknown size and nothing stands around it; 0 for a size."""
    value = node.meta.get("val")
    if isinstance(value, torch.SymInt):  # a multiple of the size of the batch
        return 0 if _is_symbol(str(value).rpartition("*")[2]) else None
    if not isinstance(value, Tensor):
        return None
    axes = [i for i, size in enumerate(value.shape) if not isinstance(size, int)]
    return axes[0] if len(axes) == 1 and _is_symbol(str(value.shape[axes[0]])) else None


def _is_symbol(size: str) -> bool:
    return size.isidentifier()
