"""Watch a network run, operator by operator, whatever library its modules come from.

Three things are observed at once: which module is running (global module hooks), every operator that reaches
the dispatcher (a `TorchDispatchMode`, so fused attention and functional code are seen too), and where each
tensor came from (`origins`), which gives the edges, tells weights from activations, and says where a tensor
holds its timesteps.
"""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._ops import HigherOrderOperator
from torch.nn.modules.module import (
    _global_forward_hooks_with_kwargs,
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode

from hardware_models.errors import InputError
from neuro.profiling.activity import Layout
from neuro.profiling.calls import Call, Seen, Source, Weight, describe_weight
from neuro.profiling.forms import Values
from neuro.profiling.operators import MOVES, SHAPE_ONLY, hides_products, plain_call, qualified_name
from neuro.profiling.origins import Origins, shows_all, storage
from neuro.profiling.peers import is_elementwise, is_neuron, is_synapse, state_of
from neuro.profiling.products import RULES
from neuro.profiling.timeline import Time, follow, leading


class Watcher(TorchDispatchMode):
    """Records a `Call` for every operator that depends on the network's input.

    Args:
        model: the network; its module paths name the calls.
        timesteps: T.
        batch: samples of one timestep.

    After the run, `calls` holds the calls of each site, `(module path, operation, n-th such operation in one
    run of the module)`, in the order the sites were first met. `refusal` is the error of an operation that cannot
    be measured, in case the network or the interpreter of scripted code hid it.
    """

    supports_higher_order_operators = True  # by refusing them

    def __init__(self, model: nn.Module, timesteps: int, batch: int) -> None:
        super().__init__()
        self.calls: dict[str, list[Call]] = {}
        self.refusal: InputError | None = None
        self._timesteps = timesteps
        self._paths = {id(module): path for path, module in _captured(model).named_modules()}
        self._stack: list[str] = []
        self._sites: dict[str, Any] = {}
        self._counters: list[dict[Any, int]] = [defaultdict(int)]
        self._inside_neuron = 0
        self._inside_synapse = 0
        self._looking_away = False
        self._origins = Origins()
        self._own = {storage(p) for p in (*model.parameters(), *model.buffers()) if p.layout is torch.strided}
        self._weights: dict[tuple[Any, ...], tuple[Tensor, Weight]] = {}
        self._seen = Seen(batch, self._origins.time, self._is_weight, self._origins.activity, self._weight)

    @contextmanager
    def watching(self, inputs: Tensor, steps: int) -> Iterator[None]:
        """Watch what happens inside the block; `inputs` is the network's input and holds `steps` timesteps."""
        self._origins.begin(inputs, frozenset(), leading(steps, tuple(inputs.shape)))
        before = register_module_forward_pre_hook(self._enter)
        after = register_module_forward_hook(self._leave, with_kwargs=True, always_call=True)
        with ExitStack() as stack:
            stack.callback(before.remove)
            stack.callback(after.remove)
            stack.callback(_global_forward_hooks_with_kwargs.pop, after.id, None)  # which `remove` forgets
            stack.enter_context(self)
            yield

    def _is_weight(self, x: Tensor) -> bool:
        return not self._origins.depends(x)

    def _weight(self, w: Tensor) -> Weight:
        if storage(w) not in self._own:
            return describe_weight(w)  # computed on the way: its address may soon be another's
        key = (w.data_ptr(), w.shape, w.stride(), w.dtype, 0 if w.is_inference() else w._version)
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
        self._inside_synapse += is_synapse(module)
        if is_neuron(module):
            self._inside_neuron += 1
            if is_elementwise(module):
                self._look_away()

    def _leave(self, module: nn.Module, args: Any, *more: Any) -> None:
        # After an exception, torch leaves the keyword arguments out.
        *kwargs, output = more
        if id(module) not in self._paths:
            return
        if is_neuron(module):
            self._inside_neuron -= 1
            self._look_away()
            if not self._inside_neuron:
                self._record_neuron(module, _tensors([args, kwargs]), _tensors([output]))
            self._look_back()
        self._inside_synapse -= is_synapse(module)
        self._stack.pop()
        self._counters.pop()

    def _look_away(self) -> None:
        """Take the mode off: inside a neuron that holds nothing to see, and while we measure one."""
        if not self._looking_away and _get_current_dispatch_mode() is self:
            self._looking_away = True
            self.__exit__(None, None, None)

    def _look_back(self) -> None:
        if self._looking_away:
            self._looking_away = False
            self.__enter__()

    def _record_neuron(self, module: nn.Module, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        """The first output is the spikes; all outputs and the state come from the neuron."""
        if not outputs:
            return
        spikes = outputs[0]
        time = self._origins.time(spikes)
        if inputs and inputs[0].shape == spikes.shape:
            time = self._origins.time(inputs[0])
        steps = time.steps if time else 1
        call = Call("neuron", type(module).__name__, steps, self._seen.per_sample(spikes.numel(), steps))
        call.sources = self._origins.sources(inputs[:1])
        source = frozenset([self._keep("neuron", call)])
        for x in (*outputs, *state_of(module)):
            if is_elementwise(module) or self._origins.depends(x):
                self._origins.begin(x, source, time if x is spikes else self._origins.time(x))
        call.output = self._origins.activity(spikes, _neuron_layout(spikes, time, self._seen.batch), None)

    # Dispatch.

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, HigherOrderOperator):
            raise self._refuse(f"torch.ops.higher_order.{func.name()}")
        name = qualified_name(func)
        if name not in RULES and _is_composite(func):
            with self:
                return func.decompose(*args, **kwargs)
        out = func(*args, **kwargs)
        self._observe(func, name, args, kwargs, out)  # torch has taken the mode off: our measuring passes unseen
        return out

    def _observe(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        outputs = _tensors([out])
        inputs = _tensors([*args, *kwargs.values()])
        activations = [t for t in inputs if self._origins.depends(t)]
        if not activations or name in SHAPE_ONLY:
            self._note_constants(inputs, outputs)
            return
        sources = self._origins.sources(activations)
        if name in RULES:
            written = [self._keep(call.op, call, sources) for call in RULES[name](self._seen, name, args, outputs[0])]
            self._trace(func, name, args, activations, outputs, frozenset(written[-1:]))
            return
        if hides_products(name) and name not in MOVES:
            raise self._refuse(name if "::" in name else f"aten.{name}")
        computes = not (func.is_view or name in MOVES) and bool(outputs)
        if computes and not self._inside_neuron:
            call = plain_call(self._seen, name, activations, outputs[0])
            if call.activations or not self._inside_synapse:
                self._keep(name, call)
        self._trace(func, name, args, activations, outputs, sources)

    def _note_constants(self, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        """What does not depend on the input may lie where something lay that did."""
        kept = {storage(t) for t in inputs}
        for out in outputs:
            if storage(out) not in kept:
                self._origins.end(out)

    def _trace(
        self,
        func: Any,
        name: str,
        args: tuple[Any, ...],
        activations: list[Tensor],
        outputs: list[Tensor],
        sources: frozenset[Source],
    ) -> None:
        """Remember where the outputs come from and where they hold their timesteps."""
        kept = {storage(t) for t in activations}
        held = [(t, self._origins.time(t)) for t in activations]
        raw = not sources
        for out in outputs:
            time = follow(self._timesteps, name, args, held, out, raw)
            if storage(out) not in kept:
                self._origins.begin(out, sources, time, self._copied_values(name, activations[0], out))
            else:
                self._origins.extend(out, sources, time, written=not func.is_view)

    def _copied_values(self, name: str, x: Tensor, out: Tensor) -> Values | None:
        """A copy in another order of the axes has the values of the original."""
        origin = self._origins.of(x)
        same = name in ("clone", "_unsafe_view") and out.numel() == x.numel() and shows_all(x)
        return origin.values if origin and same else None

    # Bookkeeping.

    def _refuse(self, operation: str) -> InputError:
        self.refusal = InputError(
            f"{self._path() or 'the network'} uses {operation}, whose inner products cannot be seen; write it with "
            "plain matrix products, or profile the network without it."
        )
        return self.refusal

    def _path(self) -> str:
        return self._stack[-1] if self._stack else ""

    def _keep(self, op: str, call: Call, sources: frozenset[Source] = frozenset()) -> Source:
        """Store the call under its site's name and return where it is found."""
        call.sources |= sources
        single = call.operator in ("conv", "linear", "neuron")
        path, kind = self._path(), (call.operator, "" if single else op, call.bounds or call.out_elements)
        base = (path if single else f"{path}:{op}".lstrip(":")) or op
        for number in itertools.count(self._counters[-1][kind]):
            name = f"{base}#{number + 1}" if number else base
            if self._sites.setdefault(name, kind) == kind:
                break
        self._counters[-1][kind] = number + 1
        calls = self.calls.setdefault(name, [])
        calls.append(call)
        return name, len(calls) - 1


def _captured(model: nn.Module) -> nn.Module:
    """The graph that `model` is a wrapper of and nothing more, whose modules have the names of the network's own."""
    children = list(model.children())
    return children[0] if len(children) == 1 and isinstance(children[0], fx.GraphModule) else model


@functools.cache
def _is_composite(func: Any) -> bool:
    """Whether an operation is only a composition of others, as `aten.linear` is in inference mode."""
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    return func.has_kernel_for_dispatch_key(key) if hasattr(func, "has_kernel_for_dispatch_key") else False


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    """The tensors among `values`, lists, tuples and dictionaries opened."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
        elif isinstance(value, dict):
            found += _tensors(value.values())
    return found


def _neuron_layout(x: Tensor, time: Time | None, batch: int) -> Layout:
    """Channels of a neuron's output: the axis behind the batch."""
    one_step = tuple(x.shape)
    if time is not None and x.dim() > 2 and x.shape[0] == 1:
        one_step = one_step[1:]  # an axis before the one that holds timesteps and samples
    leads = x.dim() > 1 and x.shape[:2] == (time.steps if time else 1, batch)
    if leads and (time is not None or batch > 1):
        one_step = one_step[1:]
    return Layout(time, one_step[1], one_step[2:]) if len(one_step) > 1 else Layout(time, 1)
