"""`neuro chips`: the chips that ship, one of them as a file to start from, and a check of a chip of one's own."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hardware_models.chip import Chip, chip, chip_names, chip_path, load_chip
from hardware_models.engine import Question
from hardware_models.errors import InputError
from hardware_models.quantity import GRADES

DESCRIPTION = """\
The chips that energy, latency and traffic can be estimated for.

  neuro chips                            list them
  neuro chips show eyeriss > mine.yaml   one of them, to start a chip of your own from
  neuro chips check mine.yaml            is it complete, and how well is it known?
  neuro energy RUN --chip mine.yaml
"""


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
        _check(load_chip(Path(args.target)), args.json)
    else:
        _list([chip(name) for name in chip_names()], args.json)
    return 0


def _show(name: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps(chip(name).model_dump(by_alias=True, exclude_none=True), indent=1, ensure_ascii=False))
    else:
        print(chip_path(name).read_text(encoding="utf-8"), end="")


def _check(checked: Chip, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_about(checked), indent=1, ensure_ascii=False))
        return
    grades = ", ".join(f"{count} {grade}" for grade, count in _grades(checked).items())
    print(f"{checked.name}: a chip for the {checked.engine} engine with {len(checked.figures)} figures ({grades}).")
    for question, reason in checked.refuses.items():
        print(f"It refuses {question}: {reason}")


def _list(chips: list[Chip], as_json: bool) -> None:
    if as_json:
        print(json.dumps([_about(member) for member in chips], indent=1, ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("chip", "kind", "node", "engine"):
        table.add_column(name, no_wrap=True)
    table.add_column("answers", no_wrap=True)
    table.add_column("weakest figure", no_wrap=True)
    for member in chips:
        answers = " ".join(_answers(member))
        evidence = list(_grades(member))[-1]
        table.add_row(*map(escape, (member.name, member.kind, member.node, member.engine, answers, evidence)))
    Console(highlight=False).print(table)


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
