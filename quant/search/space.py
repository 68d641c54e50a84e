"""What is searched: the widths of each layer's weights and inputs, and the choices of an elastic network."""

from __future__ import annotations

import fnmatch
import glob
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from torch import Tensor, nn

from hardware_models.errors import InputError
from quant.capture import Captured, capture
from quant.network import QuantizedNetwork
from quant.quantize import quantize
from quant.recipes import (
    Activations,
    BinaryActivations,
    BinaryWeights,
    LayerRule,
    Recipe,
    UniformActivations,
    UniformWeights,
    Weights,
    load_recipe,
)
from quant.schemes import MOST_BITS
from quant.search.elastic import Choice, Elastic, Value, largest
from quant.search.nsga2 import Configuration

FLOAT_BITS = 32
"""Width of what is left in floating point."""

Role = Literal["weights", "activations", "products", "architecture"]


class Variable(NamedTuple):
    """One thing to choose.

    Attributes:
        name: a module path, or a name of `Elastic.choices()`; empty for products.
        role: whether it is the width of a layer's weights, of what it reads, of both operands of all products of
            values, or a choice of an elastic network.
        values: to choose from.
    """

    name: str
    role: Role
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Space:
    """Recipes that differ in the widths of single layers, and networks where these are elastic.

    Attributes:
        base: recipe of everything that is not searched.
        variables: what is searched; a configuration has an index of a value for each.
        parameters: tensors of the searched layers' weights, by module path.
        fixed_bits: width of each other tensor that `base` quantizes.
        numbers: how many numbers each tensor has, of a network that is not elastic.
        elastic: the elastic network.
    """

    base: Recipe
    variables: tuple[Variable, ...]
    parameters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fixed_bits: Mapping[str, int] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)
    elastic: Elastic | None = None

    def __post_init__(self) -> None:
        if self.elastic is not None:
            kept = lru_cache(maxsize=4096)(self._uncached_contents)
            object.__setattr__(self, "_contents_of", kept)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many values each variable has."""
        return tuple(len(one.values) for one in self.variables)

    @property
    def paths(self) -> tuple[str, ...]:
        """Module paths of the searched layers, in the order of the network."""
        return tuple(dict.fromkeys(one.name for one in self.variables if one.role in ("weights", "activations")))

    def values(self, configuration: Configuration) -> tuple[Value, ...]:
        """Return the chosen value of each variable."""
        return tuple(one.values[index] for one, index in zip(self.variables, configuration, strict=True))

    def choice(self, configuration: Configuration) -> dict[str, Value]:
        """Return the choices of the elastic network; empty for another."""
        pairs = zip(self.variables, self.values(configuration), strict=True)
        return {one.name: value for one, value in pairs if one.role == "architecture"}

    def canonical(self, configuration: Configuration) -> Configuration:
        """Return the configuration with the last value of each layer that its network does not have."""
        if self.elastic is None:
            return configuration
        modules, _ = self._contents(self.choice(configuration))
        layers = [one.role in ("weights", "activations") for one in self.variables]
        return tuple(
            len(one.values) - 1 if layer and one.name not in modules else index
            for one, layer, index in zip(self.variables, layers, configuration, strict=True)
        )

    def recipe(self, configuration: Configuration) -> Recipe:
        """Return the recipe: `base` with a rule for each searched layer."""
        bits = self._bits(configuration)
        rules = {
            glob.escape(path): LayerRule(
                weights=with_weight_bits(self.base.weights, bits.get((path, "weights"))),
                activations=with_activation_bits(self.base.activations, bits.get((path, "activations"))),
            )
            for path in self.paths
            if (path, "weights") in bits or (path, "activations") in bits
        }
        update: dict[str, Any] = {"layers": {**self.base.layers, **rules}}
        if ("", "products") in bits:
            update["products"] = with_activation_bits(self.base.products or self.base.activations, bits["", "products"])
        numbers = [bit for (_, role), bit in bits.items() if role == "weights"]
        mean = f", weights of {np.mean(numbers):.2f} bits a layer" if numbers else ""
        label = "-".join(str(value) for value in self.values(configuration))
        update |= {
            "name": f"mixed-{label}" if len(label) <= 60 else f"mixed-{digest(label)}",
            "summary": f"found by search from {self.base.name}{mean}",
            "source": "",
        }
        return self.base.model_copy(update=update)

    def uniform(self, weight_bits: int, activation_bits: int) -> Configuration:
        """Return the configuration whose layers all have these widths, and whose network is the largest.

        Products of values get the activations' width where it is among theirs, else their last.

        Raises:
            InputError: a width that a layer cannot choose.
        """
        return tuple(self._index(one, weight_bits, activation_bits) for one in self.variables)

    def size_bits(self, configuration: Configuration) -> int:
        """Return how many bits the network's tensors take: weights their width, others what `base` gives them.

        Scales are left out, as is what is in floating point in `base` and becomes low-bit. Of an elastic network,
        BatchNorm counts as it is and not as folded.
        """
        choice = self.choice(configuration)
        numbers = self.numbers if self.elastic is None else self._contents(choice)[1]
        bits = self._bits(configuration)
        widths = dict(self.fixed_bits)
        for path, names in self.parameters.items():
            rule = self.base.weights
            width = bits.get((path, "weights"), FLOAT_BITS if rule is None else rule.bits)
            widths |= dict.fromkeys(names, int(width))
        return sum(count * widths.get(name, FLOAT_BITS) for name, count in numbers.items())

    def describe(self) -> dict[str, Any]:
        """Return the space as plain data, by which a file of measurements is recognised."""
        base = self.base.model_dump(mode="json", by_alias=True)
        return {"base": base, "variables": [[one.name, one.role, list(one.values)] for one in self.variables]}

    def _bits(self, configuration: Configuration) -> dict[tuple[str, Role], int]:
        """Widths by name and role; only those of layers that the network has."""
        pairs = zip(self.variables, self.values(configuration), strict=True)
        modules = None if self.elastic is None else self._contents(self.choice(configuration))[0]
        return {
            (one.name, one.role): int(value)
            for one, value in pairs
            if one.role != "architecture" and (modules is None or not one.name or one.name in modules)
        }

    def _index(self, one: Variable, weight_bits: int, activation_bits: int) -> int:
        if one.role == "architecture":
            return len(one.values) - 1
        bits = weight_bits if one.role == "weights" else activation_bits
        if bits in one.values:
            return one.values.index(bits)
        if one.role == "products":
            return len(one.values) - 1
        raise InputError(f"{one.name} has no {one.role} of {bits} bits to choose; choose among {list(one.values)}.")

    def _contents(self, choice: Choice) -> tuple[frozenset[str], dict[str, int]]:
        found: tuple[frozenset[str], dict[str, int]] = self._contents_of(tuple(choice.items()))  # type: ignore[attr-defined]
        return found

    def _uncached_contents(self, items: tuple[tuple[str, Value], ...]) -> tuple[frozenset[str], dict[str, int]]:
        """Module paths of a sub-network, and the size of its tensors."""
        assert self.elastic is not None
        network = self.elastic.subnet(dict(items))
        tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        numbers = {name: one.numel() for name, one in tensors.items() if one.is_floating_point()}
        return frozenset(name for name, _ in network.named_modules()), numbers


def search_space(
    network: nn.Module | Captured | Elastic,
    example: Tensor | tuple[Tensor, ...],
    *,
    base: str | Path | Recipe = "w8a8",
    weight_bits: Sequence[int] = (2, 4, 8),
    activation_bits: Sequence[int] = (2, 4, 8),
    product_bits: Sequence[int] = (),
    only: Collection[str] = ("*",),
    skip: Collection[str] = (),
    ends: bool = False,
    keep: Collection[str] = (),
) -> Space:
    """Return the recipes to search among for a network.

    One bit is binary: +-s for weights, and +-s or 0 and s for what a layer reads. The width that `base` itself gives
    keeps the scheme of `base`; any other is uniform. Layers that share a module path share their widths.

    Args:
        network: in evaluation mode; or what `quant.capture` made of it; or an elastic one.
        example: its input, `[B, ...]`.
        base: recipe of everything else: norms, sums, tables, ends.
        weight_bits: widths to choose from for each layer's weights; none leaves them to `base`.
        activation_bits: the same of what each layer reads; of a base that fires, give none.
        product_bits: widths of the operands of products of two values, one choice for all of them; none leaves them.
        only: patterns of module paths that are searched.
        skip: patterns of module paths that are left to `base`.
        ends: search first and last layers too.
        keep: as of `quantize`.

    Raises:
        InputError: as `quantize`; widths outside of 1..16, or nothing to search.
    """
    found = load_recipe(base)
    groups = {"weight_bits": weight_bits, "activation_bits": activation_bits, "product_bits": product_bits}
    widths = {name: checked_bits(name, given) for name, given in groups.items()}
    if found.fires and (widths["activation_bits"] or widths["product_bits"]):
        raise InputError(
            f"recipe {found.name!r} fires, and spikes have one bit; give activation_bits=() and product_bits=()."
        )
    elastic = network if isinstance(network, Elastic) else None
    whole = elastic.subnet(largest(elastic)) if elastic is not None else network
    captured = whole if isinstance(whole, Captured) else capture(whole, example)  # type: ignore[arg-type]

    def quantized(recipe: Recipe) -> QuantizedNetwork:
        return quantize(captured, recipe, example, trainable=False, keep=keep)

    layers = _layers(quantized, ends, lambda path: _chosen(path, only, skip))
    made = quantized(found)
    roles: list[tuple[Role, tuple[int, ...]]] = [
        ("weights", widths["weight_bits"]),
        ("activations", widths["activation_bits"]),
    ]
    variables = [Variable(path, role, bits) for path in layers for role, bits in roles if bits]
    if widths["product_bits"] and any(one.kind == "product" and one.operator != "mul" for one in made.operators):
        variables.append(Variable("", "products", widths["product_bits"]))
    if not variables:
        raise InputError(_nothing(made, only, skip))
    if elastic is not None:
        variables += [Variable(name, "architecture", tuple(values)) for name, values in elastic.choices().items()]
    searched = {name for names in layers.values() for name in names}
    return Space(
        base=found,
        variables=tuple(variables),
        parameters=layers,
        fixed_bits={
            one.parameter: made.quantizers()[one.weight].bits
            for one in made.operators
            if one.weight and one.parameter not in searched
        },
        numbers=_numbers(captured),
        elastic=elastic,
    )


def checked_bits(name: str, bits: Sequence[int]) -> tuple[int, ...]:
    """Return distinct widths, rising; any outside of 1..16 is an `InputError`."""
    for one in bits:
        if isinstance(one, bool) or not isinstance(one, int) or not 1 <= one <= MOST_BITS:
            raise InputError(f"{name} holds {one!r}; give whole numbers of bits from 1 to {MOST_BITS}.")
    return tuple(sorted(set(bits)))


def with_weight_bits(rule: Weights | None, bits: int | None) -> Weights | None:
    """Return a rule of so many bits; None leaves it."""
    if bits is None or (rule is not None and rule.bits == bits):
        return rule
    per_channel = rule.per_channel if rule is not None else True
    if bits == 1:
        return BinaryWeights(scheme="binary", per_channel=per_channel)
    learned = rule.learned if isinstance(rule, UniformWeights) else True
    return UniformWeights(scheme="uniform", bits=bits, per_channel=per_channel, learned=learned)


def with_activation_bits(rule: Activations | None, bits: int | None) -> Activations | None:
    """Return a rule of so many bits; None leaves it."""
    if bits is None or (rule is not None and rule.bits == bits):
        return rule
    if bits == 1:
        return BinaryActivations(scheme="binary")
    if isinstance(rule, UniformActivations):
        return rule.model_copy(update={"bits": bits})
    return UniformActivations(scheme="uniform", bits=bits, affine=True)


def _layers(
    quantized: Callable[[Recipe], QuantizedNetwork], ends: bool, chosen: Callable[[str], bool]
) -> dict[str, tuple[str, ...]]:
    """Return the layers that a recipe's weights reach, by path, each with the tensors of its weights."""
    end = None if ends else LayerRule()
    weights = UniformWeights(scheme="uniform", bits=8)
    probe = Recipe(name="probe", summary="", weights=weights, activations=None, first=end, last=end)
    found: dict[str, tuple[str, ...]] = {}
    for one in quantized(probe).operators:
        if one.kind == "synapse" and one.weight and chosen(one.path):
            found[one.path] = (*found.get(one.path, ()), one.parameter)
    return found


def _chosen(path: str, only: Collection[str], skip: Collection[str]) -> bool:
    return any(fnmatch.fnmatchcase(path, one) for one in only) and not any(
        fnmatch.fnmatchcase(path, one) for one in skip
    )


def _numbers(captured: Captured) -> dict[str, int]:
    tensors = {**dict(captured.graph.named_parameters()), **dict(captured.graph.named_buffers())}
    return {name: one.numel() for name, one in tensors.items() if one.is_floating_point()}


def _nothing(network: QuantizedNetwork, only: Collection[str], skip: Collection[str]) -> str:
    layers = [one.path for one in network.operators if one.kind == "synapse"]
    some = ", ".join(layers[:5]) or "none"
    return (
        f"there is no layer to search: the network's layers are {some}{' ...' if len(layers) > 5 else ''}, of which "
        f"only={list(only)} and skip={list(skip)} choose; widen them, search the ends too (ends=True), or give widths."
    )


def digest(text: str) -> str:
    """Return eight letters that tell `text` from others."""
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:8]
