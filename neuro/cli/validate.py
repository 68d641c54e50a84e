"""`neuro validate`: the scorecard of the hardware models."""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hardware_models.files import write_atomically
from hardware_models.quantity import with_prefix
from hardware_models.validation.row import NOTHING, Row
from hardware_models.validation.scorecard import UNSCORED, scorecard, to_document

DESCRIPTION = """\
Compute the estimates that have a published answer and say how wrong they are: against
silicon, where a measurement is public, and against other simulators. Nothing is fitted
unless the row says so. A row that is bad stays in the table.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the scorecard as JSON; - prints it only")


def run(args: argparse.Namespace) -> int:
    """Print the scorecard, and write it where asked."""
    rows = scorecard()
    text = json.dumps(to_document(rows), indent=1, ensure_ascii=False)
    if args.json == Path("-"):
        print(text)
        return 0
    _print(rows, Console(highlight=False))
    if args.json:
        with write_atomically(args.json) as file:
            file.write(text + "\n")
        print(args.json)
    return 0


def _print(rows: list[Row], console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("against", overflow="fold")
    for name in ("ours", "theirs", "error", "worst", "cases", "goal"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for target, group in itertools.groupby(rows, key=lambda row: row.target):
        # Over all columns a heading would widen the first one; its lines are folded instead.
        table.add_row(f"[bold]{escape(target)}[/bold]")
        for row in group:
            table.add_row(f"  {escape(row.quantity)}", *_cells(row))
    console.print(table)
    _print_notes(rows, console)
    missed = sum(row.met is False for row in rows)
    goals = sum(row.met is not None for row in rows)
    console.print(f"{goals - missed} of {goals} goals reached; {len(rows) - goals} rows have no goal.")


def _print_notes(rows: list[Row], console: Console) -> None:
    """Print what was fitted, what has to be known of the rows, and what is not scored."""
    notes: dict[str, list[str]] = {}
    for row in rows:
        fitted = [] if row.fitted == NOTHING else [f"fitted: {row.fitted}"]
        for text in (*fitted, row.note) if row.note else fitted:
            notes.setdefault(text, []).append(row.quantity)
    for text, quantities in notes.items():
        more = f" and {len(quantities) - 1} more" if len(quantities) > 1 else ""
        console.print(f"  - {escape(quantities[0])}{more}: {escape(text)}")
    for left in UNSCORED:
        console.print(f"Not scored: {escape(left.target)}: {escape(left.reason)}")


def _cells(row: Row) -> tuple[str, ...]:
    ours, theirs = ("" if value is None else with_prefix(value, row.unit) for value in (row.ours, row.theirs))
    worst = _percent(row.worst) if row.cases > 1 else ""
    goal = "" if row.goal is None else "equal" if row.goal == 0 else f"{row.goal:.3%}".rstrip("0%").rstrip(".") + "%"
    mark = {True: "ok", False: "MISSED", None: ""}[row.met]
    return ours, theirs, _percent(row.error), worst, str(row.cases), goal, mark


def _percent(share: float) -> str:
    return f"{share:.1%}" if share == 0 or abs(share) >= 5e-4 else f"{share:.0e}"
