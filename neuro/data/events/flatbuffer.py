"""Just enough of FlatBuffers to read AEDAT 4: tables of scalars, strings and vectors of structs.

A table begins with the signed distance back to its vtable; the vtable holds its own size, the table's size, and for
each field its place in the table, 0 where the field is absent. Strings and vectors are reached by an unsigned
distance forward and begin with their length. All numbers are little-endian.
Source: Google, "FlatBuffer Internals", flatbuffers.dev.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table at place `at` of `content`; reading beyond the content raises `struct.error`."""

    content: bytes
    at: int

    @classmethod
    def sized_root(cls, content: bytes, identifier: bytes) -> Table:
        """Return the root of a buffer that begins with its size.

        Raises:
            ValueError: the buffer carries another identifier.
            struct.error: it is too short.
        """
        _, root = struct.unpack_from("<II", content)
        if content[8:12] != identifier:
            raise ValueError(f"it is marked {content[8:12]!r}, not {identifier!r}")
        return cls(content, 4 + root)

    def scalar(self, field: int, kind: str, default: int) -> int:
        """Return a number of struct's format `kind`, or the schema's default where the file leaves it out."""
        place = self._place(field)
        return default if place is None else int(self._unpack(kind, place))

    def vector(self, field: int) -> tuple[int, int]:
        """Return the number of elements of a vector or string and where the first one begins; (0, 0) if absent."""
        place = self._place(field)
        if place is None:
            return 0, 0
        start = place + self._unpack("I", place)
        return self._unpack("I", start), start + 4

    def text(self, field: int) -> str:
        """Return a string, empty where the file leaves it out."""
        length, start = self.vector(field)
        return self.content[start : start + length].decode("utf-8")

    def _place(self, field: int) -> int | None:
        vtable = self.at - self._unpack("i", self.at)
        entry = 4 + 2 * field
        if entry + 2 > self._unpack("H", vtable):
            return None
        offset = self._unpack("H", vtable + entry)
        return self.at + offset if offset else None

    def _unpack(self, kind: str, at: int) -> int:
        if at < 0:
            raise ValueError("it points before its beginning")
        value: int = struct.unpack_from(f"<{kind}", self.content, at)[0]
        return value
