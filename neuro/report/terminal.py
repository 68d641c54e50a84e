"""The summary rows in a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from neuro.convert.record import ConversionRecord, SummaryRow
from neuro.report.figures import NOT_MEASURED, Column, is_number, percent

_STEP = "spikes/\nneuron/\nstep"


def print_summary(record: ConversionRecord, console: Console) -> None:
    """Print the summary rows: a table, or in a narrow terminal one block of lines a row; then the notes.

    The energy band stands below the energy.
    """
    table = _table(record.rows)
    if Measurement.get(console, console.options, table).minimum <= console.width:
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
    parameters, operations, energy = _columns(rows)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_lines=False)
    table.add_column("Form", overflow="fold", min_width=12)
    table.add_column("Accuracy\n%", justify="right", no_wrap=True)
    units = [("Params", parameters.unit), ("Rate", _STEP)]
    units += [(name, operations.unit) for name in ("SOPs", "MAC", "AC")] + [("Energy", energy.unit)]
    for name, unit in units:
        table.add_column(f"{name}\n{unit}".rstrip(), justify="right", no_wrap=True)
    for row in rows:
        counts = (operations.text(value) for value in (row.sops, row.macs, row.acs))
        band = energy.band(row.energy_low_j, row.energy_high_j)
        cost = Text(energy.text(row.energy_j)).append(f"\n{band}" if band else "", "dim")
        table.add_row(
            Text(row.name), _accuracy(row), parameters.text(row.parameters), _rate(row), *counts, cost
        )
    return table


def _print_blocks(rows: list[SummaryRow], console: Console) -> None:
    parameters, operations, energy = _columns(rows)
    for row in rows:
        console.print(Text(row.name, "bold"))
        accuracy = _accuracy(row)
        lines = [
            ("accuracy", NOT_MEASURED if accuracy == "-" else f"{accuracy} %"),
            ("parameters", f"{parameters.text(row.parameters)} {parameters.unit}"),
            ("rate", f"{_rate(row)} spikes/neuron/step"),
            *((name, f"{operations.text(value)} {operations.unit}")
              for name, value in (("SOPs", row.sops), ("MAC", row.macs), ("AC", row.acs))),
            ("energy", f"{energy.text(row.energy_j)} {energy.unit}"),
            ("band", f"{energy.band(row.energy_low_j, row.energy_high_j) or '-'} {energy.unit}"),
        ]  # fmt: skip
        for name, text in lines:
            console.print(Text(f"  {name:<11}{text}".rstrip()))
        console.print()
