"""`neuro report`: make the report of a run again, as a page or as plain tables."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hardware_models.files import write_atomically
from neuro.cli.terminal import Terminal
from neuro.report import RunDocuments, print_summary, render_html, to_csv, to_json, to_markdown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("run", metavar="RUN", type=Path, help="run directory, as neuro convert wrote it")
    parser.add_argument(
        "--format",
        choices=["html", "markdown", "csv", "json"],
        default="html",
        help="html: a page that opens without a network (default); the others go to standard output",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="where to write; for html the default is RUN/report.html"
    )


def run(args: argparse.Namespace) -> int:
    """Write the report and say where it is; the summary goes with a page."""
    documents = RunDocuments.load(args.run)
    if args.format == "html":
        path = args.output or args.run / "report.html"
        _write(path, render_html(documents))
        print_summary(documents.record, Terminal())
        print(path)
        return 0
    text = {"markdown": to_markdown, "csv": to_csv, "json": _json}[args.format](documents)
    if args.output:
        _write(args.output, text)
        print(args.output)
    else:
        sys.stdout.write(text)
    return 0


def _json(documents: RunDocuments) -> str:
    return to_json(documents, indent=1) + "\n"


def _write(path: Path, text: str) -> None:
    with write_atomically(path) as file:
        file.write(text)
