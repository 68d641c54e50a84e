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
    "Form",
    ("Energy", "Energy, J"),
    ("Low", "Energy low, J"),
    ("High", "Energy high, J"),
    ("Latency", "Latency, s"),
    ("MACs covered", "MACs covered, fraction"),
    "Weakest evidence",
    "Kind",
)
_TEXT_COLUMNS = (0, 1, 7, 8)

_NARROWED = "narrowed"
"""Key of the remark on networks with wider operands than the chip has: they are not the networks that were given."""


@dataclass(frozen=True)
class ChipSection:
    """A table with one row for each chip and form, and what its reader has to know."""

    table: Table
    remarks: list[str]


def chip_section(documents: RunDocuments) -> ChipSection | None:
    """Return the section, or None for a run that asked no chip; marks in the table are the remarks' numbers."""
    answers = documents.chips
    if not answers:
        return None
    remarks = _remarks(answers)
    marks = {reason: str(number) for number, reason in enumerate(remarks, start=1)}
    rows = [_row(answer, marks) for answer in answers]
    title = "Energy and latency of one inference by chip"
    return ChipSection(Table(title, heads(_TITLES, _TEXT_COLUMNS), rows), list(remarks.values()))


def _row(answer: Mapping[str, Any], marks: Mapping[str, str]) -> list[Cell]:
    changed = marks[_NARROWED] if answer.get("narrowed") else ""
    about = [Cell(answer["chip"], "", "name"), Cell(answer["form"], "", "text", changed)]
    kind = Cell(answer["kind"], "", "text")
    if "reason" in answer:
        return [*about, Cell("cannot run it", "", "num missing", marks[answer["reason"]]), *[Cell("")] * 5, kind]
    energy, latency = answer["total"]["energy_j"], answer["total"]["latency_s"]
    left_out = ",".join(dict.fromkeys(marks[reason] for reason in answer["left_out"].values()))
    return [
        *about,
        _figure(energy, "value", "J", marks.get(answer["refused"].get("energy", ""), "")),
        *_band(energy),
        _figure(latency, "value", "s", marks.get(answer["refused"].get("latency", ""), "")),
        Cell(percent(answer["covered"]), exact(answer["covered"]), "num", left_out),
        Cell(answer["weakest_evidence"], "", "text"),
        kind,
    ]


def _figure(figure: Mapping[str, float] | None, end: str, unit: str, mark: str = "") -> Cell:
    if figure is None:
        return Cell("refused", "", "num missing", mark)
    return Cell(si(figure[end], unit), exact(figure[end]), "num")


def _band(figure: Mapping[str, float] | None) -> list[Cell]:
    """Return the low and the high end; an estimate without a band is not exact, so its ends are not repeated."""
    if figure is None:
        return [Cell("", "", "num")] * 2
    if figure["low"] == figure["high"]:
        return [Cell("not known", "", "num missing")] * 2
    return [_figure(figure, end, "J") for end in ("low", "high")]


def chip_remarks(answers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield why figures are missing and which layers are left out: each reason once, with the chips it holds for."""
    yield from _remarks(answers).values()


def _remarks(answers: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the remarks by the reason that each of them gives."""
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
    # Names of forms have commas in them.
    narrowed: dict[str, list[str]] = {}
    for answer in answers:
        if answer.get("narrowed"):  # runs of an earlier version do not say
            narrowed.setdefault(answer["chip"], []).append(answer["form"])
    texts = {reason: f"{'; '.join(dict.fromkeys(where))}: {reason}" for reason, where in refusals.items()}
    if narrowed:
        chips = ", ".join(f"{chip} ({'; '.join(forms)})" for chip, forms in narrowed.items())
        texts[_NARROWED] = (
            f"Taken as quantized to the widest operands that the chip has, at an accuracy that is not known: {chips}."
        )
    return texts | {reason: _left_out_remark(reason, found) for reason, found in left_out.items()}


def _left_out_remark(reason: str, found: Sequence[tuple[str, list[str]]]) -> str:
    chips = ", ".join(dict.fromkeys(chip for chip, _ in found))
    most = max(len(names) for _, names in found)
    layers = f"up to {most} layers such as {found[0][1][0]}" if most > 1 else found[0][1][0]
    return f"Left out on {chips}, {layers}: {reason}"


def left_out_by_reason(left_out: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the names of the layers that are left out for each reason."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        by_reason.setdefault(reason, []).append(name)
    return by_reason
