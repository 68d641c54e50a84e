"""An evaluation in a terminal."""

from __future__ import annotations

from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from neuro.evaluation.confusion import MOST_COLUMNS, Confusion
from neuro.evaluation.record import EvaluationRecord
from neuro.evaluation.robustness import Robustness
from neuro.report.figures import Column
from neuro.report.wrapped import print_wrapped

_RATE = Column("", "", 0, 3)


def print_evaluation(record: EvaluationRecord, console: Console) -> None:
    """Print the tables of a record, all but its notes; each energy has its band below it.

    A table that is too wide for the terminal becomes one block of lines a row.
    """
    _rows(record).show(console)
    if record.profiled_samples:
        print_wrapped(console, _provenance(record))
    at = f", T = {record.trained_timesteps}" if record.trained_timesteps else ""
    if record.early_exit:
        _exits(record).show(console, f"Early exit{at}")
    if record.corruptions:
        _corruptions(record.corruptions).show(console, f"Corrupted images{at}, accuracy in %")
    if record.confusion:
        _print_confusion(record.confusion, at, console)


@dataclass(frozen=True)
class _Grid:
    """A table as text; lines of a head or a cell are parted by a line break, the first of a cell is its figure."""

    heads: list[str]
    rows: list[list[str]]
    text_columns: int = 0

    def show(self, console: Console, title: str = "") -> None:
        if title:
            console.print(Text(f"\n{title}", "bold"))
        if self.fits(console):
            console.print(self._table())
            return
        width = max(len(_joined(head)) for head in self.heads)
        for row in self.rows:
            for i, (head, cell) in enumerate(zip(self.heads, row, strict=True)):
                line = f"{'' if i == 0 else '  '}{_joined(head):<{width}}  {_joined(cell)}"
                if cell:
                    console.print(Text(line.rstrip()), soft_wrap=True)

    def fits(self, console: Console) -> bool:
        return Measurement.get(console, console.options.update(width=10_000), self._table()).minimum <= console.width

    def _table(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        for i, head in enumerate(self.heads):
            width = max(len(line) for text in (head, *(row[i] for row in self.rows)) for line in text.split("\n"))
            table.add_column(head, justify="left" if i < self.text_columns else "right", min_width=width)
        for row in self.rows:
            table.add_row(*map(_cell, row))
        return table


def _cell(text: str) -> Text:
    figure, line_break, below = text.partition("\n")
    return Text(figure).append(line_break + below, "dim")


def _joined(text: str) -> str:
    return " ".join(text.split())


def _provenance(record: EvaluationRecord) -> str:
    samples = f"{record.profiled_samples} sample{'s' if record.profiled_samples > 1 else ''}"
    energy = _energies(record)
    bands = [(row.energy_low_j, row.energy_high_j) for row in record.rows]
    shown = any(low is not None and high is not None and energy.band(low, high) for low, high in bands)
    missing = "" if shown else ", whose band is narrower than the digits shown"
    return f"Counts and energy: {samples}, under {record.convention}{missing}."


def _rows(record: EvaluationRecord) -> _Grid:
    rows = record.rows
    spikes, sops = Column.of([row.spikes for row in rows]), Column.of([row.sops for row in rows])
    energy, marked = _energies(record), any(map(record.is_beyond_training, rows))
    heads = ["T", "Accuracy\n%", f"Spikes\n{spikes.unit}", "Rate\nspikes/\nneuron/\nstep", f"SOPs\n{sops.unit}"]
    heads += [f"Energy\n{energy.unit}", *([""] if marked else [])]
    cells = [
        [
            str(row.timesteps),
            f"{100 * row.accuracy:.2f} ± {100 * row.standard_error:.2f}",
            spikes.text(row.spikes, "-"),
            _RATE.text(row.firing_rate, "-"),
            sops.text(row.sops, "-"),
            _energy(energy, row.energy_j, row.energy_low_j, row.energy_high_j),
            *(["beyond training" if record.is_beyond_training(row) else ""] if marked else []),
        ]
        for row in rows
    ]
    return _Grid(heads, cells)


def _exits(record: EvaluationRecord) -> _Grid:
    points = record.early_exit
    energy = Column.of([value for point in points for value in (point.energy_j, point.energy_low_j)], "J")
    rows = [
        [
            f"{point.threshold:g}",
            f"{100 * point.accuracy:.2f}",
            f"{point.mean_timesteps:.3f}",
            _energy(energy, point.energy_j, point.energy_low_j, point.energy_high_j),
            ", ".join(map(str, point.exits)),
        ]
        for point in points
    ]
    return _Grid(["Confidence", "Accuracy\n%", "Mean T", f"Energy\n{energy.unit}", "Stop at\nT = 1, 2, ..."], rows)


def _corruptions(found: Robustness) -> _Grid:
    rows = [[name, *map(_percent, row), _percent(found.mean_of(name))] for name, row in found.accuracies.items()]
    by_severity = zip(*found.accuracies.values(), strict=True)
    means = [_percent(sum(shares) / len(shares)) for shares in by_severity]
    rows.append(["mean", *means, _percent(found.mean)])
    rows.append(["clean", *[""] * len(means), _percent(found.clean)])
    return _Grid(["Corruption", *(f"severity\n{severity}" for severity in found.severities), "mean"], rows, 1)


def _print_confusion(found: Confusion, at: str, console: Console) -> None:
    names = [name if name == str(i) else f"{i} {_joined(name)}" for i, name in enumerate(found.classes)]
    rows = [
        [name, *(str(count or ".") for count in counts), _percent(recall)]
        for name, counts, recall in zip(names, found.counts, found.recall, strict=True)
    ]
    matrix = _Grid(["True", *map(str, range(len(names))), "recall\n%"], rows, 1)
    if len(names) <= MOST_COLUMNS and matrix.fits(console):
        matrix.show(console, f"Confusion matrix{at}, columns: taken for")
    else:
        print_wrapped(console, f"The matrix of {len(names)} classes is too wide to show; it stands in the record.")
    mistakes = [[_joined(m.true), _joined(m.predicted), str(m.samples), _percent(m.share)] for m in found.top()]
    if mistakes:
        heads = ["True", "Taken for", "Samples", "Share of\nthe class, %"]
        _Grid(heads, mistakes, 2).show(console, f"Most frequent confusions{at}")
    else:
        console.print(Text("No sample was taken for another class."))


def _energies(record: EvaluationRecord) -> Column:
    return Column.of([value for row in record.rows for value in (row.energy_j, row.energy_low_j)], "J")


def _energy(column: Column, energy_j: float | None, low_j: float | None, high_j: float | None) -> str:
    """The energy, its band on the line below."""
    band = "" if low_j is None or high_j is None else column.band(low_j, high_j)
    return f"{column.text(energy_j, '-')}\n{band}".rstrip()


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"
