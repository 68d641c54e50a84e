"""The page's section on chips: what each form costs on each chip, with bands, evidence and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neuro.report.cells import Cell, Table, heads
from neuro.report.documents import RunDocuments
from neuro.report.figures import exact, percent, si

_TITLES = (
    "Chip",
    "Kind",
    "Form",
    ("Energy", "Energy, J"),
    "Band",
    ("Latency", "Latency, s"),
    "Covers",
    "Weakest evidence",
)


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
        Table("Energy and latency of one inference by chip", heads(_TITLES, text=(0, 1, 2, 4, 7)), rows),
        list(chip_remarks(answers)),
    )


def _row(answer: Mapping[str, Any]) -> list[Cell]:
    about = [Cell(answer["chip"], "", "name"), Cell(answer["kind"], "", "text"), Cell(answer["form"], "", "text")]
    if "reason" in answer:
        return [*about, Cell("cannot run it", "", "num missing"), *[Cell("")] * 4]
    energy, latency = answer["total"]["energy_j"], answer["total"]["latency_s"]
    return [
        *about,
        _figure(energy, "J"),
        _band(energy),
        _figure(latency, "s"),
        Cell(percent(answer["covered"]), exact(answer["covered"]), "num"),
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


def chip_remarks(answers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield why figures are missing and which layers are left out: each reason once, with the chips it holds for."""
    refusals: dict[str, list[str]] = {}
    left_out: dict[str, list[tuple[str, list[str]]]] = {}
    for answer in answers:
        if "reason" in answer:
            refusals.setdefault(answer["reason"], []).append(answer["form"])
            continue
        for question, reason in answer["refused"].items():
            refusals.setdefault(reason, []).append(f"{answer['chip']} refuses {question}")
        for reason, names in left_out_by_reason(answer["left_out"]).items():
            left_out.setdefault(reason, []).append((answer["chip"], names))
    for reason, where in refusals.items():
        yield f"{', '.join(dict.fromkeys(where))}: {reason}"
    for reason, found in left_out.items():
        chips = ", ".join(dict.fromkeys(chip for chip, _ in found))
        most = max(len(names) for _, names in found)
        layers = f"up to {most} layers such as {found[0][1][0]}" if most > 1 else found[0][1][0]
        yield f"left out on {chips}, {layers}: {reason}"


def left_out_by_reason(left_out: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the names of the layers that are left out for each reason."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        by_reason.setdefault(reason, []).append(name)
    return by_reason
