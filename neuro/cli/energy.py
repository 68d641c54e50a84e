"""`neuro energy`: what a measured workload or a published operation log costs under a named convention."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hardware_models.convention_estimate import ConventionEstimate, ConventionLayer, estimates_to_csv
from hardware_models.conventions import CONVENTIONS, DEFAULT_CONVENTION, convention
from hardware_models.errors import InputError
from hardware_models.operation_table import read_table
from hardware_models.quantity import with_prefix
from hardware_models.table_estimate import TABLE_CONVENTION, estimate_table
from hardware_models.workload import Workload


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `neuro energy` to `parser`."""
    parser.add_argument(
        "path",
        type=Path,
        metavar="PATH",
        help="a run directory, a workload.json, or an operation table (CSV)",
    )
    known = "; ".join(f"{name}: {rules.title}" for name, rules in CONVENTIONS.items())
    parser.add_argument(
        "--convention",
        metavar="NAME",
        help=f"counting rules (default {DEFAULT_CONVENTION}; of a table {TABLE_CONVENTION}). {known}",
    )
    parser.add_argument("--heads", type=int, metavar="N", help="attention heads of a table that does not name them")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON document with every layer and the total")
    output.add_argument("--csv", action="store_true", help="print one CSV line for each layer and one for the total")


def run(args: argparse.Namespace) -> int:
    """Print the estimate; bad input is an `InputError`."""
    estimates = _estimates(args)
    if args.json:
        main, *also = (estimate.to_document() for estimate in estimates)
        print(json.dumps({**main, "also": also} if also else main, indent=1, ensure_ascii=False))
    elif args.csv:
        print(estimates_to_csv(estimates), end="")
    else:
        console = Console(highlight=False)
        for estimate in estimates:
            _print(console, estimate, chosen=args.convention is None)
    return 0


def _estimates(args: argparse.Namespace) -> list[ConventionEstimate]:
    """Return the estimate of a table or workload, or those of a run's workloads, `workload.json` first."""
    if not args.path.exists():
        raise InputError(f"{args.path} does not exist; give a run directory, a workload.json or an operation table.")
    if args.path.is_dir():
        paths = sorted(args.path.glob("workload*.json"), key=lambda path: (path.stem != "workload", path.stem))
        if not paths:
            raise InputError(f"{args.path} holds no workload.json; give a run directory, a workload or a table.")
    elif args.path.suffix.lower() == ".json":
        paths = [args.path]
    else:
        return [_table_estimate(args)]
    if args.heads is not None:
        raise InputError("--heads is for operation tables; a workload already holds its attention products.")
    rules = convention(args.convention or DEFAULT_CONVENTION)
    return [rules.estimate(Workload.load(path)) for path in paths]


def _table_estimate(args: argparse.Namespace) -> ConventionEstimate:
    if convention(args.convention or TABLE_CONVENTION).name != TABLE_CONVENTION:
        raise InputError(
            f"{args.path} is an operation table, whose counts follow {TABLE_CONVENTION}; {args.convention} "
            f"needs a workload.json. Use --convention {TABLE_CONVENTION}."
        )
    return estimate_table(read_table(args.path), args.heads)


def _print(console: Console, estimate: ConventionEstimate, chosen: bool) -> None:
    by_default = " (by default; choose with --convention)" if chosen else ""
    table = Table(title=escape(estimate.subject), title_justify="left")
    table.add_column("layer", overflow="fold")
    for name in ("MAC", "AC", "energy", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    for layer in estimate.layers:
        table.add_row(*_cells(layer, estimate.energy_j))
    table.add_section()
    table.add_row("total", *_numbers(estimate.macs, estimate.acs, estimate.energy_j, estimate.energy_j), style="bold")
    console.print(table)
    console.print(f"Convention: {estimate.convention}{by_default}")
    low, high = estimate.energy_band_j
    if low < high:
        console.print(f"Band of the constants: {with_prefix(low, 'J')} to {with_prefix(high, 'J')}")
    for heading, sentences in (("Assumptions", estimate.assumptions), ("Sources", estimate.sources)):
        console.print(f"{heading}:")
        for sentence in sentences:
            console.print(f"  - {escape(sentence)}")


def _cells(layer: ConventionLayer, total_j: float) -> tuple[str, ...]:
    return (escape(layer.name), *_numbers(layer.macs, layer.acs, layer.energy_j, total_j))


def _numbers(macs: float, acs: float, energy_j: float, total_j: float) -> tuple[str, str, str, str]:
    share = f"{energy_j / total_j:.1%}" if total_j else "-"
    return with_prefix(macs), with_prefix(acs), with_prefix(energy_j, "J"), share
