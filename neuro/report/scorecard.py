"""The scorecard of the hardware models in a terminal: rows below their target, then their notes, then the verdict.

A row of one case shows ours and theirs, a row of many their number and the worst of them, so both share a column.
Everything here is pure: rows and a width in, lines of text out.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from rich.text import Text

from hardware_models.quantity import with_prefix
from hardware_models.validation.row import NOTHING, Row
from hardware_models.validation.scorecard import Scorecard
from hardware_models.validation.speed import SpeedRow
from neuro.report.wrapped import wrapped

_WIDEST = 110
"""Beyond this the eye loses the line between a quantity and its error."""

_NARROWEST_QUANTITY = 24
_GAP = "  "
_INDENT = "  "
_HEADS = ("ours / theirs", "error", "goal", "")
_FAR_OFF = 0.2

_LEGEND = (
    "Error: (ours - theirs) / theirs of one case; of several cases the mean without signs. Goal: the largest error "
    "asked for. In brackets: how the target's figure is known, and the number of a note below the target's rows."
)


def scorecard_lines(card: Scorecard, width: int) -> Iterator[Text]:
    """Yield the lines of the scorecard, none longer than `width` columns (40 or more).

    Rows of one target stand together, in the order of its first row.
    """
    rows, width = card.rows, min(width, _WIDEST)
    targets: dict[str, list[Row]] = {}
    for row in rows:
        targets.setdefault(row.target, []).append(row)
    widths = _column_widths(rows)
    quantity = width - len(_INDENT) - sum(widths) - len(_GAP) * len(widths)
    wide = quantity >= _NARROWEST_QUANTITY
    if wide:
        yield Text(" " * (width - len(_joined(_HEADS, widths))) + _joined(_HEADS, widths), style="dim")
    for target, group in targets.items():
        grades = ", ".join(dict.fromkeys(row.evidence for row in group))
        yield from wrapped(f"{target} [{grades}]", width, style="bold")
        notes = _numbered_notes(group)
        for row in group:
            text = row.quantity + _marks(row, notes)
            yield from _beside(text, row, quantity, widths) if wide else _stacked(text, row, width)
        for text, number in notes.items():
            yield from wrapped(text, width, f"{_INDENT}[{number}] " if number else _INDENT, "dim")
        yield Text()
    yield from _speed_lines(card.speeds, width)
    for left in card.unscored:
        yield from wrapped(f"Not scored: {left.target}: {left.reason}", width)
    yield from _verdict(card, width)
    yield from wrapped(_LEGEND, width, style="dim")


def compared(row: Row) -> str:
    """What was compared: `1.860 mJ / 1.871 mJ` of one case, `13 cases, worst 8.8%` of many."""
    parts = []
    if row.ours is not None and row.theirs is not None:
        parts.append(f"{_figure(row.ours, row.unit)} / {_figure(row.theirs, row.unit)}")
    if row.cases > 1:
        worst = "all equal" if row.worst == 0 else f"worst {share(row.worst)}"
        parts.append(f"{row.cases} cases, {worst}")
    return "; ".join(parts)


def share(value: float, signed: bool = False) -> str:
    """Write an error as a percentage that never rounds a difference to nothing; `equal` where there is none."""
    size = abs(value)
    if size == 0:
        return "equal"
    if size < 1e-6:
        return "<0.0001%"
    decimals = 4 if size < 1e-4 else 2 if size < 1e-3 else 1
    return f"{value:+.{decimals}%}" if signed else f"{size:.{decimals}%}"


def _figure(value: float, unit: str) -> str:
    """Whole counts stay exact, so that equal ones can be seen to be equal."""
    if not unit and value == int(value):
        return f"{int(value):,}"
    return with_prefix(value, unit.removeprefix("1"))  # 401 T/J, not 401 T1/J


def _cells(row: Row) -> tuple[str, str, str, str]:
    goal = "" if row.goal is None else "equal" if row.goal == 0 else f"{100 * row.goal:g}%"
    mark = {True: "ok", False: "MISSED", None: ""}[row.met]
    return compared(row), share(row.error, signed=row.cases == 1), goal, mark


def _column_widths(rows: Sequence[Row]) -> list[int]:
    return [max(map(len, column)) for column in zip(_HEADS, *map(_cells, rows), strict=True)]


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    *numbers, mark = cells
    *spaces, last = widths
    return _GAP.join([*(cell.rjust(space) for cell, space in zip(numbers, spaces, strict=True)), mark.ljust(last)])


def _beside(text: str, row: Row, quantity: int, widths: Sequence[int]) -> Iterator[Text]:
    """Yield the quantity with its figures beside its last line."""
    *first, last = textwrap.wrap(text, quantity, subsequent_indent=_INDENT)
    for line in first:
        yield Text(_INDENT + line)
    yield _marked(_INDENT + last.ljust(quantity) + _GAP + _joined(_cells(row), widths), row)


def _stacked(text: str, row: Row, width: int) -> Iterator[Text]:
    """Yield the quantity with its figures below it, for narrow terminals."""
    against, error, goal, mark = _cells(row)
    yield from wrapped(text, width, _INDENT)
    asked = f" (goal {goal}: {mark})" if goal else ""
    for line in wrapped(f"{error}{asked}; {against}", width, 2 * _INDENT):
        yield _marked(line.plain, row)


def _marked(line: str, row: Row) -> Text:
    text = Text(line.rstrip())
    if row.met is not None:
        text.highlight_words([{True: "ok", False: "MISSED"}[row.met]], "green" if row.met else "bold red")
    return text


def _notes(row: Row) -> list[str]:
    fitted = "" if row.fitted == NOTHING else f"Fitted: {row.fitted}"
    return [_sentence(text) for text in (fitted, row.note) if text]


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".") + "."


def _numbered_notes(rows: Sequence[Row]) -> dict[str, int]:
    """Return the notes of one target with their numbers; 0 for one that holds for every row."""
    texts = dict.fromkeys(text for row in rows for text in _notes(row))
    shared = [text for text in texts if all(text in _notes(row) for row in rows)]
    numbered = [text for text in texts if text not in shared]
    return {**dict.fromkeys(shared, 0), **{text: index for index, text in enumerate(numbered, start=1)}}


def _marks(row: Row, notes: Mapping[str, int]) -> str:
    """Return the numbers of the row's notes, as `[1,2]`."""
    numbers = sorted(notes[text] for text in _notes(row) if notes[text])
    return f"[{','.join(map(str, numbers))}]" if numbers else ""


