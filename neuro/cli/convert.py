"""`neuro convert`: from an architecture to a trained, measured and costed spiking variant."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

DESCRIPTION = """\
Build a registered architecture and its floating-point parent (ReLU for every neuron, T = 1),
train both, run the spiking variant while measuring every operator, write a run directory,
and print what each form costs in one inference.

  neuro convert --model spikeformer_v2 --timesteps 4
  neuro convert --variant 15m --data folder:PHOTOS --epochs 0
  neuro convert --config experiment.yaml --set training.learning_rate=1e-3 --out runs/mine
  neuro convert --resume --out runs/mine
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command; their defaults are those of the run's specification."""
    network = parser.add_argument_group("network")
    network.add_argument("--model", metavar="NAME", help="architecture, see neuro models (spikeformer_v2)")
    network.add_argument("--variant", metavar="NAME", help="its size: tiny, 8m, 15m, 31m, 55m (tiny)")
    network.add_argument("--timesteps", metavar="T", type=int, help="timesteps, at least 1 (4)")
    network.add_argument("--neuron", metavar="NAME", help="if, lif, plif or ilif (lif)")
    network.add_argument(
        "--surrogate",
        metavar="NAME",
        help="sigmoid, atan, triangle, rectangle or piecewise_quadratic (sigmoid)",
    )
    network.add_argument("--attention", metavar="NAME", help="sdsa1, sdsa3 or sdsa4 (sdsa3)")
    network.add_argument("--weights", metavar="FILE", help="start from a safetensors file or a torch checkpoint")
    work = parser.add_argument_group("data and training")
    work.add_argument("--data", metavar="NAME", help="digits, fashion-mnist[:DIR] or folder:DIR (digits)")
    work.add_argument("--image-size", metavar="PIXELS", type=int, help="side of the images (the variant's own)")
    work.add_argument("--epochs", metavar="N", type=int, help="0 only converts and measures (the data's own)")
    work.add_argument("--seed", metavar="N", type=int, help="of weights, order and augmentation (0)")
    work.add_argument("--device", metavar="NAME", help="cpu, cuda or cuda:N (cpu)")
    run = parser.add_argument_group("run")
    run.add_argument("--convention", metavar="NAME", help="rules of the energy figures (horowitz45)")
    run.add_argument(
        "--chip",
        metavar="NAME|FILE",
        action="append",
        dest="chips",
        help="estimate on this chip or chip file, see neuro chips; can be repeated; all and none are words (default)",
    )
    run.add_argument("--config", metavar="FILE", type=Path, help="YAML with any of these settings, as spec.yaml")
    run.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="assignments",
        help="one setting by its dotted key, for example training.batch_size=32; can be repeated",
    )
    run.add_argument("--out", metavar="DIR", type=Path, help="run directory to make (a new one under runs/)")
    run.add_argument("--resume", action="store_true", help="continue the interrupted run in --out")


def run(args: argparse.Namespace) -> int:
    """Run the conversion and print its summary."""
    # Imported here: torch takes seconds, and `neuro convert --help` should not.
    from neuro.cli.terminal import Terminal
    from neuro.conversion.pipeline import run_in_directory
    from neuro.report import print_summary
    from neuro.report.chips import print_comparison

    console = Terminal(soft_wrap=True)
    conversion = run_in_directory(
        _given(args), args.out, args.resume, say=lambda text: console.print(text, markup=False)
    )
    print_summary(conversion.record, Terminal())
    if conversion.chips:
        print_comparison(conversion.chips, Terminal())
    return 0


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given: the file, over it the flags, over them the assignments."""
    from neuro.conversion.spec import merge_settings, parse_assignment, place_keywords, read_settings

    flags = {key: getattr(args, key) for key in _FLAGS}
    given = read_settings(args.config) if args.config else {}
    given = merge_settings(given, place_keywords(flags))
    for text in args.assignments:
        given = merge_settings(given, parse_assignment(text))
    return given


_FLAGS = (
    "model",
    "variant",
    "timesteps",
    "neuron",
    "surrogate",
    "attention",
    "weights",
    "data",
    "image_size",
    "epochs",
    "seed",
    "device",
    "convention",
    "chips",
)
