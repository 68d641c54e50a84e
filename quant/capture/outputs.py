"""Which of a network's outputs is converted, and by which name its authors know it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx

from hardware_models.errors import InputError


def named_leaves(answer: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what a structure of outputs holds, in the order of `torch.export`, each with its path such as `.logits`."""
    if isinstance(answer, Mapping):
        for name, one in answer.items():
            yield from named_leaves(one, f"{path}.{name}" if hasattr(answer, str(name)) else f"{path}[{name!r}]")
    elif isinstance(answer, tuple) and hasattr(answer, "_fields"):
        for name, one in zip(answer._fields, answer, strict=True):
            yield from named_leaves(one, f"{path}.{name}")
    elif isinstance(answer, list | tuple):
        for number, one in enumerate(answer):
            yield from named_leaves(one, f"{path}[{number}]")
    elif dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        for field in dataclasses.fields(answer):
            yield from named_leaves(getattr(answer, field.name), f"{path}.{field.name}")
    elif answer is not None:
        yield path, answer


def first_output(nodes: list[Any], names: list[str]) -> tuple[fx.Node, str]:
    """Return the first output that is a floating point tensor with the batch in its first axis, and its name.

    Args:
        nodes: what the graph returns, in order.
        names: their paths, where they are as many.

    Raises:
        InputError: none is.
    """
    for number, node in enumerate(nodes):
        value = node.meta.get("val") if isinstance(node, fx.Node) else None
        if not (isinstance(value, Tensor) and value.is_floating_point() and value.dim()):
            continue
        if isinstance(value.shape[0], torch.SymInt):
            return node, names[number] if len(names) == len(nodes) else f"[{number}]"
    shapes = [str(list(n.meta["val"].shape)) for n in nodes if isinstance(n, fx.Node) and "val" in n.meta]
    raise InputError(
        f"the network returns {', '.join(shapes) or 'nothing that depends on its input'}, expected a floating point "
        "tensor with the batch as its first axis; convert the part that returns one, or move its axes."
    )
