"""N-MNIST's `.bin`: 5 bytes an event, of a 34x34 sensor.

    bits 39..32 x, 31..24 y, 23 polarity, 22..0 time in microseconds (big-endian)

A record with y = 240 is no event: the time counter of the ATIS camera had started again, and 2^13 us are added to
all times after it. Source: G. Orchard et al., "Converting Static Image Datasets to Spiking Neuromorphic Datasets
Using Saccades", Frontiers in Neuroscience 9:437, 2015, and the format notes with the data.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neuro.data.events.recording import Events, Size, finished, read_bytes

SIZE: Size = (34, 34)
RECORD_BYTES = 5
OVERFLOW_ROW = 240
OVERFLOW_US = 1 << 13


def read(path: Path, sensor_size: Size | None = None) -> Events:
    """Return the events of a `.bin` file.

    Args:
        path: the file.
        sensor_size: width and height of another recording in this format; None takes N-MNIST's 34x34.

    Raises:
        InputError: no file, no event, an event outside the sensor.
    """
    content = read_bytes(path)
    count, left = divmod(len(content), RECORD_BYTES)
    records = np.frombuffer(content, np.uint8, count * RECORD_BYTES).reshape(-1, RECORD_BYTES)
    x, y, high, middle, low = (column.astype(np.int64) for column in records.T)
    overflow = y == OVERFLOW_ROW
    t_us = ((high & 0x7F) << 16 | middle << 8 | low) + OVERFLOW_US * np.cumsum(overflow)
    kept = ~overflow
    size = sensor_size or SIZE
    return finished(path, t_us=t_us[kept], x=x[kept], y=y[kept], p=(high >> 7)[kept], size=size, bytes_unused=left)
