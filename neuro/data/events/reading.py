"""Reading an event recording of any known format, told by its ending and its first bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hardware_models.errors import InputError
from neuro.data.events import aedat2, aedat3, aedat4, arrays, dat, es, evt2, evt3, nmnist
from neuro.data.events.prophesee import parse_header
from neuro.data.events.recording import Events, Size, read_bytes

Reader = Callable[[Path, Size | None], Events]
MOST_HEADER = 1 << 16


def read_events(path: Path, sensor_size: Size | None = None) -> Events:
    """Return the events of a recording.

    Args:
        path: `.raw` (EVT 2.0, EVT 3.0), `.dat`, `.aedat` (2.0 of a DVS128, 3.1), `.aedat4`, `.bin` (N-MNIST), `.es`
            (DVS), `.npz` or `.npy`.
        sensor_size: width and height, for a file that does not state them.

    Raises:
        InputError: an unknown format, or what the format's own reader refuses.

    Warns:
        CutRecordingWarning: the file is cut short; its whole events are returned.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path} is no event recording that is known by its ending; known: {', '.join(READERS)}.")
    return reader(path, sensor_size)


def _raw(path: Path, sensor_size: Size | None) -> Events:
    encoding = parse_header(read_bytes(path, MOST_HEADER)).encoding
    readers: dict[str, Reader] = {"EVT2": evt2.read, "EVT3": evt3.read}
    if encoding not in readers:
        raise InputError(f"{path} is encoded as {encoding or 'it does not say'}, not EVT2 or EVT3; convert it to one.")
    return readers[encoding](path, sensor_size)


def _aedat(path: Path, sensor_size: Size | None) -> Events:
    first = read_bytes(path, len(aedat4.MAGIC))
    readers: dict[bytes, Reader] = {
        aedat2.MAGIC: aedat2.read,
        aedat3.MAGIC: aedat3.read,
        aedat4.MAGIC[:-2]: aedat4.read,
    }
    for magic, reader in readers.items():
        if first.startswith(magic):
            return reader(path, sensor_size)
    raise InputError(f"{path} begins with {first!r}, not with AEDAT 2.0, 3.1 or 4.0; convert it to one of them.")


READERS: dict[str, Reader] = {
    ".raw": _raw,
    ".dat": dat.read,
    ".aedat": _aedat,
    ".aedat4": aedat4.read,
    ".bin": nmnist.read,
    ".es": es.read,
    ".npz": arrays.read,
    ".npy": arrays.read,
}
