"""The report as Markdown, CSV and JSON, and the summary in a terminal."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from neuro.records import ConversionRecord
from neuro.report.audit import accumulate_only_share, audit
from neuro.report.chip_section import chip_section
from neuro.report.documents import FORM_NAMES, FormKey, RunDocuments, attributed
from neuro.report.figures import exact, is_number, percent, si
from neuro.report.layers import LayerFigures, firing_rates, layer_figures
from neuro.report.terminal import print_summary

__all__ = ["print_summary", "to_csv", "to_json", "to_markdown"]

SCHEMA = "neuro.report/1"

_MARKDOWN_SIGNS = re.compile(r"([\\`*_\[\]<>|#~&])")


def to_csv(documents: RunDocuments) -> str:
    """Return one line for each layer of each form: what was measured, its verdict and its energy.

    There is no line of totals, and a cell without a figure is empty.
    """
    text = io.StringIO()
    fields = list(LayerFigures.model_fields)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(fields)
    writer.writerows([_plain(getattr(row, field)) for field in fields] for row in _all_figures(documents))
    return text.getvalue()


def _all_figures(documents: RunDocuments) -> Iterable[LayerFigures]:
    forms = [form for form in FORM_NAMES if form in documents.workloads or form in documents.estimates]
    return (row for form in forms for row in layer_figures(documents, form))


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return "; ".join(value)
    return exact(value) if isinstance(value, float) else value


def to_json(documents: RunDocuments, indent: int | None = None) -> str:
    """Return everything the report shows, with exact numbers; NaN becomes null.

    Tables by layer are `{"columns": [...], "rows": [[...], ...]}`.
    """
    estimates = documents.estimates.items()
    report = {
        "schema": SCHEMA,
        "date": documents.date,
        "conversion": documents.record.model_dump(by_alias=True),
        "accumulate_only": {
            form: accumulate_only_share(documents.workloads[form]).model_dump() for form in documents.variant_forms
        },
        "chips": documents.chips,
        "layers": _columns(row.model_dump() for row in _all_figures(documents)),
        "firing_rates": {form: _rates(documents, form) for form in documents.variant_forms},
        "assumptions": {form: estimate.assumptions for form, estimate in estimates},
        "sources": {form: estimate.sources for form, estimate in estimates},
        "spec": documents.spec,
        "environment": documents.environment,
    }
    separators = None if indent else (",", ":")
    return json.dumps(_finite(report), ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)


def _columns(rows: Iterable[dict[str, Any]]) -> dict[str, list[Any]]:
    listed = list(rows)
    return {"columns": list(listed[0]) if listed else [], "rows": [list(row.values()) for row in listed]}


def _rates(documents: RunDocuments, form: FormKey) -> dict[str, tuple[float, ...]]:
    return {layer.name: layer.rates for layer in firing_rates(documents.workloads[form])}


def _finite(value: Any) -> Any:
    """Replace what JSON has no sign for, and spell out dates and the like."""
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def to_markdown(documents: RunDocuments) -> str:
    """Return summary, accumulate-only share, energy by layer, audit, assumptions and sources as Markdown."""
    record = documents.record
    facts = [
        record.dataset,
        f"{record.test_samples} test samples",
        f"{record.profiled_samples} profiled",
        f"neuron {record.neuron}",
        f"attention {record.attention}",
        f"energy under {record.convention}",
        documents.date,
    ]
    title = f"# {_escape(record.model)} {_escape(record.variant)}, T = {record.timesteps}"
    parts = [title, f"{_escape(', '.join(facts))}."]
    parts += ["## Summary", _summary(record), *_notes(record), *_shares(documents)]
    for form in FORM_NAMES:
        if form in documents.estimates:
            parts += [f"## Energy by layer: {FORM_NAMES[form]}", _energy(documents, form)]
    parts += _chips(documents)
    for form in documents.variant_forms:
        parts += [f"## Audit: {FORM_NAMES[form]}", _audit(documents, form)]
    return "\n\n".join([*parts, *_sources(documents)]) + "\n"


def _escape(text: object) -> str:
    """Make any text stand as itself in Markdown, on one line."""
    return _MARKDOWN_SIGNS.sub(r"\\\1", " ".join(str(text).split())).replace("\\<", "&lt;").replace("\\>", "&gt;")


def _grid(heads: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1) -> str:
    rule = ["---" if i < text_columns else "---:" for i in range(len(heads))]
    return "\n".join("| " + " | ".join(line) + " |" for line in [heads, rule, *rows])


def _summary(record: ConversionRecord) -> str:
    counts = ["SOPs", "MAC", "AC"]
    heads = ["Form", "T", "Bits", "Accuracy", "Parameters", "Firing rate", *counts, "Energy", "Band"]
    rows = [
        [
            _escape(row.name),
            str(row.timesteps),
            str(row.bits),
            percent(row.accuracy, 2),
            str(row.parameters),
            f"{row.firing_rate:.4f}" if is_number(row.firing_rate) else "-",
            *(si(count) for count in (row.sops, row.macs, row.acs)),
            si(row.energy_j, "J"),
            f"{si(row.energy_low_j, 'J')} to {si(row.energy_high_j, 'J')}",
        ]
        for row in record.rows
    ]
    return _grid(heads, rows)


def _notes(record: ConversionRecord) -> list[str]:
    notes = [f"- {_escape(row.name)}: {_escape(row.note)}" for row in record.rows if row.note]
    return ["\n".join(notes)] if notes else []


def _shares(documents: RunDocuments) -> list[str]:
    shares = [(FORM_NAMES[form], accumulate_only_share(documents.workloads[form])) for form in documents.variant_forms]
    lines = [
        f"- {name}: {percent(share.of_operations)} of the executed synaptic operations, "
        f"{percent(share.of_dense_macs)} of the dense MACs"
        for name, share in shares
    ]
    return ["## Accumulate-only", "\n".join(lines)]


def _energy(documents: RunDocuments, form: FormKey) -> str:
    estimate = documents.estimates[form]
    rows = [
        [_escape(x.name), _escape(x.operator), _escape(x.rule), si(x.macs), si(x.acs), si(x.energy_j, "J")]
        for x in estimate.layers
    ]
    total = ["**total**", "", "", si(estimate.macs), si(estimate.acs), si(estimate.energy_j, "J")]
    return _grid(["Layer", "Operator", "Rule", "MAC", "AC", "Energy"], [*rows, total], text_columns=3)


def _chips(documents: RunDocuments) -> list[str]:
    section = chip_section(documents)
    if section is None:
        return []
    titles = [head.title for head in section.table.heads]
    rows = [[_escape(cell.text) for cell in row] for row in section.table.rows]
    remarks = "\n".join(f"- {_escape(remark)}" for remark in section.remarks)
    return ["## On chips", _grid(titles, rows, text_columns=2), *([remarks] if remarks else [])]


def _audit(documents: RunDocuments, form: FormKey) -> str:
    rows = [
        [
            *(_escape(text) for text in (row.name, row.operator, row.verdict, row.reason)),
            _escape("; ".join(operand.words for operand in row.operands)),
            *(si(value) if row.share is not None or value else "-" for value in (row.macs, row.acs)),
            "-" if row.share is None else percent(row.share),
        ]
        for row in audit(documents.workloads[form])
    ]
    heads = ["Layer", "Operator", "Verdict", "Why", "Operands", "MAC", "AC", "Share"]
    return _grid(heads, rows, text_columns=5)


def _sources(documents: RunDocuments) -> list[str]:
    estimates = documents.estimates.items()
    said = {
        "Assumptions": attributed((form, estimate.assumptions) for form, estimate in estimates),
        "Sources": attributed((form, estimate.sources) for form, estimate in estimates),
    }
    blocks = ((head, "\n".join(f"- {_escape(text)}" for text in texts)) for head, texts in said.items() if texts)
    return [part for head, lines in blocks for part in (f"## {head}", lines)]
