"""Real recordings: those in the source distribution of PyPI's `faery` (tests/data), as its own decoders read them.

The figures were taken with faery 0.7.1: events, first and last event, sums of x, y and polarity.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from event_files import Event, rows

from neuro.data.events import read_events

FOLDER = os.environ.get("NEURO_EVENT_RECORDINGS", "")
pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(not FOLDER, reason="NEURO_EVENT_RECORDINGS does not name a folder with faery's recordings"),
]
DVS = (473_225, (0, 0, 0, 1), (999_000, 38, 193, 1), (72_946_016, 56_007_796, 270_001), (320, 240))
GEN4_SUMS = (606_868_036, 367_486_055, 553_295)
FILES = {
    "dvs.es": DVS,
    "evt2.raw": (
        521_252, (913_716_224, 35, 443, 1), (913_812_095, 12, 471, 0), (128_979_953, 216_346_680, 185_861), (640, 480)
    ),
    "evt3.raw": (1_218_618, (11_200_224, 484, 315, 1), (21_968_221, 471, 350, 0), GEN4_SUMS, (1280, 720)),
    "gen4.dat": (1_218_618, (5_856, 484, 315, 1), (10_773_853, 471, 350, 0), GEN4_SUMS, (1280, 720)),
    "davis346.aedat4": (
        78_830, (1_589_163_147_368_868, 215, 164, 1), (1_589_163_149_728_813, 233, 205, 1),
        (14_861_513, 15_061_593, 41_257), (346, 260),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_real_recording(name: str) -> None:
    count, first, last, sums, size = FILES[name]
    if name.endswith("aedat4"):
        pytest.importorskip("lz4.frame", reason="this recording is compressed by LZ4")
    events = read_events(Path(FOLDER) / name, (640, 480))  # evt2.raw, of a Gen3.1 sensor, does not state its size
    assert len(events) == count
    ends = rows(events.pick((events.t_us == events.t_us[0]) | (events.t_us == events.t_us[-1])))
    assert (ends[0], ends[-1]) == (Event(*first), Event(*last))
    assert tuple(int(column.sum()) for column in (events.x, events.y, events.p)) == sums
    assert (events.width, events.height, events.bytes_unused) == (*size, 0)
