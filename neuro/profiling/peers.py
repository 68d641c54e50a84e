"""The neurons of other libraries, and the state of modules, which profiling must leave as it was.

A class of modules may say by itself what it is, with an attribute:

    elementwise_neuron = True   a neuron without products of matrices: one layer, whose first output are its spikes
    accumulates = True          a synapse: its products are layers, and what else it computes (sums over the timesteps
                                so far, a bias) is its state, and no layer
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neuro.neurons import IF, LIF, PLIF, IntegerLIF, SpikingNeuron

_NEURON_BASES = {
    ("spikingjelly.activation_based.neuron", ""),
    ("snntorch._neurons", ""),
    ("norse.torch.module.snn", "SNN"),
    ("norse.torch.module.snn", "SNNCell"),
    ("sinabs.layers", "StatefulLayer"),
}
"""Packages and base classes (`""` for every class in the package) by which a neuron is known without importing
its library."""

_RESETS = ("reset", "reset_mem", "reset_states")
"""What libraries call it to forget the state of a neuron: the last two are snnTorch's and Sinabs's."""

_ELEMENTWISE_NEURONS = (IF, LIF, PLIF, IntegerLIF)


def is_neuron(module: nn.Module) -> bool:
    """Whether a module is a spiking neuron, ours or one of the libraries that we know."""
    kind: Any = type(module)
    return is_elementwise(module) or _is_neuron_class(kind)


@functools.cache
def _is_neuron_class(kind: type) -> bool:
    return issubclass(kind, SpikingNeuron) or any(
        f"{base.__module__}.".startswith(f"{package}.") and name in ("", base.__name__)
        for base in kind.__mro__
        for package, name in _NEURON_BASES
    )


def is_elementwise(neuron: nn.Module) -> bool:
    """Whether a neuron is known to hold no product of matrices, so that nobody needs to watch it inside."""
    return type(neuron) in _ELEMENTWISE_NEURONS or getattr(type(neuron), "elementwise_neuron", False) is True


def is_synapse(module: nn.Module) -> bool:
    """Whether of a module only the products are layers, as it says of itself."""
    return getattr(type(module), "accumulates", False) is True


@contextmanager
def evaluated_at_rest(model: nn.Module) -> Iterator[None]:
    """Put `model` into evaluation mode with its neurons at rest; give back its modes and its state on leaving."""
    saved = [(module, _snapshot(module)) for module in model.modules()]
    try:
        model.eval()
        for module in model.modules():
            _bring_to_rest(module)
        yield
    finally:
        for module, before in saved:
            _restore(module, before)


def state_of(neuron: nn.Module) -> Iterator[Tensor]:
    """Yield the tensors that a neuron keeps between timesteps (and its other buffers)."""
    for value in (*vars(neuron).values(), *neuron._buffers.values(), *vars(neuron).get("_memories", {}).values()):
        if isinstance(value, Tensor):
            yield value


def _bring_to_rest(module: nn.Module) -> None:
    """Forget a module's state. Elsewhere `reset` may mean to draw new weights or to replace a head, so it is called
    on neurons, and on modules of unknown origin only if it asks for nothing and there are no weights to lose."""
    for name in _RESETS:
        forget = getattr(module, name, None)
        if callable(forget) and (is_neuron(module) or (not module._parameters and _asks_for_nothing(forget))):
            forget()


def _asks_for_nothing(function: Callable[..., Any]) -> bool:
    given = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return all(p.kind in given or p.default is not inspect.Parameter.empty for p in parameters)


_DICTIONARIES = ("_buffers", "_memories")


class _Kept(NamedTuple):
    """A tensor that a module holds, with a copy, since it may be written to."""

    tensor: Tensor
    copy: Tensor
    version: int

    def restore(self) -> None:
        if self.version != _version(self.tensor):
            self.tensor.copy_(self.copy)


class _Snapshot(NamedTuple):
    """A module's attributes, its dictionaries of tensors, and the tensors."""

    attributes: dict[str, Any]
    dictionaries: dict[str, dict[str, Any]]
    tensors: list[_Kept]


def _snapshot(module: nn.Module) -> _Snapshot:
    attributes = dict(vars(module))
    dictionaries = {name: dict(attributes[name]) for name in _DICTIONARIES if isinstance(attributes.get(name), dict)}
    values = [*attributes.values(), *(value for held in dictionaries.values() for value in held.values())]
    tensors = [value for value in values if isinstance(value, Tensor) and not value.is_meta]
    return _Snapshot(attributes, dictionaries, [_Kept(t, t.detach().clone(), _version(t)) for t in tensors])


def _restore(module: nn.Module, before: _Snapshot) -> None:
    vars(module).clear()
    vars(module).update(before.attributes)
    for name, held in before.dictionaries.items():
        vars(module)[name].clear()
        vars(module)[name].update(held)
    with torch.no_grad():
        for kept in before.tensors:
            kept.restore()


def _version(x: Tensor) -> int:
    """How often `x` was written to; of a tensor made for inference, which does not count, always another number."""
    return next(_never) if x.is_inference() else x._version


_never = itertools.count(-1, -1)
