"""Recipes: which values of a network become how many bits. Data, read from `configs/quant/NAME.yaml`."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hardware_models.errors import InputError, unknown_name
from hardware_models.shipped import shipped_configs
from hardware_models.yaml_files import read_yaml, validated
from quant.quantizers import Binary, Pact, PowerOfTwo, Quantizer, Spikes, Ternary, Uniform
from quant.schemes import MOST_BITS, Estimator

SCHEMA: Final = "neuro.quant-recipe/1"

End = Literal["first", "last"]

Bits = Annotated[int, Field(ge=1, le=MOST_BITS)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class UniformWeights(_Document):
    """Equal steps, symmetric about 0.

    Attributes:
        bits: 2 to 16.
        per_channel: a scale for each output channel.
        learned: scales are trained (LSQ); else they stay as calibrated.
    """

    scheme: Literal["uniform"]
    bits: Annotated[int, Field(ge=2, le=MOST_BITS)]
    per_channel: bool = True
    learned: bool = True

    def build(self, shape: Sequence[int], axis: int | None) -> Quantizer:
        """Return the quantizer of a weight of this shape, whose output channels are along `axis` if there are any."""
        return Uniform(self.bits, True, narrow=True, learned=self.learned, **_scales(shape, axis, self.per_channel))


class BinaryWeights(_Document):
    """+-s.

    Attributes:
        per_channel: a scale for each output channel.
        scale: `mean` |w|, or `learned`.
        estimator: the derivative of the sign, `clipped`, `polynomial` or `identity`.
    """

    scheme: Literal["binary"]
    per_channel: bool = True
    scale: Literal["mean", "learned"] = "mean"
    estimator: Estimator = "clipped"
    bits: Literal[1] = 1

    def build(self, shape: Sequence[int], axis: int | None) -> Quantizer:
        """Return the quantizer of a weight of this shape, whose output channels are along `axis` if there are any."""
        held = _scales(shape, axis, self.per_channel)
        return Binary(self.scale, self.estimator, channels=held["channels"], axis=held["axis"])


class TernaryWeights(_Document):
    """-s, 0 and s.

    Attributes:
        per_channel: a scale for each output channel.
        rule: `threshold` (ternary weight networks), `mean` (BitNet b1.58) or `learned` (a trained scale).
    """

    scheme: Literal["ternary"]
    per_channel: bool = True
    rule: Literal["threshold", "mean", "learned"] = "threshold"
    bits: Literal[2] = 2

    def build(self, shape: Sequence[int], axis: int | None) -> Quantizer:
        """Return the quantizer of a weight of this shape, whose output channels are along `axis` if there are any."""
        if self.rule == "learned":
            return Uniform(2, True, narrow=True, **_scales(shape, axis, self.per_channel))
        return Ternary(self.rule, axis=axis if self.per_channel else None)


class PowerOfTwoWeights(_Document):
    """0 and powers of two of either sign, with a trained scale.

    Attributes:
        bits: 2 to 5.
        per_channel: a scale for each output channel.
    """

    scheme: Literal["power-of-two"]
    bits: Annotated[int, Field(ge=2, le=5)]
    per_channel: bool = True

    def build(self, shape: Sequence[int], axis: int | None) -> Quantizer:
        """Return the quantizer of a weight of this shape, whose output channels are along `axis` if there are any."""
        held = _scales(shape, axis, self.per_channel)
        return PowerOfTwo(self.bits, channels=held["channels"], axis=held["axis"])


def _scales(shape: Sequence[int], axis: int | None, per_channel: bool) -> dict[str, Any]:
    """What a quantizer of a weight holds: how many scales, along which axis, of how many values each."""
    if axis is None or not per_channel:
        return {"channels": 1, "axis": None, "elements": math.prod(shape)}
    return {"channels": shape[axis], "axis": axis, "elements": math.prod(shape) // shape[axis]}


class Value(NamedTuple):
    """What is known of a value that is to be quantized.

    Attributes:
        negative: whether it is below 0 at times.
        channels: how many it has along `axis`; None where what reads it has no channels.
        place: axis of the batch, and how many entries stand around it there.
        timesteps: T of the network.
        elements: how many there are of one sample.
    """

    negative: bool
    channels: int = 1
    axis: int | None = None
    place: tuple[int, int] = (0, 1)
    timesteps: int = 1
    elements: int = 1


class UniformActivations(_Document):
    """Equal steps; unsigned where the values are never negative.

    Attributes:
        bits: 1 to 16.
        affine: values of both signs get unsigned codes with a zero point; else signed, symmetric ones.
        learned: scale (and zero point) are trained (LSQ, LSQ+); else they stay as calibrated.
    """

    scheme: Literal["uniform"]
    bits: Bits
    affine: bool = False
    learned: bool = True

    def build(self, value: Value) -> Quantizer:
        """Return the quantizer of a value."""
        if value.negative and (self.affine or self.bits == 1):
            return Uniform(self.bits, False, affine=True, learned=self.learned, elements=value.elements)
        held: dict[str, Any] = {"narrow": value.negative, "learned": self.learned, "elements": value.elements}
        return Uniform(self.bits, value.negative, **held)


class PactActivations(_Document):
    """Equal steps up to a trained clip (PACT); values of both signs get a trained scale instead.

    Attributes:
        bits: 1 to 16.
    """

    scheme: Literal["pact"]
    bits: Bits

    def build(self, value: Value) -> Quantizer:
        """Return the quantizer of a value."""
        if value.negative:
            return UniformActivations(scheme="uniform", bits=self.bits).build(value)
        return Pact(self.bits)


class BinaryActivations(_Document):
    """+-s by the sign of the value; where it is never negative, 0 and s with a trained s.

    Attributes:
        scale: `learned`, or `one` where a BatchNorm or the like follows.
        estimator: the derivative of the sign, `clipped`, `polynomial` or `identity`.
        shift: a trained threshold for each channel (ReActNet).
    """

    scheme: Literal["binary"]
    scale: Literal["learned", "one"] = "learned"
    estimator: Estimator = "clipped"
    shift: bool = False
    bits: Literal[1] = 1

    def build(self, value: Value) -> Quantizer:
        """Return the quantizer of a value."""
        if not value.negative:
            return Uniform(1, False, elements=value.elements)
        shift = self.shift and value.axis is not None
        axis = value.axis if shift else None
        return Binary(self.scale, self.estimator, channels=value.channels, axis=axis, shift=shift)


class SpikingActivations(_Document):
    """Spikes of integrate-and-fire neurons, 0 or a trained threshold in each timestep.

    Attributes:
        leak: of the membrane potential from one timestep to the next; 1 keeps it.
        membrane_bits: width of an integer membrane potential; null keeps it in floating point.
    """

    scheme: Literal["spikes"]
    leak: Annotated[float, Field(gt=0, le=1)] = 1.0
    membrane_bits: Annotated[int, Field(ge=3, le=MOST_BITS)] | None = 8
    bits: Literal[1] = 1

    def build(self, value: Value) -> Quantizer:
        """Return the neurons of a value, which fire where it is positive."""
        return Spikes(value.timesteps, self.leak, self.membrane_bits, value.place)


Weights = Annotated[UniformWeights | BinaryWeights | TernaryWeights | PowerOfTwoWeights, Field(discriminator="scheme")]
Activations = Annotated[
    UniformActivations | PactActivations | BinaryActivations | SpikingActivations, Field(discriminator="scheme")
]


class LayerRule(_Document):
    """How one layer's weights and inputs are held; null leaves them in floating point."""

    weights: Weights | None = None
    activations: Activations | None = None


