"""What follows a layer in a graph and can be done in the pass that keeps its sums.

    layer -> BatchNorm -> (quantizer of the sum ->) + residual -> ReLU or shifted PReLU

A node is taken as long as nothing else reads what comes before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from quant.capture.operators import operator_name
from quant.packed.formats import UnpackableError, steps
from quant.packed.products import Epilogue
from quant.packed.values import Steps
from quant.quantizers import Quantizer, ShiftedPReLU


@dataclass
class Chain:
    """A layer and what follows it.

    Attributes:
        nodes: the layer's first, the one whose value is left last.
        norm: BatchNorm in evaluation mode.
        residual: what is added.
        steps: of both operands of that sum.
        rectifier: `relu`, or a shifted PReLU; empty for none.
        also: the quantizer's call on the residual.
    """

    nodes: list[fx.Node]
    norm: _BatchNorm | None = None
    residual: fx.Node | None = None
    steps: Steps | None = None
    rectifier: ShiftedPReLU | str = ""
    also: list[fx.Node] = field(default_factory=list)

    @property
    def last(self) -> fx.Node:
        """The node whose value is left."""
        return self.nodes[-1]


def follow(module: fx.GraphModule, layer: fx.Node, axis: int) -> Chain:
    """Return what can be fused into a layer whose value has its channels on `axis`."""
    chain = Chain([layer])
    reader = _reader(layer)
    norm = _called(module, reader, _BatchNorm)
    if reader is not None and isinstance(norm, _BatchNorm) and axis == 1 and norm.running_mean is not None:
        chain.norm = norm
        chain.nodes.append(reader)
    _add_residual(module, chain)
    reader = _reader(chain.last)
    rectifier = _called(module, reader, ShiftedPReLU)
    if reader is not None and isinstance(rectifier, ShiftedPReLU) and rectifier.axis == axis:
        chain.rectifier = rectifier
        chain.nodes.append(reader)
    elif reader is not None and reader.op == "call_function" and operator_name(reader) == "relu":
        chain.rectifier = "relu"
        chain.nodes.append(reader)
    return chain


def _add_residual(module: fx.GraphModule, chain: Chain) -> None:
    operand: Any = chain.last
    quantizer, found = _called(module, _reader(operand), Quantizer), None
    if isinstance(quantizer, Quantizer):
        try:
            found = steps(quantizer)
        except UnpackableError:
            return
        operand = _reader(operand)
    add: Any = _reader(operand)
    if add is None or operator_name(add) != "add" or add.kwargs or len(add.args) != 2:
        return
    others: list[Any] = [one for one in add.args if one is not operand]
    if len(others) != 1 or not isinstance(others[0], fx.Node) or not _same_shape(others[0], operand):
        return
    other = others[0]
    if found is not None:  # both operands have the same quantizer
        if other.op != "call_module" or other.target != operand.target:
            return
        chain.nodes.append(operand)
        chain.also.append(other)
    residual: Any = other if found is None else other.args[0]
    chain.residual, chain.steps = residual, found
    chain.nodes.append(add)


def _reader(node: fx.Node) -> fx.Node | None:
    """The only reader of a node."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def _called(module: fx.GraphModule, node: fx.Node | None, kind: type[nn.Module]) -> nn.Module | None:
    if node is None or node.op != "call_module":
        return None
    found = module.get_submodule(str(node.target))
    return found if isinstance(found, kind) else None


def _same_shape(a: fx.Node, b: fx.Node) -> bool:
    shapes = [tuple(map(str, one.meta["val"].shape)) if "val" in one.meta else None for one in (a, b)]
    return shapes[0] is not None and shapes[0] == shapes[1]


@torch.no_grad()
def fold(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Return scale and shift of BatchNorm in evaluation mode: y = x scale + shift, float32 `[C]`."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    weight = torch.ones_like(mean) if norm.weight is None else norm.weight
    scale = (weight.double() / (variance.double() + norm.eps).sqrt()).float()
    bias = torch.zeros_like(mean) if norm.bias is None else norm.bias
    return scale, (bias.double() - mean.double() * scale.double()).float()


@torch.no_grad()
def epilogue(chain: Chain, scale: Tensor, bias: Tensor | None) -> Epilogue:
    """Return what follows the sums.

    Args:
        chain: the layer and what follows it.
        scale: of the sums, float64 `[O]`.
        bias: of the layer, `[O]`.
    """
    shift = torch.zeros_like(scale) if bias is None else bias.double()
    if chain.norm is not None:
        by, plus = fold(chain.norm)
        scale, shift = scale * by.double(), shift * by.double() + plus.double()
    slope = after = before = None
    if isinstance(chain.rectifier, ShiftedPReLU):
        slope, after, before = (_plain(getattr(chain.rectifier, name)) for name in ("slope", "after", "before"))
    elif chain.rectifier:
        slope = torch.zeros(len(scale))
    return Epilogue(scale.float(), shift.float(), slope, after, before, chain.steps)


def _plain(value: Any) -> Tensor:
    found: Tensor = value.detach().float().contiguous().clone()
    return found
