"""Energy by layer and the audit, one view for each form of the network."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from neuro.report import charts
from neuro.report.audit import VERDICTS, AuditRow, Verdict, accumulate_only_share, audit
from neuro.report.cells import PERCENT, Cell, Table, Title, heads, number, percent_head
from neuro.report.documents import FORM_NAMES, FormKey, RunDocuments
from neuro.report.figures import Column, percent, si
from neuro.report.layers import EnergyParts, energy_parts, layer_figures
from neuro.report.overview import PART_NAMES, part_totals


@dataclass(frozen=True)
class StackedColumn:
    """One layer of the energy chart."""

    label: str
    x: float
    width: float
    segments: list[charts.Segment]


@dataclass(frozen=True)
class EnergyView:
    """Energy by layer of one form."""

    form: FormKey
    name: str
    lead: str
    kinds: list[str]
    y_ticks: list[tuple[float, str]]
    x_ticks: list[charts.Tick]
    spans: list[charts.Span]
    columns: list[StackedColumn]
    table: Table


@dataclass(frozen=True)
class AuditView:
    """The audit of one form; `counts` are layers by verdict."""

    form: FormKey
    name: str
    lead: str
    counts: list[tuple[Verdict, int]]
    table: Table


def energy_views(documents: RunDocuments) -> list[EnergyView]:
    """Energy by layer of every form that has an estimate, the merged one first."""
    return [_energy_view(documents, form) for form in FORM_NAMES if form in documents.estimates]


def _energy_view(documents: RunDocuments, form: FormKey) -> EnergyView:
    estimate = documents.estimates[form]
    layers, parts = estimate.layers, energy_parts(estimate)
    top, step = charts.nice_top(max((layer.energy_j for layer in layers), default=0.0))
    totals = part_totals(parts)
    return EnergyView(
        form=form,
        name=FORM_NAMES[form],
        lead=_energy_lead(documents, form, totals),
        kinds=[kind for kind, value in totals if value > 0],
        y_ticks=_energy_ticks(top, step),
        x_ticks=charts.index_ticks(len(layers)),
        spans=charts.spans([layer.name for layer in layers]),
        columns=_stacked_columns(documents, form, parts, top),
        table=_energy_table(documents, form),
    )


def _energy_ticks(top: float, step: float) -> list[tuple[float, str]]:
    scale = Column.of([top], "J")
    return [
        (tick.at, f"{tick.value / 10.0**scale.exponent:.4g} {scale.unit}" if tick.value else "0")
        for tick in charts.ticks(0, top, step)
    ]


def _energy_lead(documents: RunDocuments, form: FormKey, totals: list[tuple[str, float]]) -> str:
    estimate = documents.estimates[form]
    total = estimate.energy_j
    low, high = (si(end, "J") for end in estimate.energy_band_j)
    shares = [f"{percent(value / total)} {PART_NAMES[kind]}" for kind, value in totals if value > 0 and total]
    band = "" if low == high else f" (band {low} to {high})"
    lead = f"{si(total, 'J')} per inference{band}: {', '.join(shares) or 'nothing counted'}."
    if not total:
        return lead
    most = max(estimate.layers, key=lambda layer: layer.energy_j)
    return f"{lead} The costliest layer, {most.name}, takes {percent(most.energy_j / total)}."


def _stacked_columns(
    documents: RunDocuments, form: FormKey, parts: list[EnergyParts], top: float
) -> list[StackedColumn]:
    layers = documents.estimates[form].layers
    places = charts.columns(len(layers))
    found = []
    for n, (layer, part, (x, width)) in enumerate(zip(layers, parts, places, strict=True), 1):
        stacked = charts.stack([("mac", part.mac_j), ("ac", part.ac_j), ("other", part.other_j)], top)
        counts = f"{si(layer.macs)} MAC, {si(layer.acs)} AC"
        label = f"{n} · {layer.name} · {si(layer.energy_j, 'J')} · {counts}"
        found.append(StackedColumn(label, x, width, stacked))
    return found


def _energy_table(documents: RunDocuments, form: FormKey) -> Table:
    rows = [row for row in layer_figures(documents, form) if row.energy_j is not None]
    operations = Column.of([v for row in rows for v in (row.counted_macs, row.counted_acs)])
    energy = Column.of([row.energy_j for row in rows], "J")
    total = documents.estimates[form].energy_j
    counts = (operations.head(title) for title in ("MAC", "AC"))
    costs = (energy.head(title) for title in ("Energy", "Low", "High"))
    titles: list[Title] = ["#", "Layer", "Operator", *counts, *costs, percent_head("Share"), "Rule"]
    body = [
        [
            Cell(str(n), "", "num dim"),
            Cell(row.name, "", "name"),
            Cell(row.operator),
            number(operations, row.counted_macs),
            number(operations, row.counted_acs),
            *(number(energy, value) for value in (row.energy_j, row.energy_low_j, row.energy_high_j)),
            number(PERCENT, (row.energy_j or 0) / total if total else None, "-"),
            Cell(row.rule, "", "prose"),
        ]
        for n, row in enumerate(rows, 1)
    ]
    return Table(f"Energy by layer: {FORM_NAMES[form].lower()}", heads(titles, text=(1, 2, 9)), body)


def audit_views(documents: RunDocuments) -> list[AuditView]:
    """The audit of every spiking form, that of inference first."""
    return [_audit_view(documents, form) for form in documents.variant_forms]


def _audit_view(documents: RunDocuments, form: FormKey) -> AuditView:
    workload = documents.workloads[form]
    rows, share = audit(workload), accumulate_only_share(workload)
    found = Counter(row.verdict for row in rows)
    lead = (
        f"{found['accumulate-only']} of {sum(1 for _ in workload.synaptic_layers())} synaptic layers are "
        f"accumulate-only: {percent(share.of_operations)} of the synaptic operations that were executed, "
        f"{percent(share.of_dense_macs)} of the dense MACs."
    )
    counts = [(verdict, found[verdict]) for verdict in VERDICTS if found[verdict]]
    return AuditView(form, FORM_NAMES[form], lead, counts, _audit_table(rows, FORM_NAMES[form]))


def _operation_cells(column: Column, row: AuditRow) -> list[Cell]:
    """MAC and AC of one layer; operators without synapses show a count only where there is one."""
    return [number(column, v if v or row.share is not None else None, "-") for v in (row.macs, row.acs)]


def _audit_table(rows: list[AuditRow], name: str) -> Table:
    operations = Column.of([v for row in rows for v in (row.macs, row.acs)])
    counts = (operations.head(title) for title in ("MAC", "AC"))
    titles: list[Title] = [
        "#",
        "Layer",
        "Operator",
        "Verdict",
        *counts,
        percent_head("Share"),
        "Why",
        "Operands",
    ]
    body = [
        [
            Cell(str(n), "", "num dim"),
            Cell(row.name, "", "name"),
            Cell(f"{row.operator}\n{row.op}", "", "lines"),
            Cell(row.verdict, "", "verdict"),
            *_operation_cells(operations, row),
            number(PERCENT, row.share, "-"),
            Cell(row.reason, "", "prose"),
            Cell("\n".join(operand.words for operand in row.operands), "", "lines"),
        ]
        for n, row in enumerate(rows, 1)
    ]
    return Table(f"Audit: {name.lower()}", heads(titles, text=(1, 2, 3, 7, 8)), body)
