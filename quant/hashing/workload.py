"""What a network with softmax or hashed attention computes, as a Workload: from shapes alone, nothing is run.

Convolutions, linear operators and matrix products come with their loop bounds. Hashed attention is written out as the
operations of its equations under names that the `ecoformer` convention knows (`hashing.distance` and so on). A scale
of softmax attention is counted on the scores, wherever the network applies it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensorMode

from hardware_models.errors import InputError
from hardware_models.workload import Bounds, Layer, Operand, Operator, Workload
from quant.capture.constants import depends_on_values
from quant.capture.operators import kind_of, operator_name
from quant.capture.samples import where
from quant.hashing.attention import HashedAttention
from quant.hashing.patterns import find_attentions

_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
_PRODUCTS = ("matmul", "bmm", "mm")
_BY_ELEMENTS = ("mul", "multiply")


def hashing_workload(network: fx.GraphModule, example: Tensor | tuple[Tensor, ...], name: str = "") -> Workload:
    """Return the Workload of one sample.

    Args:
        network: of `hash_attention`, or the graph of `quant.capture.capture`.
        example: its inputs by position; their first sample gives the shapes.
        name: of the Workload.

    Returns:
        A Workload of batch 1 and one timestep, every operand dense.

    Raises:
        InputError: a transposed or other convolution whose bounds are not known here.
    """
    inputs = (example,) if isinstance(example, Tensor) else example
    shapes = _Shapes(network)
    shapes.observe(inputs)
    layers = _unique(_Walk(network, shapes.values).layers())
    return Workload(name=name or type(network).__name__, timesteps=1, batch=1, layers=tuple(layers))


class _Shapes(fx.Interpreter):
    """Runs one sample without data and keeps every node's result."""

    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network, garbage_collect_values=False)
        self.values: dict[fx.Node, Any] = {}

    def observe(self, inputs: tuple[Tensor, ...]) -> None:
        with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
            self.run(*(mode.from_tensor(x[:1]) for x in inputs))

    def run_node(self, n: fx.Node) -> Any:
        self.values[n] = super().run_node(n)
        n.meta.setdefault("val", self.values[n])  # what was pickled has none
        return self.values[n]


