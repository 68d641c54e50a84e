"""Watch a network run, operator by operator, whatever library its modules come from.

Three things are observed at once: which module is running (global module hooks), every operator that reaches
the dispatcher (a `TorchDispatchMode`, so fused attention and functional code are seen too), and where each
tensor came from (by its storage), which gives the edges, tells weights from activations, and says whether a
tensor holds one timestep or all of them.
"""

from __future__ import annotations

import functools
import sys
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from hardware_models.errors import InputError
from neuro.neurons import SpikingNeuron
from neuro.profiling.activity import Activity, Layout, measure
from neuro.profiling.operators import (
    MOVES,
    OPAQUE,
    SYNAPTIC_RULES,
    Call,
    Seen,
    Weight,
    describe_weight,
    plain_call,
)

_PEER_NEURONS = (
    ("spikingjelly.activation_based.neuron.base_node", "BaseNode"),
    ("snntorch", "SpikingNeuron"),
    ("norse.torch.module.snn", "SNN"),
    ("norse.torch.module.snn", "SNNCell"),
    ("sinabs.layers", "StatefulLayer"),
)
"""Base classes of other libraries' neurons, looked up only where the library is already loaded."""


def neuron_types() -> tuple[type, ...]:
    """Return the base classes of neuron modules, ours and those of the libraries that are loaded."""
    peers = (getattr(sys.modules.get(module), name, None) for module, name in _PEER_NEURONS)
    return (SpikingNeuron, *(peer for peer in peers if isinstance(peer, type)))


class _View(NamedTuple):
    """What tells one tensor from the other views of its storage."""

    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass
class _Origin:
    """What is known of a storage: the layers that wrote it, and how many timesteps each view of it holds."""

    layers: frozenset[str]
    steps: dict[_View, int]


_INSIDE_NEURON = _Origin(frozenset(), {})


