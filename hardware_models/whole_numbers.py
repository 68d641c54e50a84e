"""Sizes and counts as exact integers: Python's for single values, arrays otherwise, never a rounded float."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_models.errors import InputError

Array = npt.NDArray[Any]

INT64_MAX = 2**63 - 1


def whole_numbers(name: str, value: Any, least: int = 1) -> int | Array:
    """Return `value` as a Python int, an int64 array, or an object array of Python ints where int64 is too small.

    Floating-point numbers are refused even where they have no fraction, for above 2**53 they skip integers.

    Args:
        name: for messages.
        value: an integer, or anything that numpy makes an array of integers of.
        least: the smallest allowed value.

    Raises:
        InputError: no integers, or one below `least`.
    """
    if type(value) is int:  # the common case, and True is no size
        return _at_least(name, value, least)
    try:
        array = np.asarray(value)
    except ValueError:
        raise InputError(f"{name} is {_shown(value)}, whose rows differ in length; expected an array.") from None
    if array.dtype.kind == "O":
        array = _python_ints(name, array)
    elif array.dtype.kind not in "iu" and array.size:
        raise InputError(
            f"{name} is {_shown(value)}, of type {array.dtype}; expected a whole number of at least {least}, so "
            "convert it with int() where no fraction is lost."
        )
    if array.size and (smallest := array.min()) < least:
        raise _too_small(name, smallest, least)
    if array.ndim == 0:
        return int(array)
    if array.size and int(array.max()) > INT64_MAX:
        return array.astype(object)
    return array.astype(np.int64, copy=False)


def exact(bound: int, *values: int | Array) -> tuple[int | Array, ...]:
    """Return `values` such that results up to `bound` are exact: Python ints in arrays where int64 overflows."""
    if bound <= INT64_MAX:
        return values
    return tuple(value.astype(object) if isinstance(value, np.ndarray) else value for value in values)


def common_shape(named: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return the shape that arrays among the values broadcast to; None where all are single values.

    Raises:
        InputError: they do not broadcast; the message names their shapes.
    """
    shapes = {name: np.shape(value) for name, value in named.items() if isinstance(value, np.ndarray)}
    if not shapes:
        return None
    try:
        return np.broadcast_shapes(*shapes.values())
    except ValueError:
        said = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InputError(f"shapes {said} do not broadcast; give arrays of one shape.") from None


def ceil_divide(value: Any, divisor: Any) -> Any:
    """Return ceil(value / divisor) of whole numbers, exactly; `divisor` is positive."""
    return -(-value // divisor)


def largest(value: int | Array) -> int:
    """Return the largest of whole numbers; 1 of none."""
    return value if isinstance(value, int) else int(value.max(initial=1))


def smallest(value: int | Array) -> int:
    """Return the smallest of positive whole numbers; 1 of none."""
    return value if isinstance(value, int) else (int(value.min()) if value.size else 1)


def _at_least(name: str, value: int, least: int) -> int:
    if value < least:
        raise _too_small(name, value, least)
    return value


def _too_small(name: str, value: Any, least: int) -> InputError:
    return InputError(f"{name} is {value}; expected a whole number of at least {least}, so mend that size.")


def _python_ints(name: str, array: Array) -> Array:
    """Return objects as Python ints: numpy's own, kept as objects, would overflow."""
    whole = np.empty(array.shape, dtype=object)
    for place, item in np.ndenumerate(array):
        if isinstance(item, bool) or not isinstance(item, int | np.integer):
            raise InputError(f"{name} holds {_shown(item)}; expected whole numbers only, so convert it with int().")
        whole[place] = int(item)
    return whole


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
