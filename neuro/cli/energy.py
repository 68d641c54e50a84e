"""`neuro energy`: what a workload costs on chips, or under a named convention of the literature."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import get_args

from hardware_models.comparison import compare, find_chips, to_csv, to_document
from hardware_models.convention_estimate import ConventionEstimate, estimates_to_csv
from hardware_models.conventions import CONVENTIONS, DEFAULT_CONVENTION, convention
from hardware_models.engine import Execution, Run
from hardware_models.errors import InputError
from hardware_models.inputs import input_format, read_workload
from hardware_models.layer_table import LayerTable, layer_table
from hardware_models.tables.estimate import TABLE_CONVENTION, estimate_table
from hardware_models.tables.operation_table import read_table
from hardware_models.workload import Workload
from neuro.cli.terminal import Terminal
from neuro.report.chips import print_chips
from neuro.report.compared_forms import read_run_forms
from neuro.report.convention_table import print_convention

DESCRIPTION = """\
What one inference costs: on chips, or as the papers count it.

  neuro energy RUN --chip default                 chips of both worlds, side by side
  neuro energy RUN --chip loihi2 --chip mine.yaml
  neuro energy net.onnx --chip eyeriss            one chip, layer by layer
  neuro energy RUN --convention spikingformer     operations times constants, as that paper does
"""

LEAST_SAMPLES = 20
"""Below this the 5th and 95th percentile are one draw each."""

MOST_SAMPLES = 10_000
"""Beyond this a band moves by less than its last digit, and the draws of a deep network fill the memory."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `neuro energy` to `parser`."""
    parser.add_argument(
        "path",
        type=Path,
        metavar="PATH",
        help="a run directory; a workload.json; layers (YAML, CSV), a topology or an ONNX model; an operation table",
    )
    parser.add_argument(
        "--chip",
        metavar="NAME|FILE",
        action="append",
        default=[],
        help="estimate on this chip (see neuro chips) or chip file; can be repeated; default and all are sets",
    )
    parser.add_argument(
        "--execution",
        choices=get_args(Execution),
        help="on chips: all timesteps of a layer before the next one (time-batched), or the network T times "
        "(step-by-step)",
    )
    parser.add_argument(
        "--samples", type=int, metavar="N", help="on chips: Monte Carlo draws for the band (none: its corners)"
    )
    known = "; ".join(f"{name}: {rules.title}" for name, rules in CONVENTIONS.items())
    parser.add_argument(
        "--convention",
        metavar="NAME",
        help=f"counting rules (default {DEFAULT_CONVENTION}; of a table {TABLE_CONVENTION}). {known}",
    )
    parser.add_argument("--bits", type=int, metavar="N", help="width of every operand of a SCALE-Sim topology (8)")
    parser.add_argument(
        "--input-shape",
        metavar="NAME=SIZES",
        action="append",
        default=[],
        help="sizes of an input that an ONNX graph leaves open, for example x=1,3,224,224; can be repeated",
    )
    parser.add_argument("--heads", type=int, metavar="N", help="attention heads of a table that does not name them")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON document with every layer and the total")
    output.add_argument(
        "--csv",
        action="store_true",
        help="print one CSV line for each layer and one for the total; of several chips or forms, one for each",
    )


def run(args: argparse.Namespace) -> int:
    """Print the estimate; bad input is an `InputError`."""
    if args.chip:
        return _run_chips(args)
    for name in ("execution", "samples"):
        if getattr(args, name) is not None:
            raise InputError(f"--{name} is for chips; add --chip NAME, see neuro chips.")
    estimates = _estimates(args)
    if args.json:
        main, *also = (estimate.to_document() for estimate in estimates)
        print(json.dumps({**main, "also": also} if also else main, indent=1, ensure_ascii=False))
    elif args.csv:
        print(estimates_to_csv(estimates), end="")
    else:
        console = Terminal()
        for estimate in estimates:
            print_convention(console, estimate, by_default=args.convention is None)
    return 0


def _run_chips(args: argparse.Namespace) -> int:
    """Print what the workload costs on the chips that were asked for."""
    if args.convention is not None or args.heads is not None:
        raise InputError("--convention and --heads are counting rules of papers; leave them out, or leave out --chip.")
    if args.samples is not None and not LEAST_SAMPLES <= args.samples <= MOST_SAMPLES:
        raise InputError(f"--samples was {args.samples}; give {LEAST_SAMPLES} to {MOST_SAMPLES} draws for a band.")
    chips = find_chips(args.chip)
    if not chips:
        raise InputError("--chip none names no chip; give one, see neuro chips, or leave out --chip for a convention.")
    run, samples = Run(args.execution or Run.execution), args.samples or 0
    answers = compare(_forms(args), chips, run, samples)
    if all(answer.estimate is None for answer in answers):
        raise InputError(answers[0].reason)
    if args.json:
        print(json.dumps(to_document(answers, layers=True), indent=1, ensure_ascii=False))
    elif args.csv:
        alone = answers[0].estimate if len(answers) == 1 else None
        print(to_csv(answers) if alone is None else alone.to_csv(), end="")
    else:
        print_chips(answers, Terminal())
    return 0


def _forms(args: argparse.Namespace) -> dict[str, LayerTable]:
    """Return the networks to compare: the forms of a run, or the one network of a file."""
    if args.path.is_dir():
        _refuse_options_of_files(args)
        return read_run_forms(args.path)
    workload = _read(args)
    return {workload.name: layer_table(workload)}


def _refuse_options_of_files(args: argparse.Namespace) -> None:
    for name in ("bits", "input_shape"):
        if getattr(args, name):
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option} is for files that leave it open; {args.path} is a run, which measured its own.")


def _read(args: argparse.Namespace) -> Workload:
    return read_workload(args.path, bits=args.bits, input_shapes=dict(map(_input_shape, args.input_shape)))


def _input_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Read `x=1,3,224,224`."""
    name, equals, sizes = text.rpartition("=")
    try:
        shape = tuple(int(size) for size in sizes.split(","))
    except ValueError:
        shape = ()
    if not (name and equals and shape):
        raise InputError(f"--input-shape was {text!r}; write a name and sizes, for example x=1,3,224,224.")
    return name, shape


def _estimates(args: argparse.Namespace) -> list[ConventionEstimate]:
    """Return the estimate of a table or workload, or those of a run's workloads, `workload.json` first."""
    if not args.path.is_dir() and input_format(args.path) == "operation-table":
        return [_table_estimate(args)]
    if args.heads is not None:
        raise InputError("--heads is for operation tables; a workload already holds its attention products.")
    rules = convention(args.convention or DEFAULT_CONVENTION)
    if not args.path.is_dir():
        return [rules.estimate(_read(args))]
    _refuse_options_of_files(args)
    paths = sorted(args.path.glob("workload*.json"), key=lambda path: (path.stem != "workload", path.stem))
    if not paths:
        raise InputError(f"{args.path} holds no workload.json; give a run directory, a workload or a table.")
    return [rules.estimate(Workload.load(path)) for path in paths]


def _table_estimate(args: argparse.Namespace) -> ConventionEstimate:
    if convention(args.convention or TABLE_CONVENTION).name != TABLE_CONVENTION:
        raise InputError(
            f"{args.path} is an operation table, whose counts follow {TABLE_CONVENTION}; {args.convention} "
            f"needs a workload.json. Use --convention {TABLE_CONVENTION}."
        )
    return estimate_table(read_table(args.path), args.heads)