class Watcher(TorchDispatchMode):
    """Records a `Call` for every operator that depends on the network's input.

    Args:
        model: the network; its module paths name the calls.
        timesteps: T.
        batch: samples of one timestep.

    After the run, `calls` holds the calls of each site, `(module path, operation, n-th such operation in one
    run of the module)`, in the order the sites were first met.
    """

    def __init__(self, model: nn.Module, timesteps: int, batch: int) -> None:
        super().__init__()
        self.calls: dict[str, list[Call]] = {}
        self._timesteps = timesteps
        self._paths = {id(module): path for path, module in model.named_modules()}
        self._neuron_types = neuron_types()
        self._stack: list[str] = []
        self._counters: list[dict[str, int]] = [defaultdict(int)]
        self._inside_neuron = 0
        self._origins: dict[int, _Origin] = {}
        self._recent: deque[tuple[tuple[Any, ...], Tensor, Activity]] = deque(maxlen=4)
        self._weights: dict[tuple[int, ...], tuple[Tensor, Weight]] = {}
        self._paused = False
        self._seen = Seen(batch, self._steps, self._is_weight, self._activity, self._weight)

    @contextmanager
    def watching(self, inputs: Tensor, steps: int) -> Iterator[None]:
        """Watch what happens inside the block; `inputs` is the network's input and holds `steps` timesteps."""
        self._origins[_storage(inputs)] = _Origin(frozenset(), {_view(inputs): steps})
        before = register_module_forward_pre_hook(self._enter)
        after = register_module_forward_hook(self._leave, always_call=True)
        with ExitStack() as stack:
            stack.callback(before.remove)
            stack.callback(after.remove)
            stack.enter_context(self)
            yield

    # What the rules ask of tensors.

    def _steps(self, x: Tensor) -> int:
        origin = self._origins.get(_storage(x))
        return origin.steps.get(_view(x), 1) if origin else 1

    def _is_weight(self, x: Tensor) -> bool:
        return _storage(x) not in self._origins

    def _activity(self, x: Tensor, layout: Layout, fan_out: tuple[Tensor, ...] | None) -> Activity:
        # q, k and v read one tensor: measure it once. The deque keeps it alive, so its address is its own.
        # Fan-outs are cached by their geometry, so identity tells them apart.
        key = (x.data_ptr(), tuple(x.shape), x.stride(), x._version, layout, id(fan_out))
        for known, _, activity in self._recent:
            if known == key:
                return activity
        activity = measure(x, layout, fan_out)
        self._recent.append((key, x, activity))
        return activity

    def _weight(self, w: Tensor) -> Weight:
        key = (w.data_ptr(), *w.shape, w._version)
        if key not in self._weights:
            self._weights[key] = (w, describe_weight(w))
        return self._weights[key][1]

    # Module hooks.

    def _enter(self, module: nn.Module, args: Any) -> None:
        path = self._paths.get(id(module))
        if path is None:
            return
        self._stack.append(path)
        self._counters.append(defaultdict(int))
        self._inside_neuron += isinstance(module, self._neuron_types)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if id(module) not in self._paths:
            return
        if isinstance(module, self._neuron_types):
            self._inside_neuron -= 1
            if not self._inside_neuron:
                self._record_neuron(module, args, output)
        self._stack.pop()
        self._counters.pop()

    def _record_neuron(self, module: nn.Module, args: Any, output: Any) -> None:
        tensors, inputs = _tensors([output]), _tensors(args)
        if not tensors or not inputs:
            return
        spikes = tensors[0]
        with self._pause():
            steps = max(self._steps(spikes), self._steps(inputs[0]))
            call = Call("neuron", type(module).__name__, steps, spikes.numel() // (steps * self._seen.batch))
            call.output = measure(spikes, _neuron_layout(spikes, steps, getattr(module, "step_mode", None)))
            call.sources = self._sources(inputs[:1])
        name = self._keep("neuron", call)
        self._origins[_storage(spikes)] = _Origin(frozenset([name]), {_view(spikes): steps})

    # Dispatch.

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._paused:
            return func(*args, **kwargs)
        name = func.overloadpacket.__name__
        if name not in SYNAPTIC_RULES and _is_composite(func):
            with self:
                return func.decompose(*args, **kwargs)
        out = func(*args, **kwargs)
        with self._pause():
            self._observe(func, name, args, kwargs, out)
        return out

    @contextmanager
    def _pause(self) -> Iterator[None]:
        """Let our own measuring pass unseen."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def _observe(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        inputs = [*_tensors(args), *_tensors(kwargs.values())]
        activations = [t for t in inputs if not self._is_weight(t)]
        outputs = _tensors([out])
        if not activations or not outputs:
            return
        if self._inside_neuron and name not in SYNAPTIC_RULES:
            for t in outputs:  # depends on the input; the neuron as a whole is recorded when it is left
                self._origins.setdefault(_storage(t), _INSIDE_NEURON)
            return
        layers = self._sources(activations)
        if name in SYNAPTIC_RULES:
            for call in SYNAPTIC_RULES[name](self._seen, name, args, outputs[0]):
                call.sources = layers
                written = self._keep(call.op, call)
            layers = frozenset([written])
        elif name in OPAQUE:
            raise InputError(
                f"{self._path() or 'the network'} uses aten.{name}, whose inner products cannot be seen; write it "
                "with plain matrix products, or profile the network without it."
            )
        elif not (func.is_view or name in MOVES) and outputs[0].is_floating_point():
            self._keep(name, plain_call(self._seen, name, activations, outputs[0]))
        self._trace(name, args, activations, outputs, layers)

    def _trace(
        self, name: str, args: tuple[Any, ...], activations: list[Tensor], outputs: list[Tensor], layers: frozenset[str]
    ) -> None:
        """Remember where the outputs come from and how many timesteps they hold."""
        keys = {_storage(t) for t in activations}
        steps = self._steps_after(name, args, activations, outputs)
        for out in outputs:
            key = _storage(out)
            origin = self._origins.get(key)
            if key in keys and origin and origin is not _INSIDE_NEURON:  # a view, or written in place
                origin.layers |= layers
                origin.steps[_view(out)] = steps
            else:
                self._origins[key] = _Origin(layers, {_view(out): steps})

    def _steps_after(self, name: str, args: tuple[Any, ...], activations: list[Tensor], outputs: list[Tensor]) -> int:
        """Timesteps in the result: time enters by stacking or expanding T-fold and leaves along axis 0."""
        total, first, out = self._timesteps, activations[0], outputs[0]
        if total == 1:
            return 1
        before = max(self._steps(t) for t in activations)
        if before == 1:
            if name in ("stack", "cat"):
                enters = len(activations) == total and out.shape[0] % total == 0
            else:
                enters = name in ("expand", "repeat") and out.numel() == first.numel() * total
            return total if enters and out.shape[0] % total == 0 else 1
        pieces = len(outputs) if name in _SPLITTING else first.numel() // max(1, out.numel())
        leaves = name in _LEAVING_TIME and first.shape[0] == total == pieces and _along_axis_0(args, first.dim())
        return 1 if leaves else before

    # Bookkeeping.

    def _sources(self, tensors: list[Tensor]) -> frozenset[str]:
        origins = (self._origins.get(_storage(t)) for t in tensors)
        return frozenset().union(*(o.layers for o in origins if o))

    def _path(self) -> str:
        return self._stack[-1] if self._stack else ""

    def _keep(self, op: str, call: Call) -> str:
        """Store the call under its site's name and return that name."""
        count = self._counters[-1][op]
        self._counters[-1][op] += 1
        single = call.operator in ("conv", "linear", "neuron")
        name = (self._path() if single else f"{self._path()}:{op}".lstrip(":")) or op
        if count:
            name = f"{name}#{count + 1}"
        if name in self.calls and self.calls[name][0].operator != call.operator:
            name = f"{name}:{call.operator}"
        self.calls.setdefault(name, []).append(call)
        return name


@functools.cache
def _is_composite(func: Any) -> bool:
    """Whether an operation is only a composition of others, as `aten.linear` is in inference mode."""
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    return func.has_kernel_for_dispatch_key(key) if hasattr(func, "has_kernel_for_dispatch_key") else False


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    """The tensors among `values`, lists and tuples opened."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
    return found


_SPLITTING = ("unbind", "split", "split_with_sizes", "chunk")
_LEAVING_TIME = (*_SPLITTING, "select", "slice", "mean", "sum", "amax", "max")


def _along_axis_0(args: tuple[Any, ...], axes: int) -> bool:
    """Whether an operation's axis argument (the last one that may be an axis) names axis 0."""
    given = next((a for a in args[1:] if isinstance(a, int | list | tuple) and not isinstance(a, bool)), 0)
    named = given if isinstance(given, list | tuple) else [given]
    return any(isinstance(axis, int) and axis % axes == 0 for axis in named)


def _storage(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


def _view(x: Tensor) -> _View:
    return _View(x.storage_offset(), tuple(x.shape), x.stride())


def _neuron_layout(x: Tensor, steps: int, step_mode: str | None) -> Layout:
    """Channels of a neuron's output: the axis behind the batch."""
    time_first = x.shape[0] == steps and (step_mode == "m" or steps > 1)
    one_step = x.shape[1:] if time_first else x.shape
    return Layout(steps, one_step[1], tuple(one_step[2:])) if len(one_step) > 1 else Layout(steps, 1, ())
