"""From a captured graph to a spiking network: neurons before every product, and the products driven by their spikes."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Collection
from typing import Any, Final

import torch
from torch import Tensor, fx

from hardware_models.errors import InputError
from neuro.coding.clock import Clock
from neuro.coding.coding import CODINGS, Coding
from neuro.coding.encoder import Encoder
from neuro.coding.network import Converted, SpikingNetwork
from neuro.coding.scheme import Scheme
from neuro.coding.spike_only import COMPARISONS, ladder_of
from neuro.coding.synapse import Current, Product, Synapse
from quant.capture import Captured
from quant.capture.constants import attribute, depends_on_values, drop_unread, tensor_names
from quant.capture.operators import KINDS, Kind, kind_of, operator_name
from quant.capture.samples import SamplePlace, where

_BIAS = 2
"""Which argument of a convolution or linear operator is its bias."""


def to_spiking(
    captured: Captured, scheme: Scheme, timesteps: int, *, piece: int | None = None, keep: Collection[str] = ()
) -> SpikingNetwork:
    """Rewrite a captured network; its neurons still want calibration (`neuro.coding.calibrate`).

    Args:
        captured: the network; left as it is.
        scheme: how values become spikes.
        timesteps: T.
        piece: timesteps computed at once; None for as many as run well.
        keep: operators without a rule that are to stay in floating point.

    Raises:
        InputError: an operator without a rule that is not in `keep`.
    """
    graph = copy.deepcopy(captured.graph)
    clock = Clock()
    operators = _Rewriter(graph, captured.samples, scheme, clock, frozenset(keep)).rewrite()
    return SpikingNetwork(graph, clock, timesteps, piece, operators)


class _Rewriter:
    def __init__(
        self,
        module: fx.GraphModule,
        samples: dict[str, SamplePlace],
        scheme: Scheme,
        clock: Clock,
        keep: frozenset[str],
    ) -> None:
        self.module, self.graph, self.samples = module, module.graph, dict(samples)
        self.scheme, self.clock, self.keep = scheme, clock, keep
        self.coding: Coding = CODINGS[scheme.coding]
        self.encoders: dict[fx.Node, fx.Node] = {}
        self.dynamic = {n for n in depends_on_values(self.graph) if isinstance(n.meta.get("val"), Tensor)}

    def rewrite(self) -> tuple[Converted, ...]:
        """Rewrite the graph and return what became of each operator, in order."""
        found = []
        names = tensor_names(self.module)
        for node in list(self.graph.nodes):
            if node.op != "call_function":
                continue
            kind = kind_of(node, self.dynamic)
            if kind is None and operator_name(node) not in self.keep:
                raise _no_rule(node)
            made = ""
            if kind in ("synapse", "product"):
                kind, made = self._driven_by_spikes(node)
            elif kind == "nonlinear" and self.scheme.strictness == "spike-only":
                kind, made = self._without_floats(node)
            if kind != "index":
                found.append(Converted(node.name, where(node), operator_name(node), kind or "kept", made))
        self.graph.eliminate_dead_code()
        drop_unread(self.module, names)
        self.graph.lint()
        self.module.recompile()
        return tuple(found)

    def _driven_by_spikes(self, node: fx.Node) -> tuple[Kind, str]:
        """Let spikes drive a product; what it multiplies with is constant, or spikes as well."""
        arguments: list[Any] = list(node.args)
        bias = arguments[_BIAS] if KINDS[operator_name(node)] == "synapse" and len(arguments) > _BIAS else None
        if bias is not None:
            arguments[_BIAS] = None
        nodes = {i: one for i, one in enumerate(arguments) if isinstance(one, fx.Node)}
        constant = [i for i, one in nodes.items() if one.op == "get_attr"]
        spiking = [i for i, one in nodes.items() if one.name in self.samples]
        if len(spiking) + len(constant) != 2 or not spiking:
            raise _no_rule(node)
        operator = _Call(node.target, tuple(arguments), dict(node.kwargs), (spiking[0], (spiking + constant)[1]))
        current = Current(self.samples[node.name], self.clock, self.coding, len(spiking))
        operands = [arguments[i] for i in spiking]
        if constant:
            added = None if bias is None else self._bias(node, bias)
            weight = attribute(self.module, str(arguments[constant[0]].target))
            return "synapse", self._replace(node, Synapse(operator, weight, added, current), operands)
        left, right = (self.samples[one.name] for one in operands)
        if bias is not None:
            self._add_behind(node, bias)
        return "product", self._replace(node, Product(operator, left, right, current), operands)

    def _without_floats(self, node: fx.Node) -> tuple[Kind, str]:
        """Compute what is not linear by comparisons, thresholds or spikes."""
        name = operator_name(node)
        if name in COMPARISONS or not node.meta["val"].is_floating_point():
            return "comparison", ""
        if name in ("mul", "multiply"):
            return self._driven_by_spikes(node)  # a square
        ladder = ladder_of(node)
        if ladder is None:
            raise InputError(
                f"{where(node)} computes {name}, which has no form of spikes alone; leave out --strict, and it is "
                "computed in floating point."
            )
        made = self._name(node)
        self.module.add_submodule(made, ladder)
        with self.graph.inserting_before(node):
            found = self.graph.call_module(made, (node.args[0],))
        found.meta = dict(node.meta)
        node.replace_all_uses_with(found)
        self.graph.erase_node(node)
        self.dynamic.add(found)
        self.samples[found.name] = self.samples[node.name]
        return "ladder", made

    def _bias(self, node: fx.Node, bias: fx.Node) -> Tensor:
        """The bias in a shape that can be added to the operator's result."""
        if bias.op != "get_attr":
            raise _no_rule(node)
        value: Tensor = attribute(self.module, str(bias.target))
        shaped = value.detach().view(self._bias_shape(node))
        return torch.nn.Parameter(shaped, value.requires_grad) if isinstance(value, torch.nn.Parameter) else shaped

    def _bias_shape(self, node: fx.Node) -> tuple[int, ...]:
        return (-1,) if operator_name(node) == "linear" else (-1, *[1] * (node.meta["val"].dim() - 2))

    def _add_behind(self, node: fx.Node, bias: fx.Node) -> None:
        """Add the bias to the value of a product, which then has none."""
        aten = torch.ops.aten
        with self.graph.inserting_after(node):
            shaped = self.graph.call_function(aten.view.default, (bias, list(self._bias_shape(node))))
        with self.graph.inserting_after(shaped):
            added = self.graph.call_function(aten.add.Tensor, (node, shaped))
        added.meta = dict(node.meta)
        node.replace_all_uses_with(added, lambda user: user is not added)
        self.samples[added.name] = self.samples[node.name]
        self.dynamic.add(added)

    def _replace(self, node: fx.Node, module: torch.nn.Module, operands: list[fx.Node]) -> str:
        spikes = [self._encoded(one) for one in operands]
        name = self._name(node)
        self.module.add_submodule(name, module)
        with self.graph.inserting_before(node):
            made = self.graph.call_module(name, tuple(spikes))
        made.meta = dict(node.meta)
        node.replace_all_uses_with(made)
        self.graph.erase_node(node)
        if node in self.dynamic:
            self.dynamic.add(made)
        self.samples[made.name] = self.samples[node.name]
        return name

    def _encoded(self, value: fx.Node) -> fx.Node:
        """The spikes of a value; all who read it share one neuron."""
        dtype = value.meta["val"].dtype
        if dtype != torch.float32:
            raise InputError(
                f"{where(value)} multiplies values of type {str(dtype).removeprefix('torch.')}, which cannot be sent "
                "as spikes; let the network compute in float32 there."
            )
        if value not in self.encoders:
            encoder = Encoder(self.samples[value.name], self.clock, self.coding, self.scheme.spikes, self.scheme.levels)
            name = f"encoders.{value.name}"
            self.module.add_submodule(name, encoder)
            with self.graph.inserting_after(value):
                self.encoders[value] = self.graph.call_module(name, (value,))
            self.encoders[value].meta = dict(value.meta)
        return self.encoders[value]

    def _name(self, node: fx.Node) -> str:
        base = f"{where(node)}.{node.name}" if where(node) != "the network" else node.name
        return base


