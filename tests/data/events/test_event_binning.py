"""Frames from events: worked by hand, and sums that hold for any recording."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_models.errors import InputError
from neuro.data.events import Events, frames_by_count, frames_by_time
from neuro.data.events.binning import squared

WIDTH, HEIGHT = 6, 4


def recording(*rows: tuple[int, int, int, int]) -> Events:
    t, x, y, p = np.array(rows, np.int64).reshape(-1, 4).T
    return Events(t, x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8), WIDTH, HEIGHT)


recordings = st.lists(
    st.tuples(st.integers(-(10**6), 10**15), st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.integers(0, 1)),
    min_size=1,
    max_size=50,
).map(lambda rows: recording(*rows))
sizes = st.one_of(st.none(), st.tuples(st.integers(1, WIDTH), st.integers(1, HEIGHT)))


@given(events=recordings, timesteps=st.integers(1, 60), size=sizes)
def test_every_event_lands_in_exactly_one_cell(events: Events, timesteps: int, size: tuple[int, int] | None) -> None:
    width, height = size or (WIDTH, HEIGHT)
    for frames in (
        frames_by_count(events, timesteps, size=size),
        frames_by_time(events, timesteps=timesteps, size=size),
    ):
        assert frames.shape == (timesteps, 2, height, width)
        assert frames.sum() == len(events)
        assert frames[:, 1].sum() == events.p.sum()
    by_count = frames_by_count(events, timesteps).sum((1, 2, 3))
    assert by_count.max() - by_count.min() <= 1


@given(events=recordings, timesteps=st.integers(1, 9))
def test_binary_frames_are_one_where_counts_are_not_zero(events: Events, timesteps: int) -> None:
    counts = frames_by_count(events, timesteps)
    assert np.array_equal(frames_by_count(events, timesteps, binary=True), counts > 0)


@given(events=recordings, timesteps=st.integers(1, 9))
def test_frames_of_half_the_size_are_sums_of_squares(events: Events, timesteps: int) -> None:
    full = frames_by_time(events, timesteps=timesteps)
    summed = full.reshape(timesteps, 2, HEIGHT // 2, 2, WIDTH // 2, 2).sum((3, 5))
    assert np.array_equal(frames_by_time(events, timesteps=timesteps, size=(3, 2)), summed)


def test_bins_of_time_by_hand() -> None:
    events = recording((100, 0, 0, 0), (109, 1, 0, 1), (110, 2, 0, 1), (139, 5, 3, 0))
    frames = frames_by_time(events, timesteps=4)  # 100..109, 110..119, 120..129, 130..139
    assert frames.sum((1, 2, 3)).tolist() == [2, 1, 0, 1]
    assert frames[0, 0, 0, 0] == frames[0, 1, 0, 1] == frames[1, 1, 0, 2] == frames[3, 0, 3, 5] == 1
    assert frames_by_time(events, window_us=15).sum((1, 2, 3)).tolist() == [3, 0, 1]


def test_bins_of_count_by_hand_follow_time_not_the_file() -> None:
    events = recording((4, 3, 0, 1), (0, 0, 0, 1), (1, 1, 0, 1), (2, 2, 0, 1), (9, 4, 0, 1))
    frames = frames_by_count(events, 2)  # floor(i * 2 / 5): 0 0 0 1 1
    assert frames[0, 1, 0].tolist() == [1, 1, 1, 0, 0, 0]
    assert frames[1, 1, 0].tolist() == [0, 0, 0, 1, 1, 0]


def test_a_square_keeps_the_events_in_its_middle() -> None:
    events = squared(recording((0, 0, 0, 1), (1, 5, 3, 0)))
    assert (events.width, events.height) == (6, 6)
    assert (events.x.tolist(), events.y.tolist()) == ([0, 5], [1, 4])


def test_refused() -> None:
    events = recording((0, 0, 0, 1))
    with pytest.raises(InputError, match="timesteps is 0"):
        frames_by_count(events, 0)
    with pytest.raises(InputError, match="window_us is -1"):
        frames_by_time(events, window_us=-1)
    for both in ({}, {"timesteps": 2, "window_us": 3}):
        with pytest.raises(InputError, match="either timesteps or window_us"):
            frames_by_time(events, **both)
    with pytest.raises(InputError, match="cannot be summed to 7x4"):
        frames_by_count(events, 1, size=(7, 4))
    with pytest.raises(InputError, match="without events"):
        frames_by_count(recording(), 1)
