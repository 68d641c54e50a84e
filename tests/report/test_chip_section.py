"""What the page says of chips: exact values to copy, and a reason beside every figure that is missing."""

from __future__ import annotations

import dataclasses
from typing import Any

from neuro.report.chip_section import ChipSection, chip_section

from .synthetic import small_documents


def answer(chip: str, form: str = "Spiking, merged", **more: Any) -> dict[str, Any]:
    figure = {"value": 2e-6, "low": 1e-6, "high": 4e-6}
    given: dict[str, Any] = {
        "total": {"energy_j": figure, "latency_s": {"value": 1e-3, "low": 1e-3, "high": 1e-3}},
        "refused": {},
        "left_out": {},
        "covered": 1.0,
        "weakest_evidence": "derived",
    }
    return {"chip": chip, "form": form, "kind": "accelerator", **given, **more}


def section(*answers: dict[str, Any]) -> ChipSection:
    found = chip_section(dataclasses.replace(small_documents(), chips=answers))
    assert found is not None
    return found


def cells(found: ChipSection, row: int) -> dict[str, Any]:
    return {head.title: cell for head, cell in zip(found.table.heads, found.table.rows[row], strict=True)}


def test_a_run_that_asked_no_chip_has_no_section() -> None:
    assert chip_section(dataclasses.replace(small_documents(), chips=())) is None


def test_both_ends_of_the_band_can_be_copied_as_numbers() -> None:
    row = cells(section(answer("one")), 0)
    assert [float(row[name].exact) for name in ("Energy", "Low", "High", "Latency")] == [2e-6, 1e-6, 4e-6, 1e-3]


def test_an_estimate_without_a_band_is_not_shown_as_exact() -> None:
    flat = {"value": 2e-6, "low": 2e-6, "high": 2e-6}
    row = cells(section(answer("one", total={"energy_j": flat, "latency_s": None}, refused={"latency": "why"})), 0)
    assert [row[name].text for name in ("Low", "High", "Latency")] == ["not known", "not known", "refused"]
    assert row["Low"].exact == ""


def test_every_missing_figure_points_to_its_reason() -> None:
    silent = {"energy_j": None, "latency_s": {"value": 1e-3, "low": 1e-3, "high": 1e-3}}
    found = section(
        answer("one", total=silent, refused={"energy": "no figure is published"}),
        {"chip": "two", "form": "Float parent", "kind": "neuromorphic", "reason": "it has 256 neurons"},
        answer("three", covered=0.5, left_out={"a": "no unit for it", "b": "no unit for it"}),
    )
    marks = [cells(found, 0)["Energy"].mark, cells(found, 1)["Energy"].mark, cells(found, 2)["MACs covered"].mark]
    reasons = [found.remarks[int(mark) - 1] for mark in marks]
    for reason, text in zip(reasons, ("no figure is published", "it has 256 neurons", "no unit for it"), strict=True):
        assert text in reason
    assert len(found.remarks) == 3
    assert "up to 2 layers" in reasons[2]


def test_a_network_taken_at_fewer_bits_is_marked() -> None:
    narrowed = {"fc": {"given": [32, 32], "run": [16, 16]}}
    found = section(answer("one", narrowed={}), answer("two", "Float parent", narrowed=narrowed), answer("earlier run"))
    assert [cells(found, row)["Form"].mark for row in (0, 2)] == ["", ""]
    assert "two (Float parent)" in found.remarks[int(cells(found, 1)["Form"].mark) - 1]
