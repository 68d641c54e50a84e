"""Operation logs of spiking networks as CSV tables: one row a layer, with logged operations and firing rates.

    # comment lines: see `tables.header`
    layer,kind,in_channels,out_channels,kernel,dense_ops,acs,macs,rate_percent
    stem.conv,Conv2d,3,64,3,346816512.0,0.0,346816512.0,100.0
    block[0].attn.q_conv,Conv1d,512,512,1,205520896.0,36294116.9,0.0,17.6595751

Needed are `layer` and `dense_ops`; `rate_percent` (or `rate`, 0 to 1), `acs` and `macs` may be missing or
empty where the others settle the row. Other columns are ignored. Operations are those of one inference, over
all timesteps.
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from pathlib import Path

from hardware_models.errors import InputError
from hardware_models.tables.header import TableHeader, parse_header

_NEEDED = ("layer", "dense_ops")
_SETTLING = ("rate_percent", "rate", "acs", "macs")
_FULL = 100.0


@dataclass(frozen=True)
class TableRow:
    """One layer of an operation log.

    Attributes:
        line: its line in the file.
        layer: its name.
        kind: its operator as logged, for example `Conv2d`.
        in_channels: input channels, 0 where the table has none.
        out_channels: output channels, 0 where the table has none.
        dense_ops: multiply-accumulates over all timesteps if nothing were skipped.
        acs: logged accumulates, None where missing.
        macs: logged multiply-accumulates, None where missing.
        rate_percent: firing rate of the input in percent, None where missing.
    """

    line: int
    layer: str
    kind: str
    in_channels: int
    out_channels: int
    dense_ops: float
    acs: float | None
    macs: float | None
    rate_percent: float | None

    @property
    def block(self) -> int | None:
        """The number of the block that the layer stands in, the first number in its name."""
        match = re.search(r"\d+", self.layer)
        return int(match[0]) if match else None


@dataclass(frozen=True)
class OperationTable:
    """An operation log: its file's name, comment lines and rows."""

    name: str
    header: TableHeader
    rows: tuple[TableRow, ...]


def read_table(path: Path) -> OperationTable:
    """Read an operation log.

    Raises:
        InputError: the file is missing, empty, no text, lacks a column, or holds a number that cannot be
            right; the message names file, line and column.
    """
    lines = [(number, line) for number, line in enumerate(_read_lines(path), start=1) if line.strip()]
    comments = [(number, line.lstrip().lstrip("#")) for number, line in lines if line.lstrip().startswith("#")]
    body = [(number, line) for number, line in lines if not line.lstrip().startswith("#")]
    if not body:
        raise InputError(f"{path} has no rows; expected a table with the columns {', '.join(_NEEDED)} and rates.")
    columns = _columns(path, body[0][0], body[0][1])
    rows = tuple(_row(path, number, line, columns) for number, line in body[1:])
    if not rows:
        raise InputError(f"{path} has column names but no rows; add one row for each layer.")
    return OperationTable(path.name, parse_header(comments, str(path)), rows)


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text; give an operation table as CSV.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give an operation table as CSV.") from error


def _split(path: Path, number: int, line: str) -> list[str]:
    try:
        return next(csv.reader([line]))
    except csv.Error as error:
        raise InputError(f"{path}, line {number}: the line is no CSV ({error}); mend it.") from error


def _columns(path: Path, number: int, line: str) -> list[str]:
    """Return the column names; a missing or doubled one is an `InputError`."""
    columns = [name.strip().lower() for name in _split(path, number, line)]
    missing = [name for name in _NEEDED if name not in columns]
    if not set(_SETTLING) & set(columns):
        missing.append("rate_percent")
    if missing:
        raise InputError(
            f"{path}, line {number}: the table lacks the column{'s' * (len(missing) > 1)} "
            f"{', '.join(missing)}; it has {', '.join(columns)}."
        )
    doubled = next((name for name in columns if name and columns.count(name) > 1), None)
    if doubled:
        raise InputError(f"{path}, line {number}: the column {doubled} stands twice; remove one.")
    return columns


def _row(path: Path, number: int, line: str, columns: list[str]) -> TableRow:
    cells = [cell.strip() for cell in _split(path, number, line)]
    if len(cells) != len(columns):
        raise InputError(
            f"{path}, line {number}: {len(cells)} cells for {len(columns)} columns; give one for each column."
        )
    row = _Cells(f"{path}, line {number}", dict(zip(columns, cells, strict=True)))
    dense = row.number("dense_ops")
    if dense is None:
        raise InputError(f"{path}, line {number}: column dense_ops is empty; give the layer's dense operations.")
    return TableRow(
        line=number,
        layer=row.text("layer") or f"line {number}",
        kind=row.text("kind"),
        in_channels=row.count("in_channels"),
        out_channels=row.count("out_channels"),
        dense_ops=dense,
        acs=row.number("acs"),
        macs=row.number("macs"),
        rate_percent=row.rate(),
    )


@dataclass(frozen=True)
class _Cells:
    """The cells of one row by column, and where the row stands."""

    place: str
    cells: dict[str, str]

    def text(self, column: str) -> str:
        return self.cells.get(column, "")

    def number(self, column: str) -> float | None:
        """Return a number >= 0; None where the column or the cell is missing."""
        text = self.text(column)
        if not text:
            return None
        try:
            value = float(text.removesuffix("%"))
        except ValueError as error:
            raise InputError(f"{self.place}, column {column}: {text!r} is no number; mend it.") from error
        if not math.isfinite(value) or value < 0:
            raise InputError(f"{self.place}, column {column}: {text} cannot be; give a finite number >= 0.")
        return value

    def count(self, column: str) -> int:
        """Return a whole number, 0 where it is missing."""
        value = self.number(column) or 0.0
        if not value.is_integer():
            raise InputError(f"{self.place}, column {column}: {value:g} is no whole number; mend it.")
        return int(value)

    def rate(self) -> float | None:
        """Return the firing rate in percent."""
        percent = self.number("rate_percent")
        share = None if percent is not None else self.number("rate")
        column = "rate_percent" if share is None else "rate"
        if share is not None:
            percent = share if self.text("rate").endswith("%") else share * _FULL
        if percent is not None and percent > _FULL * (1 + 1e-6):
            raise InputError(f"{self.place}, column {column}: {self.text(column)} is above 100 %; mend it.")
        return percent
