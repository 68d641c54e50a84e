"""From events to frames in time: `[T, 2, H, W]` counts, channel 0 off and channel 1 on.

Every event lands in exactly one bin of time and one cell of space, so the frames sum to the number of events.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hardware_models.errors import InputError
from neuro.data.events.recording import Events, Size

Frames = NDArray[np.int32]


def frames_by_time(
    events: Events,
    *,
    timesteps: int | None = None,
    window_us: int | None = None,
    size: Size | None = None,
    binary: bool = False,
) -> Frames:
    """Return frames of equal duration; one in which nothing happened is empty.

    With T timesteps, an event at time t of a recording from t_first to t_last falls into the bin

        floor((t - t_first) * T / (t_last - t_first + 1));

    with a window, into floor((t - t_first) / window_us), and T follows from the duration.

    Args:
        events: N of them, at least one, in any order.
        timesteps: T; give this or `window_us`.
        window_us: duration of a frame in microseconds.
        size: width and height of the frames, at most the sensor's; None keeps the sensor's.
        binary: whether a cell is 1 where it has any event, in place of their number.

    Returns:
        `[T, 2, H, W]` int32.

    Raises:
        InputError: no event, both or neither of the two, a number below 1, a size larger than the sensor.
    """
    if (timesteps is None) == (window_us is None):
        raise InputError(f"frames need either timesteps or window_us, not {timesteps} and {window_us}; give one.")
    _check_some(events)
    since = events.t_us - events.t_us.min()
    if timesteps is not None:
        _check_positive("timesteps", timesteps)
        return _frames(events, since * timesteps // (since.max() + 1), timesteps, size, binary)
    assert window_us is not None
    _check_positive("window_us", window_us)
    bins = since // window_us
    return _frames(events, bins, int(bins.max()) + 1, size, binary)


def frames_by_count(events: Events, timesteps: int, *, size: Size | None = None, binary: bool = False) -> Frames:
    """Return frames with equally many events each, to within one: event i of N falls into floor(i * T / N).

    Args:
        events: N of them, at least one; events out of order are put into the order of time first.
        timesteps: T; with more timesteps than events some frames are empty.
        size: width and height of the frames, at most the sensor's; None keeps the sensor's.
        binary: whether a cell is 1 where it has any event, in place of their number.

    Returns:
        `[T, 2, H, W]` int32.

    Raises:
        InputError: no event, T below 1, a size larger than the sensor.
    """
    _check_some(events)
    _check_positive("timesteps", timesteps)
    if np.any(np.diff(events.t_us) < 0):
        events = events.pick(np.argsort(events.t_us, kind="stable"))
    return _frames(events, np.arange(len(events)) * timesteps // len(events), timesteps, size, binary)


def squared(events: Events) -> Events:
    """Return the events in the middle of a square sensor whose side is the longer one of theirs."""
    side = max(events.width, events.height)
    x = events.x + np.uint16((side - events.width) // 2)
    y = events.y + np.uint16((side - events.height) // 2)
    return replace(events, x=x, y=y, width=side, height=side)


def _frames(events: Events, bins: np.ndarray, timesteps: int, size: Size | None, binary: bool) -> Frames:
    width, height = size or (events.width, events.height)
    _check_positive("frame's shorter side", min(width, height))
    if width > events.width or height > events.height:
        raise InputError(
            f"events of {events.width}x{events.height} pixels cannot be summed to {width}x{height}; give a size "
            "that is not larger."
        )
    x = events.x.astype(np.int64) * width // events.width
    y = events.y.astype(np.int64) * height // events.height
    place = ((bins * 2 + events.p) * height + y) * width + x
    counts = np.bincount(place, minlength=timesteps * 2 * height * width)
    return np.minimum(counts, 1 if binary else counts.max()).astype(np.int32).reshape(timesteps, 2, height, width)


def _check_some(events: Events) -> None:
    if not len(events):
        raise InputError("a recording without events has no frames; leave it out.")


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise InputError(f"the {name} is {value}; give at least 1.")
