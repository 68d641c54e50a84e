"""The contents of tensors, kept as they are, as bits, or as the operators that make them again."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from hardware_models.errors import RunError
from neuro.kernels.bitpack import exact_words, unpack_words

SMALL = 4096
"""Bytes up to which a tensor is not worth a thought: statistics of a BatchNorm, masks of samples."""

_BUFFER: Final = 1 << 18
"""Bytes up to which what comes from outside is copied: running statistics are written to behind autograd's back."""

_LIGHT, HEAVY = 1, 64
"""Costs of an operator that is bound by memory, and of a convolution or matrix product."""

_HEAVY_OPERATORS: Final = {"convolution", "mm", "bmm", "addmm", "baddbmm", "addmv", "mv", "dot"}
_NORMS: Final = {"native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm"}
"""Of BatchNorm: arguments 3 and 4 are the running statistics, which they update, 5 says whether in training."""

_NAMESPACES: Final = {"aten", "prims", "neuro"}
_FACTORIES: Final = ("empty", "new_", "zeros", "ones", "full", "rand", "resize", "_local_scalar")
"""Beginnings of names of operators whose result is there to be written to, or is no tensor."""


class Known:
    """The value of a storage, as long as the storage lives and is not written to."""

    def __init__(self, tensor: Tensor, value: Value, strong: bool) -> None:
        storage = tensor.untyped_storage()
        self.key: int = storage._cdata
        self._storage = StorageWeakRef(storage)
        self._version = tensor._version
        self._value = weakref.ref(value)
        # What an operator made may be asked for later; what came from outside can be looked at again.
        self._strong = value if strong else None

    @property
    def is_alive(self) -> bool:
        return not self._storage.expired()

    def value(self, version: int) -> Value | None:
        return self._value() if self.is_alive and version == self._version else None


