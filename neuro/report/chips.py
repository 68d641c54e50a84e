"""What chips say of the forms of a network, in a terminal."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hardware_models.comparison import Answer, to_document
from hardware_models.conventions import rival_bits
from hardware_models.estimate import Estimate
from hardware_models.layer_table import LayerTable, layer_table
from hardware_models.quantity import with_prefix
from hardware_models.totals import Floats
from hardware_models.workload import Workload
from neuro.records import WORKLOAD_FILES
from neuro.report.chip_section import chip_remarks, left_out_by_reason
from neuro.report.documents import FORM_NAMES
from neuro.report.figures import percent


def read_run_forms(directory: Path) -> dict[str, LayerTable]:
    """Return the forms of a run that chips are asked about: the merged spiking variant, its parent, its rival.

    The rival is the parent with integers of ceil(log2(T + 1)) bits, which hold as many levels as T spikes.

    Raises:
        InputError: a workload of the run is missing or damaged.
    """
    spiking, parent = (directory / WORKLOAD_FILES[form] for form in ("spiking-merged", "float"))
    return compared_forms(Workload.load(spiking), Workload.load(parent) if parent.exists() else None)


def compared_forms(spiking: Workload, parent: Workload | None) -> dict[str, LayerTable]:
    """Return the columns of the merged spiking variant, its parent and its quantized rival, by form name."""
    if parent is None:
        return {FORM_NAMES["spiking-merged"]: layer_table(spiking)}
    bits = rival_bits(spiking.timesteps)
    table = layer_table(parent)
    return {
        FORM_NAMES["spiking-merged"]: layer_table(spiking),
        FORM_NAMES["float"]: table,
        f"Parent, {bits} bits": table.with_bits(bits),
    }


def print_chips(answers: Sequence[Answer], console: Console) -> None:
    """Print one answer layer by layer, several as a comparison."""
    if len(answers) == 1 and answers[0].estimate is not None:
        _print_layers(answers[0].estimate, console)
    else:
        print_comparison(answers, console)


def print_comparison(answers: Sequence[Answer], console: Console) -> None:
    """Print energy with its band, latency and evidence by chip and form, and what is missing and why."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("chip / form", overflow="fold")
    for name in ("energy", "band", "latency", "covers"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("evidence")
    for chip, forms in itertools.groupby(answers, key=lambda answer: answer.chip.name):
        table.add_row(f"[bold]{escape(chip)}[/bold]")
        for answer in forms:
            table.add_row(f"  {escape(answer.form)}", *_cells(answer.estimate))
    console.print(table)
    for text in chip_remarks(to_document(answers)["answers"]):
        console.print(f"  - {escape(text)}")


def _cells(estimate: Estimate | None) -> tuple[str, ...]:
    if estimate is None:
        return ("-", "", "-", "-", "")
    latency = "refused" if estimate.total_latency_s is None else with_prefix(estimate.total_latency_s[0], "s")
    known = latency, percent(estimate.covered).replace("\N{NO-BREAK SPACE}", ""), estimate.grade
    if estimate.total_energy_j is None:
        return ("refused", "", *known)
    return (with_prefix(estimate.total_energy_j[0], "J"), _band(estimate.total_energy_j), *known)


def _band(values: Floats) -> str:
    low, high = float(values[1]), float(values[2])
    return "" if low == high else f"{with_prefix(low, 'J', 3)} to {with_prefix(high, 'J', 3)}"


def _print_layers(estimate: Estimate, console: Console) -> None:
    title = f"{estimate.subject} on {estimate.chip.title}"
    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("layer", overflow="fold")
    for name in ("energy", "share", "latency", "cycles", "used"):
        table.add_column(name, justify="right", no_wrap=True)
    energy = None if estimate.total_energy_j is None else np.asarray(sum(estimate.energy_j.values()))[0]
    for index, name in enumerate(estimate.names):
        cells = _layer_cells(estimate, index, None if energy is None else float(energy[index]))
        if any(cell not in ("0", "-", "0.0%") for cell in cells):
            table.add_row(escape(name), *cells)
    table.add_section()
    table.add_row("total", *_total_cells(estimate), style="bold")
    console.print(table)
    _print_totals(estimate, console)


def _layer_cells(estimate: Estimate, index: int, energy_j: float | None) -> tuple[str, ...]:
    latency, cycles, used = estimate.latency_s, estimate.cycles, estimate.utilization
    return (
        *_energy_cells(energy_j, estimate.total_energy_j),
        "-" if latency is None else with_prefix(float(latency[0, index]), "s"),
        "-" if cycles is None else with_prefix(float(cycles[index])),
        "-" if used is None or not used[index] else f"{used[index]:.1%}",
    )


def _energy_cells(energy_j: float | None, total_j: Floats | None) -> tuple[str, str]:
    if energy_j is None or total_j is None:
        return "-", "-"
    return with_prefix(energy_j, "J"), f"{energy_j / total_j[0]:.1%}" if total_j[0] else "-"


def _total_cells(estimate: Estimate) -> tuple[str, ...]:
    energy, latency, cycles = estimate.total_energy_j, estimate.total_latency_s, estimate.cycles
    return (
        *_energy_cells(None if energy is None else float(energy[0]), energy),
        "-" if latency is None else with_prefix(float(latency[0]), "s"),
        "-" if cycles is None else with_prefix(float(cycles.sum())),
        "",
    )


def _left_out(estimate: Estimate) -> Iterator[str]:
    for reason, names in left_out_by_reason(estimate.left_out).items():
        yield f"{len(names)} of {len(estimate.names)} layers, such as {names[0]}: {reason}"


def _print_totals(estimate: Estimate, console: Console) -> None:
    if estimate.total_energy_j is not None:
        parts = ", ".join(f"{name} {with_prefix(float(v[0].sum()), 'J')}" for name, v in estimate.energy_j.items())
        console.print(f"Energy: {parts}")
        console.print(f"Energy band: {_band(estimate.total_energy_j) or 'none'} ({estimate.band})")
    if estimate.traffic_bytes:
        moved = ", ".join(f"{name} {with_prefix(float(v.sum()), 'B')}" for name, v in estimate.traffic_bytes.items())
        console.print(f"Bytes moved: {moved}")
    console.print(f"Weakest evidence among {len(estimate.figures)} figures: {estimate.grade}")
    refused = (f"{question} is refused: {reason}" for question, reason in estimate.refused.items())
    for heading, sentences in (
        ("Not answered", [*refused, *_left_out(estimate)]),
        ("Assumptions", estimate.assumptions),
        ("Sources", estimate.chip.sources),
    ):
        if sentences:
            console.print(f"{heading}:")
        for sentence in sentences:
            console.print(f"  - {escape(sentence)}")
