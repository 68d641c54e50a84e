"""`neuro bench`: how fast the kernels are beside their peers on this machine."""

from __future__ import annotations

import argparse
import json
import platform

from hardware_models.errors import InputError, unknown_name

DESCRIPTION = """\
Time the kernels and their peers in turn, in one run, and print the ratios. A peer that is
not installed is named. Ratios are medians over the rounds; they hold for this machine.

  neuro bench                  all tables
  neuro bench lif --rounds 30
  neuro bench --explain        which implementation serves each operator here, and why
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("table", nargs="*", metavar="TABLE", help="lif, gemm (all)")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="timed rounds, the median counts (15)")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu, cuda or cuda:N (cpu)")
    parser.add_argument("--explain", action="store_true", help="print the table that kernels are chosen from")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    """Print the table of choices, or time the tables."""
    if args.rounds < 1:
        raise InputError(f"--rounds was {args.rounds}; give at least 1.")
    return _explain(args.json) if args.explain else _measure(args)


def _explain(as_json: bool) -> int:
    from neuro.cli.terminal import Terminal
    from neuro.kernels.dispatch import explain

    rows = [dict(zip(("operator", "implementation", "device", "refuses"), row, strict=True)) for row in explain()]
    if as_json:
        print(json.dumps(rows, indent=1))
        return 0
    console = Terminal()
    for row in rows:
        said = row["refuses"] or "serves"
        console.print(f"{row['operator']:14} {row['implementation']:10} {row['device']:5} {said}", markup=False)
    return 0


def _measure(args: argparse.Namespace) -> int:
    import torch

    from neuro.bench import TABLES, measure
    from neuro.cli.terminal import Terminal

    for name in args.table:
        if name not in TABLES:
            raise unknown_name("table", name, TABLES)
    machine = (
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    results = measure(args.table or list(TABLES), args.rounds, args.device)
    if args.json:
        print(json.dumps({"machine": machine, "results": [one.to_document() for one in results]}, indent=1))
        return 0
    console = Terminal()
    console.print(machine, markup=False)
    for one in results:
        goal = "" if one.goal is None else f", goal {one.goal:g}: {'ok' if one.met else 'MISSED'}"
        if one.ratio is None or one.theirs_s is None:
            console.print(f"{one.case} against {one.contender}: not measured, {one.missing}", markup=False)
        else:
            figures = f"{one.ours_s * 1e3:.3f} ms against {one.theirs_s * 1e3:.3f} ms, ratio {one.ratio:.2f}"
            console.print(f"{one.case} against {one.contender}: {figures}{goal}", markup=False)
    return 0
