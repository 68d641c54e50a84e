"""What a file says beside its tensors: the recipe, and every quantizer by the arguments that make it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from hardware_models.errors import InputError
from quant.quantizers import Binary, Pact, PowerOfTwo, Quantizer, Spikes, Ternary, Uniform
from quant.recipes import Recipe

SCHEMA: Final = "neuro.quantized-network/1"

_KINDS: Final[dict[str, type[Quantizer]]] = {
    one.__name__: one for one in (Uniform, Pact, Binary, Ternary, PowerOfTwo, Spikes)
}


class Input(BaseModel):
    """Shape of an input without the batch, and its type."""

    model_config = ConfigDict(extra="forbid")

    shape: list[int]
    dtype: str


class Settings(BaseModel):
    """A quantizer by its class and the arguments that make it."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    arguments: dict[str, Any]


class Header(BaseModel):
    """What the file says beside its tensors.

    Attributes:
        schema_version: of this form.
        recipe: in full.
        timesteps: T.
        keep: what stayed in floating point, as `quant.quantize` takes it.
        trainable: whether BatchNorm stayed a layer.
        inputs: shape without the batch, and type, of each input.
        quantizers: by their names.
        same: names of tensors that are another one's, each with that one's name.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal["neuro.quantized-network/1"] = SCHEMA
    recipe: Recipe
    timesteps: int
    keep: list[str]
    trainable: bool
    inputs: list[Input]
    quantizers: dict[str, Settings]
    same: dict[str, str] = {}


def settings(quantizer: Quantizer) -> Settings:
    """Return what makes a quantizer of the same kind and shape.

    Raises:
        InputError: it is of an unknown kind.
    """
    kind = type(quantizer)
    if kind not in _ARGUMENTS:
        raise InputError(f"a quantizer of kind {kind.__name__} cannot be written; export as program.")
    return Settings(kind=kind.__name__, arguments=_ARGUMENTS[kind](quantizer))


def make(found: Settings) -> Quantizer:
    """Return a new quantizer.

    Raises:
        InputError: an unknown kind, or arguments that it does not take.
    """
    try:
        return _KINDS[found.kind](**found.arguments)
    except (KeyError, TypeError) as error:
        raise InputError(f"the file has a quantizer {found.kind} {found.arguments}, which is not known.") from error


def _of_uniform(one: Any) -> dict[str, Any]:
    signed = one.low < 0
    return {
        "bits": one.bits,
        "signed": signed,
        "narrow": signed and one.low == -one.high,
        "channels": one.scale_.numel(),
        "axis": one.axis,
        "learned": one.learned,
        "affine": one.affine,
        "elements": one.elements,
    }


def _of_binary(one: Any) -> dict[str, Any]:
    return {
        "scale": one.scaling,
        "estimator": one.estimator,
        "channels": max(one.scale_.numel(), one.shift_.numel()),
        "axis": one.axis,
        "shift": one.shifts,
    }


def _of_spikes(one: Any) -> dict[str, Any]:
    return {
        "timesteps": one.timesteps,
        "leak": one.leak,
        "membrane_bits": one.membrane_bits,
        "place": [one.batch_axis, one.outer],
    }


_ARGUMENTS: Final[dict[type[Quantizer], Callable[[Any], dict[str, Any]]]] = {
    Uniform: _of_uniform,
    Pact: lambda one: {"bits": one.bits},
    Binary: _of_binary,
    Ternary: lambda one: {"rule": one.rule, "axis": one.axis},
    PowerOfTwo: lambda one: {"bits": one.bits, "channels": one.scale_.numel(), "axis": one.axis},
    Spikes: _of_spikes,
}
