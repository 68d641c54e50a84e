"""`neuro convert`: from an architecture to a trained, measured and costed spiking variant."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hardware_models.errors import InputError

DESCRIPTION = """\
Build a registered architecture and its floating-point parent (ReLU for every neuron, T = 1),
train both, run the spiking variant while measuring every operator, write a run directory,
and print what each form costs in one inference.

  neuro convert --model spikeformer_v2 --timesteps 4
  neuro convert --variant 15m --data folder:PHOTOS --epochs 0
  neuro convert --pretrained --data digits
  neuro convert --config experiment.yaml --set training.learning_rate=1e-3 --out runs/mine
  neuro convert --resume --out runs/mine

A network that is given (timm:NAME, hf:NAME, module.path:factory, FILE.pt2) is converted
without training instead: captured, its products driven by spikes, calibrated, and compared
with itself as T grows.

  neuro convert --model timm:deit_tiny_patch16_224 --timesteps 16
  neuro convert --model timm:resnet18 --weights resnet18.safetensors --data folder:PHOTOS \\
      --sweep-timesteps 1,2,4,8,16,32 --coding rate

With --to, it becomes a low-bit variant instead, by a named recipe: calibrated (ptq), or trained
with straight-through gradients (qat).

  neuro convert --model timm:tf_efficientnet_lite0 --to w8a8 --data folder:PHOTOS
  neuro convert --model mymodule:network --to w1a1 --method qat --data fashion-mnist --epochs 10
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
    network.add_argument("--weights", metavar="WHERE", help="start from a file, a run directory or hub:NAME")
    network.add_argument(
        "--pretrained",
        action="store_true",
        help="take the trained network that fits, with its settings; see neuro models",
    )
    given = parser.add_argument_group("a network that is given")
    given.add_argument("--coding", metavar="NAME", help="differential or rate (differential)")
    given.add_argument("--sweep-timesteps", metavar="T,T", dest="sweep", help="compare at these T too, in one pass")
    given.add_argument(
        "--spikes", metavar="NAME", help="power-of-two, binary, ternary, integer or ideal (the coding's)"
    )
    given.add_argument(
        "--levels", metavar="N", type=int, help="thresholds of a neuron, or most unit spikes (the kind's)"
    )
    given.add_argument(
        "--calibration",
        metavar="HOW",
        help="thresholds by percentile, max or search (percentile); --to: ranges by mse, minmax, percentile (mse)",
    )
    given.add_argument(
        "--per-channel", action="store_const", const=True, help="thresholds for each channel that an operator reads"
    )
    given.add_argument("--outlier-channels", metavar="N", type=int, help="channels that may have their own (0)")
    given.add_argument("--percentile", metavar="P", type=float, help="magnitudes that a threshold covers (99.9)")
    given.add_argument(
        "--strict",
        action="store_const",
        const="spike-only",
        dest="strictness",
        help="no floating point: functions that are not linear by thresholds, with their error measured",
    )
    given.add_argument("--keep", metavar="OP", action="append", help="leave this operator in float; can be repeated")
    given.add_argument("--calibration-samples", metavar="N", type=int, help="inputs to choose thresholds from (32)")
    given.add_argument("--compared-samples", metavar="N", type=int, help="inputs to compare on (64; labelled: 1000)")
    given.add_argument("--input-size", metavar="PIXELS", type=int, help="side of its input (the network's own)")
    given.add_argument(
        "--weights-by-order", action="store_const", const=True, help="match --weights by order instead of by name"
    )
    low_bit = parser.add_argument_group("a low-bit variant of a network that is given")
    low_bit.add_argument(
        "--to", metavar="RECIPE", help="w8a8, w4a4, w1a1, reactnet, bitnet, spike-w1, ... (neuro recipes), or a file"
    )
    low_bit.add_argument("--method", metavar="NAME", help="ptq calibrates, qat trains (ptq)")
    low_bit.add_argument("--rounding", metavar="HOW", help="of weights, ptq: nearest, gptq or adaround (gptq)")
    low_bit.add_argument("--float-epochs", metavar="N", type=int, help="train the network itself before (0)")
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
    from neuro.conversion.network_spec import is_network_source
    from neuro.conversion.spec import read_settings

    settings = read_settings(args.config) if args.config else {}
    resumed = read_settings(args.out / "spec.yaml") if args.resume and args.out and args.out.is_dir() else {}
    if args.to or "recipe" in settings or "recipe" in resumed:
        return _convert_to_low_bits(args, settings)
    _refuse(args, _LOW_BIT_FLAGS, "low-bit variants, see --to")
    if "network" in settings or is_network_source(args.model or ""):
        return _convert_network(args, settings)
    return _convert_architecture(args, settings)