class Recipe(_Document):
    """Which values become how many bits.

    Attributes:
        name: what it is called.
        summary: what it is, in a sentence.
        source: the paper it follows; empty for a plain width.
        weights: of convolutions and linear layers.
        activations: what these read.
        products: both operands of a product of two values, as in attention; null takes `activations`.
        sums: operands of sums, which share one scale, and of products by elements; null leaves them.
        functions: what functions that are not linear read (norms, GELU, softmax); null leaves it.
        tables: embeddings; null leaves them.
        first: the layers with weights that no other comes before; null treats them as all others.
        last: the layers with weights that none comes behind; null treats them as all others.
        rectifier: `rprelu` puts ReActNet's shifted PReLU in the place of rectifiers, GELU and the like.
        layers: rules for single layers, by a pattern of their module path such as `blocks.3.*`; the last that fits
            wins.
    """

    schema_version: Literal["neuro.quant-recipe/1"] = Field(default=SCHEMA, alias="schema")
    name: str
    summary: str
    source: str = ""
    weights: Weights | None
    activations: Activations | None
    products: Activations | None = None
    sums: Activations | None = None
    functions: Activations | None = None
    tables: Weights | None = None
    first: LayerRule | None = None
    last: LayerRule | None = None
    rectifier: Literal["rprelu"] | None = None
    layers: dict[str, LayerRule] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _sums_do_not_fire(self) -> Recipe:
        for place in (self.sums, self.functions):
            if isinstance(place, SpikingActivations):
                raise ValueError("sums and functions read membrane potentials; give them bits, or leave them out")
        return self

    @property
    def fires(self) -> bool:
        """Whether it makes a spiking network, which runs over timesteps."""
        places = [self.activations, self.products, *(one.activations for one in self.layers.values())]
        return any(isinstance(one, SpikingActivations) for one in places)

    def to_yaml(self) -> str:
        """Return the recipe as a file."""
        return yaml.safe_dump(self.model_dump(mode="json", by_alias=True), sort_keys=False)

    def rule(self, path: str, end: End | None) -> LayerRule:
        """Return the rule of a layer with weights.

        Args:
            path: its module path.
            end: whether it is a first or a last layer; one that is both counts as last.
        """
        chosen = [rule for pattern, rule in self.layers.items() if fnmatch.fnmatchcase(path, pattern)]
        at_end = {"first": self.first, "last": self.last, None: None}[end]
        return (chosen or [at_end or LayerRule(weights=self.weights, activations=self.activations)])[-1]


