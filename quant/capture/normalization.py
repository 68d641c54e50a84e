"""BatchNorm in evaluation mode is a scale and a shift: they go into the operator before it, or stand on their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from hardware_models.errors import InputError
from quant.capture.constants import attribute
from quant.capture.samples import line, where

aten = torch.ops.aten

_CONVOLUTIONS = {
    aten.conv1d.default,
    aten.conv2d.default,
    aten.conv3d.default,
    aten.conv1d.padding,
    aten.conv2d.padding,
    aten.conv3d.padding,
}
_TRANSPOSED = {aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.conv_transpose3d.input}
_LINEAR = {*_CONVOLUTIONS, *_TRANSPOSED, aten.convolution.default, aten.linear.default}
_VIEWS = {aten.view.default, aten.reshape.default, aten._unsafe_view.default}
_EPSILON = {aten.batch_norm.default: 7, aten._native_batch_norm_legit_no_training.default: 6}
"""The forms of BatchNorm, and where their arguments hold epsilon."""


@torch.no_grad()
def fold_batch_norm(module: fx.GraphModule) -> dict[str, str]:
    """Fold each BatchNorm that follows a convolution or linear operator which nobody else reads.

    One that cannot be folded becomes a product with a constant and a sum with another.

    Returns:
        Module paths of the folded layers, each with the path of the operator that took it.

    Raises:
        InputError: a BatchNorm that takes its statistics from the batch.
    """
    folded = {}
    for node in list(module.graph.nodes):
        if node.op != "call_function" or "batch_norm" not in str(node.target):
            continue
        gain, shift = _gain_and_shift(module, node)
        before = _maker(node)
        if _takes_it(norm=node, before=before):
            _fold(module, before, gain, shift)
            folded[where(node)] = where(before)
            result = node.args[0]
        else:
            result = _scale(module, node, gain, shift)
        # One of its forms has further results, which serve training alone.
        for reader in [node] if node.target is aten.batch_norm.default else [r for r in node.users if r.args[1] == 0]:
            reader.replace_all_uses_with(result)
    module.graph.eliminate_dead_code()
    module.recompile()
    return folded


def _gain_and_shift(module: fx.GraphModule, norm: fx.Node) -> tuple[Tensor, Tensor]:
    """y = gain x + shift for each channel; in double precision, since it is rounded once more."""
    trains = norm.target not in _EPSILON or (norm.target is aten.batch_norm.default and norm.args[5])
    if trains or None in norm.args[3:5]:
        raise InputError(
            f"{line(norm)} normalises by the statistics of the batch, so samples influence each other; use a "
            "BatchNorm that tracks running statistics."
        )
    weight, bias, mean, variance = (_value(module, one) for one in norm.args[1:5])
    assert mean is not None
    assert variance is not None
    target: Any = norm.target
    epsilon: Any = norm.args[_EPSILON[target]]
    gain = (variance.double() + epsilon).rsqrt()
    gain = gain if weight is None else gain * weight.double()
    shift = -mean.double() * gain
    return gain, shift if bias is None else shift + bias.double()


def _maker(norm: fx.Node) -> fx.Node:
    """What makes the channels: the input, or in two axes what it was before its other axes were merged."""
    before: Any = norm.args[0]
    shape = before.meta["val"].shape
    while before.target in _VIEWS and len(shape) == 2 and len(before.users) == 1:
        if before.args[0].meta["val"].shape[-1] != shape[1]:
            break
        before = before.args[0]
    return before


def _takes_it(norm: fx.Node, before: fx.Node) -> bool:
    x: Any = norm.args[0]
    takes = before.op == "call_function" and before.target in _LINEAR
    if not takes or len(before.users) > 1 or not all(_constant(one) for one in before.args[1:3]):
        return False
    # The outputs of a linear operator are the last axis, the channels of a BatchNorm the second.
    return before.target is not aten.linear.default or x.meta["val"].dim() == 2


def _constant(argument: Any) -> bool:
    return argument is None or (isinstance(argument, fx.Node) and argument.op == "get_attr")


def _fold(module: fx.GraphModule, before: fx.Node, gain: Tensor, shift: Tensor) -> fx.Node:
    arguments = [*before.args, *[None] * (3 - len(before.args))]
    weight, bias = _value(module, arguments[1]), _value(module, arguments[2])
    assert weight is not None
    moved = shift if bias is None else shift + gain * bias.double()
    arguments[1] = _put(module, before, arguments[1], _times_outputs(before, weight.double(), gain).to(weight.dtype))
    arguments[2] = _put(module, before, arguments[2], moved.to(weight.dtype))
    before.args = tuple(arguments)
    return before


def _times_outputs(operator: fx.Node, weight: Tensor, gain: Tensor) -> Tensor:
    """Multiply each output channel of a weight by its gain."""
    plain = operator.target is aten.convolution.default
    if not (operator.target in _TRANSPOSED or (plain and operator.args[6])):
        return weight * gain.view(-1, *[1] * (weight.dim() - 1))
    place = 8 if plain else 6
    groups: Any = operator.args[place] if len(operator.args) > place else 1
    apart = weight.unflatten(0, (groups, -1))  # [groups, inputs of one, outputs of one, ...]
    return (apart * gain.view(groups, 1, -1, *[1] * (weight.dim() - 2))).flatten(0, 1)


def _put(module: fx.GraphModule, reader: fx.Node, old: Any, value: Tensor) -> fx.Node:
    """Return a node that reads `value`, under the old tensor's name where nobody else reads that one."""
    name = f"{reader.name}_folded_bias" if old is None else old.target
    if old is not None:
        readers = [user for node in module.graph.find_nodes(op="get_attr", target=old.target) for user in node.users]
        if readers != [reader]:
            name = f"{reader.name}_folded_{old.target.rpartition('.')[2]}"
    *owners, last = name.split(".")
    owner = attribute(module, ".".join(owners)) if owners else module
    if last in owner._buffers:
        owner.register_buffer(last, value)
    else:
        owner.register_parameter(last, nn.Parameter(value))
    with module.graph.inserting_before(reader):
        return module.graph.get_attr(name)


def _scale(module: fx.GraphModule, norm: fx.Node, gain: Tensor, shift: Tensor) -> fx.Node:
    """Write gain x + shift into the graph."""
    x: Any = norm.args[0]
    shape = (-1, *[1] * (x.meta["val"].dim() - 2))
    value = norm if norm.target is aten.batch_norm.default else next(r for r in norm.users if r.args[1] == 0)
    for operator, name, constant in ((aten.mul.Tensor, "gain", gain), (aten.add.Tensor, "shift", shift)):
        module.register_parameter(f"{norm.name}_{name}", nn.Parameter(constant.float().view(shape)))
        with module.graph.inserting_before(norm):
            x = module.graph.call_function(operator, (x, module.graph.get_attr(f"{norm.name}_{name}")))
        x.meta = dict(value.meta)
    return x


def _value(module: fx.GraphModule, argument: Any) -> Tensor | None:
    return None if argument is None else attribute(module, argument.target)
