"""AEDAT 2.0, 3.1 and 4, byte by byte."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from event_files import (
    Event,
    aedat2,
    aedat3,
    aedat3_packet,
    aedat4,
    aedat4_events,
    aedat4_header,
    aedat4_packet,
    rows,
)

from hardware_models.errors import InputError
from neuro.data.events import CutRecordingWarning, Events, read_events

SOME = [Event(10, 0, 127, 1), Event(11, 127, 0, 0), Event(70_000, 64, 3, 1)]


def read(folder: Path, content: bytes, name: str = "recording.aedat4") -> Events:
    (folder / name).write_bytes(content)
    return read_events(folder / name)


def refusal(folder: Path, content: bytes, name: str = "recording.aedat4") -> str:
    with pytest.raises(InputError) as caught:
        read(folder, content, name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)
    return str(caught.value)


def test_aedat2(tmp_path: Path) -> None:
    # By hand: address 0x0301 is row 3 from the bottom, column 0 from the right, off.
    hand = b"#!AER-DAT2.0\r\n" + bytes.fromhex("00000301 00000102")
    assert rows(read(tmp_path, hand, "a.aedat")) == [Event(258, 127, 124, 0)]
    events = read(tmp_path, aedat2(SOME), "a.aedat")
    assert rows(events) == SOME
    assert (events.width, events.height) == (128, 128)


def test_aedat2_leaves_out_external_events_and_refuses_other_cameras(tmp_path: Path) -> None:
    external = aedat2([]) + bytes.fromhex("00008000 00000005") + aedat2(SOME)[len(aedat2([])) :]
    assert rows(read(tmp_path, external, "a.aedat")) == SOME
    assert "Davis640" in refusal(tmp_path, aedat2(SOME, "eu.seebetter.Davis640"), "a.aedat")
    assert "not of a DVS128" in refusal(tmp_path, aedat2([]) + bytes.fromhex("00400000 00000005"), "a.aedat")
    with pytest.warns(CutRecordingWarning, match="2 whole events are used and 5 bytes"):
        assert rows(read(tmp_path, aedat2(SOME)[:-3], "a.aedat")) == SOME[:2]


def test_aedat3(tmp_path: Path) -> None:
    content = aedat3(
        aedat3_packet(SOME[:2]),
        aedat3_packet(SOME, kind=2),  # frames, say
        aedat3_packet([Event(1, 1, 1, 1)], valid=0),
        aedat3_packet(SOME[2:], turns=3),
    )
    events = read(tmp_path, content, "a.aedat")
    late = SOME[2]._replace(t=SOME[2].t + 3 * 2**31)
    assert rows(events) == [*SOME[:2], late]
    assert (events.width, events.height) == (128, 128)


def test_aedat3_cut_short_and_refused(tmp_path: Path) -> None:
    with pytest.warns(CutRecordingWarning, match="2 whole events are used and 1 bytes"):
        assert rows(read(tmp_path, aedat3(aedat3_packet(SOME))[:-7], "a.aedat")) == SOME[:2]
    with pytest.warns(CutRecordingWarning, match="3 whole events are used and 10 bytes"):
        assert rows(read(tmp_path, aedat3(aedat3_packet(SOME), b"x" * 10), "a.aedat")) == SOME
    assert "damaged packet at byte" in refusal(tmp_path, aedat3(b"\xff" * 28), "a.aedat")
    assert "sensor_size" in refusal(tmp_path, aedat3(aedat3_packet(SOME), camera="New1"), "a.aedat")
    assert "no header of AEDAT 3.1" in refusal(tmp_path, b"#!AER-DAT3.1\r\n", "a.aedat")
    assert "not with AEDAT 2.0, 3.1 or 4.0" in refusal(tmp_path, b"#!AER-DAT1.0\r\n", "a.aedat")


@pytest.mark.parametrize("closed", [True, False])
def test_aedat4(tmp_path: Path, closed: bool) -> None:
    late = [Event(1_589_163_147_368_868, 345, 259, 0)]
    packets = [aedat4_packet(aedat4_events(SOME), 1), aedat4_packet(b"a frame", 0), aedat4_packet(aedat4_events([]), 1)]
    content = aedat4(*packets, aedat4_packet(aedat4_events(late), 1), closed=closed, streams="FRME EVTS")
    for name in ("a.aedat4", "a.aedat"):
        events = read(tmp_path, content, name)
        assert rows(events) == SOME + late
        assert (events.width, events.height) == (346, 260)


def test_aedat4_cut_short(tmp_path: Path) -> None:
    packet = aedat4_packet(aedat4_events(SOME))
    with pytest.warns(CutRecordingWarning, match=f"3 whole events are used and {len(packet) - 1} bytes"):
        assert rows(read(tmp_path, aedat4(packet, packet, closed=False)[:-1])) == SOME


def magic_and_header(position: int) -> bytes:
    return b"#!AER-DAT4.0\r\n" + aedat4_header(0, position)


def test_aedat4_refused(tmp_path: Path) -> None:
    packet = aedat4_packet(aedat4_events(SOME))
    assert "2 streams of events" in refusal(tmp_path, aedat4(packet, streams="EVTS EVTS"))
    assert "0 streams of events" in refusal(tmp_path, aedat4(packet, streams="FRME"))
    assert "unknown method 9" in refusal(tmp_path, aedat4(packet, compression=9))
    assert "damaged packet at byte" in refusal(tmp_path, aedat4(aedat4_packet(b"short")))
    assert "damaged packet" in refusal(tmp_path, aedat4(aedat4_packet(aedat4_events(SOME).replace(b"EVTS", b"FRME"))))
    assert "damaged packet" in refusal(tmp_path, aedat4(aedat4_packet(aedat4_events(SOME)[:-20])))
    assert "damaged header" in refusal(tmp_path, aedat4(packet)[:30])
    assert "damaged header (it is marked b'XOHE'" in refusal(tmp_path, aedat4(packet).replace(b"IOHE", b"XOHE"))
    assert "its packets end at byte 7, before" in refusal(tmp_path, magic_and_header(7) + packet)
    assert "no AEDAT 4 file" in refusal(tmp_path, b"something else")


@pytest.mark.parametrize(("number", "module", "package"), [(1, "lz4.frame", "lz4"), (4, "zstandard", "zstandard")])
def test_compressed_packets_need_a_package_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, module: str, package: str
) -> None:
    for name in ("compression.zstd", module):
        monkeypatch.setitem(sys.modules, name, None)
    content = aedat4(aedat4_packet(aedat4_events(SOME)), compression=number)
    assert f"pip install {package}" in refusal(tmp_path, content)


def test_packets_are_unpacked_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A stand-in for lz4 that reverses bytes; the real one is met with the real recordings.
    monkeypatch.setitem(sys.modules, "lz4.frame", SimpleNamespace(decompress=lambda packed: packed[::-1]))
    packets = [aedat4_packet(aedat4_events([event])[::-1]) for event in SOME]
    assert rows(read(tmp_path, aedat4(*packets, compression=2))) == SOME


@pytest.mark.parametrize(("number", "module"), [(1, "lz4.frame"), (3, "zstandard")])
def test_real_compression(tmp_path: Path, number: int, module: str) -> None:
    package = pytest.importorskip(module)
    compress = package.compress if number == 1 else package.ZstdCompressor().compress
    packets = [aedat4_packet(compress(aedat4_events(SOME))) for _ in range(2)]
    assert rows(read(tmp_path, aedat4(*packets, compression=number))) == SOME * 2
    assert "damaged packet" in refusal(tmp_path, aedat4(aedat4_packet(b"not compressed"), compression=number))
