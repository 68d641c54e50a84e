"""Lines of a CSV file, numbered, comments apart; shared by the formats that come as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from hardware_models.errors import InputError


def csv_lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines that are not blank, with their numbers, comments included.

    Raises:
        InputError: the file cannot be read or is no UTF-8 text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text; save it as CSV in UTF-8.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a CSV file.") from error
    if "\0" in text:
        raise InputError(f"{path} holds NUL characters, so it is no text; give a CSV file.")
    if '"' in text and any(line.count('"') % 2 for line in text.splitlines()):
        raise InputError(f"{path} has a quoted cell that runs over a line's end; keep each row on one line.")
    return [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip(" \t,;")]


def header(path: Path, lines: list[tuple[int, str]]) -> tuple[list[str], list[tuple[int, str]]]:
    """Return the column names in small letters and the rows below them.

    Empty columns at the end are dropped, as a trailing comma leaves them.

    Raises:
        InputError: there is no header or no row below it.
    """
    body = [(number, line) for number, line in lines if not line.lstrip().startswith("#")]
    if not body:
        raise InputError(f"{path} has no rows; give a line with the column names and one line a layer.")
    columns = [" ".join(cell.split()).lower() for cell in next(csv_rows(path, body[:1]))[1]]
    while columns and not columns[-1]:
        columns.pop()
    if len(body) == 1:
        raise InputError(f"{path} has column names but no rows; add one row for each layer.")
    return columns, body[1:]


def csv_rows(path: Path, lines: list[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """Yield each line's number and cells, without the spaces around them."""
    reader = csv.reader(line for _, line in lines)
    for number, _ in lines:
        try:
            yield number, [cell.strip() for cell in next(reader)]
        except csv.Error as error:
            raise InputError(f"{path}, line {number}: the line is no CSV ({error}); mend it.") from error
