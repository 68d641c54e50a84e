"""The page's section on chips: what each form costs on each chip, with bands, evidence and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from neuro.report.cells import Cell, Table, heads
from neuro.report.documents import RunDocuments
from neuro.report.figures import exact, si

_TITLES = ("Chip", "Kind", "Form", ("Energy", "Energy, J"), "Band", ("Latency", "Latency, s"), "Weakest evidence")


@dataclass(frozen=True)
class ChipSection:
    """A table with one row for each chip and form, and what its reader has to know."""

    table: Table
    remarks: list[str]


def chip_section(documents: RunDocuments) -> ChipSection | None:
    """Return the section, or None for a run that asked no chip."""
    answers = documents.chips
    if not answers:
        return None
    rows = [_row(answer) for answer in answers]
    return ChipSection(
        Table("Energy and latency of one inference by chip", heads(_TITLES, text=(0, 1, 2, 4, 6)), rows),
        list(dict.fromkeys(remark for answer in answers for remark in chip_remarks(answer))),
    )


def _row(answer: Mapping[str, Any]) -> list[Cell]:
    about = [Cell(answer["chip"], "", "name"), Cell(answer["kind"], "", "text"), Cell(answer["form"], "", "text")]
    if "reason" in answer:
        return [*about, *(Cell("cannot run it", "", "num missing") if i == 0 else Cell("") for i in range(4))]
    energy, latency = answer["total"]["energy_j"], answer["total"]["latency_s"]
    return [
        *about,
        _figure(energy, "J"),
        _band(energy),
        _figure(latency, "s"),
        Cell(answer["weakest_evidence"], "", "text"),
    ]


def _figure(figure: Mapping[str, float] | None, unit: str) -> Cell:
    if figure is None:
        return Cell("refused", "", "num missing")
    return Cell(si(figure["value"], unit), exact(figure["value"]), "num")


def _band(figure: Mapping[str, float] | None) -> Cell:
    if figure is None or figure["low"] == figure["high"]:
        return Cell("", "", "text")
    return Cell(f"{si(figure['low'], 'J')} to {si(figure['high'], 'J')}", "", "text")


def chip_remarks(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield why a figure is missing and which layers a chip leaves out; one sentence each."""
    where = f"{answer['chip']}, {answer['form']}"
    if "reason" in answer:
        yield f"{where}: {answer['reason']}"
        return
    for question, reason in answer["refused"].items():
        yield f"{answer['chip']} refuses {question}: {reason}"
    for reason in dict.fromkeys(answer["left_out"].values()):
        names = [name for name, why in answer["left_out"].items() if why == reason]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"{where}: left out {names[0]}{more}: {reason}"
