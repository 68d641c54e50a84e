"""Event recordings in the exact bytes of their formats, written one event at a time from the formats' descriptions."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from neuro.data.events import Events


class Event(NamedTuple):
    t: int
    x: int
    y: int
    p: int


def rows(events: Events) -> list[Event]:
    """The events that a reader returned, as plain numbers."""
    columns = (events.t_us.tolist(), events.x.tolist(), events.y.tolist(), events.p.tolist())
    return [Event(*row) for row in zip(*columns, strict=True)]


def evt2_word(kind: int, *fields: tuple[int, int]) -> bytes:
    word = kind << 28
    for value, shift in fields:
        word |= value << shift
    return struct.pack("<I", word)


def evt2(events: Sequence[Event], header: str = "% evt 2.0\n% geometry 640x480\n") -> bytes:
    content, high = header.encode(), -1
    for t, x, y, p in events:
        if t >> 6 != high:
            high = t >> 6
            content += evt2_word(8, (high & 0xFFFFFFF, 0))
        content += evt2_word(p, (t & 63, 22), (x, 11), (y, 0))
    return content


def evt3_word(kind: int, value: int) -> bytes:
    return struct.pack("<H", kind << 12 | value)


def evt3(events: Sequence[Event], header: str = "% evt 3.0\n% geometry 1280x720\n") -> bytes:
    """Single events only; every change of state is written."""
    content, state = header.encode(), (-1, -1, -1)
    for t, x, y, p in events:
        high, low = t >> 12, t & 0xFFF
        if high != state[0]:
            content += evt3_word(8, high & 0xFFF)
        if (high, low) != state[:2]:
            content += evt3_word(6, low)
        if y != state[2]:
            content += evt3_word(0, y)
        content += evt3_word(2, p << 11 | x)
        state = (high, low, y)
    return content


def dat(events: Sequence[Event], version: int = 2, kind: int = 0x0C) -> bytes:
    content = f"% Version {version}\n% Width 304\n% Height 240\n".encode() + bytes([kind, 8])
    x_bits, y_bits = {1: (9, 8), 2: (14, 14)}[version]
    for t, x, y, p in events:
        content += struct.pack("<II", t & 0xFFFFFFFF, x | y << x_bits | p << (x_bits + y_bits))
    return content


def nmnist(events: Sequence[Event]) -> bytes:
    return b"".join(bytes([x, y]) + struct.pack(">I", p << 23 | t)[1:] for t, x, y, p in events)


def es(events: Sequence[Event], width: int = 320, height: int = 240, kind: int = 1, version: int = 2) -> bytes:
    content = b"Event Stream" + bytes([version, 0, 0, kind]) + struct.pack("<HH", width, height)
    now = 0
    for t, x, y, p in events:
        silences, rest = divmod(t - now, 127)
        content += b"\xff" * silences + bytes([rest << 1 | p]) + struct.pack("<HH", x, height - 1 - y)
        now = t
    return content


def aedat2(events: Sequence[Event], chip: str = "ch.unizh.ini.jaer.chip.retina.DVS128") -> bytes:
    content = f"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n# AEChip: {chip}\r\n".encode()
    for t, x, y, p in events:
        content += struct.pack(">II", (127 - y) << 8 | (127 - x) << 1 | (1 - p), t)
    return content


def aedat3_packet(events: Sequence[Event], turns: int = 0, kind: int = 1, valid: int = 1) -> bytes:
    content = struct.pack("<hhiiiiii", kind, 1, 8, 4, turns, len(events), len(events), len(events) * valid)
    for t, x, y, p in events:
        content += struct.pack("<Ii", x << 17 | y << 2 | p << 1 | valid, t)
    return content


def aedat3(*packets: bytes, camera: str = "DVS128") -> bytes:
    return f"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: {camera}\r\n#!END-HEADER\r\n".encode() + b"".join(packets)


def _sized(content: bytes) -> bytes:
    return struct.pack("<I", len(content)) + content


def aedat4_header(compression: int, position: int, streams: str = "EVTS", size: tuple[int, int] = (346, 260)) -> bytes:
    """A table with compression (at 16), data position (at 8) and description (at 4), after its vtable."""
    nodes = "".join(
        f'<node name="{number}"><attr key="typeIdentifier">{kind}</attr><node name="info">'
        f'<attr key="sizeX">{size[0]}</attr><attr key="sizeY">{size[1]}</attr></node></node>'
        for number, kind in enumerate(streams.split())
    )
    text = f'<dv version="2.0"><node name="outInfo">{nodes}</node></dv>'.encode()
    vtable = struct.pack("<5H", 10, 20, 16, 8, 4) + b"\0\0"
    table = struct.pack("<iIqi", len(vtable), 16, position, compression)
    root = struct.pack("<I", 8 + len(vtable)) + b"IOHE"
    return _sized(root + vtable + table + struct.pack("<I", len(text)) + text + b"\0")


def aedat4_events(events: Sequence[Event]) -> bytes:
    """A table with one vector (at 4) of structs."""
    vtable = struct.pack("<3H", 6, 8, 4) + b"\0\0"
    table = struct.pack("<iI", len(vtable), 4)
    structs = b"".join(struct.pack("<qhhB3x", *event) for event in events)
    root = struct.pack("<I", 8 + len(vtable)) + b"EVTS"
    return _sized(root + vtable + table + struct.pack("<I", len(events)) + structs)


def aedat4_packet(payload: bytes, stream: int = 0) -> bytes:
    return struct.pack("<iI", stream, len(payload)) + payload


def aedat4(*packets: bytes, compression: int = 0, closed: bool = True, streams: str = "EVTS") -> bytes:
    body = b"".join(packets)
    magic = b"#!AER-DAT4.0\r\n"
    start = len(magic) + len(aedat4_header(compression, -1, streams))
    position = start + len(body) if closed else -1
    return magic + aedat4_header(compression, position, streams) + body + (b"a table of packets" if closed else b"")
