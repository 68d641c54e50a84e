"""The published figures of edge and in-memory chips: each is scored, or says why not."""

from __future__ import annotations

import pytest

from hardware_models.validation import edge, in_memory
from hardware_models.validation.edge import points
from hardware_models.validation.row import NOTHING


@pytest.mark.parametrize("name", ["edge_points.csv", "crossbar_points.csv"])
def test_every_point_has_a_source_and_is_scored_or_says_why_not(name: str) -> None:
    for point in points(name):
        assert point["source"]
        assert float(point["published"]) > 0
        assert point["network"] or point.get("input_bits") or point["note"]


def test_every_scored_point_is_a_row() -> None:
    assert len(list(edge.rows())) == sum(bool(point["network"]) for point in points("edge_points.csv"))
    scored = [point for point in points("crossbar_points.csv") if point["network"] or point["input_bits"]]
    assert len(list(in_memory.rows())) == len(scored)


def test_rows_say_what_was_fitted() -> None:
    fitted = [row for row in (*edge.rows(), *in_memory.rows()) if row.fitted != NOTHING]
    assert {row.theirs for row in fitted} == {400e12, 297e12, 43.1e12, 6.4e12}
    # A figure that a chip was built from has to come out of it again.
    assert all(row.worst < 0.01 for row in fitted)


def test_bad_rows_stay() -> None:
    # Calls of a few milliseconds to the Edge TPU, and SpikeSim's latency with one output channel at a time.
    errors = {row.quantity: row.error for row in (*edge.rows(), *in_memory.rows())}
    assert errors["latency of MobileNet v2 (USB Accelerator)"] < -0.5
    assert any(error < -0.9 for quantity, error in errors.items() if "SpikeSim" in quantity)
