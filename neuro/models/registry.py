"""The registry of architectures: a name and a variant in, a torch module out.

An architecture registers a builder and its configuration class at the end of its own file; what is known of
it is data (`neuro.models.catalogue`).
"""

from __future__ import annotations

import dataclasses
import importlib
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from hardware_models.errors import InputError, unknown_name
from neuro.models.catalogue import architecture

if typing.TYPE_CHECKING:
    from neuro.models.attention import NeuronFactory


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
