"""Tables of the page: text to read beside the exact value to copy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from neuro.report.figures import NOT_MEASURED, Column, exact, is_number, percent


@dataclass(frozen=True)
class Cell:
    """One table cell: text, the exact value where that differs, a CSS class, its footnote's number."""

    text: str
    exact: str = ""
    kind: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Head:
    """Head of a column: its title with the unit shown, with the unit of the exact values, its class."""

    title: str
    exact: str
    kind: str


@dataclass(frozen=True)
class Table:
    """A table with its columns and rows."""

    caption: str
    heads: tuple[Head, ...]
    rows: list[list[Cell]]


Title = str | tuple[str, str]
"""Title of a column; or as shown and as copied, where the units differ."""

PERCENT = Column("", "", -2, 1)
"""A column of shares, shown in percent with one decimal."""


def number(column: Column, value: float | None, missing: str = NOT_MEASURED) -> Cell:
    """A cell of a numeric column."""
    text = column.text(value, missing)
    return Cell(text, exact(value), "num" if text != missing else "num missing")


def percent_cell(share: float | None, missing: str = NOT_MEASURED) -> Cell:
    """A cell of a column of shares, shown in percent with two decimals."""
    if not is_number(share):
        return Cell(missing, "", "num missing")
    return Cell(percent(share, 2).removesuffix("\N{NO-BREAK SPACE}%"), exact(share), "num")


def heads(titles: Iterable[Title], text: tuple[int, ...]) -> tuple[Head, ...]:
    """Make the heads of a table from their titles.

    Columns numbered in `text` hold words, the first of them names; the others hold numbers.
    """
    kinds = {i: "name" if i == text[0] else "text" for i in text}
    pairs = (title if isinstance(title, tuple) else (title, title) for title in titles)
    return tuple(Head(*pair, kinds.get(i, "num")) for i, pair in enumerate(pairs))


def percent_head(title: str) -> tuple[str, str]:
    """The titles of a column of shares."""
    return f"{title}, %", f"{title}, fraction"
