"""BatchNorm in evaluation mode is a scale and a shift: they go into the operator before it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from neuro.capture.constants import attribute
from neuro.capture.samples import where

aten = torch.ops.aten

_CONVOLUTIONS = {aten.conv1d.default, aten.conv2d.default, aten.conv3d.default}
_TRANSPOSED = {aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.conv_transpose3d.input}
_BATCH_NORMS = {aten.batch_norm.default: 7, aten._native_batch_norm_legit_no_training.default: 6}
"""The operators, and where their arguments hold epsilon."""


@torch.no_grad()
def fold_batch_norm(module: fx.GraphModule) -> dict[str, str]:
    """Fold each BatchNorm that follows a convolution or linear operator, which nobody else reads.

    Returns:
        Module paths of the folded layers, each with the path of the operator that took it.
    """
    folded = {}
    for node in list(module.graph.nodes):
        if node.op != "call_function" or node.target not in _BATCH_NORMS:
            continue
        before = node.args[0]
        takes = before.op == "call_function" and before.target in _CONVOLUTIONS | _TRANSPOSED | {aten.linear.default}
        if not takes or len(before.users) > 1 or not _constant(before.args[1]) or not _first_only(node):
            continue
        _fold(module, before, node)
        folded[where(node)] = where(before)
    module.graph.eliminate_dead_code()
    module.recompile()
    return folded


def _constant(argument: Any) -> bool:
    return isinstance(argument, fx.Node) and argument.op == "get_attr"


def _first_only(norm: fx.Node) -> bool:
    """Whether of an operator with several results only the first is read."""
    if norm.target is aten.batch_norm.default:
        return True
    return all(user.args[1:] == (0,) for user in norm.users)


def _fold(module: fx.GraphModule, before: fx.Node, norm: fx.Node) -> None:
    def value(argument: Any) -> Tensor | None:
        return None if argument is None else attribute(module, argument.target)

    arguments = list(before.args) + [None] * (3 - len(before.args))
    weight, bias = value(arguments[1]), value(arguments[2])
    gain, shift, mean, variance = (value(one) for one in norm.args[1:5])
    epsilon = norm.args[_BATCH_NORMS[norm.target]]
    assert weight is not None and mean is not None and variance is not None
    if before.target is aten.linear.default:
        gain = torch.ones_like(mean) if gain is None else gain
        shift = torch.zeros_like(mean) if shift is None else shift
        new_weight, new_bias = fuse_linear_bn_weights(weight, bias, mean, variance, epsilon, gain, shift)
    elif before.target in _TRANSPOSED and _groups(before) > 1:
        return  # the output channels of a transposed convolution in groups lie in two axes of its weight
    else:
        transposed = before.target in _TRANSPOSED
        new_weight, new_bias = fuse_conv_bn_weights(weight, bias, mean, variance, epsilon, gain, shift, transposed)
    name = f"{before.name}_folded"
    module.register_parameter(f"{name}_weight", torch.nn.Parameter(new_weight.detach()))
    module.register_parameter(f"{name}_bias", torch.nn.Parameter(new_bias.detach()))
    with module.graph.inserting_before(before):
        arguments[1] = module.graph.get_attr(f"{name}_weight")
        arguments[2] = module.graph.get_attr(f"{name}_bias")
    before.args = tuple(arguments)
    result = norm if norm.target is aten.batch_norm.default else None
    for node in [result] if result is not None else list(norm.users):
        node.replace_all_uses_with(before)


def _groups(convolution: fx.Node) -> int:
    position = 7 if convolution.target not in _TRANSPOSED else 6
    return int(convolution.args[position]) if len(convolution.args) > position else 1
