"""`neuro train`: train one network from a recipe."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from hardware_models.errors import InputError

DESCRIPTION = """\
Train one network, spiking, floating-point or of low bits, as a recipe says: a shipped one by its
name (--list), or a file of your own. Everything is written to a run directory, where an
interrupted training goes on with --resume, on any number of processes.

  neuro train --list
  neuro train --config fashion-mnist-spiking
  neuro train --config digits-spiking --set training.phases=[] --epochs 3 --spike-budget 0.05
  neuro train --resume --out runs/fashion-mnist-spiking
  torchrun --standalone --nproc-per-node 2 -m neuro train --config digits-spiking --out DIR

neuro eval RUN tells how good the trained network is, neuro push RUN DIR packs it to be shared.
"""

_KEYS: dict[str, tuple[str, ...]] = {
    "data": ("data", "name"),
    "weights": ("model", "weights"),
    "form": ("form",),
    "teacher": ("teacher",),
    "timesteps": ("model", "timesteps"),
    "epochs": ("training", "epochs"),
    "spike_budget": ("training", "spike_budget"),
    "seed": ("seed",),
    "device": ("device",),
    "parallel": ("parallel",),
    "tensorboard": ("tensorboard",),
}
"""Where the document has what the flags give."""

_SECONDS_TO_BE_ENDED = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("--config", metavar="NAME|FILE", help="a shipped recipe, or a YAML file")
    parser.add_argument("--list", action="store_true", help="list the shipped recipes")
    parser.add_argument("--out", metavar="DIR", type=Path, help="run directory to make (a new one under runs/)")
    parser.add_argument("--resume", action="store_true", help="continue the interrupted training in --out")
    parser.add_argument("--data", metavar="NAME", help="data set, such as fashion-mnist or cifar10:DIR")
    parser.add_argument("--form", metavar="NAME", help="spiking, float, or a recipe of neuro recipes")
    parser.add_argument("--weights", metavar="WHERE", help="to start from: a file, a run directory or hub:NAME")
    parser.add_argument("--teacher", metavar="WHERE", help="whose answers to learn: a run directory or hub:NAME")
    parser.add_argument("--timesteps", metavar="T", type=int, help="timesteps of a spiking network")
    parser.add_argument("--epochs", metavar="N", type=int, help="passes over the training data")
    parser.add_argument(
        "--spike-budget", metavar="RATE", type=float, help="spikes a neuron may fire in a timestep, on average"
    )
    parser.add_argument("--seed", metavar="N", type=int, help="of weights, order and augmentation")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda or cuda:N; under torchrun cuda is each its own")
    parser.add_argument("--parallel", metavar="HOW", help="replicated or sharded: how processes hold the network")
    parser.add_argument(
        "--tensorboard", action="store_const", const=True, help="write TensorBoard's files beside log.jsonl"
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="assignments",
        help="one setting by its dotted key, for example training.batch_size=32; can be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Train, and print what came of it."""
    try:
        return _run(args)
    except InputError:
        from neuro.training.parallel import is_first_of_machine

        if not is_first_of_machine():
            # The first one is about to say the same, whereupon torchrun ends this one.
            time.sleep(_SECONDS_TO_BE_ENDED)
        raise


def _run(args: argparse.Namespace) -> int:
    from neuro.cli.terminal import Terminal
    from neuro.conversion.directory import agreed_spec, default_directory
    from neuro.conversion.spec import parse_assignment, place_keywords
    from neuro.experiments.run import run_training
    from neuro.experiments.spec import TrainSpec, merged, read_training, resolve_train_spec
    from neuro.training.parallel import is_first_process, was_restarted

    console = Terminal(soft_wrap=True)
    if args.list:
        return _list(console)
    given = place_keywords({key: getattr(args, key) for key in _KEYS}, _KEYS)
    for text in args.assignments:
        given = merged(given, parse_assignment(text, TrainSpec))
    resume = args.resume or (was_restarted() and args.out is not None)
    if resume and args.out is None:
        raise InputError("--resume needs --out DIR, the directory of the training to continue.")
    settings = given if args.config is None else merged(read_training(args.config), given)
    if resume and (args.out / "spec.yaml").is_file():
        spec = agreed_spec(args.out, settings, resolve_train_spec)
    elif args.resume:
        raise InputError(f"--resume: {args.out} holds no spec.yaml; give the --out directory of the run to continue.")
    elif args.config is None:
        raise InputError("neuro train was given no recipe; give --config NAME (neuro train --list) or a file.")
    else:
        spec = resolve_train_spec(settings)
    if args.out is None and not is_first_process():
        raise InputError("several processes write one run; give --out DIR.")
    named = Path(args.config).stem if args.config else spec.directory_name
    out = args.out or default_directory(named)
    record = run_training(spec, out, resume=resume, say=lambda text: console.print(text, markup=False))
    if is_first_process():
        console.print(_outcome(record, out), markup=False)
    return 0


def _outcome(record: Any, out: Path) -> str:
    accuracy = "" if record.accuracy is None else f", accuracy {100 * record.accuracy:.2f} %"
    samples = f" on {record.test_samples:,} held-out samples" if accuracy else ""
    return f"trained in {record.seconds:.0f} s{accuracy}{samples}: {out}"


def _list(console: Any) -> int:
    from neuro.experiments.spec import read_training, recipe_names

    names = recipe_names()
    width = max(map(len, names), default=0)
    for name in names:
        console.print(f"{name:<{width}}  {read_training(name).get('title', '')}", markup=False, highlight=False)
    return 0
