"""`neuro eval`: how good a trained network is, and at what cost."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hardware_models.errors import InputError

if TYPE_CHECKING:  # the help waits neither for torch nor for anything else
    from neuro.evaluation.request import EvaluationRequest

DESCRIPTION = """\
Evaluate the trained network of a run directory of neuro train, or of hub:NAME, on held-out samples:
its accuracy after every timestep with spikes and energy beside it; and, where asked for, with early
exit, on corrupted images, and by class. The record goes to RUN/evaluation.json, or to --out FILE.

  neuro eval runs/digits-spiking
  neuro eval RUN --timesteps 1,2,4,8               T = 8 is a run of its own, beyond a training at 4
  neuro eval RUN --early-exit --confusion
  neuro eval RUN --corruptions jpeg,contrast --severities 1,3,5
  neuro eval hub:NAME --data cifar10:DIR --out FILE
"""

_CONFIDENCES = "0.5,0.8,0.9,0.95,0.99"

Value = TypeVar("Value")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("network", metavar="RUN|hub:NAME", help="a run directory of neuro train, or hub:NAME")
    parser.add_argument("--data", metavar="NAME", help="evaluate on these data (those it was trained on)")
    parser.add_argument("--timesteps", metavar="T,T", help="T of the rows, rising (all up to the training's)")
    parser.add_argument(
        "--early-exit",
        metavar="SHARE,SHARE",
        nargs="?",
        const=_CONFIDENCES,
        help=f"let samples stop at these confidences (without a value: {_CONFIDENCES})",
    )
    parser.add_argument(
        "--corruptions",
        metavar="NAME,NAME",
        nargs="?",
        const="all",
        help="corrupt the images in these ways (without a value: all)",
    )
    parser.add_argument("--severities", metavar="N,N", help="of the corruptions, from 1 to 5 (1,3,5)")
    parser.add_argument("--confusion", action="store_true", help="count which classes are taken for which")
    parser.add_argument("--samples", metavar="N", type=int, help="at most so many test samples (those of the training)")
    parser.add_argument(
        "--profile-samples", metavar="N", type=int, default=16, help="samples for spikes and energy; 0: none (16)"
    )
    parser.add_argument("--convention", metavar="NAME", default="horowitz45", help="rules of the energy (horowitz45)")
    parser.add_argument("--device", metavar="NAME", default="cpu", help="cpu, cuda or cuda:N (cpu)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the corruptions' random numbers (0)")
    parser.add_argument("--json", action="store_true", help="print the record as JSON")
    parser.add_argument("--out", metavar="FILE", type=Path, help="where the record goes (RUN/evaluation.json)")


def run(args: argparse.Namespace) -> int:
    """Evaluate, print what was found, and write the record."""
    from neuro.cli.terminal import Terminal
    from neuro.conversion.write import write_json
    from neuro.evaluation.terminal import print_evaluation
    from neuro.experiments.evaluate import evaluate, evaluation_file
    from neuro.report.wrapped import print_wrapped

    console = Terminal()
    request = _request(args)
    out = evaluation_file(args.network, args.out, args.data)
    record = evaluate(
        args.network,
        request,
        data=args.data,
        samples=args.samples,
        device=args.device,
        say=lambda text: None if args.json else console.print(text, markup=False, soft_wrap=True),
        progress=True,
    )
    if args.json:
        print(record.model_dump_json(by_alias=True, indent=1))
    else:
        print_evaluation(record, console)
    if out is not None:  # after it was shown, so that a full disk loses nothing
        write_json(out, record.model_dump(mode="json", by_alias=True))
    if args.json:
        return 0
    if out is not None:
        console.print(f"\nrecord: {out}", markup=False, soft_wrap=True)
    for note in record.notes:
        print_wrapped(console, note)
    return 0


def _request(args: argparse.Namespace) -> EvaluationRequest:
    from neuro.evaluation.corruptions import CORRUPTIONS
    from neuro.evaluation.request import EvaluationRequest

    if args.severities is not None and args.corruptions is None:
        raise InputError("--severities is of corruptions; add --corruptions, or leave it out.")
    every = args.corruptions == "all"
    return EvaluationRequest(
        timesteps=_listed(args.timesteps, "--timesteps", int, "1,2,4"),
        early_exit=_listed(args.early_exit, "--early-exit", float, "0.8,0.9"),
        corruptions=tuple(CORRUPTIONS) if every else _listed(args.corruptions, "--corruptions", str, "jpeg,contrast"),
        severities=_listed(args.severities or "1,3,5", "--severities", int, "1,3,5"),
        confusion=args.confusion,
        profile_samples=args.profile_samples,
        convention=args.convention,
        seed=args.seed,
    )


def _listed(text: str | None, option: str, read: Callable[[str], Value], example: str) -> tuple[Value, ...]:
    """Read `1,2,4`; nothing where the option was not given."""
    if text is None:
        return ()
    try:
        return tuple(read(part.strip()) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{option} was given {text!r}; write values with commas, such as {example}.") from error