def load_recipe(recipe: str | Path | Recipe) -> Recipe:
    """Return a recipe by its name or file.

    Raises:
        InputError: an unknown name (with the nearest ones), or a file that is no recipe.
    """
    if isinstance(recipe, Recipe):
        return recipe
    path = Path(recipe)
    if path.suffix not in (".yaml", ".yml"):
        if str(recipe) not in recipe_names():
            raise unknown_name("recipe", str(recipe), recipe_names())
        path = _folder() / f"{recipe}.yaml"
    return validated(Recipe, read_yaml(path, "recipe", SCHEMA), path)


def recipe_text(name: str) -> str:
    """Return the file of a shipped recipe.

    Raises:
        InputError: an unknown name (with the nearest ones).
    """
    if name not in recipe_names():
        raise unknown_name("recipe", name, recipe_names())
    return (_folder() / f"{name}.yaml").read_text(encoding="utf-8")


@cache
def recipe_names() -> tuple[str, ...]:
    """Return the names of the shipped recipes, sorted."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def uniform_recipe(weight_bits: int, activation_bits: int) -> Recipe:
    """Return a recipe of plain widths, with learned scales and 8 bits at the ends.

    Raises:
        InputError: weights of fewer than 2 bits (`w1a8` and the like are binary), or widths outside of 1..16.
    """
    if not 2 <= weight_bits <= MOST_BITS or not 1 <= activation_bits <= MOST_BITS:
        raise InputError(
            f"weights of {weight_bits} and activations of {activation_bits} bits were asked for; give weights 2 to "
            f"{MOST_BITS} bits (one bit is binary: recipe w1a8) and activations 1 to {MOST_BITS}."
        )
    eight = UniformActivations(scheme="uniform", bits=8, affine=True)
    ends = LayerRule(weights=UniformWeights(scheme="uniform", bits=8), activations=eight)
    return Recipe(
        name=f"w{weight_bits}a{activation_bits}",
        summary=f"{weight_bits}-bit weights, {activation_bits}-bit activations",
        weights=UniformWeights(scheme="uniform", bits=weight_bits),
        activations=UniformActivations(scheme="uniform", bits=activation_bits, affine=True),
        sums=eight,
        functions=eight,
        tables=UniformWeights(scheme="uniform", bits=8),
        first=ends,
        last=ends,
    )


def _folder() -> Path:
    return shipped_configs("quant", "quant")