class _Walk:
    """Turns nodes into layers, in order of execution."""

    def __init__(self, network: fx.GraphModule, values: dict[fx.Node, Any]) -> None:
        self._network, self._values = network, values
        self._dynamic = depends_on_values(network.graph)
        attentions = find_attentions(network)
        self._scales = {scale for one in attentions for scale in one.scales}
        self._scaled = {one.scores for one in attentions if one.scales}

    def layers(self) -> Iterator[Layer]:
        for node in self._network.graph.nodes:
            if node not in self._dynamic or node.op not in ("call_function", "call_module"):
                continue
            if node.op == "call_module":
                yield from self._hashed(node)
            elif node not in self._scales:
                yield from self._plain(node)
            if node in self._scaled:
                yield _simple(f"{where(node)}.scale", "elementwise", "mul", self._values[node].numel())

    def _hashed(self, node: fx.Node) -> Iterator[Layer]:
        module = self._network.get_submodule(str(node.target))
        if not isinstance(module, HashedAttention):
            raise InputError(
                f"{node.target} is a {type(module).__name__}, expected operators; count before it is put in."
            )
        query, key, value = (_shape(self._values, one) for one in node.args)
        assert query is not None
        assert value is not None
        yield from hashed_layers(str(node.target), module, query, key, value)

    def _plain(self, node: fx.Node) -> Iterator[Layer]:
        name, out, path = operator_name(node), self._values[node], where(node)
        kind = kind_of(node, self._dynamic)
        if name in _CONVOLUTIONS:
            yield self._convolution(node, path)
        elif name == "linear":
            x, weight = self._operand_shapes(node)
            yield linear_layer(path, name, math.prod(x[:-1]), weight[1], weight[0])
        elif name in _PRODUCTS and min(len(shape) for shape in self._operand_shapes(node)) > 1:
            (m, k), n = self._operand_shapes(node)[0][-2:], self._operand_shapes(node)[1][-1]
            role = "weight" if node.args[1] not in self._dynamic else "activation"
            yield product_layer(path, name, out.numel() // (m * n), m, k, n, right=role)
        elif kind in ("synapse", "product") and name not in _BY_ELEMENTS:
            raise InputError(f"{path}: {node.target} has no loop bounds here; profile the network instead.")
        elif kind in ("scale", "product", "nonlinear", "add", "reduce") and isinstance(out, Tensor):
            operators: dict[str, Operator] = {"add": "add", "reduce": "reduce"}
            yield _simple(f"{path}.{name}", operators.get(kind, "elementwise"), name, out.numel())

    def _operand_shapes(self, node: fx.Node) -> tuple[torch.Size, torch.Size]:
        first: Any = node.args[0]
        second: Any = node.args[1]
        return self._values[first].shape, self._values[second].shape

    def _convolution(self, node: fx.Node, path: str) -> Layer:
        x, weight = self._operand_shapes(node)
        out = self._values[node].shape
        given: tuple[Any, ...] = node.args[3:]
        stride, groups = given[0] if given else (1,), given[3] if len(given) > 3 else 1
        bounds = Bounds(
            groups=groups,
            in_channels=x[1],
            out_channels=out[1],
            in_size=tuple(x[2:]),
            out_size=tuple(out[2:]),
            kernel=tuple(weight[2:]),
            stride=tuple(stride),
        )
        operands = (_dense("input", x.numel()), _dense("weight", weight.numel(), role="weight"))
        return _synaptic(path, "conv", operator_name(node), bounds, operands)


def _shape(values: dict[fx.Node, Any], node: Any) -> torch.Size | None:
    return None if node is None else values[node].shape


def hashed_layers(
    path: str, module: HashedAttention, query: torch.Size, key: torch.Size | None, value: torch.Size
) -> Iterator[Layer]:
    """Yield the operations of one hashed attention on one sample.

    Args:
        path: of the module.
        module: gives anchors m, bits b and which values the offset weighs.
        query: `[B, heads, N, d]`.
        key: `[B, heads, M, d]`; None where keys are the queries.
        value: `[B, heads, M, e]`.
    """
    matrices, rows, width = math.prod(query[:2]), query[2], query[3]
    keys, out_width, bits, count = value[2], value[3], module.bits, module.anchors.shape[1]
    tokens = rows if key is None else rows + keys
    yield product_layer(f"{path}.distance", "hashing.distance", matrices, tokens, width, count, right="weight")
    yield _simple(f"{path}.kernel", "elementwise", "hashing.kernel", matrices * tokens * count)
    yield product_layer(f"{path}.codes", "hashing.codes", matrices, tokens, count, bits, right="weight")
    yield _sum(f"{path}.sum", matrices * bits, keys)
    yield product_layer(f"{path}.normaliser", "hashing.normaliser", matrices, rows, bits, 1, codes="left")
    yield _simple(f"{path}.reciprocal", "elementwise", "div", matrices * rows)
    yield product_layer(f"{path}.context", "hashing.context", matrices, bits, keys, out_width, codes="left")
    yield product_layer(f"{path}.read", "hashing.read", matrices, rows, bits, out_width, codes="left")
    if module.offset == "all":
        yield _sum(f"{path}.values", matrices * out_width, keys)
    yield _simple(f"{path}.offset", "elementwise", "hashing.offset", matrices * rows * out_width)
    yield _simple(f"{path}.scale", "elementwise", "mul", matrices * rows * out_width)


def linear_layer(name: str, op: str, rows: int, inputs: int, outputs: int) -> Layer:
    """A linear operator on `rows` vectors."""
    bounds = Bounds(in_channels=inputs, out_channels=outputs, in_size=(rows,), out_size=(rows,))
    operands = (_dense("input", rows * inputs), _dense("weight", inputs * outputs, role="weight"))
    return _synaptic(name, "linear", op, bounds, operands)


def product_layer(
    name: str, op: str, groups: int, m: int, k: int, n: int, codes: str = "", right: str = "activation"
) -> Layer:
    """`groups` matrix products `[m, k] x [k, n]`; `codes` names the operand of -1 and 1, if one is."""
    bounds = Bounds(groups=groups, in_channels=groups * k, out_channels=groups * n, in_size=(m,), out_size=(m,))
    by_weight = right == "weight"
    operands = (
        _dense("input" if by_weight else "left", groups * m * k, codes=codes == "left"),
        _dense("weight" if by_weight else "right", groups * k * n, right, codes=codes == "right"),
    )
    return _synaptic(name, "linear" if by_weight else "matmul", op, bounds, operands, codes or None)


def _synaptic(
    name: str, operator: Operator, op: str, bounds: Bounds, operands: tuple[Operand, ...], driver: str | None = None
) -> Layer:
    count = bounds.macs
    return Layer(
        name=name,
        operator=operator,
        op=op,
        timesteps=1,
        bounds=bounds,
        operands=operands,
        out_elements=math.prod(bounds.out_size) * bounds.out_channels,
        macs=0 if driver else count,
        acs=count if driver else 0,
        driven_by=driver,
    )


def _sum(name: str, sums: int, terms: int) -> Layer:
    operands = (_dense("input", sums * terms),)
    return Layer(name=name, operator="reduce", op="hashing.sum", timesteps=1, operands=operands, out_elements=sums)


def _simple(name: str, operator: Operator, op: str, elements: int) -> Layer:
    return Layer(name=name, operator=operator, op=op, timesteps=1, out_elements=elements)


def _dense(name: str, elements: int, role: Any = "activation", codes: bool = False) -> Operand:
    return Operand(
        name=name,
        role=role,
        bits=1 if codes else 32,
        signed=True,
        form="ternary" if codes else "float",
        elements=elements,
        nonzero=(elements,),
        density=(1.0,),
    )


def _unique(layers: Iterator[Layer]) -> Iterator[Layer]:
    """Number the layers that have the same name."""
    seen: dict[str, int] = {}
    for layer in layers:
        seen[layer.name] = seen.get(layer.name, 0) + 1
        again = seen[layer.name]
        yield layer if again == 1 else layer.model_copy(update={"name": f"{layer.name}#{again}"})
