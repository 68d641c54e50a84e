"""Where a tensor holds its timesteps, followed through every operation that the network applies.

A tensor that holds T timesteps has them along one axis, alone or merged with others (`[T, B, ...]`,
`[T * B, ...]`, `[N, T * B, E]`). That place is kept as a number that reshaping does not change: how many
elements, in logical order, lie between one timestep and the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

Shape = tuple[int, ...]


class Time(NamedTuple):
    """Where timesteps are: element i of the flattened tensor belongs to timestep `i // inner % steps`."""

    steps: int
    inner: int


class _Place(NamedTuple):
    """The same for a shape: within `axis`, `within` neighbouring entries belong to one timestep."""

    steps: int
    axis: int
    within: int


def leading(steps: int, shape: Shape) -> Time | None:
    """Time along axis 0, alone or merged with the batch; None for one timestep."""
    return Time(steps, math.prod(shape) // steps) if steps > 1 and shape[0] % steps == 0 else None


def time_first(x: Tensor, time: Time | None) -> Tensor:
    """Return `x` with its timesteps along axis 0 and nothing else there (a view where they lie outermost)."""
    if time is None:
        return x.unsqueeze(0)
    place = _place(time, tuple(x.shape))
    if place is None:
        return x.reshape(-1, time.steps, time.inner).movedim(1, 0)
    before, after = x.shape[: place.axis], x.shape[place.axis + 1 :]
    outer = x.shape[place.axis] // (place.steps * place.within)
    split = x.reshape(*before, outer, place.steps, place.within, *after)
    return split.movedim(place.axis + 1, 0).flatten(place.axis + 1, place.axis + 2)


def beside(time: Time | None, x: Tensor, other: Tensor) -> Time | None:
    """Time of `other`, whose entries along axis 0 meet those of `x` one by one, if `x` has its timesteps there."""
    alike = x.dim() == other.dim() and x.shape[0] == other.shape[0]
    if time is None or not alike or time.steps * time.inner != x.numel():
        return None
    return Time(time.steps, other.numel() // time.steps)


def outside(time: Time | None, size: int) -> Time | None:
    """The same where each `size` elements belong to one timestep; None where an operation mixes its timesteps."""
    return time if time and time.inner >= size else None


def transposed(time: Time | None, rows: int, columns: int) -> Time | None:
    """Time of a tensor `[..., rows, columns]` after its last two axes changed places."""
    if time is None or time.inner >= rows * columns:
        return time
    return Time(time.steps, time.inner // columns if time.inner >= columns else time.inner * rows)


def follow(
    total: int, name: str, args: tuple[Any, ...], held: list[tuple[Tensor, Time | None]], out: Tensor, raw: bool
) -> Time | None:
    """Return where the result of an operation holds its timesteps.

    Args:
        total: T of the network.
        name: the operation.
        args: its arguments.
        held: the activations it reads, each with its time.
        out: its (first) result.
        raw: whether it reads the network's input, as no layer has changed it yet.
    """
    if total == 1:
        return None
    shape = tuple(out.shape)
    timed = [(x, time) for x, time in held if time is not None]
    if not timed:
        return _entering(total, name, args, [x for x, _ in held], shape, raw) or (
            _entering_raw(total, name, args, tuple(held[0][0].shape), shape) if raw else None
        )
    x, time = max(timed, key=lambda pair: pair[0].numel())
    if name in _KEEPS_ORDER and out.numel() == x.numel():
        return time
    place = _place(time, tuple(x.shape))
    if place is None:
        return time if out.numel() == x.numel() else None
    rule = _RULES.get(name, _of_library if "::" in name else _same_axis)
    return _time(rule(place, args, x, out), shape)


def _place(time: Time, shape: Shape) -> _Place | None:
    """Find the axis that holds the timesteps; None where a reshape has torn them apart."""
    after = 1
    for axis in range(len(shape) - 1, -1, -1):
        if time.inner < after * shape[axis]:
            within = time.inner // after
            whole = time.inner % after == 0 and shape[axis] % (time.steps * within) == 0
            return _Place(time.steps, axis, within) if whole else None
        after *= shape[axis]
    return None


def _time(place: _Place | None, shape: Shape) -> Time | None:
    if place is None or place.steps == 1 or not 0 <= place.axis < len(shape):
        return None
    if shape[place.axis] % (place.steps * place.within):
        return None
    return Time(place.steps, place.within * math.prod(shape[place.axis + 1 :]))


def _entering(total: int, name: str, args: tuple[Any, ...], read: list[Tensor], shape: Shape, raw: bool) -> Time | None:
    """Time enters where T results are joined along axis 0, or where one is repeated T-fold there; the network's input
    less often, where it runs a piece of its timesteps at once."""
    first = tuple(read[0].shape)
    steps = total
    if name in ("stack", "cat"):
        steps = len(read)
        piece = raw and 1 < steps < total and all(x is read[0] for x in read)
        enters = (steps == total or piece) and _axis(args, 1, len(shape), 0) == 0
    elif name == "expand":
        enters = shape[0] == total and (len(first) < len(shape) or first[0] == 1) and _grows(first, shape, total)
    elif name == "repeat":
        enters = args[1][0] == total and math.prod(args[1]) == total
    else:
        enters = False
    return leading(steps, shape) if enters else None


def _entering_raw(total: int, name: str, args: tuple[Any, ...], before: Shape, shape: Shape) -> Time | None:
    """A batch-first input `[B, T, ...]` whose time the network moves to the front or merges with the batch, or an
    input that `repeat_interleave` makes one."""
    if len(before) < 2 or len(shape) < 2:
        return None
    if name == "permute" and before[1] == total and args[1][0] % len(before) == 1:
        return leading(total, shape)
    if name == "transpose" and before[1] == total and {axis % len(before) for axis in args[1:3]} == {0, 1}:
        return leading(total, shape)
    merges = name in ("view", "_unsafe_view") and before[1] == total and shape == (before[0] * total, *before[2:])
    repeats = name == "expand" and before[1] == 1 and shape == (before[0], total, *before[2:])
    return Time(total, math.prod(before[2:])) if merges or repeats else None


def _grows(before: Shape, after: Shape, times: int) -> bool:
    return math.prod(after) == times * math.prod(before)


def _axis(args: tuple[Any, ...], position: int, axes: int, default: int) -> int:
    given = args[position] if len(args) > position and isinstance(args[position], int) else default
    return given % max(1, axes)


# What an operation does to the axis of time.

_KEEPS_ORDER = {
    "view",
    "_unsafe_view",
    "_reshape_alias",
    "reshape",
    "clone",
    "detach",
    "alias",
    "_to_copy",
    "contiguous",
    "squeeze",
    "unsqueeze",
    "lift_fresh",
    "copy",
}

_Rule = Callable[[_Place, tuple[Any, ...], Tensor, Tensor], _Place | None]


def _same_axis(place: _Place, args: tuple[Any, ...], x: Tensor, out: Tensor) -> _Place | None:
    """Elementwise with broadcasting, convolution, pooling, gathering: the axis stays, counted from either end."""
    if x.dim() == out.dim():
        return place
    shifted = place._replace(axis=place.axis + out.dim() - x.dim())
    if shifted.axis >= 0 and out.shape[shifted.axis :] == x.shape[place.axis :]:
        return shifted
    return place if out.shape[: place.axis + 1] == x.shape[: place.axis + 1] else _reduced(place, args, x, out)


def _of_library(place: _Place, args: tuple[Any, ...], x: Tensor, out: Tensor) -> _Place | None:
    """Another library's operator, of whose results one without the axis of time is a state after the last timestep."""
    return place if x.dim() == out.dim() else None


