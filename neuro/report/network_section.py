"""A network that was given: how good it is at every T, and what became of each of its operators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from neuro.records import NetworkRecord, OperatorRecord
from neuro.report.audit import AuditRow, accumulate_only_share, audit
from neuro.report.cells import Cell, Table, Title, heads, number, percent_cell, percent_head
from neuro.report.documents import RunDocuments
from neuro.report.figures import Column, exact, percent

KIND_WORDS = {
    "synapse": "driven by spikes",
    "product": "driven by the spikes of both operands",
    "scale": "times a constant, on values",
    "add": "adds values",
    "reduce": "sums and means, on values",
    "move": "moves values",
    "nonlinear": "exact, on values",
    "comparison": "compares values",
    "ladder": "by thresholds",
    "kept": "KEPT IN FLOAT, as asked",
}
"""What became of an operator, for people."""


@dataclass(frozen=True)
class NetworkSection:
    """The section of a page; `lead` and `counts` are sentences."""

    sweep: Table
    lead: str
    operators: Table


def network_section(documents: RunDocuments) -> NetworkSection | None:
    """Return the section; None for a run of an architecture."""
    network = documents.record.network
    if network is None:
        return None
    return NetworkSection(sweep_table(network), lead(documents, network), operators_table(documents, network))


def lead(documents: RunDocuments, network: NetworkRecord) -> str:
    """How many operators were met, what became of them, and how much of the work is accumulate-only."""
    kinds = Counter(one.kind for one in network.operators)
    driven = kinds["synapse"] + kinds["product"]
    share = accumulate_only_share(documents.workloads[documents.inference_form])
    others = ", ".join(
        f"{kinds[kind]} {kind}" for kind in KIND_WORDS if kind not in ("synapse", "product") and kinds[kind]
    )
    kept = f" {kinds['kept']} without a rule stay in float." if kinds["kept"] else ""
    return (
        f"{len(network.operators)} operators: {driven} driven by spikes ({kinds['synapse']} with weights, "
        f"{kinds['product']} products of two spiking values); {others}.{kept} Accumulate-only, as measured: "
        f"{percent(share.of_dense_macs)} of the dense MACs."
    )


def sweep_table(network: NetworkRecord) -> Table:
    """Accuracy, error, spikes and energy against T."""
    rows = network.sweep
    spikes, sops = Column.of([row.spikes for row in rows]), Column.of([v for row in rows for v in (row.sops, row.macs)])
    energy = Column.of([row.energy_j for row in rows], "J")
    costs = (energy.head(title) for title in ("Energy", "Low", "High"))
    shares = (percent_head(title) for title in ("Same answer as float", "Accuracy"))
    counts = ("Firing rate", spikes.head("Spikes"), sops.head("SOPs"), sops.head("MAC"))
    titles: list[Title] = ["T", "Output error", *shares, *counts, *costs]
    body = [
        [
            Cell(str(row.timesteps), "", "name"),
            Cell(f"{row.output_error:.2e}", exact(row.output_error), "num"),
            percent_cell(row.agreement),
            percent_cell(row.accuracy),
            number(Column("", "", 0, 3), row.firing_rate),
            number(spikes, row.spikes),
            number(sops, row.sops),
            number(sops, row.macs),
            *(number(energy, value) for value in (row.energy_j, row.energy_low_j, row.energy_high_j)),
        ]
        for row in rows
    ]
    return Table("The converted network against T", heads(titles, text=(0,)), body)


def operators_table(documents: RunDocuments, network: NetworkRecord) -> Table:
    """Every operator that was met, what became of it, what it really read, what it costs, and its error."""
    judged = {row.name: row for row in audit(documents.workloads[documents.inference_form])}
    counts = Column.of([v for row in judged.values() for v in (row.macs, row.acs)])
    errors = [f"Error, T = {t}" for t in network.errors_at]
    titles: list[Title] = ["#", "Module", "Operator", "Became", "Operands, as measured", counts.head("MAC")]
    titles += [counts.head("AC"), *errors]
    body = [
        [
            Cell(str(n), "", "num dim"),
            Cell(one.path, "", "name"),
            Cell(one.operator),
            Cell(_became(one), "", "prose"),
            Cell(_operands(judged.get(one.layer)), "", "lines"),
            *_counts(counts, judged.get(one.layer)),
            *_errors(one, len(network.errors_at)),
        ]
        for n, one in enumerate(network.operators, 1)
    ]
    return Table("What became of each operator", heads(titles, text=(1, 2, 3, 4)), body)


def _became(one: OperatorRecord) -> str:
    return KIND_WORDS[one.kind] + ("" if one.bound is None else f", off by at most {one.bound:.1e}")


def _operands(row: AuditRow | None) -> str:
    return "\n".join(operand.words for operand in row.operands) if row else ""


def _counts(column: Column, row: AuditRow | None) -> list[Cell]:
    return [number(column, value, "-") for value in ((row.macs, row.acs) if row else (None, None))]


def _errors(one: OperatorRecord, count: int) -> Iterator[Cell]:
    for index in range(count):
        value = one.errors[index] if one.errors else None
        yield Cell("-", "", "num missing") if value is None else Cell(f"{value:.1e}", exact(value), "num")
