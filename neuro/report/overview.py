"""The top of the page: headline figures, the summary table, and the forms' energy side by side."""

from __future__ import annotations

from dataclasses import dataclass

from neuro.records import FormKey, SummaryRow
from neuro.report import charts
from neuro.report.audit import accumulate_only_share
from neuro.report.cells import Cell, Table, Title, heads, number, percent_cell, percent_head
from neuro.report.documents import RunDocuments
from neuro.report.figures import NOT_MEASURED, Column, exact, is_number, percent, si, times
from neuro.report.layers import EnergyParts, energy_parts

PART_NAMES = {"mac": "MAC", "ac": "AC", "other": "other"}


@dataclass(frozen=True)
class Headline:
    """A figure in large type, with its context."""

    label: str
    figure: str
    exact: str
    context: tuple[str, ...]


@dataclass(frozen=True)
class Bar:
    """Energy of one form: stacked parts and the band, in percent of the longest band."""

    name: str
    text: str
    exact: str
    ratio: str
    segments: list[charts.Segment]
    low: float
    high: float


def summary_row(documents: RunDocuments, *keys: FormKey) -> SummaryRow | None:
    """The first summary row that is there, in the order of the keys."""
    rows = {row.key: row for row in documents.record.rows}
    return next((rows[key] for key in keys if key in rows), None)


def headlines(documents: RunDocuments) -> list[Headline]:
    """The four figures that a reader wants first, of the inference form."""
    row = summary_row(documents, "converted", "low-bit", "spiking-merged", "spiking")
    share = _share_headline(documents)
    last = _rate(row) if row and (documents.record.low_bit is None or row.firing_rate is not None) else _size(documents)
    return [_accuracy(documents, row), _energy(documents, row), share, last] if row else [share]


def _accuracy(documents: RunDocuments, row: SummaryRow) -> Headline:
    context = []
    network = documents.record.network
    if network is not None and row.accuracy is None:
        agreed = next(point.agreement for point in network.sweep if point.timesteps == row.timesteps)
        unlabelled = f"of {network.compared_samples} unlabelled samples"
        return Headline("Same answer as float", percent(agreed, 1), exact(agreed), (unlabelled,))
    low_bit = documents.record.low_bit
    if low_bit is not None and row.accuracy is None:
        unlabelled = f"of {low_bit.compared_samples} unlabelled samples"
        return Headline("Same answer as float", percent(low_bit.agreement, 1), exact(low_bit.agreement), (unlabelled,))
    if row.accuracy is not None:
        samples = documents.record.test_samples
        context.append(f"{row.accuracy * samples:.0f} of {samples} test samples")
    parent = summary_row(documents, "float")
    if parent and parent.accuracy is not None:
        context.append(f"float parent {percent(parent.accuracy, 2)}")
    return Headline("Accuracy", percent(row.accuracy, 2), exact(row.accuracy), tuple(context))


def _energy(documents: RunDocuments, row: SummaryRow) -> Headline:
    parent, quantized = summary_row(documents, "float"), summary_row(documents, "quantized")
    low_bit = summary_row(documents, "spiking-quantized")
    context = []
    if parent and parent.energy_j:
        context.append(f"{times(row.energy_j / parent.energy_j)} the float parent's")
    if low_bit and quantized and quantized.energy_j:
        ratio = times(low_bit.energy_j / quantized.energy_j)
        context.append(f"{ratio} the quantized parent's, both at {quantized.bits} bits")
    return Headline("Energy per inference", si(row.energy_j, "J"), exact(row.energy_j), tuple(context))


def _share_headline(documents: RunDocuments) -> Headline:
    share = accumulate_only_share(documents.workloads[documents.inference_form])
    context = ["of the synaptic operations executed"]
    if "spiking" in documents.workloads:
        trained = accumulate_only_share(documents.workloads["spiking"])
        context.append(f"{percent(trained.of_operations)} before merging")
    context.append(f"{percent(share.of_dense_macs)} of the dense MACs")
    return Headline("Accumulate-only", percent(share.of_operations), exact(share.of_operations), tuple(context))


def _size(documents: RunDocuments) -> Headline:
    low_bit = documents.record.low_bit
    if low_bit is None:
        return Headline("Size", NOT_MEASURED, "", ())
    share = f"1/{low_bit.float_bits / low_bit.stored_bits:.1f} of the float network's"
    return Headline("Size", f"{low_bit.stored_bits / 8 / 1024:.0f} KiB", exact(low_bit.stored_bits), (share,))


def _rate(row: SummaryRow) -> Headline:
    context = ("spikes per neuron per timestep", f"T = {row.timesteps}")
    figure = f"{row.firing_rate:.3f}" if is_number(row.firing_rate) else NOT_MEASURED
    return Headline("Firing rate", figure, exact(row.firing_rate), context)


def summary_table(documents: RunDocuments) -> Table:
    """The summary table; a row with a note carries its number behind the name."""
    rows = documents.record.rows
    operations = Column.of([v for row in rows for v in (row.sops, row.macs, row.acs)], most_decimals=4)
    parameters = Column.of([row.parameters for row in rows])
    energy = Column.of([row.energy_j for row in rows], "J", most_decimals=5)
    counts = (operations.head(title) for title in ("SOPs", "MAC", "AC"))
    costs = (energy.head(title) for title in ("Energy", "Low", "High"))
    sizes = (percent_head("Accuracy"), parameters.head("Parameters"), "Firing rate")
    titles: list[Title] = ["Form", "T", "Bits", *sizes, *counts, *costs]
    numbered = iter(range(1, len(rows) + 1))
    body = [
        [
            Cell(row.name, "", "name", str(next(numbered)) if row.note else ""),
            Cell(str(row.timesteps), "", "num"),
            Cell(str(row.bits), "", "num"),
            percent_cell(row.accuracy),
            number(parameters, row.parameters),
            number(Column("", "", 0, 3), row.firing_rate, "-"),
            *(number(operations, value) for value in (row.sops, row.macs, row.acs)),
            *(number(energy, value) for value in (row.energy_j, row.energy_low_j, row.energy_high_j)),
        ]
        for row in rows
    ]
    return Table("Summary", heads(titles, text=(0,)), body)


def energy_bars(documents: RunDocuments) -> list[Bar]:
    """One bar for each summary row, all to one scale."""
    rows = documents.record.rows
    full = max((max(row.energy_high_j, row.energy_j) for row in rows), default=0.0)
    parent = summary_row(documents, "float")
    return [_bar(documents, row, full, parent) for row in rows]


def _bar(documents: RunDocuments, row: SummaryRow, full: float, parent: SummaryRow | None) -> Bar:
    estimate = documents.estimates.get(row.key)
    parts = energy_parts(estimate) if estimate else [EnergyParts(0, 0, row.energy_j)]
    low, high = (100 * value / full if full else 0.0 for value in (row.energy_low_j, row.energy_high_j))
    own = parent is None or parent is row or not parent.energy_j
    ratio = "" if own or parent is None else f"{times(row.energy_j / parent.energy_j)} the float parent's"
    segments = charts.stack(part_totals(parts), full)
    return Bar(row.name, si(row.energy_j, "J"), exact(row.energy_j), ratio, segments, round(low, 3), round(high, 3))


def part_totals(parts: list[EnergyParts]) -> list[tuple[str, float]]:
    """Joules of all layers by kind, MAC first."""
    totals = (
        sum(part.mac_j for part in parts),
        sum(part.ac_j for part in parts),
        sum(p.other_j for p in parts),
    )
    return list(zip(PART_NAMES, totals, strict=True))
