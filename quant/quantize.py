"""`quantize`: from any network and a recipe to its low-bit variant."""

from __future__ import annotations

import copy
import difflib
import fnmatch
from collections.abc import Collection
from pathlib import Path

from torch import Tensor, fx, nn

from hardware_models.errors import InputError
from quant.capture import Captured, capture
from quant.capture.constants import attribute, depends_on_values, drop_unread, tensor_names
from quant.capture.operators import KINDS, kind_of, operator_name
from quant.capture.samples import where
from quant.channels import channels_of, output_axis
from quant.network import VALUES, WEIGHTS, Quantized, QuantizedNetwork
from quant.norms import restore_batch_norm
from quant.observe import checked, initialise
from quant.quantizers import ShiftedPReLU
from quant.recipes import Activations, Recipe, Value, load_recipe
from quant.recipes import Weights as WeightRule
from quant.rectifiers import EXACT, leave_rectifying_to_neurons, shifted_rectifiers
from quant.survey import ends, seen


def quantize(
    model: nn.Module | Captured,
    recipe: str | Path | Recipe,
    example: Tensor | tuple[Tensor, ...],
    *,
    timesteps: int = 4,
    keep: Collection[str] = (),
    trainable: bool = True,
) -> QuantizedNetwork:
    """Quantize a network: weights, activations, attention products, sums, tables and what functions read.

    Args:
        model: in evaluation mode; left as it is. Or what `quant.capture` made of it.
        recipe: a name such as `w4a4` (`quant.recipes.recipe_names`), a file, or a `Recipe`.
        example: its input, `[B, ...]`: real samples, from which first ranges are chosen.
        timesteps: T, of recipes that fire.
        keep: operators without a rule, and module paths of layers, that stay in floating point.
        trainable: BatchNorm stays a layer that trains; else it is folded into the layer before it. Dropout and
            stochastic depth, which do nothing in evaluation mode, are left out.

    Returns:
        The network, in evaluation mode, with every range chosen from `example`.

    Raises:
        InputError: an unknown recipe, one with a rule for layers that are not there, a network that cannot be captured,
            an operator without a rule that is not in
            `keep`, an entry of `keep` that is not in the network, T < 1, or an example that is constant or not finite.
    """
    found = load_recipe(recipe)
    if timesteps < 1:
        raise InputError(f"timesteps was {timesteps}; give at least 1.")
    (inputs,) = checked([(example,) if isinstance(example, Tensor) else tuple(example)])
    captured = model if isinstance(model, Captured) else capture(model, inputs, fold=not trainable)
    network = _Rewriter(captured, found, timesteps if found.fires else 1, frozenset(keep)).rewrite(inputs)
    network.eval()
    initialise(network, [inputs])
    return network


