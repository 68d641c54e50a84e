"""The summary rows in a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from neuro.records import ConversionRecord, SummaryRow
from neuro.report.figures import NOT_MEASURED, Column, is_number, percent

_STEP = "spikes/\nneuron/\nstep"


def print_summary(record: ConversionRecord, console: Console) -> None:
    """Print the summary rows: a table, or in a narrow terminal one block of lines a row; then the notes.

    The energy band stands below the energy.
    """
    table = _table(record.rows)
    unbounded = console.options.update(width=10_000)
    if Measurement.get(console, unbounded, table).minimum <= console.width:
        console.print(table)
    else:
        _print_blocks(record.rows, console)
    notes = [(row.name, row.note) for row in record.rows if row.note]
    for name, note in notes:
        console.print(Text.assemble((f"{name}: ", "bold"), note))


def _columns(rows: list[SummaryRow]) -> tuple[Column, Column, Column]:
    """Columns of parameters, operations and energy."""
    operations = [value for row in rows for value in (row.sops, row.macs, row.acs)]
    return (
        Column.of([row.parameters for row in rows]),
        Column.of(operations),
        Column.of([row.energy_j for row in rows], "J"),
    )


def _accuracy(row: SummaryRow) -> str:
    return percent(row.accuracy, 2).removesuffix("\N{NO-BREAK SPACE}%") if is_number(row.accuracy) else "-"


def _rate(row: SummaryRow) -> str:
    return Column("", "", 0, 3).text(row.firing_rate, "-")


def _table(rows: list[SummaryRow]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("Form", overflow="fold", min_width=12)
    cells = [_cells(row, *_columns(rows)) for row in rows]
    for head, *texts in zip(_heads(*_columns(rows)), *cells, strict=True):
        width = max(len(line) for text in (head, *texts) for line in text.splitlines())
        table.add_column(head, justify="right", min_width=width)
    for row, (*texts, cost) in zip(rows, cells, strict=True):
        energy, _, band = cost.partition("\n")
        table.add_row(Text(row.name), *texts, Text(energy).append(f"\n{band}" if band else "", "dim"))
    return table


def _heads(parameters: Column, operations: Column, energy: Column) -> list[str]:
    units = [("Accuracy", "%"), ("Params", parameters.unit), ("Rate", _STEP)]
    units += [(name, operations.unit) for name in ("SOPs", "MAC", "AC")] + [("Energy", energy.unit)]
    return [f"{name}\n{unit}".rstrip() for name, unit in units]


def _cells(row: SummaryRow, parameters: Column, operations: Column, energy: Column) -> list[str]:
    """Texts of a row behind its name; the band is the second line of the energy."""
    counts = (operations.text(value) for value in (row.sops, row.macs, row.acs))
    cost = f"{energy.text(row.energy_j)}\n{energy.band(row.energy_low_j, row.energy_high_j)}"
    return [_accuracy(row), parameters.text(row.parameters), _rate(row), *counts, cost]


def _print_blocks(rows: list[SummaryRow], console: Console) -> None:
    columns = _columns(rows)
    for row in rows:
        console.print(Text(row.name, "bold"))
        for name, text in _lines(row, *columns):
            console.print(Text(f"  {name:<11}{text}".rstrip()))
        console.print()


def _lines(row: SummaryRow, parameters: Column, operations: Column, energy: Column) -> Iterator[tuple[str, str]]:
    accuracy = _accuracy(row)
    yield "accuracy", NOT_MEASURED if accuracy == "-" else f"{accuracy} %"
    yield "parameters", f"{parameters.text(row.parameters)} {parameters.unit}"
    yield "rate", f"{_rate(row)} spikes/neuron/step" if is_number(row.firing_rate) else "-"
    for name, value in (("SOPs", row.sops), ("MAC", row.macs), ("AC", row.acs)):
        yield name, f"{operations.text(value)} {operations.unit}"
    yield "energy", f"{energy.text(row.energy_j)} {energy.unit}"
    if band := energy.band(row.energy_low_j, row.energy_high_j):
        yield "band", f"{band} {energy.unit}"
