"""Training in less memory: what backward needs is kept as spikes, one bit each, and made again from them.

    with packed_activations():
        loss = criterion(model(images), labels)
    loss.backward()

Autograd keeps the input of every convolution, every BatchNorm and every neuron. Behind a neuron these are spikes, of
which fp32 wastes 31 bits in 32, or they follow from spikes by one convolution or two. So:

- a tensor of nothing but 0 and 1 is kept as bits, once for all who saved it or a view of it;
- any other is not kept. The operators that made it are noted, back to something that is kept (spikes, parameters, the
  images), and run again when backward asks;
- what would take more than `recompute` convolutions or matrix products, such as a sum of many shortcuts, is kept.

The operators run again on the same bits in the same layout, so that gradients equal those of plain training bit for
bit wherever an operator gives the same result twice. No side effect is repeated: running statistics are left alone,
and what a random generator or an in-place operator made is kept. The price is about one more pass through the
convolutions.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hardware_models.errors import InputError
from neuro.training import remade
from neuro.training.remade import HEAVY, Known, Step, Value, View, is_plain, is_repeatable


class PackedMemory:
    """What a block of `packed_activations` keeps for its backward pass."""

    def __init__(self, recompute: int) -> None:
        self._limit = recompute * HEAVY + HEAVY - 1 if recompute else 0
        self._known: dict[int, Known] = {}
        self._saved: weakref.WeakSet[_Saved] = weakref.WeakSet()
        self._until_sweep = 0
        self.paused = False

    def kept_bytes(self, besides: Iterable[Tensor] = ()) -> int:
        """Return the bytes kept now, every storage counted once, without those of the tensors `besides`."""
        kept: dict[int, int] = {}
        seen: set[Value] = set()
        for saved in list(self._saved):
            saved.view.value.count(kept, seen)
        left_out = {tensor.untyped_storage()._cdata for tensor in besides}
        return sum(size for storage, size in kept.items() if storage not in left_out)

    def save(self, tensor: Tensor) -> _Saved | Tensor:
        """Pack hook of autograd."""
        if not is_plain(tensor):
            return tensor
        with self._pause():
            view = self.view(tensor)
            view.value.settle(tensor, self._limit)
            saved = _Saved(view)
        self._saved.add(saved)
        return saved

    @staticmethod
    def load(saved: _Saved | Tensor) -> Tensor:
        """Unpack hook of autograd."""
        return saved.take() if isinstance(saved, _Saved) else saved

    def view(self, tensor: Tensor) -> View:
        """Return how to get `tensor` back."""
        value = self._value(tensor)
        if value is None:
            value = Value()
            value.keep(tensor)
            if not value.is_copy:
                self._remember(tensor, value, strong=False)
        return View(value, tensor)

    def made(self, tensor: Tensor, step: Step, index: int) -> None:
        """Note that `step` makes `tensor`, unless it is a view of something else."""
        value = Value()
        if tensor.untyped_storage().nbytes() <= remade.SMALL:
            value.keep(tensor)
        else:
            value.make_by(step, index)
        self._remember(tensor, value, strong=True)

    def before_write(self, tensor: Tensor) -> None:
        """Keep a copy of what is about to be overwritten, if it is needed."""
        value = self._value(tensor)
        if value is not None:
            value.own()

    def forget(self) -> None:
        """Forget what could still have been asked for; nothing runs any more that could ask."""
        self._known.clear()

    def _value(self, tensor: Tensor) -> Value | None:
        known = self._known.get(tensor.untyped_storage()._cdata)
        return known.value(tensor._version) if known else None

    def _remember(self, tensor: Tensor, value: Value, strong: bool) -> None:
        self._until_sweep -= 1
        if self._until_sweep < 0:
            self._known = {key: known for key, known in self._known.items() if known.is_alive}
            self._until_sweep = 16
        known = Known(tensor, value, strong)
        self._known[known.key] = known

    @contextlib.contextmanager
    def _pause(self) -> Iterator[None]:
        before, self.paused = self.paused, True
        try:
            yield
        finally:
            self.paused = before


@contextlib.contextmanager
def packed_activations(recompute: int = 3) -> Iterator[PackedMemory]:
    """Keep what the backward pass needs as spikes, within this block; leave the block before `backward`.

    Gradients equal those of a pass without it, bit for bit, as far as operators are deterministic.

    Args:
        recompute: how many convolutions and matrix products it may take to make one tensor again; 0 makes nothing
            again and only keeps spikes as bits.

    Yields:
        What is kept.

    Raises:
        InputError: `recompute` is no whole number of at least 0.
        RunError: in backward, when something that is needed was changed in place, such as a weight by the optimizer.
    """
    if not isinstance(recompute, int) or isinstance(recompute, bool) or recompute < 0:
        raise InputError(f"recompute was {recompute!r}; give a whole number of at least 0.")
    memory = PackedMemory(recompute)
    noting = _Noting(memory) if recompute else contextlib.nullcontext()
    try:
        with torch.autograd.graph.saved_tensors_hooks(memory.save, memory.load), noting:
            yield memory
    finally:
        memory.forget()


class _Noting(TorchDispatchMode):
    """Notes the operators that run, as far as they can run again."""

    sees_fused_operators = True  # so that models need not take operators apart for it, as they do for a profiler

    def __init__(self, memory: PackedMemory) -> None:
        super().__init__()
        self._memory = memory

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._memory.paused:
            return func(*args, **kwargs)
        with self._memory._pause():
            if func._schema.is_mutable:
                self._before_writes(func, args, kwargs)
                return func(*args, **kwargs)
            step = Step.of(func, args, kwargs, self._memory.view) if is_repeatable(func) else None
            outputs = func(*args, **kwargs)
            if step is not None:
                self._note(step, args, kwargs, outputs)
            return outputs

    def _before_writes(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for index, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                given = args[index] if index < len(args) else kwargs.get(argument.name)
                for tensor in tree_leaves(given):
                    if isinstance(tensor, Tensor) and is_plain(tensor):
                        self._memory.before_write(tensor)

    def _note(self, step: Step, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> None:
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if is_plain(t)}
        for index, tensor in enumerate(tree_leaves(outputs)):
            if is_plain(tensor) and tensor.untyped_storage()._cdata not in given:
                self._memory.made(tensor, step, index)


class _Saved:
    """What autograd keeps instead of a tensor."""

    def __init__(self, view: View) -> None:
        self.view = view
        self._waits = True
        view.value.waiting += 1

    def take(self) -> Tensor:
        """Return the tensor; making it anew wakes no hook, no gradient and no autocast."""
        with torch.no_grad(), torch.autocast(self.view.device.type, enabled=False):
            tensor = self.view.tensor()
        self._let_go()
        return tensor

    def _let_go(self) -> None:
        if self._waits:
            self._waits = False
            self.view.value.no_longer_awaited()

    def __del__(self) -> None:
        self._let_go()