class _Rewriter:
    """Rewrites a copy of the captured graph."""

    def __init__(self, captured: Captured, recipe: Recipe, timesteps: int, keep: frozenset[str]) -> None:
        self.module = copy.deepcopy(captured.graph)
        self.graph, self.samples = self.module.graph, dict(captured.samples)
        self.recipe, self.timesteps, self.keep = recipe, timesteps, keep
        self.made: dict[tuple[fx.Node, Activations], fx.Node] = {}
        self.kept: set[str] = set()
        self.notes: list[str] = []

    def rewrite(self, inputs: tuple[Tensor, ...]) -> QuantizedNetwork:
        """Put quantizers into the graph; signs of values are those that `inputs` give."""
        norms = restore_batch_norm(self.module)
        names = [name for name in tensor_names(self.module) if name.rpartition(".")[0] not in norms]
        if self.recipe.rectifier == "rprelu":
            made, notes = shifted_rectifiers(self.module)
            self.samples = self.samples | {new: self.samples[old] for new, old in made.items()}
            self.notes += notes
        self.dynamic = depends_on_values(self.graph)
        self.ends = ends(self.graph, self.dynamic)
        self.seen = seen(self.module, inputs)
        operators = [
            self._operator(node) for node in list(self.graph.nodes) if node.op in ("call_function", "call_module")
        ]
        gone = leave_rectifying_to_neurons(self.module)
        if gone:
            self.notes.append(f"{len(gone)} rectifiers are left to the spiking neurons behind them.")
        self._check_patterns(operators)
        unknown = sorted(self.keep - self.kept)
        if unknown:
            raise InputError(f"{unknown[0]!r} was to be kept, and the network has no such operator or layer; check it.")
        self.graph.eliminate_dead_code()
        drop_unread(self.module, names)
        self.graph.lint()
        self.module.recompile()
        found = tuple(one for one in operators if one is not None and one.node not in gone)
        return QuantizedNetwork(self.module, self.recipe, self.timesteps, found, tuple(self.notes))

    def _operator(self, node: fx.Node) -> Quantized | None:
        if node.op == "call_module":
            module = self.module.get_submodule(str(node.target))
            made = "nonlinear" if isinstance(module, ShiftedPReLU) else "norm"
            return Quantized(node.name, where(node), type(module).__name__, made)
        kind = kind_of(node, self.dynamic)
        name, path = operator_name(node), where(node)
        if kind == "index":
            return None
        if self._is_kept(name, path):
            return Quantized(node.name, path, name, "kept")
        if kind is None:
            raise _no_rule(node)
        weight, parameter = "", ""
        inputs: tuple[str, ...] = ()
        if kind == "synapse":
            weight, parameter, inputs = self._synapse(node)
        elif kind == "product":
            by_elements = name in ("mul", "multiply")
            inputs = self._each(node, self.recipe.sums if by_elements else self._of_products())
        elif kind == "add":
            inputs = self._sum(node)
        elif kind == "nonlinear" and name not in EXACT:
            inputs = self._each(node, self.recipe.functions)
        elif name in ("embedding", "_embedding_bag", "embedding_bag"):
            weight, parameter = self._weight(node, 0, self.recipe.tables)
        return Quantized(node.name, path, name, kind, weight, inputs, parameter)

    def _of_products(self) -> Activations | None:
        return self.recipe.products or self.recipe.activations

    def _is_kept(self, name: str, path: str) -> bool:
        found = {name, path} & self.keep
        self.kept |= found
        return bool(found)

    def _synapse(self, node: fx.Node) -> tuple[str, str, tuple[str, ...]]:
        """Quantize weight and input of a convolution or linear operator, in whichever order it has them."""
        rule = self.recipe.rule(where(node), self.ends.get(node))
        constant = [i for i, one in enumerate(node.args[:2]) if isinstance(one, fx.Node) and one.op == "get_attr"]
        if len(constant) != 1:
            raise _no_rule(node)
        weight, parameter = self._weight(node, constant[0], rule.weights)
        return weight, parameter, self._each(node, rule.activations)

    def _weight(self, node: fx.Node, place: int, rule: WeightRule | None) -> tuple[str, str]:
        """Quantize the constant argument at `place`; return the names of quantizer and tensor."""
        read = node.args[place]
        if rule is None or not isinstance(read, fx.Node) or read.op != "get_attr":
            return "", ""
        value: Tensor = attribute(self.module, str(read.target))
        if not value.is_floating_point():
            return "", ""
        quantizer = rule.build(value.shape, output_axis(node, place))
        quantizer.initialise(value)
        name = self._free(f"{WEIGHTS}.{read.target}")
        with self.graph.inserting_after(read):
            made = self._call(name, quantizer.to(value.device), read)
        node.update_arg(place, made)
        return name, str(read.target)

    def _each(self, node: fx.Node, rule: Activations | None) -> tuple[str, ...]:
        """Quantize every value that an operator reads."""
        if rule is None:
            return ()
        names = []
        for one in dict.fromkeys(node.all_input_nodes):
            if self._is_value(one):
                made = self._quantized(one, rule, node)
                node.replace_input_with(one, made)
                names.append(str(made.target))
        return tuple(names)

    def _sum(self, node: fx.Node) -> tuple[str, ...]:
        """Let the values of a sum share one scale, so that their codes can be added."""
        values = [one for one in dict.fromkeys(node.all_input_nodes) if self._is_value(one)]
        if self.recipe.sums is None or len(values) < 2:
            return ()
        lowest = min(self.seen[one][0] for one in values)
        quantizer = self.recipe.sums.build(self._value(values[0], node)._replace(negative=lowest < 0))
        name = self._free(f"{VALUES}.{node.name}")
        for one in values:
            with self.graph.inserting_before(node):
                made = self._call(name, quantizer, one)
            node.replace_input_with(one, made)
        return (name,)

    def _check_patterns(self, operators: list[Quantized | None]) -> None:
        """Refuse a rule for single layers that fits none."""
        paths = sorted({one.path for one in operators if one is not None and one.kind in ("synapse", "kept")})
        for pattern in self.recipe.layers:
            if not fnmatch.filter(paths, pattern):
                near = difflib.get_close_matches(pattern, paths, 3, 0.4) or paths[:3]
                raise InputError(
                    f"recipe {self.recipe.name!r} has a rule for layers {pattern!r}, which fits none; "
                    f"layers are called {', '.join(near)}, ..."
                )

    def _is_value(self, node: fx.Node) -> bool:
        value = node.meta.get("val")
        return node in self.seen and node in self.dynamic and isinstance(value, Tensor) and value.is_floating_point()

    def _quantized(self, value: fx.Node, rule: Activations, reader: fx.Node) -> fx.Node:
        """The quantized value; readers with the same rule share one quantizer."""
        if (value, rule) not in self.made:
            name = self._free(f"{VALUES}.{value.name}")
            with self.graph.inserting_after(value):
                self.made[value, rule] = self._call(name, rule.build(self._value(value, reader)), value)
        return self.made[value, rule]

    def _value(self, value: fx.Node, reader: fx.Node) -> Value:
        axis, channels = channels_of(value, reader)
        sample = self.samples.get(value.name)
        place = (sample.axis, sample.outer) if sample is not None else (0, 1)
        lowest, elements = self.seen[value]
        return Value(lowest < 0, channels, axis, place, self.timesteps, elements)

    def _call(self, name: str, module: nn.Module, value: fx.Node) -> fx.Node:
        self.module.add_submodule(name, module)
        made = self.graph.call_module(name, (value,))
        made.meta = dict(value.meta)
        if value in self.dynamic:
            self.dynamic.add(made)
        return made

    def _free(self, name: str) -> str:
        """Return a name that no module has yet."""
        taken = dict(self.module.named_modules())
        found, count = name, 1
        while found in taken and not _is_shell(taken[found]):
            found, count = f"{name}_{count}", count + 1
        return found


def _is_shell(module: nn.Module) -> bool:
    return type(module) is nn.Module and not module._parameters and not module._buffers


def _no_rule(node: fx.Node) -> InputError:
    name = operator_name(node)
    near = difflib.get_close_matches(name, KINDS, 3, 0.6)
    hint = f" (there are rules for {', '.join(near)})" if near else ""
    return InputError(
        f"{where(node)} uses {node.target}, for which there is no rule{hint}; leave it in floating point with keep "
        f"({name} or {where(node)}), or write it with other operators."
    )
