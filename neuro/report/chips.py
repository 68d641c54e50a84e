"""What chips say of the forms of a network, in a terminal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hardware_models.comparison import Answer, to_document
from hardware_models.estimate import Estimate
from hardware_models.quantity import GRADES, with_prefix
from hardware_models.totals import Floats
from neuro.report.chip_section import chip_remarks, left_out_by_reason
from neuro.report.figures import percent
from neuro.report.wrapped import print_wrapped

_COLUMNS = ("energy", "band", "latency", "covers")
_LAYER_COLUMNS = ("energy", "share", "latency", "cycles", "utilization")
_NARROW = 76
"""Columns of a terminal below which the tables lose columns or become blocks."""

_NO_BAND = "none known"
_NOTHING = ("0", "0 J", "0 s", "-", "0.0%")


def print_chips(answers: Sequence[Answer], console: Console) -> None:
    """Print one answer layer by layer, several as a comparison."""
    if len(answers) == 1 and answers[0].estimate is not None:
        _print_layers(answers[0].estimate, console)
    else:
        print_comparison(answers, console)


def print_comparison(answers: Sequence[Answer], console: Console) -> None:
    """Print energy with its band, latency and evidence by chip and form, and what is missing and why."""
    if console.width < _NARROW:
        _print_blocks(answers, console)
    else:
        console.print(_comparison(answers))
    remarks = list(chip_remarks(to_document(answers)["answers"]))
    for text in remarks:
        print_wrapped(console, text, "  - ")
    for text in _explanations(answers):
        print_wrapped(console, text, style="dim")


def _comparison(answers: Sequence[Answer]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("chip / form", overflow="fold")
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("evidence")
    for chip, forms in _by_chip(answers):
        table.add_row(f"[bold]{escape(chip)}[/bold]")
        for answer in forms:
            table.add_row(f"  {escape(_form(answer))}", *_cells(answer.estimate))
    return table


def _by_chip(answers: Sequence[Answer]) -> Iterator[tuple[str, list[Answer]]]:
    """Yield each chip's name and answers; two chips stay apart even where a copied file kept the name."""
    for _, group in itertools.groupby(answers, key=lambda answer: id(answer.chip)):
        forms = list(group)
        yield forms[0].chip.name, forms


def _print_blocks(answers: Sequence[Answer], console: Console) -> None:
    """Print a few short lines for each form, where a table has no room."""
    for chip, forms in _by_chip(answers):
        console.print(Text(chip, style="bold"))
        for answer in forms:
            cells = zip((*_COLUMNS, "evidence"), _cells(answer.estimate), strict=True)
            said = "; ".join(f"{name} {cell}" for name, cell in cells if cell)
            print_wrapped(console, f"{_form(answer)}: {said}", "  ")


def _form(answer: Answer) -> str:
    """Return the form's name, with a mark where the chip is taken to run it at fewer bits."""
    narrowed = answer.estimate is not None and answer.estimate.narrowed
    return f"{answer.form}*" if narrowed else answer.form


def _explanations(answers: Sequence[Answer]) -> Iterator[str]:
    """Yield what the columns mean."""
    estimates = [answer.estimate for answer in answers if answer.estimate is not None]
    if any(estimate.narrowed for estimate in estimates):
        yield "*: at fewer bits than the network was given with, see above."
    for words in dict.fromkeys(estimate.band for estimate in estimates):
        yield f"band: {words}; {_NO_BAND}: the chip's figures were published without one."
    yield "covers: share of the dense multiply-accumulates in layers that the chip runs."
    yield f"evidence: the weakest grade among the figures that were read ({', '.join(GRADES)}, from best to worst)."
    yield "What an estimate takes for granted is said with --json, and for one network (RUN/workload.json) on one chip."


def _cells(estimate: Estimate | None) -> tuple[str, ...]:
    if estimate is None:
        return ("-", "cannot run", "", "", "")
    latency = "refused" if estimate.total_latency_s is None else with_prefix(estimate.total_latency_s[0], "s")
    known = latency, percent(estimate.covered).replace("\N{NO-BREAK SPACE}", ""), estimate.grade
    if estimate.total_energy_j is None:
        return ("refused", "", *known)
    return (with_prefix(estimate.total_energy_j[0], "J"), _band(estimate.total_energy_j, "J"), *known)


def _band(values: Floats, unit: str) -> str:
    low, high = float(values[1]), float(values[2])
    return _NO_BAND if low == high else f"{with_prefix(low, unit, 3)} to {with_prefix(high, unit, 3)}"


def _print_layers(estimate: Estimate, console: Console) -> None:
    console.print(Text(f"{estimate.subject} on {estimate.chip.title}", style="italic"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("layer", overflow="fold")
    shown = 3 if console.width < _NARROW else len(_LAYER_COLUMNS)
    for name in _LAYER_COLUMNS[:shown]:
        table.add_column(name, justify="right", no_wrap=True)
    energy = None if estimate.total_energy_j is None else np.asarray(sum(estimate.energy_j.values()))[0]
    for index, name in enumerate(estimate.names):
        cells = _layer_cells(estimate, index, None if energy is None else float(energy[index]))
        # What the chip does not run has no figures, which is not 0: it is listed below.
        if name not in estimate.left_out and any(cell not in _NOTHING for cell in cells):
            table.add_row(escape(name), *cells[:shown])
    table.add_section()
    table.add_row("total", *_total_cells(estimate)[:shown], style="bold")
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


def _print_band(name: str, values: Floats, unit: str, words: str, console: Console) -> None:
    band = _band(values, unit)
    why = "the figures that it follows from have none" if band == _NO_BAND else words
    console.print(f"{name} band: {band} ({why})")


def _print_totals(estimate: Estimate, console: Console) -> None:
    if estimate.total_energy_j is not None:
        parts = ", ".join(f"{name} {with_prefix(float(v[0].sum()), 'J')}" for name, v in estimate.energy_j.items())
        console.print(f"Energy: {parts}")
        _print_band("Energy", estimate.total_energy_j, "J", estimate.band, console)
    if estimate.total_latency_s is not None:
        _print_band("Latency", estimate.total_latency_s, "s", estimate.band, console)
        if estimate.latency_s is not None and not math.isclose(
            estimate.latency_s[0].sum(), estimate.total_latency_s[0], rel_tol=1e-6
        ):
            console.print(
                "The latencies of layers do not add up to the total: the chip works on several at once, or waits."
            )
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
            print_wrapped(console, sentence, "  - ")
