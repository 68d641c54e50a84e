"""Move the ranges of channels between a layer and what comes before it, which changes nothing in floating point.

A channel c of a value that layers with weights read may be divided by s_c where it is made and multiplied by s_c in the
weights that read it, as long as what lies between lets positive factors through: rectifiers, maxima, means (cross-layer
equalization, Nagel et al., arXiv:1906.04721, section 4.1). A clipped rectifier such as ReLU6 becomes
min(relu(x), 6 / s_c). With

    s_c = max |x_c| ^ a / max |w_c| ^ (1 - a)

over the data x and the weights w that read c, both ranges become equal for a = 1/2; a larger a makes the value easier
to quantize, a smaller one the weights (SmoothQuant, Xiao et al., arXiv:2211.10438, eq. 4). Where a depthwise
convolution reads the value a is 1: each channel of its weights has a scale of its own, which takes the factor.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from hardware_models.errors import InputError
from quant.bias_correction import ceiling
from quant.capture import Captured, SamplePlace
from quant.capture.constants import attribute
from quant.capture.operators import operator_name
from quant.capture.samples import where
from quant.moments import as_product
from quant.observe import checked
from quant.walk import Walk

_PASSES = ("relu", "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "clone",
           "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "contiguous")  # fmt: skip
_VIEWS = ("view", "reshape", "flatten", "mean", "squeeze")
_ROUNDS = 20
_SETTLED = 1.01
"""Factors below this, and above its inverse, move nothing more."""


@dataclass(frozen=True)
class Equalized:
    """One value whose channels were equalized.

    Attributes:
        makers: modules whose weights or gains make it.
        readers: modules whose weights read it.
        before: largest over median range of its channels.
        after: the same afterwards.
    """

    makers: tuple[str, ...]
    readers: tuple[str, ...]
    before: float
    after: float


@dataclass
class _Pair:
    """A value that can be equalized.

    Attributes:
        makers: tensors whose channels are divided, each with the axis of the channels.
        readers: weights whose input channels are multiplied, each with the number of groups.
        caps: clipped rectifiers on the way, where the axis of the channels is the second.
        largest: magnitude of each channel that was seen.
    """

    value: fx.Node
    axis: int
    maker_nodes: list[fx.Node]
    reader_nodes: list[fx.Node]
    makers: list[tuple[Tensor, int]]
    readers: list[tuple[Tensor, int]]
    caps: list[fx.Node]
    largest: Tensor = field(default_factory=lambda: torch.zeros(0))


@torch.no_grad()
def equalize(
    captured: Captured, batches: Iterable[tuple[Tensor, ...]], strength: float = 0.5
) -> tuple[Captured, tuple[Equalized, ...]]:
    """Equalize the channels of all values where that is exact.

    Args:
        captured: left as it is.
        batches: inputs, each `[B, ...]`, from which ranges are taken.
        strength: a, 0 to 1.

    Returns:
        A graph that computes the same, and what was equalized. Values are left alone that something else reads than
        convolutions and linear layers, or that are made by something else than those, by LayerNorm or by constants;
        so are those behind functions that do not let factors through, such as GELU.

    Raises:
        InputError: a strength outside of 0..1, or data that cannot be calibrated with.
    """
    if not 0 <= strength <= 1:
        raise InputError(f"a strength of equalization of {strength} was given; give 0 to 1.")
    data = checked(batches)
    module = copy.deepcopy(captured.graph)
    pairs = [pair for node in module.graph.nodes if (pair := _pair(module, node)) is not None]
    _observe(module, pairs, data)
    samples = dict(captured.samples)
    for pair in pairs:
        pair.makers += [(_with_cap(module, node, samples), 0) for node in pair.caps]
    module.recompile()
    before = [_spread(pair.largest) for pair in pairs]
    for _ in range(_ROUNDS):
        factors = [_balance(pair, strength) for pair in pairs]
        if all(bool(((s < _SETTLED) & (s > 1 / _SETTLED)).all()) for s in factors):
            break
    record = tuple(
        Equalized(
            tuple(dict.fromkeys(map(where, pair.maker_nodes))),
            tuple(dict.fromkeys(map(where, pair.reader_nodes))),
            first,
            _spread(pair.largest),
        )
        for pair, first in zip(pairs, before, strict=True)
    )
    return dataclasses.replace(captured, graph=module, samples=samples), record


def _balance(pair: _Pair, strength: float) -> Tensor:
    """Apply and return the factors of one pair."""
    weights = torch.stack([_input_ranges(weight, groups) for weight, groups in pair.readers]).amax(0)
    if all(weight.shape[1] == 1 and groups > 1 for weight, groups in pair.readers):
        strength = 1.0
    used = (pair.largest > 0) & (weights > 0)
    factors = torch.where(used, pair.largest, 1.0) ** strength / torch.where(used, weights, 1.0) ** (1 - strength)
    factors = torch.where(used, factors / factors[used].log().mean().exp(), 1.0) if bool(used.any()) else factors
    for tensor, axis in pair.makers:
        shape = [1] * tensor.dim()
        shape[axis] = -1
        tensor.div_(factors.view(shape))
    for weight, groups in pair.readers:
        apart = weight.view(groups, -1, *weight.shape[1:])
        apart.mul_(factors.view(groups, 1, -1, *[1] * (weight.dim() - 2)))
    pair.largest = pair.largest / factors
    return factors


def _input_ranges(weight: Tensor, groups: int) -> Tensor:
    """max |w| for each input channel, `[C]`."""
    return weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1).abs().amax((1, 3)).flatten()


def _spread(largest: Tensor) -> float:
    return float(largest.max() / largest.median().clamp_min(1e-30))


def _observe(module: fx.GraphModule, pairs: list[_Pair], data: list[tuple[Tensor, ...]]) -> None:
    """Note the largest magnitude of each channel of the values."""
    wanted = {pair.value: pair for pair in pairs}
    walk = Walk(module, data)
    for node in walk.nodes:
        walk.compute(node)
        if node in wanted:
            axis = wanted[node].axis
            rows = [x.abs().movedim(axis, 0).flatten(1).amax(1) for x in walk.values(node)]
            wanted[node].largest = torch.stack(rows).amax(0)


def _pair(module: fx.GraphModule, value: fx.Node) -> _Pair | None:
    """Return what makes and reads a value, where layers with weights alone do."""
    readers = list(value.users)
    if value.op != "call_function" or not readers or not all(_reads(module, one, value) for one in readers):
        return None
    axes = {_channel_axis(one, value) for one in readers}
    if len(axes) != 1:
        return None
    axis = axes.pop()
    weights = [(_tensor(module, one.args[1]), _groups(one)) for one in readers]
    pair = _Pair(value, axis, [], readers, [], weights, [])
    return pair if _find_makers(module, pair) else None


def _reads(module: fx.GraphModule, reader: fx.Node, value: fx.Node) -> bool:
    """Whether a layer reads the value as its input, with weights of its own."""
    if reader.op != "call_function" or as_product(reader) is None or reader.args[0] is not value:
        return False
    return _is_own(module, reader.args[1], reader)


def _with_cap(module: fx.GraphModule, node: fx.Node, samples: dict[str, SamplePlace]) -> Tensor:
    """Write a clipped rectifier as min(relu(x), c) with a constant for each channel, and return that, `[C, 1, ...]`."""
    channels, places = _shape(node)[1], len(_shape(node)) - 2
    name = f"{node.name}_cap"
    cap = torch.full((channels, *[1] * places), ceiling(node) or 0.0)
    module.register_buffer(name, cap.to(next(module.parameters()).device))
    with module.graph.inserting_before(node):
        rectified = module.graph.call_function(torch.ops.aten.relu.default, (node.args[0],))
        made = module.graph.call_function(
            torch.ops.aten.minimum.default, (rectified, constant := module.graph.get_attr(name))
        )
    constant.meta = {"val": cap}
    for one in (rectified, made):
        one.meta = dict(node.meta)
        samples[one.name] = samples[node.name]
    node.replace_all_uses_with(made)
    module.graph.erase_node(node)
    found: Tensor = getattr(module, name)
    return found


def _find_makers(module: fx.GraphModule, pair: _Pair) -> bool:
    """Follow a value back to the tensors that make its channels; whether all of them were found."""
    node, axis, nodes, makers = pair.value, pair.axis, pair.maker_nodes, pair.makers
    while True:
        name, arguments = operator_name(node) if node.op == "call_function" else "", list(node.args)
        if name in _PASSES or (name in _VIEWS and _keeps_channels(node, axis)):
            before: Any = node.args[0]
            axis = 1 if name in _VIEWS else axis
        elif name == "pad" and axis == 1 and _pads_with_zeros(node):
            before = node.args[0]
        elif ceiling(node) is not None and axis == 1:
            before = node.args[0]
            pair.caps.append(node)
        elif name in ("add", "mul") and len(arguments) == 2 and not node.kwargs:
            place = next((i for i, one in enumerate(arguments) if _is_own(module, one, node)), None)
            if place is None or not isinstance(arguments[1 - place], fx.Node):
                return False
            tensor, before = _tensor(module, arguments[place]), arguments[1 - place]
            from_end = axis - len(_shape(node))
            if tensor.dim() < -from_end or tensor.shape[from_end] != _shape(node)[axis]:
                return False
            nodes.append(node)
            makers.append((tensor, tensor.dim() + from_end))
            if name == "mul":
                return True
        else:
            return _is_maker(module, node, axis, nodes, makers)
        if len(before.users) > 1:
            return False
        node = before


def _is_maker(
    module: fx.GraphModule, node: fx.Node, axis: int, nodes: list[fx.Node], makers: list[tuple[Tensor, int]]
) -> bool:
    """Whether a node makes the channels by own weights and bias, or by gain and shift; note them."""
    if node.op != "call_function":
        return False
    name = operator_name(node)
    if name == "layer_norm":
        tensors = list(node.args[2:4])
        fits = list(node.args[1]) == [_shape(node)[-1]] and axis == len(_shape(node)) - 1  # type: ignore[arg-type]
        if not fits or not isinstance(tensors[0], fx.Node):
            return False
    elif as_product(node) is not None:
        tensors = list(node.args[1:3])
        if axis != (len(_shape(node)) - 1 if name == "linear" else 1):
            return False
    else:
        return False
    if not all(one is None or _is_own(module, one, node) for one in tensors):
        return False
    nodes.append(node)
    makers.extend((_tensor(module, one), 0) for one in tensors if one is not None)
    return True


def _pads_with_zeros(node: fx.Node) -> bool:
    """Whether zeros are put around places, and none among the channels."""
    arguments: tuple[Any, ...] = node.args
    widths, mode, value = [*arguments[1:], "constant", None][:3] if len(arguments) < 4 else arguments[1:4]
    return mode == "constant" and not value and len(widths) // 2 <= len(_shape(node)) - 2


def _keeps_channels(node: fx.Node, axis: int) -> bool:
    """Whether a view or a mean over places only drops axes of one entry, or all places, behind the channels."""
    source: Any = node.args[0]
    old, new = _shape(source), _shape(node)
    if axis != 1 or len(old) < 2 or len(new) < 2 or old[1] != new[1]:
        return False
    if operator_name(node) == "mean":
        axes: Any = node.args[1]
        return 1 not in [i % len(old) for i in axes]
    return all(size == 1 for size in [*old[2:], *new[2:]])


def _is_own(module: fx.GraphModule, argument: Any, reader: fx.Node) -> bool:
    """Whether an argument is a floating point tensor of the module that this node alone reads."""
    if not isinstance(argument, fx.Node) or argument.op != "get_attr":
        return False
    users = [one for node in module.graph.find_nodes(op="get_attr", target=argument.target) for one in node.users]
    tensor = _tensor(module, argument)
    return users == [reader] and tensor.is_floating_point() and all(tensor.stride())


def _tensor(module: fx.GraphModule, argument: Any) -> Tensor:
    found: Tensor = attribute(module, str(argument.target))
    return found


def _groups(node: fx.Node) -> int:
    product = as_product(node)
    assert product is not None
    return product.groups


def _channel_axis(reader: fx.Node, value: fx.Node) -> int:
    return len(_shape(value)) - 1 if operator_name(reader) == "linear" else 1


def _shape(node: fx.Node) -> tuple[Any, ...]:
    return tuple(node.meta["val"].shape)