def _speed_lines(speeds: Sequence[SpeedRow], width: int) -> Iterator[Text]:
    """Yield the measured speeds, each with its goal and what it means."""
    yield from wrapped("Speed [measured on this machine, now]", width, style="bold")
    for row in speeds:
        least = "at most" if row.unit == "s" else "at least"
        figures = f"{_figure(row.value, row.unit)}, goal {least} {_figure(row.goal, row.unit)}: "
        verdict = "ok" if row.met else "MISSED"
        for line in wrapped(f"{row.quantity}: {figures}{verdict}", width, _INDENT):
            line.highlight_words([verdict], "green" if row.met else "bold red")
            yield line
        if row.note:
            yield from wrapped(_sentence(row.note), width, 2 * _INDENT, "dim")
    yield Text()


def _verdict(card: Scorecard, width: int) -> Iterator[Text]:
    """Yield how many goals are reached, those that are not, and how far off rows without a goal are."""
    rows = card.rows
    asked = [row for row in rows if row.goal is not None]
    missed = [row for row in asked if not row.met]
    fitted = sum(row.fitted != NOTHING for row in asked if row.met)
    by_fit = f", {fitted} of them with constants fitted to data (the notes say which)" if fitted else ""
    yield from wrapped(f"{len(asked) - len(missed)} of {len(asked)} goals reached{by_fit}.", width, style="bold")
    for row in missed:
        text = f"MISSED {row.target}: {row.quantity}: {share(row.error, row.cases == 1)}, goal {_cells(row)[2]}"
        for line in wrapped(text, width, _INDENT):
            yield _marked(line.plain, row)
    slow = sum(not row.met for row in card.speeds)
    yield from wrapped(f"{len(card.speeds) - slow} of {len(card.speeds)} goals of speed reached.", width)
    free = sorted((row for row in rows if row.goal is None), key=lambda row: -abs(row.error))
    far = [row for row in free if abs(row.error) > _FAR_OFF]
    if not free:
        return
    worst = free[0]
    off = f"{len(far)} of them are off by more than {_FAR_OFF:.0%}, " if far else ""
    yield from wrapped(
        f"{len(free)} rows have no goal; {off}the furthest: {worst.target}: {worst.quantity}: "
        f"{share(worst.error, worst.cases == 1)}.",
        width,
    )
