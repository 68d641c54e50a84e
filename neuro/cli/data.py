"""`neuro data`: the data sets and where they are."""

from __future__ import annotations

import argparse
import dataclasses
import json

from neuro.cli.terminal import Terminal
from neuro.data.registry import describe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    """Print each data set: what it is, where it was found, or how to get it."""
    known = describe()
    if args.json:
        print(json.dumps([dataclasses.asdict(info) for info in known], indent=1))
        return 0
    console = Terminal()
    for info in known:
        state = f"found: {info.where}" if info.found else "not here"
        console.print(f"[bold]{info.spec}[/bold]  {info.what}; {info.size}")
        console.print(f"  {state}{'; ' + info.how_to_get if info.how_to_get else ''}", markup=False)
        console.print(f"  {info.origin}", markup=False)
    return 0
