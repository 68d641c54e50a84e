"""`neuro audit`: what became of every operator of a converted network, judged by what was measured."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from hardware_models.errors import InputError

DESCRIPTION = """\
List the operators that a conversion met: what became of each, the operands as they were
measured (binary, ternary, power-of-two, integer, float), what it costs in one inference,
and its error against the float network. Of a low-bit variant: how each operand is held.

  neuro audit runs/timm-deit_tiny_patch16_224-t16
  neuro audit RUN --all            those that run on values too
  neuro audit RUN --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("run", metavar="RUN", type=Path, help="run directory of a network that was given")
    parser.add_argument("--all", action="store_true", help="every operator, not only driven or quantized ones")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    """Print the audit."""
    from neuro.cli.terminal import Terminal
    from neuro.report import RunDocuments
    from neuro.report.audit import audit
    from neuro.report.network_terminal import print_audit

    documents = RunDocuments.load(args.run)
    network, low_bit = documents.record.network, documents.record.low_bit
    if network is None and low_bit is None:
        raise InputError(
            f"{args.run} is a run of the architecture {documents.record.model}, whose audit is in its report; neuro "
            "audit is for networks that were given, such as --model timm:NAME."
        )
    if args.json:
        measured = [row.model_dump() for row in audit(documents.workloads[documents.inference_form])]
        found = network or low_bit
        assert found is not None
        print(json.dumps({"network": found.model_dump(), "measured": measured}, indent=1))
    else:
        print_audit(documents, Terminal(), args.all)
    return 0
