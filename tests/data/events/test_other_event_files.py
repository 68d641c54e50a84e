"""Event Stream, N-MNIST and numpy's files, byte by byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from event_files import Event, es, nmnist, rows
from hypothesis import given
from hypothesis import strategies as st

from hardware_models.errors import InputError
from neuro.data.events import CutRecordingWarning, Events, read_events
from neuro.data.events import es as es_reader
from neuro.data.events.arrays import read_gesture

SOME = [Event(0, 0, 0, 1), Event(127, 33, 1, 0), Event(1_000, 5, 33, 1)]


def read(folder: Path, content: bytes, name: str) -> Events:
    (folder / name).write_bytes(content)
    return read_events(folder / name)


def refusal(folder: Path, content: bytes, name: str) -> str:
    with pytest.raises(InputError) as caught:
        read(folder, content, name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_es_by_hand(tmp_path: Path) -> None:
    # 127 us of silence, a reset, then 3 us later an on event at column 258, row 1 from the bottom of 240.
    body = bytes([0xFF, 0xFE, 3 << 1 | 1, 2, 1, 1, 0])
    assert rows(read(tmp_path, es([]) + body, "a.es")) == [Event(130, 258, 238, 1)]


gaps = st.lists(
    st.tuples(st.integers(0, 600), st.integers(0, 319), st.integers(0, 239), st.integers(0, 1)), min_size=1, max_size=40
)


@given(gaps=gaps, block=st.sampled_from([1, 3, 16, 1 << 18]))
def test_es_for_any_gaps_and_blocks(tmp_path_factory: pytest.TempPathFactory, gaps: list, block: int) -> None:
    times = np.cumsum([gap[0] for gap in gaps]).tolist()
    written = [Event(t, x, y, p) for t, (_, x, y, p) in zip(times, gaps, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(es_reader, "BLOCK", block)
        assert rows(read(tmp_path_factory.mktemp("es"), es(written), "a.es")) == written


def test_es_cut_short_and_refused(tmp_path: Path) -> None:
    with pytest.warns(CutRecordingWarning, match="2 whole events are used and 4 bytes"):
        assert rows(read(tmp_path, es(SOME)[:-1], "a.es")) == SOME[:2]
    assert "of type 2, not a 2.x of type 1 (DVS)" in refusal(tmp_path, es(SOME, kind=2), "a.es")
    assert "Event Stream 3.0.0" in refusal(tmp_path, es(SOME, version=3), "a.es")
    assert "no Event Stream file" in refusal(tmp_path, b"Event", "a.es")
    assert "no whole event" in refusal(tmp_path, es([]), "a.es")
    assert "outside its 20x40" in refusal(tmp_path, es(SOME, 20, 40), "a.es")


def test_nmnist(tmp_path: Path) -> None:
    # By hand: x 1, y 2, polarity on, time 0x010203.
    assert rows(read(tmp_path, bytes([1, 2, 0x81, 2, 3]), "a.bin")) == [Event(0x010203, 1, 2, 1)]
    events = read(tmp_path, nmnist(SOME), "a.bin")
    assert rows(events) == SOME
    assert (events.width, events.height) == (34, 34)


def test_nmnist_overflows_add_to_later_times(tmp_path: Path) -> None:
    content = nmnist([SOME[0]]) + bytes([0, 240, 0, 0, 0]) + nmnist([SOME[1]]) + bytes([0, 240, 0, 0, 0])
    content += nmnist([SOME[2]])
    late = [event._replace(t=event.t + turn * 8192) for turn, event in enumerate(SOME)]
    assert rows(read(tmp_path, content, "a.bin")) == late


def test_nmnist_cut_short_and_refused(tmp_path: Path) -> None:
    with pytest.warns(CutRecordingWarning, match="2 whole events are used and 3 bytes"):
        assert rows(read(tmp_path, nmnist(SOME)[:-2], "a.bin")) == SOME[:2]
    assert "no whole event" in refusal(tmp_path, b"abc", "a.bin")
    assert "outside its 34x34" in refusal(tmp_path, nmnist([Event(1, 34, 0, 0)]), "a.bin")


def columns() -> dict[str, np.ndarray]:
    t, x, y, p = np.array(SOME).T
    return {"t": t, "x": x.astype(np.int16), "y": y.astype(np.int16), "p": p.astype(bool)}


def test_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **columns())
    records = np.zeros(len(SOME), [("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "?")])
    for name, column in columns().items():
        records[name] = column
    np.save(tmp_path / "a.npy", records)
    for name in ("a.npz", "a.npy"):
        assert rows(read_events(tmp_path / name, (34, 34))) == SOME
    with pytest.raises(InputError, match="does not state the size"):
        read_events(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"p": np.array([1, -1, 1])}, "polarities other than 0 and 1"),
        ({"t": np.array([0.5, 1, 2])}, "holds t that is not whole"),
        ({"t": np.array([1, 2])}, "different lengths"),
        ({"x": np.array([0, 40, 0])}, "outside its 34x34"),
    ],
)
def test_arrays_refused(tmp_path: Path, change: dict[str, np.ndarray], words: str) -> None:
    np.savez(tmp_path / "a.npz", **(columns() | change))
    with pytest.raises(InputError, match=words):
        read_events(tmp_path / "a.npz", (34, 34))


def test_files_that_are_no_arrays_of_events(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", t=np.zeros(2))
    np.save(tmp_path / "b.npy", np.zeros((2, 4)))
    np.save(tmp_path / "c.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "d.npz").write_bytes(b"PK nothing")
    for name, words in (
        ("a.npz", "the fields t, not"),
        ("b.npy", "a plain array"),
        ("c.npy", "cannot"),
        ("d.npz", "cannot"),
    ):
        with pytest.raises(InputError, match=words):
            read_events(tmp_path / name, (34, 34))


def test_gestures_of_tonic_are_in_milliseconds(tmp_path: Path) -> None:
    np.save(tmp_path / "3.npy", np.array([[5, 6, 1, 2.0], [7, 8, 0, 2.5]]))
    assert rows(read_gesture(tmp_path / "3.npy", (128, 128))) == [Event(2000, 5, 6, 1), Event(2500, 7, 8, 0)]
    np.save(tmp_path / "3.npy", np.zeros(4))
    with pytest.raises(InputError, match="four columns"):
        read_gesture(tmp_path / "3.npy", (128, 128))
