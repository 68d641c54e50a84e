"""`pack`: a quantized network run whole in packed form.

Convolutions and linear layers whose weight and input are quantized multiply integers; what follows them, as BatchNorm,
the sum with a residual and the rectifier, is done in the same pass. Everything else runs as it does in the quantized
network.

The integer sums are those of the quantized network. Its values are the same up to the rounding of float32: there the
sum is one of products (q_w s_w) (q_x s_x), here it is an integer times s_w s_x, and BatchNorm is one scale and one
shift. So where a value lies within rounding of the middle between two codes, the code that the next layer reads may be
one off.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from hardware_models.errors import InputError
from quant.capture.constants import attribute, drop_unread
from quant.capture.operators import operator_name
from quant.network import Quantized, QuantizedNetwork, averaged, check_finite, presented
from quant.packed.activations import Layout
from quant.packed.content import Content, content_of
from quant.packed.formats import Packing, UnpackableError, packed_weight, packing, steps, values_of
from quant.packed.fuse import Chain, epilogue, follow
from quant.packed.modules import Pack, Product, Rounded
from quant.packed.operands import Operand, prepare
from quant.packed.places import Places, places
from quant.packed.timesteps import repeat_late
from quant.packed.weights import PackedWeight
from quant.quantizers import Quantizer

_AS_IT_LIES = {
    torch.ops.aten.view.default: torch.ops.aten.reshape.default,
    torch.ops.aten._unsafe_view.default: torch.ops.aten.reshape.default,
}
"""Operators that ask how a tensor lies in memory, and which do the same without asking."""


class PackedOperator(NamedTuple):
    """What became of one operator.

    Attributes:
        node: its name in the graph of the quantized network.
        path: the module it came from.
        operator: such as `conv2d`.
        packed: whether it multiplies integers.
        words: the algorithm and the bits of weight and activation; `fused into` a layer; or why it is not packed.
    """

    node: str
    path: str
    operator: str
    packed: bool
    words: str


class PackedNetwork(nn.Module):
    """Runs a quantized network on packed integers, on the CPU; `pack` makes it.

    Attributes:
        layers: the graph.
        timesteps: T; 1 where nothing fires.
        operators: what became of each operator, in order.
        content: what a file of it holds.
        repeats: whether the graph takes `[B, ...]` and presents it T times itself, where the first spikes are.
    """

    def __init__(
        self,
        layers: fx.GraphModule,
        timesteps: int,
        operators: tuple[PackedOperator, ...],
        content: Content,
        repeats: bool = False,
    ) -> None:
        super().__init__()
        self.repeats = repeats
        self.layers, self.timesteps, self.operators, self.content = layers, timesteps, operators, content
        self.eval()

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the output, `[B, ...]`, for inputs `[B, ...]`.

        Raises:
            InputError: a gradient is asked for, an input lies on another device, or values are NaN.
        """
        for x in inputs:
            if torch.is_grad_enabled() and x.requires_grad:
                raise InputError("a packed network has no gradient; give it inputs that need none, or train the other.")
            if x.device.type != "cpu":
                raise InputError(f"a packed network was given a tensor on {x.device}; give one on the CPU.")
        with torch.no_grad():
            times = 1 if self.repeats else self.timesteps
            return averaged(self.layers(*presented(inputs, times)), self.timesteps)

    def train(self, mode: bool = True) -> PackedNetwork:
        """Refuse to train.

        Raises:
            InputError: training was asked for.
        """
        if mode:
            raise InputError("a packed network cannot be trained; train the quantized network and pack it again.")
        super().train(False)
        return self

    def products(self) -> dict[str, Product]:
        """Return the packed layers by the names that their operators have."""
        found = {name: one for name, one in self.layers.named_modules() if isinstance(one, Product)}
        return {name.removeprefix(f"{_PRODUCTS}."): one for name, one in found.items()}


_PRODUCTS, _PACKS, _CONSTANTS = "packed_layers", "packed_values", "constant"


def pack(network: QuantizedNetwork, batch: int = 1) -> PackedNetwork:
    """Return a network that runs in packed form on the CPU.

    Args:
        network: in evaluation mode; left as it is.
        batch: about how many samples a call will have: what algorithm is fastest depends on it.

    Raises:
        InputError: not a quantized network, one in training mode or on another device, or a scale that is zero or not
            finite.
    """
    if not isinstance(network, QuantizedNetwork):
        raise InputError(f"a {type(network).__name__} was to be packed; quantize it first (quant.quantize).")
    if network.training:
        raise InputError("a network in training mode was to be packed; call eval(): BatchNorm is folded as it stands.")
    others = {one.device.type for one in network.parameters()} - {"cpu"}
    if others:
        raise InputError(f"a network on {', '.join(others)} was to be packed; move it to the CPU.")
    check_finite(network)
    return assemble(network, content_of(network), batch)


@torch.no_grad()
def assemble(network: QuantizedNetwork, content: Content, batch: int) -> PackedNetwork:
    """Return the packed network of a quantized one, whose weights are those of `content` where it has them."""
    return _Packer(network, content, batch).run(network)