_FROM_SHAPES: Final = "of the shapes"


def _plain(argument: Any) -> Any:
    """Keep no node, which would bring its graph along, and no list of torch.fx, which torch.compile does not know."""
    if isinstance(argument, fx.Node):
        return _FROM_SHAPES
    return list(argument) if isinstance(argument, list) else argument


class _Call:
    """An operator as a function of two of its arguments, and of its bias; the others are fixed."""

    def __init__(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], open: tuple[int, int]) -> None:
        self.target, self.kwargs, self.open = target, kwargs, open
        self.args = tuple(_plain(one) for one in args)

    def __call__(self, first: Tensor, second: Tensor, bias: Tensor | None = None) -> Tensor:
        args = list(self.args)
        args[self.open[0]], args[self.open[1]] = first, second
        if bias is not None:
            args[_BIAS] = bias
        for place, one in enumerate(args):
            if one is _FROM_SHAPES:  # the groups of a convolution with weights for each sample
                args[place] = args[0].shape[1] // args[1].shape[1]
        found: Tensor = self.target(*args, **self.kwargs)
        return found


def _no_rule(node: fx.Node) -> InputError:
    name = operator_name(node)
    near = difflib.get_close_matches(name, KINDS, 3, 0.6)
    hint = f" (there are rules for {', '.join(near)})" if near else ""
    return InputError(
        f"{where(node)} uses {node.target}, for which there is no rule{hint}; leave it in floating point with --keep "
        f"{name}, or write it with other operators."
    )