class Value:
    """The contents of a storage: kept as they are, kept as bits, or the step that makes them."""

    __slots__ = ("__weakref__", "_index", "_kept", "_made", "_step", "_watched", "_words", "cost", "waiting")

    def __init__(self) -> None:
        self.cost = 0
        self.waiting = 0
        self._kept: Tensor | None = None
        self._watched: tuple[weakref.ref[Tensor], int] | None = None
        self._words: tuple[Tensor, int, torch.dtype] | None = None
        self._step: Step | None = None
        self._index = 0
        self._made: torch.UntypedStorage | None = None

    def keep(self, tensor: Tensor) -> None:
        """Keep the storage of `tensor`; a buffer is copied, so that nobody can change it."""
        self._step, self.cost = None, 0
        owner = tensor if tensor._base is None else tensor._base
        size = tensor.untyped_storage().nbytes()
        if not isinstance(owner, nn.Parameter) and (size <= SMALL or (tensor.is_leaf and size <= _BUFFER)):
            self._kept, self._watched = whole(tensor).clone(), None
        else:
            # Below autograd a detached tensor counts its own writes; those to its owner are what matters.
            self._kept, self._watched = owner.detach(), (weakref.ref(owner), owner._version)

    @property
    def is_copy(self) -> bool:
        """Whether what is kept belongs to nobody else."""
        return self._kept is not None and self._watched is None

    def make_by(self, step: Step, index: int) -> None:
        """Make the contents by `step`, whose output they are."""
        self._step, self._index, self.cost = step, index, step.cost
        step.outputs.append((index, weakref.ref(self)))

    def own(self) -> None:
        """Copy what is kept, before others change it."""
        if self._kept is not None and self._watched is not None:
            self._kept, self._watched = whole(self._kept).clone(), None

    def settle(self, tensor: Tensor, limit: int) -> None:
        """Choose how to keep `tensor`, whose storage this is, now that it is needed."""
        if self.cost >= HEAVY or (self._kept is not None and not isinstance(tensor, nn.Parameter)):
            self._pack(tensor)
        if self.cost > limit:
            self.keep(tensor)

    def _pack(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage.nbytes() <= SMALL or storage.nbytes() != tensor.numel() * tensor.element_size():
            return  # a part of something larger, which others hold anyway
        words = exact_words(whole(tensor))
        if words is not None:
            self._words, self._kept, self._step, self.cost = (words, tensor.numel(), tensor.dtype), None, None, 0

    def storage(self) -> torch.UntypedStorage:
        """Return the contents."""
        if self._kept is not None:
            self._check_unchanged()
            return self._kept.untyped_storage()
        if self._words is not None:
            return unpack_words(*self._words).untyped_storage()
        made = self._made
        if made is None:
            assert self._step is not None
            made = self._step.run()[self._index].untyped_storage()
        if not self.waiting:
            self._made = None
        return made

    def _check_unchanged(self) -> None:
        tensor = self._watched[0]() if self._watched else None
        if tensor is not None and self._watched and tensor._version != self._watched[1]:
            raise RunError(
                f"a tensor of shape {tuple(tensor.shape)} that backward needs was changed in place; run backward first."
            )

    def offer(self, tensor: Tensor) -> None:
        """Take the contents, made on the way to something else, if they are waited for."""
        if self.waiting and self._step is not None:
            self._made = tensor.untyped_storage()

    def no_longer_awaited(self) -> None:
        """One who saved this has taken it, or will not."""
        self.waiting -= 1
        if not self.waiting:
            self._made = None

    def count(self, kept: dict[int, int], seen: set[Value]) -> None:
        """Add the storages this needs, with their bytes, to `kept`."""
        if self in seen:
            return
        seen.add(self)
        if self._step is not None:
            for value in self._step.needs:
                value.count(kept, seen)
        held = self._kept if self._words is None else self._words[0]
        for storage in filter(None, (held.untyped_storage() if held is not None else None, self._made)):
            kept[storage._cdata] = storage.nbytes()


class View:
    """A tensor as a view of a value."""

    __slots__ = ("_dtype", "_geometry", "device", "value")

    def __init__(self, value: Value, tensor: Tensor) -> None:
        self.value = value
        self._geometry = tensor.storage_offset(), tensor.size(), tensor.stride()
        self._dtype, self.device = tensor.dtype, tensor.device

    def tensor(self) -> Tensor:
        """Return the tensor."""
        return torch.empty(0, dtype=self._dtype, device=self.device).set_(self.value.storage(), *self._geometry)


class Step:
    """An operator that ran, and can run again."""

    __slots__ = ("_function", "_given", "_spec", "cost", "needs", "outputs")

    def __init__(self, function: Callable[..., Any], given: list[Any], spec: Any, cost: int) -> None:
        self._function, self._given, self._spec = function, given, spec
        self.needs = [one.value for one in given if isinstance(one, View)]
        self.cost = cost + sum(value.cost for value in self.needs)
        self.outputs: list[tuple[int, weakref.ref[Value]]] = []

    @classmethod
    def of(
        cls, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], view: Callable[[Tensor], View]
    ) -> Step | None:
        """Note a call; None where an argument is no plain tensor."""
        name = func._schema.name.split("::")[1]
        if name in _NORMS and args[5]:
            args = (*args[:3], None, None, *args[5:])
        leaves, spec = tree_flatten((args, kwargs))
        if not all(is_plain(leaf) for leaf in leaves if isinstance(leaf, Tensor)):
            return None
        heavy = name in _HEAVY_OPERATORS or func.namespace == "neuro"
        given = [view(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        return cls(func, given, spec, HEAVY if heavy else _LIGHT)

    def run(self) -> list[Any]:
        """Run again and return all outputs; hand out those that are waited for."""
        given = [one.tensor() if isinstance(one, View) else one for one in self._given]
        args, kwargs = tree_unflatten(given, self._spec)
        del given
        made = tree_leaves(self._function(*args, **kwargs))
        for index, reference in self.outputs:
            value = reference()
            if value is not None:
                value.offer(made[index])
        return made


_repeatable: dict[Any, bool] = {}


def is_repeatable(func: Any) -> bool:
    """Whether an operator makes a new tensor from tensors, the same one every time."""
    if func not in _repeatable:
        name = func._schema.name.split("::")[1]
        _repeatable[func] = (
            func.namespace in _NAMESPACES
            and torch.Tag.nondeterministic_seeded not in func.tags
            and not name.startswith(_FACTORIES)
            and not name.endswith("_like")
            and any("Tensor" in str(argument.type) for argument in func._schema.arguments)
        )
    return _repeatable[func]


def is_plain(tensor: Any) -> bool:
    """Whether a tensor is its storage and a geometry, and no more."""
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.layout is torch.strided
        and tensor.device.type != "meta"
        and not (tensor.is_conj() or tensor.is_neg())
    )


def whole(tensor: Tensor) -> Tensor:
    """The whole storage of `tensor`, flat."""
    tensor = tensor.detach()
    return tensor.as_strided((tensor.untyped_storage().nbytes() // tensor.element_size(),), (1,), 0)
