"""Events as numpy arrays: `.npz` with t, x, y, p, `.npy` of records with these fields, and tonic's DVS-Gesture.

Time is in microseconds, y counts from the top. Nothing is unpickled. Source: numpy's formats; the layouts are those
that SpikingJelly (`.npz`) and tonic (`.npy`) write.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from hardware_models.errors import InputError
from neuro.data.events.recording import Events, Size, finished, known_size

FIELDS = ("t", "x", "y", "p")


def read(path: Path, sensor_size: Size | None = None) -> Events:
    """Return the events of a `.npz` or a `.npy` of records.

    Args:
        path: the file.
        sensor_size: width and height, which such files do not state.

    Raises:
        InputError: no readable file, other fields, no event, no sensor size, an event outside the sensor, a polarity
            other than 0 and 1.
    """
    loaded = _load(path)
    names = getattr(loaded, "dtype", np.dtype("u1")).names if isinstance(loaded, np.ndarray) else tuple(loaded)
    if names is None or not set(FIELDS) <= set(names):
        raise InputError(f"{path} holds {_words(names)}, not the fields t, x, y and p; convert it to these.")
    return _events(path, {field: loaded[field] for field in FIELDS}, sensor_size)


def read_gesture(path: Path, sensor_size: Size | None = None) -> Events:
    """Return the events of tonic's DVS-Gesture: a plain `[N, 4]` of x, y, polarity and time in milliseconds."""
    loaded = _load(path)
    if not isinstance(loaded, np.ndarray) or loaded.ndim != 2 or loaded.shape[1] != 4:
        raise InputError(f"{path} holds no array of four columns; give the folder that tonic made.")
    x, y, p, milliseconds = loaded.T
    return _events(path, {"t": np.rint(milliseconds * 1000.0), "x": x, "y": y, "p": p}, sensor_size)


def _events(path: Path, fields: dict[str, Any], sensor_size: Size | None) -> Events:
    if {array.ndim for array in fields.values()} != {1} or len({len(array) for array in fields.values()}) != 1:
        raise InputError(f"{path} holds t, x, y and p of different lengths; write it again.")
    for name in ("t", "x", "y"):
        if not np.array_equal(fields[name], np.rint(fields[name])):
            raise InputError(f"{path} holds {name} that is not whole; write t in microseconds, x and y in pixels.")
    if not np.isin(fields["p"], (0, 1)).all():
        raise InputError(f"{path} holds polarities other than 0 and 1; write 1 for on and 0 for off.")
    size = known_size(path, None, sensor_size)
    return finished(path, t_us=fields["t"], x=fields["x"], y=fields["y"], p=fields["p"], size=size)


def _load(path: Path) -> Any:
    try:
        loaded = np.load(path, allow_pickle=False)
        return {name: loaded[name] for name in loaded.files} if hasattr(loaded, "files") else loaded
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read as numpy's arrays ({error}); write it again.") from error


def _words(names: tuple[str, ...] | None) -> str:
    return "a plain array" if names is None else f"the fields {', '.join(names) or 'none'}"
