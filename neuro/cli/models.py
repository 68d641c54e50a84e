"""`neuro models`: the architectures and their variants."""

from __future__ import annotations

import argparse
import json

from rich.console import Console
from rich.table import Table

from neuro.models.catalogue import architecture, model_names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="show this architecture only")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    """Print what `configs/models` says of each architecture."""
    known = [architecture(name) for name in ([args.name] if args.name else model_names())]
    if args.json:
        print(json.dumps([entry.to_document() for entry in known], indent=1))
        return 0
    console = Console(highlight=False)
    for entry in known:
        console.print(f"[bold]{entry.name}[/bold]  {entry.title}\n{entry.paper}\nsource: {entry.source}", soft_wrap=False)
        table = Table("variant", "widths", "parameters", "MACs per timestep")
        for variant in entry.variants.values():
            parameters = variant.published.get("parameters")
            macs = variant.published.get("macs_per_timestep")
            name = f"{variant.name} (default)" if variant.name == entry.default_variant else variant.name
            table.add_row(
                f"{name}\n{variant.description}" if variant.description else name,
                ", ".join(map(str, variant.config["widths"])),
                f"{parameters:,.0f}" if parameters else "-",
                f"{macs / 1e9:.3f} G" if macs else "-",
            )
        console.print(table)
    return 0
