"""BatchNorm layers of a captured graph as layers that train."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn

from quant.capture.constants import attribute
from quant.capture.samples import where

aten = torch.ops.aten

_LAYERS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


def restore_batch_norm(module: fx.GraphModule) -> list[str]:
    """Put a `BatchNorm` layer in the place of each operator of that kind, at its module path.

    Returns:
        The names of the layers.
    """
    made = []
    for node in list(module.graph.nodes):
        if node.target is not aten._native_batch_norm_legit_no_training.default:
            continue
        layer = _layer(module, node)
        name = where(node)
        if not _is_free(module, name):
            name = f"norms.{node.name}"
        module.add_submodule(name, layer)
        with module.graph.inserting_before(node):
            found = module.graph.call_module(name, (node.args[0],))
        for reader in list(node.users):
            if reader.target is operator.getitem and reader.args[1] == 0:
                found.meta = dict(reader.meta)
                reader.replace_all_uses_with(found)
        made.append(name)
    module.graph.eliminate_dead_code()
    module.recompile()
    return made


def _layer(module: fx.GraphModule, node: fx.Node) -> nn.Module:
    value: Any = node.args[0]
    tensors: list[Any] = [None if one is None else attribute(module, str(one)) for one in map(_target, node.args[1:5])]
    weight, bias, mean, variance = tensors
    momentum: Any
    epsilon: Any
    momentum, epsilon = node.args[5:7]
    layer = _LAYERS[value.meta["val"].dim()](len(mean), eps=epsilon, momentum=momentum, affine=weight is not None)
    if weight is not None:
        layer.weight, layer.bias = weight, bias
    layer.running_mean, layer.running_var = _own(mean), _own(variance)
    return layer.to(mean.device).eval()


def _target(argument: Any) -> Any:
    return None if argument is None else argument.target


def _own(value: Tensor) -> Tensor:
    return value.detach().clone()


def _is_free(module: fx.GraphModule, name: str) -> bool:
    """Whether a layer may take the place: what is there only holds the tensors of a BatchNorm."""
    try:
        there = module.get_submodule(name)
    except AttributeError:
        return False
    tensors = {*there._parameters, *there._buffers}
    known = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    readers = [one for one in module.graph.nodes if one.op == "call_module" and one.target == name]
    return not there._modules and tensors <= known and not readers and type(there) is nn.Module
