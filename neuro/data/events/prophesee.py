"""The text at the head of Prophesee's files: lines that begin with `%`, and maybe `% end`.

Source: Prophesee, "Metavision SDK: data file formats", docs.prophesee.ai.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hardware_models.errors import InputError
from neuro.data.events.recording import Size


@dataclass(frozen=True)
class Header:
    """What the text says.

    Attributes:
        fields: values by name in lower case; `format` and what stands behind its semicolons are apart.
        length: bytes of the text.
    """

    fields: dict[str, str]
    length: int

    @property
    def encoding(self) -> str:
        """Return EVT2, EVT3, EVT2.1 ..., from the line `format` or else `evt`; empty when neither is there."""
        name = self.fields.get("format", "").upper() or f"EVT{self.fields.get('evt', '')}"
        return "" if name == "EVT" else name.removesuffix(".0")

    def size(self, path: Path) -> Size | None:
        """Return width and height, or None when they are not stated.

        Raises:
            InputError: they are stated but are no numbers.
        """
        geometry = self.fields.get("geometry", "").lower()
        if not geometry and {"width", "height"} <= self.fields.keys():
            geometry = f"{self.fields['width']}x{self.fields['height']}"
        if not geometry:
            return None
        width, _, height = geometry.partition("x")
        if not (width.strip().isdecimal() and height.strip().isdecimal()):
            raise InputError(f"{path} states the sensor size {geometry!r}, not WIDTHxHEIGHT; correct its header.")
        return int(width), int(height)


def parse_header(content: bytes) -> Header:
    """Return the text at the head of a file; an empty one where there is none."""
    fields: dict[str, str] = {}
    at = 0
    while content[at : at + 1] == b"%":
        end = content.find(b"\n", at)
        if end < 0:
            break
        name, _, value = content[at + 1 : end].decode("utf-8", "replace").strip().partition(" ")
        at = end + 1
        if name.lower() == "end":
            break
        first, *more = value.strip().split(";")
        fields[name.lower()] = first.strip()
        fields |= {key.strip().lower(): given.strip() for key, _, given in (item.partition("=") for item in more)}
    return Header(fields, at)
