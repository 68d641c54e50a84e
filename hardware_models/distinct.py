"""Rows that are alike, found fast: `np.unique` over an axis compares bytes, which takes ten times as long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]

_MOST: Final = 2**62


def distinct_rows(columns: Sequence[Array]) -> tuple[Indices, Indices]:
    """Return one row's index for each kind of row, `[K]`, and each row's kind, `[N]`; kinds are in ascending order.

    Columns become digits of one number, whose base is the range of each; where it would overflow, the kinds so far are
    numbered anew.

    Args:
        columns: whole numbers, `[N]` each; the first one counts most in the order.
    """
    number = np.zeros(len(columns[0]), dtype=np.int64)
    kinds = 1
    for column in columns:
        if not len(column):
            break
        low = int(column.min())
        base = int(column.max()) - low + 1
        digit = column.astype(np.int64) - low
        if base > _MOST // kinds:
            (base, digit), (kinds, number) = _numbered(digit), _numbered(number)
        number = number * base + digit
        kinds *= base
    _, first, kind = np.unique(number, return_index=True, return_inverse=True)
    return first.astype(np.int64), kind.ravel().astype(np.int64)


def _numbered(values: Indices) -> tuple[int, Indices]:
    """How many different values there are, and each one's place among them."""
    found, place = np.unique(values, return_inverse=True)
    return len(found), place.ravel().astype(np.int64)
