"""Prophesee's EVT 2.0: words of 32 bits.

    bits 31..28   type: 0 off event, 1 on event, 8 time high, 10 trigger, 14 other, 15 continued
    events        27..22 the low 6 bits of the time, 21..11 x, 10..0 y
    time high     27..0 the high 28 bits of the time

Time is `high * 64 + low` microseconds. Triggers and the words of types 14 and 15 are no pixel's events and are not
returned. Source: Prophesee, "EVT 2.0 Format", docs.prophesee.ai.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hardware_models.errors import InputError
from neuro.data.events.prophesee import parse_header
from neuro.data.events.recording import Events, Size, finished, known_size, read_bytes
from neuro.data.events.timestamps import last_place, unwrapped

OFF, ON, TIME_HIGH = 0, 1, 8
TYPES = (OFF, ON, TIME_HIGH, 10, 14, 15)
WORD_BYTES = 4


def read(path: Path, sensor_size: Size | None = None) -> Events:
    """Return the events of an EVT 2.0 file.

    Events before the first time high have no time; their bytes count as unused.

    Args:
        path: the file.
        sensor_size: width and height, for a file whose header does not state them.

    Raises:
        InputError: no file, no event, no sensor size, a reserved type of word, an event outside the sensor.
    """
    content = read_bytes(path)
    header = parse_header(content)
    size = known_size(path, header.size(path), sensor_size)
    words = np.frombuffer(content, "<u4", (len(content) - header.length) // WORD_BYTES, header.length)
    kinds = words >> 28
    check_types(path, kinds, TYPES, header.length, WORD_BYTES)

    is_high, is_event = kinds == TIME_HIGH, kinds <= ON
    high = unwrapped(words[is_high] & 0xFFFFFFF, 28)
    timed = is_event & (last_place(is_high) >= 0)
    chosen = words[timed]
    return finished(
        path,
        t_us=(high[np.cumsum(is_high)[timed] - 1] << 6) + (chosen >> 22 & 0x3F),
        x=chosen >> 11 & 0x7FF,
        y=chosen & 0x7FF,
        p=kinds[timed],
        size=size,
        bytes_unused=(len(content) - header.length) % WORD_BYTES + WORD_BYTES * int((is_event & ~timed).sum()),
    )


def check_types(path: Path, kinds: np.ndarray, known: tuple[int, ...], start: int, word_bytes: int) -> None:
    """Refuse a stream with words of a type that the format reserves."""
    strange = np.flatnonzero(~np.isin(kinds, known))
    if len(strange):
        raise InputError(
            f"{path} has a word of the reserved type {kinds[strange[0]]} at byte {start + word_bytes * strange[0]}; "
            "it is damaged or of another encoding, fetch it again."
        )
