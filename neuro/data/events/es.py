"""Event Stream 2.x (`.es`), its DVS type: 5 bytes an event and 1 byte for each 127 us of silence.

    header   "Event Stream", 3 bytes of version, 1 byte of type (1: DVS), width and height of 16 bits each
    0xff     127 us pass
    0xfe     a reset, without meaning for the events
    else     bits 7..1 us since the last event or silence, bit 0 polarity; then x and y of 16 bits each

Rows count from the bottom in the file and from the top in what is returned.
Source: A. Marcireau, "Event Stream format specification", github.com/neuromorphicsystems/event_stream.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware_models.errors import InputError
from neuro.data.events.recording import Events, Size, finished, known_size, read_bytes

MAGIC = b"Event Stream"
DVS = 1
HEADER_BYTES = len(MAGIC) + 3 + 1 + 4
EVENT_BYTES = 5
SILENCE, RESET = 0xFF, 0xFE
SILENCE_US = 0x7F
BLOCK = 1 << 18


def read(path: Path, sensor_size: Size | None = None) -> Events:
    """Return the events of an Event Stream file; the size is the file's own and `sensor_size` is not needed.

    Raises:
        InputError: no file, no event, another format, version or type, an event outside the sensor.
    """
    content = read_bytes(path)
    width, height = known_size(path, _header(path, content), sensor_size)
    body = np.frombuffer(content, np.uint8, offset=HEADER_BYTES)
    starts = _starts(body)
    marks = body[starts]
    whole = (marks >= RESET) | (starts + EVENT_BYTES <= len(body))
    starts, marks = starts[whole], marks[whole]
    passed = np.where(marks == SILENCE, SILENCE_US, np.where(marks == RESET, 0, marks >> 1)).astype(np.int64)
    is_event = marks < RESET
    place = starts[is_event]
    x, y = (body[place + low].astype(np.int64) | body[place + low + 1].astype(np.int64) << 8 for low in (1, 3))
    used = int(starts[-1] + (EVENT_BYTES if is_event[-1] else 1)) if len(starts) else 0
    return finished(
        path,
        t_us=np.cumsum(passed)[is_event],
        x=x,
        y=height - 1 - y,
        p=marks[is_event] & 1,
        size=(width, height),
        bytes_unused=len(body) - used,
    )


def _header(path: Path, content: bytes) -> Size:
    """Return width and height, or refuse another format, version or type."""
    if not content.startswith(MAGIC) or len(content) < HEADER_BYTES:
        raise InputError(
            f"{path} is no Event Stream file: it does not begin with {MAGIC.decode()!r}; give one that is."
        )
    major, minor, patch, kind = content[len(MAGIC) : len(MAGIC) + 4]
    if major != 2 or kind != DVS:
        raise InputError(
            f"{path} is an Event Stream {major}.{minor}.{patch} of type {kind}, not a 2.x of type {DVS} (DVS); "
            "convert it to one."
        )
    width, height = np.frombuffer(content, "<u2", 2, len(MAGIC) + 4).tolist()
    return width, height


def _starts(body: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return where each event, silence and reset begins.

    What a byte means depends on all bytes before it, so the beginnings are a chain: block by block, the places after
    1, 2, 4, 8 ... links are looked up in a table that is squared each time.
    """
    parts = [np.zeros(0, np.int64)]
    at = 0
    while at < len(body):
        block = body[at : at + BLOCK]
        size = len(block)
        places = np.arange(size + EVENT_BYTES)
        after = places.copy()  # the places past the block lead to themselves
        after[:size] += np.where(block >= RESET, 1, EVENT_BYTES)
        chain, leap = np.zeros(1, np.int64), after
        while chain[-1] < size:
            chain = np.concatenate([chain, leap[chain]])
            leap = leap[leap]
        inside = chain[: np.searchsorted(chain, size)]
        parts.append(inside + at)
        at += int(after[inside[-1]])
    return np.concatenate(parts)
