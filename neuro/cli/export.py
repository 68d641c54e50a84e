"""`neuro export`: the low-bit network of a run, as a file for other tools."""

from __future__ import annotations

import argparse
from pathlib import Path

from hardware_models.errors import unknown_name

DESCRIPTION = """\
Write the network of a run of neuro convert --to as a file, and run the file once for a check.

  qcdq         ONNX with QuantizeLinear and DequantizeLinear: uniform codes of up to 8 bits
  qonnx        ONNX with Quant and BipolarQuant: uniform and binary codes
  program      torch.export, any variant, simulated in floating point
  packed       weights bit-packed, for packed inference on a CPU (quant.packed.load)
  safetensors  tensors, recipe and quantizers (quant.export.load_quantized)

  neuro export runs/timm-resnet18-w4a4 --format qcdq
  neuro export runs/mymodule-network-w1a1 --format packed --out network.safetensors
"""

ENDINGS = {
    "qcdq": "qcdq.onnx",
    "qonnx": "qonnx.onnx",
    "program": "pt2",
    "packed": "packed.safetensors",
    "safetensors": "quantized.safetensors",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("run", metavar="RUN", type=Path, help="run directory of neuro convert --to")
    parser.add_argument("--format", metavar="NAME", required=True, help=", ".join(ENDINGS))
    parser.add_argument("--out", metavar="FILE", type=Path, help="file to write (one in RUN)")


def run(args: argparse.Namespace) -> int:
    """Write the file; print where it is, how large, and how near."""
    if args.format not in ENDINGS:
        raise unknown_name("format", args.format, ENDINGS)
    from neuro.cli.terminal import Terminal
    from neuro.conversion.low_bit_load import load_low_bit_run
    from quant.export import export
    from quant.packed import save

    network, example = load_low_bit_run(args.run)
    path = args.out or args.run / f"network.{ENDINGS[args.format]}"
    if args.format == "packed":
        save(network, path)
        said = "weights bit-packed"
    else:
        said = f"differs from the network by {export(network, path, example, args.format):.1e} on an input of noise"
    Terminal(soft_wrap=True).print(f"{path}: {path.stat().st_size:,} bytes, {said}", markup=False, highlight=False)
    return 0
