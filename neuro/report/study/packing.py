"""Columns of numbers in as few characters of text as the page can read back.

A column is one of
    codes   one byte (or two) for each point, an index into the column's list of values
    floats  four bytes for each point, IEEE 754 single precision, least significant byte of every point first, then
            the next byte of every point, and so on: bytes of one kind lie together, which compresses better
and all columns one after the other are one zlib stream in base64.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BUDGET: Final = 3_500_000
"""Characters that columns may take, so that a page stays below 5 MB."""

MANTISSAS: Final = (24, 16, 12)
"""Significant bits of numbers: fewer where the columns would not fit the budget otherwise."""

_FULL = 24
_MOST_CODES = 2**16


@dataclass(frozen=True)
class Packed:
    """Packed columns.

    Attributes:
        text: the stream.
        columns: for each column, in their order: `kind`, and the `values` of codes.
        bits: significant bits of the numbers that may be rounded; 24 for all of single precision.
    """

    text: str
    columns: list[dict[str, Any]]
    bits: int


@dataclass(frozen=True)
class Column:
    """A column to pack.

    Attributes:
        values: `[N]` numbers, truth values or words; None, or NaN, where a point has none.
        bits: significant bits that are enough.
        whole: whether they are whole numbers, which are never rounded below single precision.
    """

    values: Array
    bits: int = _FULL
    whole: bool = False


def pack(columns: Iterable[Column], exact: Array, budget: int = BUDGET) -> Packed:
    """Pack `columns`, all of one length, rounded as much as `budget` asks for.

    Args:
        columns: the columns.
        exact: `[N]` points whose numbers are not rounded below single precision.
        budget: characters; where the coarsest rounding does not fit it either, the columns take more.
    """
    given = list(columns)
    packed = _packed(given, exact, MANTISSAS[0])
    for bits in MANTISSAS[1:]:
        if len(packed.text) <= budget:
            break
        packed = _packed(given, exact, bits)
    return packed


def pack_text(data: Mapping[str, Any]) -> str:
    """Return plain data as JSON in a zlib stream in base64."""
    return _stream(json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode())


def _packed(columns: list[Column], exact: Array, bits: int) -> Packed:
    streams, described = [], []
    for column in columns:
        values, codes = _codes(column.values)
        if values is not None:
            described.append({"kind": "codes", "values": values})
            streams.append(codes.astype("u1" if len(values) <= 256 else "<u2").tobytes())
            continue
        described.append({"kind": "floats"})
        single = np.asarray(column.values, dtype="<f4")
        kept = np.where(exact, single, _rounded(single, _FULL if column.whole else min(bits, column.bits)))
        streams.append(np.ascontiguousarray(kept.astype("<f4").view("u1").reshape(-1, 4).T).tobytes())
    return Packed(_stream(b"".join(streams)), described, bits)


def _codes(values: Array) -> tuple[list[Any] | None, Array]:
    """Different values and the index of each point's; None where a number for each point is shorter."""
    plain = values.tolist()
    different = dict.fromkeys(None if value != value else value for value in plain)
    words = any(isinstance(value, str | bool) for value in different)
    if len(different) > _MOST_CODES or (not words and len(different) > max(256, len(plain) // 8)):
        return None, values
    known = [value for value in different if value is not None]
    order = sorted(known) + [None] * (None in different)
    place = {value: index for index, value in enumerate(order)}
    return order, np.array([place[None if value != value else value] for value in plain], dtype=np.int64)


def _rounded(values: npt.NDArray[np.float32], bits: int) -> npt.NDArray[np.float32]:
    """`values` to `bits` significant bits, so that the rest are zeros."""
    mantissa, exponent = np.frexp(values.astype(np.float64))
    near = np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits)
    return np.where(np.isfinite(values), near, values).astype(np.float32)


def _stream(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 9)).decode()
