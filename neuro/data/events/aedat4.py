"""iniVation's AEDAT 4: a header and packets in FlatBuffers, packets compressed or not.

    file     "#!AER-DAT4.0\\r\\n", the header (identifier IOHE), packets, a table of them at the header's data position
    packet   number of its stream and number of bytes (32 bits each, little-endian), then the bytes
    events   identifier EVTS: a vector of 16 bytes each: time in us (64 bits), x, y (16 bits each), polarity

The header's description is XML; the stream of events is its node with the type EVTS, which also states the sensor's
size. Other streams (frames, motion, triggers) are not returned.
Source: iniVation, "AEDAT 4.0", docs.inivation.com.
"""

from __future__ import annotations

import struct
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from hardware_models.errors import InputError
from neuro.data.events.compression import Unpack, unpacker
from neuro.data.events.flatbuffer import Table
from neuro.data.events.recording import Events, Size, finished, known_size, read_bytes

MAGIC = b"#!AER-DAT4.0\r\n"
EVENT = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1"), ("", "V3")])
COMPRESSION, DATA_POSITION, DESCRIPTION = 0, 1, 2
"""Fields of the header's table."""


def read(path: Path, sensor_size: Size | None = None) -> Events:
    """Return the events of an AEDAT 4 file.

    Args:
        path: the file.
        sensor_size: width and height, for a file whose header does not state them.

    Raises:
        InputError: no file, no event, not exactly one stream of events, a damaged header or packet, a compression
            whose package is not installed, an event outside the sensor.
    """
    content = read_bytes(path)
    if not content.startswith(MAGIC):
        raise InputError(f"{path} is no AEDAT 4 file: it does not begin with #!AER-DAT4.0; give one that is.")
    start = len(MAGIC)
    try:
        start += 4 + struct.unpack_from("<I", content, start)[0]
        header = Table.sized_root(content[len(MAGIC) : start], b"IOHE")
        description = ElementTree.fromstring(header.text(DESCRIPTION))
        compression, end = header.scalar(COMPRESSION, "i", 0), header.scalar(DATA_POSITION, "q", -1)
    except (struct.error, ElementTree.ParseError, ValueError) as error:
        raise InputError(f"{path} has a damaged header ({error}); fetch it again.") from error
    if 0 <= end < start:
        raise InputError(
            f"{path} has a damaged header (its packets end at byte {end}, before {start}); fetch it again."
        )
    stream, size = _stream(path, description)
    events, left = _packets(path, content, (start, end), stream, unpacker(compression, str(path)))
    return finished(
        path,
        t_us=events["t"],
        x=events["x"],
        y=events["y"],
        p=events["p"] != 0,
        size=known_size(path, size, sensor_size),
        bytes_unused=left,
    )


def _stream(path: Path, description: ElementTree.Element) -> tuple[int, Size | None]:
    """Return the number of the one stream of events, and its sensor's size if it is stated."""
    found = [node for node in description.iter("node") if _attributes(node).get("typeIdentifier") == "EVTS"]
    if len(found) != 1:
        raise InputError(f"{path} has {len(found)} streams of events, not one; export the one that is wanted.")
    name = found[0].get("name", "")
    if not name.isdecimal():
        raise InputError(f"{path} has a stream of events without a number ({name!r}); export it again.")
    stated = next((_attributes(node) for node in found[0].iter("node") if node.get("name") == "info"), {})
    sides = [stated.get(key, "") for key in ("sizeX", "sizeY")]
    return int(name), (int(sides[0]), int(sides[1])) if all(side.isdecimal() for side in sides) else None


def _attributes(node: ElementTree.Element) -> dict[str, str]:
    return {attribute.get("key", ""): attribute.text or "" for attribute in node.findall("attr")}


def _packets(
    path: Path, content: bytes, bounds: tuple[int, int], stream: int, unpack: Unpack
) -> tuple[np.ndarray, int]:
    """Return the events of all whole packets, and the bytes that are left.

    A recorder writes the data position last: -1 means that it was stopped, and the packets run to the end.
    """
    at, stated_end = bounds
    end = len(content) if stated_end < 0 else min(stated_end, len(content))
    parts = [np.zeros(0, EVENT)]
    while at + 8 <= end:
        number, size = struct.unpack_from("<iI", content, at)
        if at + 8 + size > end:
            break
        if number == stream:
            parts.append(_events(path, content[at + 8 : at + 8 + size], at, unpack))
        at += 8 + size
    return np.concatenate(parts), end - at


def _events(path: Path, packed: bytes, at: int, unpack: Unpack) -> np.ndarray:
    try:
        content = unpack(packed)
        count, start = Table.sized_root(content, b"EVTS").vector(0)
        return np.frombuffer(content, EVENT, count, start) if count else np.zeros(0, EVENT)
    except (ValueError, struct.error) as error:
        raise InputError(f"{path} has a damaged packet at byte {at} ({error}); fetch it again.") from error