def _reduced(place: _Place, args: tuple[Any, ...], x: Tensor, out: Tensor) -> _Place | None:
    """Sums, means, maxima over axes."""
    given = args[1] if len(args) > 1 else None
    axes = given if isinstance(given, list | tuple) else [given] if isinstance(given, int) else range(x.dim())
    named = {axis % x.dim() for axis in axes} or set(range(x.dim()))
    if place.axis in named:
        return None
    gone = sum(axis < place.axis for axis in named) if out.dim() < x.dim() else 0
    return place._replace(axis=place.axis - gone)


def _permuted(place: _Place, args: tuple[Any, ...], x: Tensor, out: Tensor) -> _Place | None:
    order = [axis % x.dim() for axis in args[1]]
    return place._replace(axis=order.index(place.axis))


def _exchanged(place: _Place, args: tuple[Any, ...], x: Tensor, out: Tensor) -> _Place | None:
    a, b = (args[1] % x.dim(), args[2] % x.dim()) if len(args) > 2 else (0, x.dim() - 1)
    return place._replace(axis={a: b, b: a}.get(place.axis, place.axis))


def _expanded(place: _Place, args: tuple[Any, ...], x: Tensor, out: Tensor) -> _Place | None:
    return place._replace(axis=place.axis + out.dim() - x.dim())


def _selected(place: _Place, args: tuple[Any, ...], x: Tensor, out: Tensor) -> _Place | None:
    """One index of an axis: `select`, `unbind`."""
    axis = _axis(args, 1, x.dim(), 0)
    return None if axis == place.axis else place._replace(axis=place.axis - (axis < place.axis))


def _cut(place: _Place, args: tuple[Any, ...], x: Tensor, out: Tensor) -> _Place | None:
    """A part of an axis: `slice`, `split`."""
    left = out.shape[place.axis]
    if left == x.shape[place.axis]:
        return place
    return place._replace(steps=left // place.within) if left % place.within == 0 else None


def _stacked(place: _Place, args: tuple[Any, ...], x: Tensor, out: Tensor) -> _Place | None:
    return place._replace(axis=place.axis + (_axis(args, 1, out.dim(), 0) <= place.axis))


def _joined(place: _Place, args: tuple[Any, ...], x: Tensor, out: Tensor) -> _Place | None:
    longer = out.shape[place.axis]
    return place._replace(steps=longer // place.within) if longer % place.within == 0 else None


def _multiplied(place: _Place, args: tuple[Any, ...], x: Tensor, out: Tensor) -> _Place | None:
    """Matrix products: rows of the left, columns of the right and the groups stay, what is summed over goes."""
    if out.dim() == 3 and place.axis == 0:
        return place
    operands = [a for a in args if isinstance(a, Tensor)]
    is_left = x is operands[-2] or (x.shape == operands[-2].shape and x is not operands[-1])
    kept = x.dim() - 2 if is_left else x.dim() - 1
    return place if place.axis == kept and out.dim() == x.dim() else None


_RULES: dict[str, _Rule] = {
    **dict.fromkeys(("sum", "mean", "amax", "amin", "max", "min", "var", "std", "var_mean", "any", "all"), _reduced),
    **dict.fromkeys(("argmax", "argmin", "prod", "logsumexp", "linalg_vector_norm", "norm"), _reduced),
    "permute": _permuted,
    **dict.fromkeys(("transpose", "t"), _exchanged),
    "expand": _expanded,
    **dict.fromkeys(("select", "unbind"), _selected),
    **dict.fromkeys(("slice", "split", "unsafe_split", "split_with_sizes", "chunk", "narrow"), _cut),
    "stack": _stacked,
    "cat": _joined,
    **dict.fromkeys(("mm", "bmm", "addmm", "baddbmm", "_int_mm", "mv"), _multiplied),
}
