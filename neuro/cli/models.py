"""`neuro models`: the architectures and their variants."""

from __future__ import annotations

import argparse
import json
from typing import Any

from rich.table import Table

from neuro.cli.terminal import Terminal
from neuro.hub import PREFIX, Card, hub_cards
from neuro.models.catalogue import architecture, model_names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="show this architecture only")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    """Print what `configs/models` says of each architecture, and which trained networks of it there are."""
    known = [architecture(name) for name in ([args.name] if args.name else model_names())]
    if args.json:
        print(json.dumps([entry.to_document() | {"trained": _trained(entry.name)} for entry in known], indent=1))
        return 0
    console = Terminal()
    for entry in known:
        console.print(
            f"[bold]{entry.name}[/bold]  {entry.title}\n{entry.paper}\nsource: {entry.source}", soft_wrap=False
        )
        table = Table(box=None, pad_edge=False)
        table.add_column("variant", no_wrap=True)
        table.add_column("widths")
        table.add_column("parameters", justify="right", no_wrap=True)
        table.add_column("MACs per timestep", justify="right")
        for variant in entry.variants.values():
            parameters = variant.published.get("parameters")
            macs = variant.published.get("macs_per_timestep")
            table.add_row(
                variant.name,
                ", ".join(map(str, variant.config["widths"])),
                f"{parameters:,.0f}" if parameters else "-",
                f"{macs / 1e9:.3f} G" if macs else "-",
            )
        console.print(table)
        for variant in entry.variants.values():
            if variant.description:
                console.print(f"{variant.name}: {variant.description}")
        console.print(f"default: {entry.default_variant}, attention {entry.default_attention}")
        for name, facts in _trained(entry.name).items():
            console.print(f"{name}: {facts['form']}, {_accuracy(facts)}", markup=False)
    return 0


def _trained(architecture_name: str) -> dict[str, dict[str, Any]]:
    """What there is of one architecture, by the name that --weights takes."""
    cards = {name: card for name, card in hub_cards().items() if card.architecture == architecture_name}
    return {f"{PREFIX}{name}": _facts(card) for name, card in cards.items()}


def _facts(card: Card) -> dict[str, Any]:
    return card.model_dump(include={"form", "variant", "timesteps", "dataset", "accuracy", "standard_error", "samples"})


def _accuracy(facts: dict[str, Any]) -> str:
    return f"{100 * facts['accuracy']:.2f} % of {facts['samples']:,} held-out samples of {facts['dataset']}"
