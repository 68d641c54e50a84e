"""From a captured graph to a spiking network: neurons before every product, and the products driven by their spikes."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from hardware_models.errors import InputError
from neuro.capture import Captured
from neuro.capture.constants import attribute, depends_on_input
from neuro.capture.samples import SamplePlace, where
from neuro.coding.clock import Clock
from neuro.coding.coding import CODINGS, Coding
from neuro.coding.encoder import Encoder
from neuro.coding.network import Converted, SpikingNetwork
from neuro.coding.operators import KINDS, kind_of, operator_name
from neuro.coding.synapse import Current, Product, Synapse

_BIAS = {"linear": 2, "conv1d": 2, "conv2d": 2, "conv3d": 2, "conv_transpose1d": 2, "conv_transpose2d": 2,
         "conv_transpose3d": 2, "convolution": 2}  # fmt: skip
"""Which argument of an operator is its bias."""


@dataclass(frozen=True)
class Scheme:
    """How values become spikes.

    Attributes:
        coding: a name of `CODINGS`.
        spikes: kind of spikes, a name of `SPIKES`.
        levels: thresholds of a neuron, or most unit spikes at once.
    """

    coding: str = "differential"
    spikes: str = "power-of-two"
    levels: int = 12


def to_spiking(
    captured: Captured, scheme: Scheme, timesteps: int, *, piece: int = 8, keep: Collection[str] = ()
) -> SpikingNetwork:
    """Rewrite a captured network; its neurons still want calibration (`neuro.coding.calibrate`).

    Args:
        captured: the network; left as it is.
        scheme: how values become spikes.
        timesteps: T.
        piece: timesteps computed at once.
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
        self.module, self.graph, self.samples = module, module.graph, samples
        self.scheme, self.clock, self.keep = scheme, clock, keep
        self.coding: Coding = CODINGS[scheme.coding]
        self.encoders: dict[fx.Node, fx.Node] = {}
        self.dynamic = {
            node for node in depends_on_input(module.graph) if isinstance(node.meta.get("val"), torch.Tensor)
        }

    def rewrite(self) -> tuple[Converted, ...]:
        """Rewrite the graph and return what became of each operator, in order."""
        found = []
        for node in list(self.graph.nodes):
            if node.op != "call_function":
                continue
            kind = kind_of(node, self.dynamic)
            if kind is None and operator_name(node) not in self.keep:
                raise _no_rule(node)
            made = ""
            if kind == "synapse":
                made = self._synapse(node)
            elif kind == "product":
                made = self._product(node)
            if kind != "index":
                found.append(Converted(node.name, where(node), operator_name(node), kind or "kept", made))
        self.graph.eliminate_dead_code()
        self.module.delete_all_unused_submodules()
        self.graph.lint()
        self.module.recompile()
        return tuple(found)

    def _synapse(self, node: fx.Node) -> str:
        name = operator_name(node)
        arguments = list(node.args)
        bias = None
        position = _BIAS.get(name)
        if position is not None and len(arguments) > position and arguments[position] is not None:
            bias = attribute(self.module, arguments[position].target)
            if name != "linear":
                bias = bias.view(-1, *[1] * (node.meta["val"].dim() - 2))
            arguments[position] = None
        spiking = [i for i, one in enumerate(arguments) if isinstance(one, fx.Node) and one in self.dynamic]
        constant = [i for i, one in enumerate(arguments) if isinstance(one, fx.Node) and one not in self.dynamic]
        if len(spiking) != 1 or len(constant) != 1:
            raise _no_rule(node)
        operator = _Call(node.target, tuple(arguments), dict(node.kwargs), (spiking[0], constant[0]))
        weight = attribute(self.module, arguments[constant[0]].target)
        synapse = Synapse(operator, weight, bias, self._current(node, 1))
        return self._replace(node, synapse, [arguments[spiking[0]]])

    def _product(self, node: fx.Node) -> str:
        places = [i for i, one in enumerate(node.args) if isinstance(one, fx.Node) and one in self.dynamic]
        operator = _Call(node.target, tuple(node.args), dict(node.kwargs), (places[0], places[1]))
        a, b = (node.args[i] for i in places)
        product = Product(operator, self.samples[a.name], self.samples[b.name], self._current(node, 2))
        return self._replace(node, product, [a, b])

    def _current(self, node: fx.Node, degree: int) -> Current:
        return Current(self.samples[node.name], self.clock, self.coding, degree)

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
        if value not in self.encoders:
            encoder = Encoder(
                self.samples[value.name], self.clock, self.coding, self.scheme.spikes, self.scheme.levels
            )
            name = f"encoders.{value.name}"
            self.module.add_submodule(name, encoder)
            with self.graph.inserting_after(value):
                self.encoders[value] = self.graph.call_module(name, (value,))
            self.encoders[value].meta = dict(value.meta)
        return self.encoders[value]

    def _name(self, node: fx.Node) -> str:
        base = f"{where(node)}.{node.name}" if where(node) != "the network" else node.name
        return base


class _Call:
    """An operator as a function of two of its arguments; the others are fixed."""

    def __init__(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], open: tuple[int, int]) -> None:
        self.target, self.args, self.kwargs, self.open = target, args, kwargs, open

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        args = list(self.args)
        args[self.open[0]], args[self.open[1]] = first, second
        found: Tensor = self.target(*args, **self.kwargs)
        return found


def _no_rule(node: fx.Node) -> InputError:
    import difflib

    name = operator_name(node)
    near = difflib.get_close_matches(name, KINDS, 3, 0.6)
    hint = f" (there are rules for {', '.join(near)})" if near else ""
    return InputError(
        f"{where(node)} uses {node.target}, for which there is no rule{hint}; leave it in floating point with --keep "
        f"{name}, or write it with other operators."
    )
