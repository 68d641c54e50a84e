"""Prophesee's DAT, versions 1 and 2: a text header, a byte of type, a byte of size, then records of 8 bytes.

    a record      32 bits of time in microseconds, 32 bits of address
    version 1     bits 8..0 x, 16..9 y, 17 polarity
    version 2     bits 13..0 x, 27..14 y, 28 polarity

Source: Prophesee, "DAT File Format", docs.prophesee.ai.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hardware_models.errors import InputError
from neuro.data.events.prophesee import Header, parse_header
from neuro.data.events.recording import Events, Size, finished, known_size, read_bytes
from neuro.data.events.timestamps import unwrapped

TYPES = {0x00, 0x0C}
"""Events of pixels, under their older and their newer number."""
RECORD = np.dtype([("t", "<u4"), ("address", "<u4")])
BITS = {"1": (9, 8), "2": (14, 14)}
"""Bits of x and of y by version."""


def read(path: Path, sensor_size: Size | None = None) -> Events:
    """Return the events of a DAT file.

    Args:
        path: the file.
        sensor_size: width and height, for a file whose header does not state them.

    Raises:
        InputError: no file, no event, no sensor size, another version or type, an event outside the sensor.
    """
    content = read_bytes(path)
    header = parse_header(content)
    x_bits, y_bits = _bits(path, header, content)
    size = known_size(path, header.size(path), sensor_size)
    start = header.length + 2
    count, left = divmod(len(content) - start, RECORD.itemsize)
    records = np.frombuffer(content, RECORD, count, start)
    address = records["address"]
    return finished(
        path,
        t_us=unwrapped(records["t"], 32),
        x=address & ((1 << x_bits) - 1),
        y=address >> x_bits & ((1 << y_bits) - 1),
        p=address >> (x_bits + y_bits) & 1,
        size=size,
        bytes_unused=left,
    )


def _bits(path: Path, header: Header, content: bytes) -> tuple[int, int]:
    """Return the bits of x and of y, or refuse what is not a DAT file of events."""
    version = header.fields.get("version", "")
    if version not in BITS:
        raise InputError(
            f"{path} states the version {version!r} of DAT, not 1 or 2; give a DAT file of Prophesee with its header."
        )
    kind = content[header.length : header.length + 2]
    if len(kind) < 2 or kind[0] not in TYPES or kind[1] != RECORD.itemsize:
        raise InputError(
            f"{path} holds records of type and size {kind.hex(' ') or 'unknown'}, not events of 8 bytes (00 08 or "
            "0c 08); give a file of pixels' events."
        )
    return BITS[version]
