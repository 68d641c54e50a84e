"""Rectifiers: which need no width of their own, which are replaced, and which neurons make needless."""

from __future__ import annotations

from typing import Final

from torch import Tensor, fx

from quant.capture.operators import operator_name
from quant.capture.samples import where
from quant.channels import channels_of
from quant.quantizers import ShiftedPReLU, Spikes

_POOLS = [
    f"{kind}{n}d{more}"
    for kind in ("max_pool", "adaptive_max_pool")
    for n in (1, 2, 3)
    for more in ("", "_with_indices")
]
_CHOICES = [
    "clamp",
    "clamp_min",
    "clamp_max",
    "clip",
    "amax",
    "amin",
    "max",
    "min",
    "maximum",
    "minimum",
    "topk",
    "sort",
]

EXACT: Final = frozenset(
    ["relu", "relu6", "hardtanh", "threshold", "abs", "sign", "argmax", "argmin", *_CHOICES, *_POOLS]
)
"""Functions that only compare and choose: they do to codes what they do to values, and need no width of their own."""

_RELU: Final = ("relu", "relu6")
_MOVES: Final = (
    "view",
    "reshape",
    "_unsafe_view",
    "clone",
    "contiguous",
    "permute",
    "transpose",
    "unsqueeze",
    "squeeze",
)

_RECTIFIERS: Final = ("relu", "relu6", "gelu", "silu", "hardswish", "hardtanh", "leaky_relu", "elu", "mish")


def shifted_rectifiers(module: fx.GraphModule) -> tuple[dict[str, str], list[str]]:
    """Put a shifted PReLU by channel in the place of each rectifier, GELU or the like.

    Returns:
        The new nodes' names, each with that of the node it took the place of; and what was left as it is, as sentences.
    """
    made: dict[str, str] = {}
    notes = []
    for node in list(module.graph.nodes):
        if node.op != "call_function" or operator_name(node) not in _RECTIFIERS:
            continue
        axis, channels = channels_of(node, node)
        if axis is None:
            notes.append(f"{where(node)} keeps its {operator_name(node)}: no layer tells its channels.")
            continue
        name = f"rectifiers.{node.name}"
        module.add_submodule(name, ShiftedPReLU(channels, axis))
        with module.graph.inserting_before(node):
            found = module.graph.call_module(name, (node.args[0],))
        found.meta = dict(node.meta)
        node.replace_all_uses_with(found)
        made[found.name] = node.name
        module.graph.erase_node(node)
    module.recompile()
    return made, notes


def leave_rectifying_to_neurons(module: fx.GraphModule) -> set[str]:
    """Take out each ReLU that only neurons read: they rectify what they integrate, and not each timestep of it.

    Returns:
        The names of the nodes that are gone.
    """
    gone = set()
    for node in list(module.graph.nodes):
        if node.op == "call_function" and operator_name(node) in _RELU and _only_neurons_read(module, node):
            gone.add(node.name)
            node.replace_all_uses_with(node.all_input_nodes[0])
            module.graph.erase_node(node)
    return gone


def _only_neurons_read(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether all readers are spiking neurons, if through moves and maxima, which a ReLU may change places with."""
    return bool(node.users) and all(_is_or_leads_to_neurons(module, reader) for reader in node.users)


def _is_or_leads_to_neurons(module: fx.GraphModule, reader: fx.Node) -> bool:
    if reader.op == "call_module":
        return isinstance(module.get_submodule(str(reader.target)), Spikes)
    if reader.op != "call_function":
        return False
    if not isinstance(reader.meta.get("val"), Tensor | tuple | list):
        return True  # its size alone
    return operator_name(reader) in (*_MOVES, *_POOLS) and _only_neurons_read(module, reader)
