"""An evaluation in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from neuro.evaluation.confusion import MOST_COLUMNS, Confusion
from neuro.evaluation.record import EvaluationRecord, TimestepRow
from neuro.evaluation.robustness import Robustness
from neuro.report.figures import Column

_STEP = "spikes/\nneuron/\nstep"
_UNBOUNDED = 10_000


def print_evaluation(record: EvaluationRecord, console: Console) -> None:
    """Print the tables of a record, all but its notes; each energy has its band below it."""
    console.print(_rows(record))
    if record.profiled_samples:
        plural = "s" if record.profiled_samples > 1 else ""
        band = (
            "" if any(row.energy_low_j != row.energy_high_j for row in record.rows) else ", whose figures have no band"
        )
        said = f"Counts and energy: {record.profiled_samples} sample{plural}, under {record.convention}{band}."
        console.print(Text(said))
    at = f", T = {record.trained_timesteps}" if record.trained_timesteps else ""
    if record.early_exit:
        _section(console, f"Early exit{at}", _exits(record))
    if record.corruptions:
        _section(console, f"Corrupted images{at}, accuracy in %", _corruptions(record.corruptions))
    if record.confusion:
        _print_confusion(record.confusion, at, console)


def _provenance(record: EvaluationRecord) -> str:
    samples = f"{record.profiled_samples} sample{'s' if record.profiled_samples > 1 else ''}"
    energy = _energies(record.rows)
    bands = [(row.energy_low_j, row.energy_high_j) for row in record.rows]
    shown = any(low is not None and high is not None and energy.band(low, high) for low, high in bands)
    missing = "" if shown else ", whose band is narrower than the digits shown"
    return f"Counts and energy: {samples}, under {record.convention}{missing}."


def _rows(record: EvaluationRecord) -> Table:
    rows = record.rows
    spikes, sops = Column.of([row.spikes for row in rows]), Column.of([row.sops for row in rows])
    energy = _energies(rows)
    marked = any(map(record.is_beyond_training, rows))
    heads = ["T", "Accuracy\n%", f"Spikes\n{spikes.unit}", f"Rate\n{_STEP}", f"SOPs\n{sops.unit}"]
    table = _table([*heads, f"Energy\n{energy.unit}", *([""] if marked else [])])
    for row in rows:
        cells: list[str | Text] = [
            str(row.timesteps),
            f"{100 * row.accuracy:.2f} ± {100 * row.standard_error:.2f}",
            spikes.text(row.spikes, "-"),
            Column("", "", 0, 3).text(row.firing_rate, "-"),
            sops.text(row.sops, "-"),
            _energy(energy, row.energy_j, row.energy_low_j, row.energy_high_j),
        ]
        table.add_row(*cells, *(["beyond training" if record.is_beyond_training(row) else ""] if marked else []))
    return table


def _exits(record: EvaluationRecord) -> Table:
    points = record.early_exit
    energy = Column.of([value for point in points for value in (point.energy_j, point.energy_low_j)], "J")
    table = _table(["Confidence", "Accuracy\n%", "Mean T", f"Energy\n{energy.unit}", "Stop at\nT = 1, 2, ..."])
    for point in points:
        table.add_row(
            f"{point.threshold:g}",
            f"{100 * point.accuracy:.2f}",
            f"{point.mean_timesteps:.3f}",
            _energy(energy, point.energy_j, point.energy_low_j, point.energy_high_j),
            ", ".join(map(str, point.exits)),
        )
    return table


def _corruptions(found: Robustness) -> Table:
    table = _table(["Corruption", *(f"severity\n{severity}" for severity in found.severities), "mean"], text_columns=1)
    for name, shares in found.accuracies.items():
        table.add_row(name, *map(_percent, shares), _percent(found.mean_of(name)))
    table.add_section()
    by_severity = zip(*found.accuracies.values(), strict=True)
    means = [sum(shares) / len(shares) for shares in by_severity]
    table.add_row("mean", *map(_percent, means), _percent(found.mean))
    table.add_row("clean", *[""] * len(means), _percent(found.clean))
    return table


def _print_confusion(found: Confusion, at: str, console: Console) -> None:
    numbered = [f"{i} {name}" if name != str(i) else name for i, name in enumerate(found.classes)]
    matrix = _table(["True", *map(str, range(len(numbered))), "recall\n%"], text_columns=1)
    for name, counts, recall in zip(numbered, found.counts, found.recall, strict=True):
        matrix.add_row(Text(name), *(str(count or ".") for count in counts), _percent(recall))
    wide = Measurement.get(console, console.options.update(width=_UNBOUNDED), matrix).minimum > console.width
    if wide or len(numbered) > MOST_COLUMNS:
        console.print(Text(f"\nThe matrix of {len(numbered)} classes is too wide to show; it stands in the record."))
    else:
        _section(console, f"Confusion matrix{at}, columns: taken for", matrix)
    mistakes = _table(["True", "Taken for", "Samples", "Share of\nthe class, %"], text_columns=2)
    for mistake in found.top():
        mistakes.add_row(Text(mistake.true), Text(mistake.predicted), str(mistake.samples), _percent(mistake.share))
    if mistakes.row_count:
        _section(console, f"Most frequent confusions{at}", mistakes)
    else:
        console.print(Text("No sample was taken for another class."))


def _energies(rows: Iterable[TimestepRow]) -> Column:
    return Column.of([value for row in rows for value in (row.energy_j, row.energy_low_j)], "J")


def _energy(column: Column, energy_j: float | None, low_j: float | None, high_j: float | None) -> Text:
    """The energy, its band on the line below."""
    text = Text(column.text(energy_j, "-"))
    band = "" if low_j is None or high_j is None else column.band(low_j, high_j)
    return text.append(f"\n{band}", "dim") if band else text


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"


def _table(heads: Sequence[str], text_columns: int = 0) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for i, head in enumerate(heads):
        table.add_column(head, justify="left" if i < text_columns else "right", overflow="fold")
    return table


def _section(console: Console, title: str, table: Table) -> None:
    console.print(Text(f"\n{title}", "bold"))
    console.print(table)
