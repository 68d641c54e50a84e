"""What every reader of event recordings returns, and what it says of a file that was cut short."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hardware_models.errors import InputError

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""


class CutRecordingWarning(UserWarning):
    """A recording has bytes that belong to no whole event; its whole events are used.

    Attributes:
        path: the file.
        events: events kept.
        bytes_unused: bytes that could not be used.
    """

    def __init__(self, path: Path, events: int, bytes_unused: int) -> None:
        super().__init__(
            f"{path} is cut short: {events:,} whole events are used and {bytes_unused:,} bytes are not; "
            "fetch it again if it should be longer."
        )
        self.path = path
        self.events = events
        self.bytes_unused = bytes_unused


@dataclass(frozen=True, eq=False)
class Events:
    """The events of one recording, in the order of the file.

    Attributes:
        t_us: time of each in microseconds, `[N]` int64; from the start that the file chose, seldom 0.
        x: column, `[N]` uint16, 0 at the left.
        y: row, `[N]` uint16, 0 at the top, whatever the file has.
        p: polarity, `[N]` uint8: 1 where the light grew (on), 0 where it fell (off).
        width: columns of the sensor.
        height: rows of the sensor.
        bytes_unused: bytes of the file that belong to no whole event, 0 for a whole file.
    """

    t_us: NDArray[np.int64]
    x: NDArray[np.uint16]
    y: NDArray[np.uint16]
    p: NDArray[np.uint8]
    width: int
    height: int
    bytes_unused: int = 0

    def __len__(self) -> int:
        """Return the number of events, N."""
        return len(self.t_us)

    def pick(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Events:
        """Return the events that a mask `[N]`, or indices in a new order, choose."""
        return replace(self, t_us=self.t_us[chosen], x=self.x[chosen], y=self.y[chosen], p=self.p[chosen])

    def between(self, start_us: int, end_us: int) -> Events:
        """Return the events with `start_us <= t < end_us`."""
        return self.pick((self.t_us >= start_us) & (self.t_us < end_us))


def finished(
    path: Path,
    *,
    t_us: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    p: np.ndarray,
    size: Size,
    bytes_unused: int = 0,
) -> Events:
    """Return the events of `path`, checked, and warn where bytes of it could not be used.

    Raises:
        InputError: no event, or an event outside the sensor.
    """
    if not len(t_us):
        raise InputError(f"{path} holds no whole event; fetch it again or leave it out.")
    width, height = size
    outside = np.flatnonzero((x < 0) | (x >= width) | (y < 0) | (y >= height))
    if len(outside):
        first = outside[0]
        raise InputError(
            f"{path} has {len(outside):,} events outside its {width}x{height} pixels, the first at x={x[first]}, "
            f"y={y[first]}; give the sensor's real size, or fetch the file again."
        )
    if bytes_unused:
        warnings.warn(CutRecordingWarning(path, len(t_us), bytes_unused), stacklevel=2)
    return Events(
        t_us.astype(np.int64), x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8), width, height, bytes_unused
    )


def read_bytes(path: Path, most: int = -1) -> bytes:
    """Return the content of a file, or its first `most` bytes.

    Raises:
        InputError: it is missing or may not be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); check that it exists and is yours to read."
        ) from error


def known_size(path: Path, found: Size | None, given: Size | None) -> Size:
    """Return the sensor's size that the file states, or else the one that was given.

    Raises:
        InputError: there is neither, or a side below 1.
    """
    size = found or given
    if size is None:
        raise InputError(f"{path} does not state the size of its sensor; give it as sensor_size=(width, height).")
    if min(size) < 1:
        raise InputError(f"{path} has a sensor of {size[0]}x{size[1]} pixels; give sides of at least 1.")
    return size
