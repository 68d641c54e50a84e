"""AEDAT 2.0 of the DVS128 camera: lines that begin with `#`, then big-endian pairs of address and time.

    address   15 an external event, 14..8 y, 7..1 x, 0 polarity
    time      microseconds, 32 bits

x counts from the right, y from the bottom and polarity is 0 for on, as jAER writes and reads them; what is returned
counts from the left and the top, with 1 for on. External events are no pixel's and are not returned.
Source: iniVation, "AEDAT 2.0", docs.inivation.com; P. Lichtsteiner, C. Posch, T. Delbruck, IEEE JSSC 43(2), 2008.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hardware_models.errors import InputError
from neuro.data.events.recording import Events, Size, finished, read_bytes
from neuro.data.events.timestamps import unwrapped

SIZE: Size = (128, 128)
MAGIC = b"#!AER-DAT2.0"
RECORD = np.dtype([("address", ">u4"), ("t", ">u4")])
EXTERNAL = 1 << 15


def read(path: Path, sensor_size: Size | None = None) -> Events:
    """Return the events of an AEDAT 2.0 file of a DVS128; `sensor_size`, if it is given, must be 128x128.

    Raises:
        InputError: no file, no event, another version or camera.
    """
    content = read_bytes(path)
    if not content.startswith(MAGIC):
        raise InputError(f"{path} is no AEDAT 2.0 file: it does not begin with {MAGIC.decode()}; give one that is.")
    start = _header_length(path, content)
    count, left = divmod(len(content) - start, RECORD.itemsize)
    records = np.frombuffer(content, RECORD, count, start)
    address = records["address"].astype(np.int64)
    if sensor_size not in (None, SIZE) or np.any(address > 0xFFFF):
        raise InputError(f"{path} is not of a DVS128 (128x128 pixels, addresses of 16 bits); convert it to AEDAT 4.")
    of_pixel = (address & EXTERNAL) == 0
    chosen = address[of_pixel]
    return finished(
        path,
        t_us=unwrapped(records["t"], 32)[of_pixel],
        x=127 - (chosen >> 1 & 0x7F),
        y=127 - (chosen >> 8 & 0x7F),
        p=1 - (chosen & 1),
        size=SIZE,
        bytes_unused=left,
    )


def _header_length(path: Path, content: bytes) -> int:
    """Return the bytes of the header's lines; an address of a DVS128 begins with 0 and is no line."""
    at = 0
    while content[at : at + 1] == b"#":
        end = content.find(b"\n", at)
        line = content[at : end if end >= 0 else len(content)].strip()
        if line.startswith(b"# AEChip:") and b"DVS128" not in line.upper():
            chip = line.removeprefix(b"# AEChip:").strip().decode("utf-8", "replace")
            raise InputError(f"{path} was recorded with the chip {chip}, not a DVS128; convert it to AEDAT 4.")
        if end < 0:
            return len(content)
        at = end + 1
    return at
