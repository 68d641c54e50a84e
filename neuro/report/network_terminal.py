"""The sweep and the audit of a network that was given, in a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from neuro.records import NetworkRecord
from neuro.report.cells import Table as Cells
from neuro.report.documents import RunDocuments
from neuro.report.low_bit_section import operators_table as low_bit_table
from neuro.report.network_section import KIND_WORDS, lead, operators_table, sweep_table


def print_sweep(network: NetworkRecord, console: Console) -> None:
    """Print one line for each T; the energy band is left to the report."""
    table = sweep_table(network)
    _print(table, console, leave_out=("Low", "High"))
    samples = f"{network.compared_samples} sample{'s' if network.compared_samples > 1 else ''}"
    console.print(Text(f"Output error: median over {samples} of |y_T - y| / |y|, y of the float network."))


def print_audit(documents: RunDocuments, console: Console, every: bool) -> None:
    """Print what became of the operators: those that spikes drive, that few bits hold, that were kept, or every one."""
    network = documents.record.network
    if documents.record.low_bit is not None:
        _print(low_bit_table(documents.record.low_bit, every), console, leave_out=())
        return
    assert network is not None
    table = operators_table(documents, network)
    if not every:
        shown = {KIND_WORDS[kind] for kind in ("synapse", "product", "kept")}
        table = Cells(table.caption, table.heads, [row for row in table.rows if row[3].text in shown])
    _print(table, console, leave_out=tuple(f"Error, T = {t}" for t in network.errors_at[:-1]))
    console.print(Text(lead(documents, network)))
    if not every:
        console.print(Text("--all lists the operators that run on values too."))


def _print(table: Cells, console: Console, leave_out: tuple[str, ...]) -> None:
    shown = [i for i, head in enumerate(table.heads) if not head.title.startswith(leave_out)] if leave_out else None
    columns = range(len(table.heads)) if shown is None else shown
    printed = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for i in columns:
        head = table.heads[i]
        printed.add_column(head.title, justify="right" if head.kind == "num" else "left", overflow="fold")
    for row in table.rows:
        printed.add_row(*(Text(row[i].text) for i in columns))
    console.print(printed)
