"""`neuro chips`: the chips that ship, one of them as a file to start from, and a check of a chip of one's own."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import get_args

from rich.markup import escape
from rich.table import Table

from hardware_models.chip import Chip, chip, chip_names, chip_path, load_chip
from hardware_models.engine import Question
from hardware_models.errors import InputError
from hardware_models.estimate import estimate
from hardware_models.inputs.entries import Entries
from hardware_models.inputs.layer_lines import workload_from_lines
from hardware_models.quantity import GRADES
from hardware_models.workload import Workload
from neuro.cli.terminal import Terminal

DESCRIPTION = """\
The chips that energy, latency and traffic can be estimated for.

  neuro chips                            list them
  neuro chips show eyeriss > mine.yaml   one of them, to start a chip of your own from
  neuro chips check mine.yaml            is it complete, and how well is it known?
  neuro energy RUN --chip mine.yaml
"""

_COLUMNS = {("node", "engine", "answers", "assumed"): 80, ("answers", "assumed"): 50, ("answers",): 0}
"""What is listed beside a chip, by the least width of the terminal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("action", nargs="?", choices=["list", "show", "check"], default="list")
    parser.add_argument("target", nargs="?", metavar="NAME|FILE", help="show: the chip; check: the file")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    """List the chips, print one, or check a file."""
    if (args.action == "list") == (args.target is not None):
        wanted = "takes no name" if args.action == "list" else "needs a NAME or FILE"
        raise InputError(f"neuro chips {args.action} {wanted}; see neuro chips --help.")
    if args.action == "show":
        _show(args.target, args.json)
    elif args.action == "check":
        _check(chip(args.target) if args.target in chip_names() else load_chip(Path(args.target)), args.json)
    else:
        _list([chip(name) for name in chip_names()], args.json)
    return 0


def _show(name: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps(chip(name).model_dump(by_alias=True, exclude_none=True), indent=1, ensure_ascii=False))
    else:
        print(chip_path(name).read_text(encoding="utf-8"), end="")


def _check(checked: Chip, as_json: bool) -> None:
    """Say what the chip is, after it has estimated a small network: a missing figure is an `InputError`."""
    estimate(_small_network(), checked)
    if as_json:
        print(json.dumps(_about(checked), indent=1, ensure_ascii=False))
        return
    grades = ", ".join(f"{count} {grade}" for grade, count in _grades(checked).items())
    print(f"{checked.name}: a chip for the {checked.engine} engine with {len(checked.figures)} figures ({grades}).")
    print(f"It answers {' and '.join(_answers(checked))}; a small spiking network was estimated on it.")
    for question, reason in checked.refuses.items():
        print(f"It refuses {question}: {reason}")


def _small_network() -> Workload:
    """A network that needs every kind of figure and fits the smallest chip: a convolution, neurons, a matrix."""
    weights = {"weights": "integer", "weight_bits": 8}
    conv = {"name": "conv", "kind": "conv", "in": [1, 4, 4], "filters": 2, "kernel": 3, "input": "binary"}
    lines: list[dict[str, object]] = [
        {**conv, "density": 0.25, "neuron": "lif", "rate": 0.25},
        {"name": "head", "kind": "linear", "filters": 10, "neuron": "lif", "rate": 0.1},
    ]
    return workload_from_lines(
        "a small network", 2, Entries("defaults", weights, {}), ((str(x["name"]), x) for x in lines)
    )


def _list(chips: list[Chip], as_json: bool) -> None:
    if as_json:
        print(json.dumps([_about(member) for member in chips], indent=1, ensure_ascii=False))
        return
    console = Terminal()
    told = next(columns for columns, width in _COLUMNS.items() if console.width >= width)
    table = Table(box=None, pad_edge=False)
    table.add_column("chip", overflow="fold")
    for name in told:
        table.add_column(name, max_width=14, overflow="fold", justify="right" if name == "assumed" else "left")
    for kind in dict.fromkeys(member.kind for member in chips):
        table.add_row(f"[bold]{kind}[/bold]")
        for member in (member for member in chips if member.kind == kind):
            cells = _cells(member)
            table.add_row(f"  {escape(member.name)}", *(escape(cells[name]) for name in told))
    console.print(table)
    if "assumed" in told:
        console.print("assumed: figures that nobody published; neuro chips show NAME has the source of every figure.")


def _cells(member: Chip) -> dict[str, str]:
    assumed = f"{_grades(member).get('assumed', 0)} of {len(member.figures)}"
    return {"node": member.node, "engine": member.engine, "answers": " ".join(_answers(member)), "assumed": assumed}


def _about(member: Chip) -> dict[str, object]:
    return {
        **{key: getattr(member, key) for key in ("name", "title", "kind", "node", "engine")},
        "answers": _answers(member),
        "refuses": dict(member.refuses),
        "evidence": _grades(member),
    }


def _answers(member: Chip) -> list[str]:
    return [question for question in get_args(Question) if question not in member.refuses]


def _grades(member: Chip) -> dict[str, int]:
    """Return how many figures there are of each grade, best first."""
    counts = Counter(figure.grade for figure in member.figures.values())
    return {grade: counts[grade] for grade in GRADES if counts[grade]}
