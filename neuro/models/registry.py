"""The registry of architectures: a name and a variant in, a torch module out.

An architecture registers a builder and its configuration class at the end of its own file; its sizes and
published figures are data, in `configs/models/<name>.yaml`.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from hardware_models.errors import InputError, unknown_name
from hardware_models.shipped import shipped_configs

if typing.TYPE_CHECKING:
    from neuro.models.attention import NeuronFactory


@dataclass(frozen=True)
class Variant:
    """One size of an architecture, as its file in `configs/models` gives it."""

    name: str
    config: dict[str, Any]
    description: str = ""
    published: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Architecture:
    """What `configs/models/<name>.yaml` says of an architecture."""

    name: str
    title: str
    paper: str
    source: str
    default_variant: str
    default_attention: str
    variants: dict[str, Variant]

    def variant(self, name: str | None = None) -> Variant:
        """Return the named variant, or the default one; an unknown name is an `InputError`."""
        name = name or self.default_variant
        if name not in self.variants:
            raise unknown_name(f"variant of {self.name}", name, self.variants)
        return self.variants[name]


@dataclass(frozen=True)
class _Registered:
    build: Callable[[Any, NeuronFactory, int, str], nn.Module]
    config_class: type
    merge: Callable[[nn.Module], nn.Module]


_REGISTERED: dict[str, _Registered] = {}


def register_model(
    name: str, config_class: type, merge: Callable[[nn.Module], nn.Module]
) -> Callable[[Callable[..., nn.Module]], Callable[..., nn.Module]]:
    """Register the decorated `build(config, make_neuron, timesteps, attention)` under `name`.

    `merge(model)` returns the inference form of a model that was built.
    """

    def keep(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        _REGISTERED[name] = _Registered(build, config_class, merge)
        return build

    return keep


def model_names() -> list[str]:
    """Return the names of all architectures, sorted."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


@functools.cache
def architecture(name: str) -> Architecture:
    """Return what is known of the architecture called `name`; an unknown name is an `InputError`."""
    if name not in model_names():
        raise unknown_name("model", name, model_names())
    data = yaml.safe_load((_folder() / f"{name}.yaml").read_text(encoding="utf-8"))
    variants = {key: Variant(key, **value) for key, value in data["variants"].items()}
    fields = {f.name: data[f.name] for f in dataclasses.fields(Architecture) if f.name != "variants"}
    return Architecture(**fields, variants=variants)


def create_model(
    name: str,
    variant: str | None = None,
    *,
    make_neuron: NeuronFactory,
    timesteps: int = 4,
    attention: str | None = None,
    overrides: dict[str, Any] | None = None,
) -> nn.Module:
    """Build a registered architecture.

    Args:
        name: the architecture, one of `model_names()`.
        variant: its size; None takes the default one.
        make_neuron: makes a neuron layer with the given threshold (see `neuro.models.neurons`).
        timesteps: T, how often a static input is presented.
        attention: the kind of attention; None takes the architecture's own.
        overrides: fields of the architecture's configuration that replace the variant's.

    Raises:
        InputError: unknown name, variant or field, or values that do not fit together.
    """
    known = architecture(name)
    registered = _registered(name)
    config = _build_config(registered.config_class, known.variant(variant).config | (overrides or {}))
    return registered.build(config, make_neuron, timesteps, attention or known.default_attention)


def merge_model(name: str, model: nn.Module) -> nn.Module:
    """Return the inference form of a model built by `create_model(name, ...)`; `model` is left alone."""
    return _registered(name).merge(model)


def _registered(name: str) -> _Registered:
    importlib.import_module(f"neuro.models.{name}")
    return _REGISTERED[name]


def _build_config(config_class: type, values: dict[str, Any]) -> Any:
    known = {f.name for f in dataclasses.fields(config_class)}
    for key in values:
        if key not in known:
            raise unknown_name("architecture setting", key, known)
    lists_to_tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return config_class(**lists_to_tuples)
    except TypeError as error:
        raise InputError(f"the architecture's settings do not fit: {error}.") from error


def _folder() -> Path:
    return shipped_configs("neuro", "models")
