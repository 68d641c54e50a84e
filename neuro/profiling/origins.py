"""Where tensors came from: remembered by storage, so that views and in-place writes stay known.

A tensor that is not remembered does not depend on the network's input: it is a weight or a constant.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from hardware_models.errors import InputError
from neuro.profiling.activity import Activity, FanOut, Layout, measure
from neuro.profiling.calls import Source
from neuro.profiling.forms import Values, is_dense, recognise
from neuro.profiling.timeline import Time


class _View(NamedTuple):
    """What tells one tensor from the other views of its storage."""

    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


@dataclass
class Origin:
    """What is known of a storage.

    Attributes:
        sources: the calls that computed what it holds.
        times: where each view of it holds its timesteps.
        values: what all its values are, once measured.
        activities: what was measured of its views.
    """

    sources: frozenset[Source]
    times: dict[_View, Time | None] = field(default_factory=dict)
    values: Values | None = None
    activities: dict[tuple[_View, Layout, int], Activity] = field(default_factory=dict)

    def forget_values(self) -> None:
        """Forget what was measured: the storage was written to."""
        self.values = None
        self.activities.clear()


class Origins:
    """The origins of all tensors that depend on the network's input."""

    def __init__(self) -> None:
        self._known: dict[int, Origin] = {}

    def of(self, x: Tensor) -> Origin | None:
        """Return the origin of `x`; None of a weight or constant."""
        return self._known.get(storage(x))

    def depends(self, x: Tensor) -> bool:
        """Whether `x` depends on the network's input."""
        return storage(x) in self._known

    def time(self, x: Tensor) -> Time | None:
        """Return where `x` holds its timesteps."""
        origin = self.of(x)
        return origin.times.get(view(x)) if origin else None

    def sources(self, tensors: Iterable[Tensor]) -> frozenset[Source]:
        """Return the calls that computed `tensors`."""
        return frozenset().union(*(origin.sources for x in tensors if (origin := self.of(x))))

    def begin(self, x: Tensor, sources: frozenset[Source], time: Time | None, values: Values | None = None) -> None:
        """Remember a new storage (or forget what an old one held)."""
        self._known[storage(x)] = Origin(sources, {view(x): time}, values)

    def extend(self, x: Tensor, sources: frozenset[Source], time: Time | None, written: bool) -> None:
        """Remember one more view of a storage, or that it was written in place."""
        origin = self._known[storage(x)]
        if written:
            origin.forget_values()
        origin.sources |= sources
        origin.times[view(x)] = time

    def end(self, x: Tensor) -> None:
        """Note that a storage holds a constant, whatever lay at its address before."""
        self._known.pop(storage(x), None)

    def values(self, x: Tensor) -> Values:
        """Return what the values of `x` are; once for all views that show a whole storage."""
        origin = self.of(x)
        if origin is None or not shows_all(x):
            return recognise(x)
        if origin.values is None:
            origin.values = recognise(x)
        return origin.values

    def activity(self, x: Tensor, layout: Layout, fan_out: FanOut | None) -> Activity:
        """Measure `x`, or return what was measured before (q, k and v read one tensor)."""
        origin = self.of(x)
        if origin is None:
            return measure(x, recognise(x), layout, fan_out)
        key = (view(x), layout, id(fan_out))  # fan-outs are cached by their geometry: identity tells them apart
        if key not in origin.activities:
            origin.activities[key] = measure(x, self.values(x), layout, fan_out)
        return origin.activities[key]


def storage(x: Tensor) -> int:
    """The address of the memory of `x`.

    Raises:
        InputError: `x` has no such memory (sparse, MKL-DNN): its values cannot be measured.
    """
    if x.layout is not torch.strided:
        raise InputError(
            f"the network uses a tensor of layout {x.layout}, whose values cannot be measured; profile it with dense "
            "tensors."
        )
    return x.untyped_storage().data_ptr()


def shows_all(x: Tensor) -> bool:
    """Whether `x` shows every element of its storage, once."""
    return x.numel() * x.element_size() == x.untyped_storage().nbytes() and is_dense(x)


def view(x: Tensor) -> _View:
    """What tells `x` from the other views of its storage."""
    return _View(int(x.storage_offset()), tuple(x.shape), x.stride(), x.dtype)
