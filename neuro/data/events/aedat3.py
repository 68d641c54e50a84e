"""AEDAT 3.1: lines that begin with `#`, then packets of a header of 28 bytes and events of one type.

    packet   type, source (16 bits each), event size, place of the time, turns of the time counter, capacity,
             number of events, number of valid ones (32 bits each), little-endian
    event    type 1, 8 bytes: bit 0 valid, 1 polarity, 16..2 y, 31..17 x; then 31 bits of microseconds

Time is `turns * 2^31 + t`. Packets of other types, and events marked invalid, are no pixel's and are not returned.
Source: iniVation, "AEDAT 3.1", docs.inivation.com.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np

from hardware_models.errors import InputError
from neuro.data.events.recording import Events, Size, finished, known_size, read_bytes

MAGIC = b"#!AER-DAT3.1"
HEADER_END = b"#!END-HEADER\r\n"
PACKET = struct.Struct("<hhiiiiii")
POLARITY = 1
EVENT = np.dtype([("data", "<u4"), ("t", "<i4")])
CAMERAS: dict[str, Size] = {"DVS128": (128, 128), "DAVIS240": (240, 180), "DAVIS346": (346, 260)}


def read(path: Path, sensor_size: Size | None = None) -> Events:
    """Return the events of an AEDAT 3.1 file.

    Args:
        path: the file.
        sensor_size: width and height, for a camera other than DVS128, DAVIS240 and DAVIS346.

    Raises:
        InputError: no file, no event, another version, a damaged packet, an event outside the sensor.
    """
    content = read_bytes(path)
    end = content.find(HEADER_END)
    if not content.startswith(MAGIC) or end < 0:
        raise InputError(f"{path} has no header of AEDAT 3.1; fetch it again, or give a file in that format.")
    size = known_size(path, _camera(content[:end]), sensor_size)
    data, times, used = _packets(path, content, end + len(HEADER_END))
    valid = (data & 1) == 1
    chosen = data[valid]
    return finished(
        path,
        t_us=times[valid],
        x=chosen >> 17 & 0x7FFF,
        y=chosen >> 2 & 0x7FFF,
        p=chosen >> 1 & 1,
        size=size,
        bytes_unused=len(content) - used,
    )


def _camera(header: bytes) -> Size | None:
    """Return the size of the camera that the header names, or None where it is not a known one."""
    name = re.search(rb"^#-?Source \d+:\s*(\S+)", header, re.MULTILINE)
    known = name.group(1).decode("ascii", "replace").upper() if name else ""
    return next((size for camera, size in CAMERAS.items() if known.startswith(camera)), None)


def _packets(path: Path, content: bytes, at: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the words and times of all events of pixels, and where the last whole event ends."""
    words, times = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    while at + PACKET.size <= len(content):
        kind, _, event_size, _, turns, capacity, number, _ = PACKET.unpack_from(content, at)
        if event_size < 1 or not 0 <= number <= capacity or turns < 0:
            raise InputError(f"{path} has a damaged packet at byte {at}; fetch it again.")
        body = at + PACKET.size
        whole = min(number, (len(content) - body) // event_size)
        if kind == POLARITY:
            if event_size != EVENT.itemsize:
                raise InputError(f"{path} has events of {event_size} bytes at byte {at}, not of 8; fetch it again.")
            events = np.frombuffer(content, EVENT, whole, body)
            words.append(events["data"].astype(np.int64))
            times.append(events["t"].astype(np.int64) + (turns << 31))
        if whole < number:
            return np.concatenate(words), np.concatenate(times), body + whole * event_size
        at = body + number * event_size
    return np.concatenate(words), np.concatenate(times), at