class _Packer:
    """Rewrites a copy of the graph."""

    def __init__(self, network: QuantizedNetwork, content: Content, batch: int) -> None:
        self.module = copy.deepcopy(network.layers).requires_grad_(False)
        self.graph, self.content = self.module.graph, content
        self.quantizers = network.quantizers()
        self.samples = batch * network.timesteps
        # An unpickled graph has other names, and no values.
        self.names = {node.name for node in self.graph.nodes if "val" in node.meta}
        self.found: dict[str, tuple[bool, str]] = {}
        self.made: dict[tuple[fx.Node, str, Layout, bool], fx.Node] = {}
        self.contiguous = any(operator_name(one) == "as_strided" for one in self.graph.nodes)

    def run(self, network: QuantizedNetwork) -> PackedNetwork:
        names = {str(node.target) for node in self.graph.find_nodes(op="get_attr")}
        for one in network.operators:
            if one.kind in ("synapse", "product"):
                self._layer(one)
        self._constants()
        self._quantizers()
        for node in self.graph.nodes:
            if node.target in _AS_IT_LIES:
                node.target = _AS_IT_LIES[node.target]
        self.graph.eliminate_dead_code()
        drop_unread(self.module, names)
        self.module.delete_all_unused_submodules()
        repeats = network.timesteps > 1 and repeat_late(self.module, network.timesteps)
        self.graph.lint()
        self.module.recompile()
        operators = tuple(PackedOperator(*one[:3], *self._become(one.node)) for one in network.operators)
        return PackedNetwork(self.module, network.timesteps, operators, self.content, repeats)

    def _become(self, node: str) -> tuple[bool, str]:
        there = node in self.names or not self.names
        return self.found.get(node, (False, "in floating point" if there else "not needed"))

    def _layer(self, one: Quantized) -> None:
        try:
            node = self._node(one)
            place, source, operand = self._operand(one, node)
        except (UnpackableError, InputError) as error:
            self.found[one.node] = False, str(error)
            return
        self._replace(one, node, place, source, operand)

    def _node(self, one: Quantized) -> fx.Node:
        """The node of a layer: by its weight's quantizer, since an unpickled graph has other names of nodes."""
        if one.kind != "synapse":
            raise UnpackableError("a product of two values")
        if not one.weight:
            raise UnpackableError("weights in floating point")
        if not one.inputs:
            raise UnpackableError("activations in floating point")
        (weight,) = self.graph.find_nodes(op="call_module", target=one.weight)
        (node,) = weight.users
        if node.args[1] is not weight:
            raise UnpackableError("a weight on the left")
        return node

    def _operand(self, one: Quantized, node: fx.Node) -> tuple[Places, Packing, Operand]:
        """Weight and activation of a layer in packed form."""
        weight = self._weight(one)
        place = places(node, weight.shape[2:])
        source = packing(self.quantizers[one.inputs[0]])
        threshold = source.threshold
        if isinstance(threshold, Tensor) and source.axis not in (place.axis, place.axis - place.dims):
            raise UnpackableError("thresholds along another axis than that of the channels")
        positions = place.positions * self.samples
        return place, source, prepare(weight, source.format, place.groups, positions)

    def _weight(self, one: Quantized) -> PackedWeight:
        found = self.content.weights.get(one.weight)
        return found or packed_weight(self.quantizers[one.weight], attribute(self.module, one.parameter))

    def _replace(self, one: Quantized, node: fx.Node, place: Places, source: Packing, operand: Operand) -> None:
        chain = follow(self.module, node, place.axis)
        bias = attribute(self.module, str(place.bias.target)) if place.bias is not None else None
        after = epilogue(chain, operand.weight.scale.double() * source.scale, bias)
        read: Any = node.args[0]
        packed = self._pack(read, source, operand.layout, bool(operand.kernel), node)
        name = f"{_PRODUCTS}.{one.node}"
        self.module.add_submodule(name, Product(operand, after, place.settings, self.contiguous))
        residual = () if chain.residual is None else (chain.residual,)
        with self.graph.inserting_before(chain.last):
            made = self.graph.call_module(name, (packed, *residual))
        made.meta = dict(chain.last.meta)
        self._record(one, chain, operand)
        chain.last.replace_all_uses_with(made)
        for old in [*reversed(chain.nodes), *chain.also, read]:
            if not old.users:
                self.graph.erase_node(old)

    def _pack(self, quantized: fx.Node, source: Packing, layout: Layout, image: bool, before: fx.Node) -> fx.Node:
        value: Any = quantized.args[0]
        key = (value, str(quantized.target), layout, image)
        if key not in self.made:
            name = f"{_PACKS}.{quantized.name}_{len(self.made)}"
            self.module.add_submodule(name, Pack(source, layout, image))
            with self.graph.inserting_before(before):
                self.made[key] = self.graph.call_module(name, (value,))
        return self.made[key]

    def _record(self, one: Quantized, chain: Chain, operand: Operand) -> None:
        weight, bits = operand.weight, operand.format.bits
        words = f"{operand.algorithm}: {weight.form} weights of {weight.bits} bits, activations of {bits}"
        self.found[one.node] = True, words
        for fused in chain.nodes[1:]:
            self.found[fused.name] = False, f"fused into {one.path}"

    def _constants(self) -> None:
        """Quantize the weights of layers that are not packed once and for all."""
        for node in list(self.graph.find_nodes(op="call_module")):
            name = str(node.target)
            quantizer = self.quantizers.get(name)
            if quantizer is None or node.args[0].op != "get_attr":
                continue
            weight = self.content.weights.get(name)
            value = attribute(self.module, str(node.args[0].target))
            made = quantizer(value) if weight is None else values_of(weight, quantizer.axis)
            constant = f"{_CONSTANTS}_{node.name}"
            self.module.register_buffer(constant, made.detach().clone())
            with self.graph.inserting_before(node):
                node.replace_all_uses_with(self.graph.get_attr(constant))
            self.graph.erase_node(node)

    def _quantizers(self) -> None:
        """Put the values of other operators on their steps in one pass."""
        for name in {str(node.target) for node in self.graph.find_nodes(op="call_module")}:
            found = self.module.get_submodule(name)
            if isinstance(found, Quantizer):
                try:
                    self.module.set_submodule(name, Rounded(steps(found)))
                except UnpackableError:
                    continue
