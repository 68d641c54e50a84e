"""The scorecard in a terminal: nothing rounded to nothing, nothing missed out of sight, nothing wider than asked."""

from __future__ import annotations

import pytest

from hardware_models.validation.row import Row, Unscored, single
from hardware_models.validation.scorecard import Scorecard
from hardware_models.validation.speed import SpeedRow
from neuro.report.scorecard import compared, scorecard_lines, share

MANY = Row("Chip A", "silicon", "energy by layer", None, None, "J", 0.0462, 0.2044, 13, 0.08, "3 constants", "a remark")
MISSED = single("Chip A", "silicon", "energy of a query", 1.448e-3, 1.33e-3, "J", 0.02, note="Read in transcription.")
COUNT = single("Other", "simulated", "cycles", 86016.0, 86016.0, "", 0.0)
FREE = single("Other", "simulated", "latency of a network with a rather long name", 0.5, 1.0, "s", None)
SPEEDS = [SpeedRow("a network", 3.0, "s", 2.0, "Twice as fast."), SpeedRow("evaluations", 3e6, "1/s", 1e6)]
ROWS = [MANY, COUNT, MISSED, FREE]


def shown(width: int = 80, rows: list[Row] = ROWS, unscored: tuple[Unscored, ...] = ()) -> list[str]:
    return [line.plain for line in scorecard_lines(Scorecard(rows, SPEEDS, unscored), width)]


@pytest.mark.parametrize(
    ("error", "signed", "text"),
    [
        (0.0, True, "equal"),
        (3e-16, False, "<0.0001%"),
        (-4e-6, True, "-0.0004%"),
        (2e-4, False, "0.02%"),
        (0.0462, False, "4.6%"),
        (-0.928, True, "-92.8%"),
    ],
)
def test_a_difference_is_never_rounded_to_nothing(error: float, signed: bool, text: str) -> None:
    assert share(error, signed) == text


def test_one_case_shows_both_figures_and_many_show_the_worst() -> None:
    assert compared(MISSED) == "1.448 mJ / 1.330 mJ"
    assert compared(MANY) == "13 cases, worst 20.4%"
    assert compared(COUNT) == "86,016 / 86,016"


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_every_row_is_whole_at_every_width(width: int) -> None:
    lines = shown(width)
    assert max(map(len, lines)) <= width
    words = " ".join(" ".join(lines).split())
    for text in ("energy by layer", "energy of a query", "13 cases, worst 20.4%", "1.448 mJ / 1.330 mJ", "+8.9%"):
        assert text in words


def test_rows_of_one_target_stand_together_with_its_notes() -> None:
    lines = shown()
    first, second = lines.index("Chip A [silicon]"), lines.index("Other [simulated]")
    block = "\n".join(lines[first:second])
    for text in ("energy by layer", "energy of a query", "Fitted: 3 constants.", "A remark.", "Read in transcription."):
        assert text in block
    assert lines.count("Chip A [silicon]") == 1


def test_the_verdict_names_what_was_missed_and_what_is_far_off() -> None:
    text = " ".join(" ".join(shown(200)).split())
    assert "2 of 3 goals reached, 1 of them with constants fitted" in text
    assert "MISSED Chip A: energy of a query: +8.9%, goal 2%" in text
    assert "1 rows have no goal; 1 of them are off by more than 20%" in text
    assert "Other: latency of a network with a rather long name: -50.0%" in text


def test_what_is_not_scored_is_said() -> None:
    assert "Not scored: Chip B: nothing is published" in shown(unscored=(Unscored("Chip B", "nothing is published"),))


def test_a_speed_is_shown_beside_its_goal() -> None:
    lines = "\n".join(shown(200))
    assert "a network: 3 s, goal at most 2 s: MISSED" in lines
    assert "evaluations: 3.000 M/s, goal at least 1.000 M/s: ok" in lines
    assert "1 of 2 goals of speed reached." in lines