def _convert_architecture(args: argparse.Namespace, settings: dict[str, Any]) -> int:
    from neuro.cli.terminal import Terminal
    from neuro.conversion.pipeline import run_in_directory
    from neuro.conversion.pretrained import pretrained_settings
    from neuro.conversion.spec import merge_settings, parse_assignment, place_keywords
    from neuro.report import print_summary
    from neuro.report.chips import print_comparison

    _refuse(args, _NETWORK_FLAGS, "networks that are given, such as --model timm:NAME")
    settings = merge_settings(settings, place_keywords({key: getattr(args, key) for key in _FLAGS}))
    for text in args.assignments:
        settings = merge_settings(settings, parse_assignment(text))
    console = Terminal(soft_wrap=True)
    if args.pretrained:
        settings, words = pretrained_settings(settings)
        console.print(words, markup=False)
    conversion = run_in_directory(settings, args.out, args.resume, say=lambda text: console.print(text, markup=False))
    print_summary(conversion.record, Terminal())
    if conversion.chips:
        print_comparison(conversion.chips, Terminal())
    return 0


def _convert_network(args: argparse.Namespace, settings: dict[str, Any]) -> int:
    from neuro.cli.terminal import Terminal
    from neuro.conversion.directory import default_directory
    from neuro.conversion.network_run import run_network_conversion
    from neuro.conversion.network_spec import NetworkRunSpec, place_network_keywords, resolve_network_spec
    from neuro.conversion.spec import merge_settings, parse_assignment
    from neuro.report import print_summary
    from neuro.report.chips import print_comparison
    from neuro.report.network_terminal import print_sweep

    _refuse(args, _ARCHITECTURE_FLAGS, "architectures that are trained here, see neuro models")
    args.sweep = args.sweep and _numbers(args.sweep)
    flags = [key for key in (*_FLAGS, *_NETWORK_FLAGS) if key not in _ARCHITECTURE_FLAGS]
    settings = merge_settings(settings, place_network_keywords({key: getattr(args, key) for key in flags}))
    for text in args.assignments:
        settings = merge_settings(settings, parse_assignment(text, NetworkRunSpec))
    spec = resolve_network_spec(settings)
    console = Terminal(soft_wrap=True)
    found = run_network_conversion(
        spec, args.out or default_directory(spec.directory_name), say=lambda text: console.print(text, markup=False)
    )
    print_summary(found.record, Terminal())
    assert found.record.network is not None
    print_sweep(found.record.network, Terminal())
    if found.chips:
        print_comparison(found.chips, Terminal())
    return 0


def _convert_to_low_bits(args: argparse.Namespace, settings: dict[str, Any]) -> int:
    from neuro.cli.terminal import Terminal
    from neuro.conversion.directory import agreed_spec, default_directory
    from neuro.conversion.low_bit_run import run_low_bit_conversion
    from neuro.conversion.low_bit_spec import LowBitSpec, place_low_bit_keywords, resolve_low_bit_spec
    from neuro.conversion.spec import merge_settings, parse_assignment
    from neuro.report import print_summary
    from neuro.report.chips import print_comparison
    from neuro.report.low_bit_section import lead

    _refuse(args, _NOT_LOW_BIT, "other conversions than --to")
    flags = [key for key in (*_FLAGS, *_NETWORK_FLAGS, *_LOW_BIT_FLAGS, "to") if key not in _NOT_LOW_BIT]
    settings = merge_settings(settings, place_low_bit_keywords({key: getattr(args, key) for key in flags}))
    for text in args.assignments:
        settings = merge_settings(settings, parse_assignment(text, LowBitSpec))
    if args.resume and args.out is None:
        raise InputError("--resume needs --out DIR, the directory of the run to continue.")
    spec = agreed_spec(args.out, settings, resolve_low_bit_spec) if args.resume else resolve_low_bit_spec(settings)
    console = Terminal(soft_wrap=True)
    found = run_low_bit_conversion(
        spec,
        args.out or default_directory(spec.directory_name),
        resume=args.resume,
        say=lambda text: console.print(text, markup=False),
    )
    print_summary(found.record, Terminal())
    assert found.record.low_bit is not None
    console.print(lead(found.record.low_bit), markup=False)
    if found.chips:
        print_comparison(found.chips, Terminal())
    return 0


def _refuse(args: argparse.Namespace, flags: tuple[str, ...], meant_for: str) -> None:
    """Refuse options of the other kind of conversion, which would be ignored."""
    for key in flags:
        if getattr(args, key):
            option = {"sweep": "sweep-timesteps", "strictness": "strict"}.get(key, key.replace("_", "-"))
            raise InputError(f"--{option} is for {meant_for}; leave it out.")


def _numbers(text: str) -> list[int]:
    """Read `1,2,4`."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--sweep-timesteps was {text!r}; give whole numbers, such as 1,2,4,8.") from None


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

_ARCHITECTURE_FLAGS = ("variant", "neuron", "surrogate", "attention", "epochs", "resume", "pretrained")
"""Those that only an architecture trained here knows."""

_NETWORK_FLAGS = (
    "coding",
    "sweep",
    "spikes",
    "levels",
    "percentile",
    "calibration",
    "per_channel",
    "outlier_channels",
    "strictness",
    "keep",
    "calibration_samples",
    "compared_samples",
    "input_size",
    "weights_by_order",
)
"""Those that only a given network knows."""

_LOW_BIT_FLAGS = ("method", "rounding", "float_epochs")
"""Those that only a low-bit conversion knows, beside --to."""

_NOT_LOW_BIT = (
    *("pretrained", "neuron", "surrogate", "attention", "coding", "sweep", "spikes", "levels"),
    *("per_channel", "outlier_channels", "strictness"),
)
"""Those that it does not know."""
