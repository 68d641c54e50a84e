"""EVT 2.0, EVT 3.0 and DAT, byte by byte."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from event_files import Event, dat, evt2, evt2_word, evt3, evt3_word, rows
from hypothesis import given
from hypothesis import strategies as st

from hardware_models.errors import InputError
from neuro.data.events import CutRecordingWarning, Events, read_events
from neuro.data.events.timestamps import unwrapped

SOME = [Event(70, 3, 4, 1), Event(70, 639, 479, 0), Event(5_000, 0, 0, 1), Event(1_000_000, 17, 200, 0)]
HEAD_2, HEAD_3 = b"% evt 2.0\n% geometry 640x480\n", b"% evt 3.0\n% geometry 1280x720\n"


def read(folder: Path, content: bytes, name: str = "recording.raw", **size: tuple[int, int]) -> Events:
    path = folder / name
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_events(path, **size)


def refusal(folder: Path, content: bytes, name: str = "recording.raw") -> str:
    with pytest.raises(InputError) as caught:
        read(folder, content, name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("write", [evt2, evt3])
def test_each_event_is_read_as_it_was_written(tmp_path: Path, write: type) -> None:
    events = read(tmp_path, write(SOME))
    assert rows(events) == SOME
    assert (events.width, events.height) == ((640, 480) if write is evt2 else (1280, 720))


times = st.lists(st.integers(0, 4_000), min_size=1, max_size=30).map(
    lambda steps: [sum(steps[: i + 1]) for i in range(len(steps))]
)


@pytest.mark.parametrize(("write", "period"), [(evt2, 1 << 34), (evt3, 1 << 24)])
@given(data=st.data(), times=times)
def test_times_go_on_where_the_counter_starts_again(
    tmp_path_factory: pytest.TempPathFactory, write: type, period: int, data: st.DataObject, times: list[int]
) -> None:
    start = period - 50_000
    written = [Event(start + t, data.draw(st.integers(0, 639)), data.draw(st.integers(0, 479)), t % 2) for t in times]
    assert rows(read(tmp_path_factory.mktemp("evt"), write(written))) == written


def test_vectors_of_evt3(tmp_path: Path) -> None:
    words = [
        (8, 1), (6, 2), (0, 5),  # time 4098, row 5
        (3, 1 << 11 | 100),  # base 100, on
        (4, 0b1000_0000_0001), (4, 0b10), (5, 0b1000_0001),  # columns 100..111, 112..123, 124..131
        (2, 7),  # a single off event does not move the base
        (5, 1),  # 132
        (8, 2), (0, 6),  # a new high time: the low one is 0 until it is told
        (3, 9), (5, 0b11),
        (10, 1), (14, 1), (7, 1), (15, 1),  # trigger, other and continued words are no events
    ]  # fmt: skip
    events = read(tmp_path, HEAD_3 + b"".join(evt3_word(*word) for word in words))
    first = [(4098, x, 5, p) for x, p in ((100, 1), (111, 1), (113, 1), (124, 1), (131, 1), (7, 0), (132, 1))]
    assert rows(events) == [Event(*row) for row in [*first, (8192, 9, 6, 0), (8192, 10, 6, 0)]]


def test_words_of_evt2_that_are_no_events(tmp_path: Path) -> None:
    others = evt2_word(10, (1, 0)) + evt2_word(14, (0, 0)) + evt2_word(15, (7, 0))
    assert rows(read(tmp_path, HEAD_2 + evt2_word(8, (1, 0)) + others + evt2_word(1, (2, 22)))) == [Event(66, 0, 0, 1)]


def test_events_before_the_first_time_are_told(tmp_path: Path) -> None:
    path = tmp_path / "cut.raw"
    path.write_bytes(HEAD_2 + evt2_word(1, (2, 22)) * 3 + evt2([SOME[0]], header=""))
    with pytest.warns(CutRecordingWarning, match="1 whole events are used and 12 bytes are not"):
        assert rows(read_events(path)) == SOME[:1]
    path.write_bytes(HEAD_3 + evt3_word(2, 5) + evt3_word(5, 1) + evt3([SOME[0]], header=""))
    with pytest.warns(CutRecordingWarning, match="4 bytes"):
        assert rows(read_events(path)) == SOME[:1]


@pytest.mark.parametrize(("write", "name", "left"), [(evt2, "a.raw", 3), (evt3, "a.raw", 1), (dat, "a.dat", 7)])
def test_a_file_cut_short_gives_its_whole_events(tmp_path: Path, write: type, name: str, left: int) -> None:
    written = [Event(70, 3, 4, 1), Event(80, 30, 40, 0)]
    path = tmp_path / name
    path.write_bytes(write(written)[:-1])
    with pytest.warns(CutRecordingWarning) as caught:
        events = read_events(path)
    assert rows(events) == written[:1]
    told = caught[0].message
    assert isinstance(told, CutRecordingWarning)
    assert (told.path, told.events, told.bytes_unused) == (path, 1, left)
    assert events.bytes_unused == left


@pytest.mark.parametrize(("version", "kind"), [(1, 0x00), (2, 0x00), (2, 0x0C)])
def test_dat(tmp_path: Path, version: int, kind: int) -> None:
    written = [Event((1 << 32) - 900, 303, 239, 1), Event((1 << 32) - 1, 0, 1, 0), Event((1 << 32) + 9, 7, 0, 1)]
    events = read(tmp_path, dat(written, version, kind), "recording.dat")
    assert rows(events) == written
    assert (events.width, events.height) == (304, 240)


def test_headers_name_the_size_in_three_ways_or_the_caller_does(tmp_path: Path) -> None:
    written = [Event(70, 3, 4, 1)]
    for header in (
        "% evt 3.0\n% geometry 32x24\n% end\n",
        "% format EVT3;height=24;width=32\n",
        "% evt 3.0\n% Width 32\n% Height 24\n",
    ):
        events = read(tmp_path, evt3(written, header))
        assert (events.width, events.height) == (32, 24)
        assert rows(events) == written
    assert "sensor_size=(width, height)" in refusal(tmp_path, evt3(written, "% evt 3.0\n"))
    assert read(tmp_path, evt3(written, "% evt 3.0\n"), sensor_size=(5, 6)).width == 5
    assert "'12xwide'" in refusal(tmp_path, evt3(written, "% evt 3.0\n% geometry 12xwide\n"))


def test_what_is_refused(tmp_path: Path) -> None:
    assert "EVT2.1" in refusal(tmp_path, b"% evt 2.1\n% geometry 4x4\n")
    assert "does not say" in refusal(tmp_path, b"\x00" * 8)
    assert "no whole event" in refusal(tmp_path, HEAD_2)
    assert "no whole event" in refusal(tmp_path, HEAD_3)
    assert "reserved type 3 at byte 33" in refusal(tmp_path, evt2(SOME[:0]) + evt2_word(8) + evt2_word(3))
    assert "reserved type 9" in refusal(tmp_path, HEAD_3 + evt3_word(9, 0))
    outside = refusal(tmp_path, evt2([Event(70, 640, 4, 1)]))
    assert "1 events outside its 640x480 pixels, the first at x=640, y=4" in outside
    assert "version '3'" in refusal(tmp_path, b"% Version 3\n\x0c\x08", "recording.dat")
    assert "0e 08" in refusal(tmp_path, dat([], kind=0x0E), "recording.dat")
    assert "known: .raw" in refusal(tmp_path, b"", "recording.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_events(tmp_path / "absent.raw")


def test_a_word_that_comes_late_after_a_turn_belongs_to_the_turn_before() -> None:
    counter = np.array([4090, 4095, 0, 4095, 1, 2000, 900, 4000])  # of 12 bits; 2000 to 900 is no turn
    assert unwrapped(counter, 12).tolist() == [4090, 4095, 4096, 4095, 4097, 6096, 4996, 8096]
    assert unwrapped(counter[:0], 12).tolist() == []
