"""What a network costs under a convention of the literature, in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hardware_models.convention_estimate import ConventionEstimate, ConventionLayer
from hardware_models.quantity import with_prefix


def print_convention(console: Console, estimate: ConventionEstimate, by_default: bool) -> None:
    """Print layers, total, band, assumptions and sources; `by_default` says that nobody chose the convention."""
    chosen = " (by default; choose with --convention)" if by_default else ""
    table = Table(title=escape(estimate.subject), title_justify="left")
    table.add_column("layer", overflow="fold")
    for name in ("MAC", "AC", "energy", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    for layer in estimate.layers:
        table.add_row(*_cells(layer, estimate.energy_j))
    table.add_section()
    table.add_row("total", *_numbers(estimate.macs, estimate.acs, estimate.energy_j, estimate.energy_j), style="bold")
    console.print(table)
    console.print(f"Convention: {estimate.convention}{chosen}")
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
