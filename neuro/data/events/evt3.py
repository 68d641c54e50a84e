"""Prophesee's EVT 3.0: words of 16 bits that change a state, and events that stand where the state is.

    bits 15..12   type
     0 y          10..0 row of what follows
     2 x          10..0 column, 11 polarity: one event
     3 base x     10..0 column, 11 polarity of the vectors that follow
     4 vector 12  11..0 an event at base + i for each bit i that is set; base grows by 12
     5 vector 8    7..0 the same with 8
     6 time low   11..0 low 12 bits of the time in microseconds
     8 time high  11..0 high 12 bits; where they change, the low ones start at 0

Words of types 7, 10, 14 and 15 (triggers, other, continued) are no pixel's events and are not returned.
Source: Prophesee, "EVT 3.0 Format", docs.prophesee.ai.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuro.data.events.evt2 import check_types
from neuro.data.events.prophesee import parse_header
from neuro.data.events.recording import Events, Size, finished, known_size, read_bytes
from neuro.data.events.timestamps import last_place, unwrapped

ROW, COLUMN, BASE, VECTOR_12, VECTOR_8, TIME_LOW, TIME_HIGH = 0, 2, 3, 4, 5, 6, 8
TYPES = (ROW, COLUMN, BASE, VECTOR_12, VECTOR_8, TIME_LOW, 7, TIME_HIGH, 10, 14, 15)
WORD_BYTES = 2


def read(path: Path, sensor_size: Size | None = None) -> Events:
    """Return the events of an EVT 3.0 file.

    Words before the first time high, row, or (for vectors) base have no time or place; the bytes of such words of
    events count as unused.

    Args:
        path: the file.
        sensor_size: width and height, for a file whose header does not state them.

    Raises:
        InputError: no file, no event, no sensor size, a reserved type of word, an event outside the sensor.
    """
    content = read_bytes(path)
    header = parse_header(content)
    size = known_size(path, header.size(path), sensor_size)
    words = np.frombuffer(content, "<u2", (len(content) - header.length) // WORD_BYTES, header.length)
    kinds = words >> 12
    check_types(path, kinds, TYPES, header.length, WORD_BYTES)

    row_at, base_at = last_place(kinds == ROW), last_place(kinds == BASE)
    is_event = (kinds == COLUMN) | (kinds == VECTOR_12) | (kinds == VECTOR_8)
    placed = (row_at >= 0) & ((kinds == COLUMN) | (base_at >= 0)) & (last_place(kinds == TIME_HIGH) >= 0)
    chosen = np.flatnonzero(is_event & placed)
    first, polarity = _columns(words, kinds, base_at, chosen)
    source, offset = np.nonzero(_masks(words[chosen], kinds[chosen])[:, None] >> np.arange(12, dtype=np.uint16) & 1)
    place = chosen[source]
    return finished(
        path,
        t_us=_times(words, kinds)[place],
        x=first[source] + offset,
        y=words[row_at[place]] & 0x7FF,
        p=polarity[source],
        size=size,
        bytes_unused=(len(content) - header.length) % WORD_BYTES + WORD_BYTES * int((is_event & ~placed).sum()),
    )


def _masks(words: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Return which of the 12 columns from the first on have an event, as bits; a single event is the bit 0."""
    return np.where(kinds == COLUMN, 1, np.where(kinds == VECTOR_12, words & 0xFFF, words & 0xFF)).astype(np.uint16)


def _columns(
    words: np.ndarray, kinds: np.ndarray, base_at: np.ndarray, chosen: np.ndarray
) -> tuple[NDArray[np.int64], np.ndarray]:
    """Return the column of bit 0, and the polarity, of each chosen word."""
    growth = 12 * (kinds == VECTOR_12) + 8 * (kinds == VECTOR_8)
    grown = np.cumsum(growth) - growth  # by the vectors before each word
    source = np.where(kinds[chosen] == COLUMN, chosen, base_at[chosen])
    since_base = grown[chosen] - grown[source]
    return (words[source] & 0x7FF) + since_base.astype(np.int64), words[source] >> 11 & 1


def _times(words: np.ndarray, kinds: np.ndarray) -> NDArray[np.int64]:
    """Return the time in microseconds that holds at each word; meaningless before the first time high."""
    is_high = kinds == TIME_HIGH
    high = unwrapped(words[is_high] & 0xFFF, 12)
    if not len(high):
        return np.zeros(len(words), np.int64)
    changed = is_high.copy()
    changed[is_high] = np.diff(high, prepend=high[0] - 1) != 0
    low_at = last_place(kinds == TIME_LOW)
    low = np.where(low_at > last_place(changed), words[low_at] & 0xFFF, 0)
    return (high[np.cumsum(is_high) - 1] << 12) + low
