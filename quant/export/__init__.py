"""Quantized networks as files: ONNX in two forms, programs of `torch.export`, and tensors to load again.

    qcdq         ONNX's own QuantizeLinear, Clip and DequantizeLinear: uniform codes of up to 8 bits; runs anywhere
    qonnx        ONNX with the nodes Quant and BipolarQuant: uniform codes of any width and binary ones
    program      `torch.export`, every variant, spiking ones too; simulated in floating point
    safetensors  tensors, recipe and quantizers, from which `load_quantized` makes the network again

Every file is run once more before it takes its place, and the error of what it answers is returned.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, get_args

from torch import Tensor, nn

from hardware_models.errors import unknown_name
from quant.export.common import Format
from quant.export.program import export_program
from quant.export.qcdq import export_qcdq, run_qcdq
from quant.export.qonnx import export_qonnx, run_qonnx
from quant.export.safetensors import export_safetensors, load_quantized

__all__ = [
    "FORMATS",
    "Format",
    "export",
    "export_program",
    "export_qcdq",
    "export_qonnx",
    "export_safetensors",
    "load_quantized",
    "run_qcdq",
    "run_qonnx",
]

FORMATS: Final = get_args(Format)

_EXPORTERS: Final[dict[str, Callable[[nn.Module, Path, Tensor | tuple[Tensor, ...]], float]]] = {
    "qcdq": export_qcdq,
    "qonnx": export_qonnx,
    "program": export_program,
    "safetensors": export_safetensors,
}


def export(network: nn.Module, path: str | Path, example: Tensor | tuple[Tensor, ...], form: str) -> float:
    """Write a quantized network to a file.

    Args:
        network: what `quant.quantize` made.
        path: the file; its folder must exist.
        example: inputs, `[B, ...]` each, on which the file is run; the file takes batches of any size.
        form: one of `FORMATS`.

    Returns:
        |y - y'| / |y|, where y is what the network answers to `example` and y' what the file does. It is rounding
        alone, but a value that rounding puts on another step is a step away: the fewer bits, the larger.

    Raises:
        InputError: an unknown format, a network that is not quantized, a library that is not installed, or a layer
            that the format cannot hold.
        RunError: the file cannot be written.
    """
    if form not in _EXPORTERS:
        raise unknown_name("format", form, FORMATS)
    return _EXPORTERS[form](network, Path(path), example)
