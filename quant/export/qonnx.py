"""QONNX: ONNX with nodes for codes of any width, binary ones too (Pappalardo et al., arXiv:2206.07527).

    Quant(x, s, z, b)    (round(clamp(x / s + z, low, high)) - z) s, with low and high by width, sign and narrow range
    BipolarQuant(x, s)   s where x >= 0, else -s

Weights are written as the values that they become, which their node leaves as they are. Trained thresholds of binary
values are subtracted before the node. FINN and qonnx read these files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hardware_models.errors import InputError
from quant.export.common import answer, checked, library, refusal, relative_error, write
from quant.export.onnx_graph import node, onnx_model
from quant.quantizers import Binary, Pact, PowerOfTwo, Quantizer, Shift, Spikes, Ternary, Uniform

DOMAIN = "qonnx.custom_op.general"


def export_qonnx(network: nn.Module, path: str | Path, example: Tensor | tuple[Tensor, ...]) -> float:
    """Write a network of uniform or binary codes as QONNX, and run the file, its nodes as the package qonnx has them.

    Args:
        network: what `quant.quantize` made.
        path: the file; its folder must exist.
        example: inputs, `[B, ...]` each; the file takes batches of any size.

    Returns:
        |y - y'| / |y| for what the network and the file answer to `example`.

    Raises:
        InputError: a network that is not quantized, a library that is not installed, or a layer of powers of two or
            spikes.
        RunError: the file cannot be written.
    """
    found, inputs = checked(network, example)

    def translate(name: str, quantizer: Quantizer, weight: Tensor | None) -> nn.Module:
        what, others = _beyond(quantizer)
        if what:
            raise refusal(found, name, what, "qonnx", others)
        return _Node(quantizer, torch.zeros(1)) if weight is None else _Weight(quantizer, weight)

    model = onnx_model(found, inputs, translate)
    error = relative_error(_run(model, inputs), answer(found, inputs).cpu())
    write(Path(path), model.SerializeToString())
    return error


def run_qonnx(path: str | Path, *inputs: Tensor) -> Tensor:
    """Run a file by ONNX's reference implementation and qonnx's own arithmetic: exact, and slow.

    Args:
        path: the file.
        *inputs: `[B, ...]` each.

    Returns:
        The output, `[B, ...]`.

    Raises:
        InputError: there is no such file, or onnx or qonnx are not installed.
    """
    try:
        model = library("onnx").load_model_from_string(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a file that export_qonnx wrote.") from error
    return _run(model, inputs)


def _run(model: Any, inputs: tuple[Tensor, ...]) -> Tensor:
    evaluator = library("onnx.reference").ReferenceEvaluator(model, new_ops=_operators())
    held = {one.name for one in model.graph.initializer}  # which some exporters also list as inputs
    names = [one.name for one in model.graph.input if one.name not in held]
    (output,) = evaluator.run(None, {name: x.cpu().numpy() for name, x in zip(names, inputs, strict=True)})
    return torch.from_numpy(output)


def _operators() -> list[Any]:
    """The nodes of QONNX for ONNX's reference implementation."""
    uniform = library("qonnx.custom_op.general.quant").quant
    binary = library("qonnx.custom_op.general.bipolar_quant").binary_quant
    base = library("onnx.reference.op_run").OpRun

    class Quant(base):  # type: ignore[misc, valid-type]
        op_domain = DOMAIN

        def _run(self, x: Any, *rest: Any, signed: int, narrow: int, rounding_mode: str) -> tuple[Any]:
            return (uniform(x, *rest, signed, narrow, rounding_mode).astype(x.dtype),)

    class BipolarQuant(base):  # type: ignore[misc, valid-type]
        op_domain = DOMAIN

        def _run(self, x: Any, scale: Any) -> tuple[Any]:
            return (binary(x, scale).astype(x.dtype),)

    return [Quant, BipolarQuant]


def _beyond(quantizer: Quantizer) -> tuple[str, str]:
    """What a quantizer makes that the format has no node for, and the formats that have; empty where it has."""
    if isinstance(quantizer, Spikes):
        return "spikes", "program, packed or safetensors"
    if isinstance(quantizer, PowerOfTwo):
        return "powers of two", "program, packed or safetensors"
    if isinstance(quantizer, Uniform) and quantizer.limits() == (-1, 0):
        return "the codes -1 and 0", "program, packed or safetensors"
    if not isinstance(quantizer, Uniform | Pact | Ternary | Binary):
        return f"values of a {type(quantizer).__name__}", "program"
    return "", ""


class _Node(nn.Module):
    """Quant or BipolarQuant, with a shift before where there is one."""

    scale: Tensor
    zero: Tensor
    bits: Tensor

    def __init__(self, quantizer: Quantizer, like: Tensor) -> None:
        super().__init__()
        low, high = quantizer.limits()
        self.binary = isinstance(quantizer, Binary)
        self.shift = Shift(quantizer) if isinstance(quantizer, Binary) and quantizer.shifts else nn.Identity()
        scale = quantizer.scale(like).detach()
        zero = torch.as_tensor(quantizer.zero_point(), device=scale.device)
        self.register_buffer("scale", scale.clone() if scale.numel() > 1 else scale.reshape(()).clone())
        self.register_buffer("zero", zero.detach().float().clone())
        self.register_buffer("bits", torch.tensor(float(quantizer.bits), device=scale.device))
        self.attributes = {"signed": int(low < 0), "narrow": int(low == -high), "rounding_mode": "ROUND"}

    def forward(self, x: Tensor) -> Tensor:
        x = self.shift(x)
        if self.binary:
            return node(f"{DOMAIN}::BipolarQuant", (x, self.scale), x, x.dtype)
        return node(f"{DOMAIN}::Quant", (x, self.scale, self.zero, self.bits), x, x.dtype, **self.attributes)


class _Weight(_Node):
    values: Tensor

    def __init__(self, quantizer: Quantizer, weight: Tensor) -> None:
        with torch.no_grad():
            super().__init__(quantizer, weight)
            self.register_buffer("values", quantizer(weight))

    def forward(self) -> Tensor:  # type: ignore[override]
        return super().forward(self.values)
