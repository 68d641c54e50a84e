"""`neuro validate`: the scorecard of the hardware models."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from hardware_models.files import write_atomically
from hardware_models.validation.scorecard import scorecard
from neuro.cli.terminal import Terminal
from neuro.report.scorecard import scorecard_lines

DESCRIPTION = """\
Compute the estimates that have a published answer and say how wrong they are: against
silicon, where a measurement is public, and against other simulators. Nothing is fitted
unless the row says so. A row that is bad stays in the table.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the scorecard as JSON; - prints it only")


def run(args: argparse.Namespace) -> int:
    """Print the scorecard, and write it where asked."""
    card = scorecard()
    text = json.dumps(card.to_document(), indent=1, ensure_ascii=False)
    if args.json == Path("-"):
        print(text)
        return 0
    console = Terminal()
    for line in scorecard_lines(card, console.width):
        console.print(line, soft_wrap=True)  # wrapped already
    if args.json:
        with write_atomically(args.json) as file:
            file.write(text + "\n")
        print(args.json)
    return 0
