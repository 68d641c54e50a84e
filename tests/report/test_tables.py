"""Markdown, CSV, JSON, the terminal, and the command."""

import argparse
import csv
import dataclasses
import io
import json
import subprocess
import sys

import pytest
from rich.console import Console

from hardware_models.errors import InputError, RunError
from neuro.cli import report as command
from neuro.report import print_summary, to_csv, to_json, to_markdown

from .network import network_documents
from .synthetic import AC_J, MAC_J, small_documents, write_run

TOTAL = 576 * MAC_J + 120 * AC_J


def rows_of(documents) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(documents))))


@pytest.mark.parametrize("form", ["float", "spiking", "spiking-merged", "quantized"])
def test_csv_sums_to_the_estimate(form):
    documents = network_documents()
    rows = [row for row in rows_of(documents) if row["form"] == form]
    energy = sum(float(row["energy_j"]) for row in rows if row["energy_j"])
    assert energy == pytest.approx(documents.estimates[form].energy_j, rel=1e-12)


def test_csv_is_exact():
    rows = [row for row in rows_of(small_documents()) if row["form"] == "spiking-merged"]
    assert [(row["index"], row["name"]) for row in rows] == [
        ("1", "stem.conv"),
        ("2", "stem.neuron"),
        ("3", "head"),
    ]
    assert float(rows[0]["energy_j"]) == 576 * MAC_J
    assert [row["macs"] for row in rows] == ["576", "0", "0"]
    assert [row["spikes"] for row in rows] == ["", "12", ""]
    assert rows[2]["operands"] == "input: {0, 1} × 0.25, 1 bit, unsigned; weight: 32-bit float, signed"


def test_csv_keeps_hostile_names():
    name = 'a,"b"\nc;=1+1'
    assert rows_of(small_documents(name))[0]["name"] == f"{name}.conv"


def test_json_sums_and_holds_no_nan():
    report = json.loads(to_json(small_documents()), parse_constant=pytest.fail)
    layers = report["layers"]
    at = {name: i for i, name in enumerate(layers["columns"])}
    merged = [row for row in layers["rows"] if row[at["form"]] == "spiking-merged"]
    assert sum(row[at["energy_j"]] or 0 for row in merged) == TOTAL
    assert report["accumulate_only"]["spiking-merged"]["of_operations"] == 240 / 1392
    assert report["firing_rates"]["spiking-merged"] == {"stem.neuron": [0.25, 0.125]}
    assert report["conversion"]["schema"] == "neuro.conversion/1"


def markdown_tables(text: str) -> list[list[list[str]]]:
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    return [[[cell.strip() for cell in line[1:-1].split(" | ")] for line in block] for block in blocks]


def test_markdown_parses_and_says_the_totals():
    tables = markdown_tables(to_markdown(small_documents()))
    for table in tables:
        assert {len(row) for row in table} == {len(table[0])}
    merged = tables[1]
    assert merged[2] == ["stem.conv", "conv", "MAC on every input", "576", "0", "2.65\N{NO-BREAK SPACE}nJ"]
    assert merged[-1][-1] == "2.76\N{NO-BREAK SPACE}nJ"


def test_markdown_escapes():
    text = to_markdown(small_documents("a|b\n# <b>*x*</b> `y`"))
    assert "a\\|b \\# &lt;b&gt;\\*x\\*&lt;/b&gt; \\`y\\`.conv" in text
    assert "<b>" not in text


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120, 200])
@pytest.mark.parametrize("documents", [small_documents(), network_documents(blocks=2)], ids=["small", "network"])
def test_summary_fits_any_terminal(width, documents):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    print_summary(documents.record, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "98.33" in text
    assert "…" not in text
    assert ("Params" in text) == (width >= 80)
    assert ("  accuracy   98.33 %" in text) == (width <= 60)
    assert ("\n  energy     " in text) == (width <= 60)


def test_summary_shows_no_markup_of_names():
    row = small_documents().record.rows[0].model_copy(update={"name": "[red]x[/red]", "note": "[bold]n"})
    console = Console(width=80, file=io.StringIO(), color_system=None)
    print_summary(small_documents().record.model_copy(update={"rows": [row]}), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[red]x[/red]" in text
    assert "[bold]n" in text


@pytest.fixture
def run(tmp_path):
    write_run(small_documents(), tmp_path / "run")
    return tmp_path / "run"


def call(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(argument) for argument in arguments]))


def test_command_rewrites_the_page(run, capsys):
    (run / "report.html").write_text("old")
    assert call(run) == 0
    assert (run / "report.html").read_text().lstrip().startswith("<!doctype html>")
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == str(run / "report.html")
    assert "98.33" in out


@pytest.mark.parametrize(("name", "make"), [("markdown", to_markdown), ("csv", to_csv)])
def test_command_prints_or_writes(run, capsys, tmp_path, name, make):
    assert call(run, "--format", name) == 0
    assert capsys.readouterr().out == make(small_documents())
    assert call(run, "--format", name, "--output", tmp_path / "out") == 0
    assert (tmp_path / "out").read_text(encoding="utf-8") == make(small_documents())


def test_command_prints_json(run, capsys):
    call(run, "--format", "json")
    assert json.loads(capsys.readouterr().out) == json.loads(to_json(small_documents()))


def test_command_refuses_what_is_no_run(tmp_path):
    with pytest.raises(InputError):
        call(tmp_path / "absent")


def test_a_failed_write_leaves_the_old_page(run, monkeypatch):
    (run / "report.html").write_text("old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(RunError, match="No space left"):
        call(run)
    assert (run / "report.html").read_text() == "old"
    assert not list(run.glob(".*.part"))


def test_report_and_command_do_not_import_torch(run):
    code = (
        "import sys, pathlib; import neuro.cli.report; import neuro.report as r;"
        "r.render_html(r.RunDocuments.load(pathlib.Path(sys.argv[1])));"
        "sys.exit(any(m == 'torch' or m.startswith('torch.') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(run)], check=False).returncode == 0


def test_documents_are_not_changed_by_reporting():
    documents = small_documents()
    to_json(documents), to_csv(documents), to_markdown(documents)
    assert documents == dataclasses.replace(small_documents())
