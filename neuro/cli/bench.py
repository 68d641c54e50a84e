"""`neuro bench`: how fast the kernels are beside their peers on this machine."""

from __future__ import annotations

import argparse
import json
import platform
from typing import TYPE_CHECKING, Any

from hardware_models.errors import InputError, unknown_name

if TYPE_CHECKING:
    from neuro.bench import Result, Setting

DESCRIPTION = """\
Time the kernels and their peers in turn, in one run, and print the ratios. A peer that is
not installed is named. Ratios are medians over the rounds; they hold for this machine.

  neuro bench                  all tables; `model` and `memory` take minutes
  neuro bench lif norm_lif --rounds 30
  neuro bench --device cuda    bf16 on a GPU, with the goals for one
  neuro bench --explain        which implementation serves each operator here, and why
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("table", nargs="*", metavar="TABLE", help="lif, norm_lif, gemm, sdsa, model, memory (all)")
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
        console.print(
            f"{row['operator']:14} {row['implementation']:10} {row['device']:5} {said}", markup=False, soft_wrap=True
        )
    return 0


def _measure(args: argparse.Namespace) -> int:
    from neuro.bench import TABLES, Setting, measure
    from neuro.cli.terminal import Terminal

    for name in args.table:
        if name not in TABLES:
            raise unknown_name("table", name, TABLES)
    aside = Terminal(stderr=True)
    setting = Setting(args.device, args.rounds, lambda line: aside.print(line, markup=False, soft_wrap=True))
    machine = _machine(setting)
    results = measure(args.table or list(TABLES), setting)
    if args.json:
        print(json.dumps({**machine, "results": [one.to_document() for one in results]}, indent=1))
        return 0
    console = Terminal()
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    console.print(f"{machine['machine']}, {versions}", markup=False, soft_wrap=True)
    for one in results:
        console.print(_line(one), markup=False, soft_wrap=True)
    return 0


def _machine(setting: Setting) -> dict[str, Any]:
    """What the figures hold for: the machine, and the versions of torch and of the peers."""
    import torch

    from neuro.bench.peers import versions

    machine = f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
    if setting.is_gpu:
        machine += f", {torch.cuda.get_device_name(setting.device)}"
    return {"machine": machine, "versions": {"torch": torch.__version__, **versions()}}


def _line(one: Result) -> str:
    if one.ratio is None or one.ours is None or one.theirs is None:
        return f"{one.case} against {one.contender}: not measured: {one.missing}"
    ours, theirs = (f"{x * 1e3:.3f} ms" if one.unit == "s" else f"{x / 1e6:.0f} MB" for x in (one.ours, one.theirs))
    asked = "" if one.goal is None else f", goal {'' if one.unit == 's' else 'at most '}{one.goal:g}"
    met = "" if one.met is None else ": ok" if one.met else ": MISSED"
    return f"{one.case} against {one.contender}: {ours} against {theirs}, ratio {one.ratio:.2f}{asked}{met}"
