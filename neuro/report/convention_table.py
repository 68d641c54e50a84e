"""What a network costs under a convention of the literature, in a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hardware_models.convention_estimate import ConventionEstimate
from hardware_models.quantity import with_prefix
from neuro.report.wrapped import print_wrapped

_COLUMNS = ("MAC", "AC", "energy", "share")
_ROOM_FOR_SHARES = 56
"""Columns of a terminal below which the names of layers take the room of their shares."""


def print_convention(console: Console, estimate: ConventionEstimate, by_default: bool) -> None:
    """Print layers, total, band, assumptions and sources; `by_default` says that nobody chose the convention."""
    chosen = " (by default; choose with --convention)" if by_default else ""
    print_wrapped(console, estimate.subject, style="italic")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("layer", overflow="fold")
    shown = len(_COLUMNS) if console.width >= _ROOM_FOR_SHARES else len(_COLUMNS) - 1
    for name in _COLUMNS[:shown]:
        table.add_column(name, justify="right", no_wrap=True)
    for layer in estimate.layers:
        numbers = _numbers(layer.macs, layer.acs, layer.energy_j, estimate.energy_j)
        table.add_row(escape(layer.name), *numbers[:shown])
    table.add_section()
    total = _numbers(estimate.macs, estimate.acs, estimate.energy_j, estimate.energy_j)
    table.add_row("total", *total[:shown], style="bold")
    console.print(table)
    console.print(f"Convention: {estimate.convention}{chosen}")
    low, high = estimate.energy_band_j
    if low < high:
        console.print(f"Band of the constants: {with_prefix(low, 'J')} to {with_prefix(high, 'J')}")
    for heading, sentences in (("Assumptions", estimate.assumptions), ("Sources", estimate.sources)):
        console.print(f"{heading}:")
        for sentence in sentences:
            print_wrapped(console, sentence, "  - ")


def _numbers(macs: float, acs: float, energy_j: float, total_j: float) -> tuple[str, str, str, str]:
    share = f"{energy_j / total_j:.1%}" if total_j else "-"
    return with_prefix(macs), with_prefix(acs), with_prefix(energy_j, "J"), share
