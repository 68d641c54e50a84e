"""The report as one HTML page that opens without a network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from hardware_models.files import write_atomically
from neuro.report.cells import Cell, Table, heads
from neuro.report.chip_section import chip_section
from neuro.report.curves import rates_view, training_view
from neuro.report.documents import RunDocuments, attributed
from neuro.report.low_bit_section import low_bit_section
from neuro.report.network_section import network_section
from neuro.report.overview import energy_bars, headlines, summary_table
from neuro.report.sections import audit_views, energy_views
from neuro.report.tables import to_json

# A JSON document stays the same when these are written as escapes, and can then stand inside <script>.
_SCRIPT_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}

_KINDS = {
    "mac": "multiply-accumulates (MAC)",
    "ac": "accumulates (AC)",
    "other": "both kinds or neither, not separable",
}


def write_report(run: Path, path: Path | None = None) -> Path:
    """Write the page of a run directory to `path`, else to `run / "report.html"`, and return where it is.

    Raises:
        InputError: the run directory or one of its documents cannot be used.
        RunError: the page cannot be written.
    """
    path = path or run / "report.html"
    page = render_html(RunDocuments.load(run))
    with write_atomically(path) as file:
        file.write(page)
    return path


def render_html(documents: RunDocuments) -> str:
    """Return the page; style, script and data are inside it, and its policy forbids it to load anything."""
    style, script = _asset("report.css") + _asset("narrow.css"), _asset("report.js")
    record, bars = documents.record, energy_bars(documents)
    stacked = {part.kind for bar in bars for part in bar.segments}
    return (
        _templates()
        .get_template("report.html.j2")
        .render(
            style=Markup(style),
            script=Markup(script),
            policy=_policy(style, script),
            data=Markup(to_json(documents).translate(_SCRIPT_ESCAPES)),
            record=record,
            title=f"{record.model} {record.variant}".strip(),
            date=documents.date,
            headlines=headlines(documents),
            summary=summary_table(documents),
            notes=[row.note for row in record.rows if row.note],
            bars=bars,
            bar_kinds=[kind for kind in _KINDS if kind in stacked],
            energy=energy_views(documents),
            kind_names=_KINDS,
            chips=chip_section(documents),
            network=network_section(documents),
            low_bit=low_bit_section(documents),
            rates=rates_view(documents),
            training=training_view(documents),
            audits=audit_views(documents),
            remarks=_remarks(documents),
            spec=yaml.safe_dump(dict(documents.spec), sort_keys=False, allow_unicode=True),
            environment=_environment(documents.environment),
        )
    )


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("neuro.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    return environment


def _breakable(name: str) -> Markup:
    """Let a long dotted name break behind its dots, and copy as it is."""
    return escape(name).replace(".", Markup(".<wbr>"))


@cache
def _asset(name: str) -> str:
    return resources.files("neuro.report").joinpath("templates", name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Content security policy: this style and this script, and nothing else from anywhere."""

    def allowed(text: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

    return (
        f"default-src 'none'; style-src {allowed(style)}; script-src {allowed(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _remarks(documents: RunDocuments) -> list[tuple[str, list[str]]]:
    """Assumptions, notes and sources, under their heads."""
    estimates, workloads = documents.estimates.items(), documents.workloads.items()
    return [
        ("Assumptions", attributed((form, estimate.assumptions) for form, estimate in estimates)),
        ("Notes on the measurement", attributed((form, workload.notes) for form, workload in workloads)),
        ("Notes on the run", documents.record.notes),
        ("Sources", attributed((form, estimate.sources) for form, estimate in estimates)),
    ]


def _environment(environment: Mapping[str, Any]) -> Table:
    rows = [[Cell(key, "", "name"), Cell(value, "", "code")] for key, value in _flat(environment)]
    return Table("Environment", heads(("Key", "Value"), text=(0, 1)), rows)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested mappings as (dotted path, text)."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        yield path, " ".join(map(str, value))
    else:
        yield path, "" if value is None else str(value)
