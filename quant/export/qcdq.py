"""ONNX with QuantizeLinear, Clip and DequantizeLinear: for uniform codes of up to 8 bits, run by any ONNX runtime.

    values    x -> QuantizeLinear(s, z) -> Clip(low, high) -> DequantizeLinear(s, z)
    weights   codes, int8 -> Clip(low, high) -> DequantizeLinear(s)

Clip tells the width, and is left out where all 8 bits are used. The form is that of QONNX's authors (Pappalardo et al.,
arXiv:2206.07527) and of Brevitas. ONNX rounds x / s before it adds z; the network here rounds x / s + z: they differ
where x / s lies half way between two steps and z is odd.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from hardware_models.errors import InputError
from quant.export.common import answer, checked, library, refusal, relative_error, write
from quant.export.onnx_graph import node, onnx_model
from quant.quantizers import Binary, Pact, PowerOfTwo, Quantizer, Spikes, Ternary, Uniform

_MOST_BITS = 8


def export_qcdq(network: nn.Module, path: str | Path, example: Tensor | tuple[Tensor, ...]) -> float:
    """Write a network of uniform codes as ONNX, and run the file in onnxruntime.

    Args:
        network: what `quant.quantize` made.
        path: the file; its folder must exist.
        example: inputs, `[B, ...]` each; the file takes batches of any size.

    Returns:
        |y - y'| / |y| for what the network and the file answer to `example`.

    Raises:
        InputError: a network that is not quantized, a library that is not installed, or a layer of binary values,
            powers of two, spikes or more than 8 bits.
        RunError: the file cannot be written.
    """
    found, inputs = checked(network, example)

    def translate(name: str, quantizer: Quantizer, weight: Tensor | None) -> nn.Module:
        what, others = _beyond(quantizer)
        if what:
            raise refusal(found, name, what, "qcdq", others)
        return _Value(quantizer) if weight is None else _Weight(quantizer, weight)

    content = onnx_model(found, inputs, translate).SerializeToString()
    error = relative_error(_run(content, inputs), answer(found, inputs).cpu())
    write(Path(path), content)
    return error


def run_qcdq(path: str | Path, *inputs: Tensor) -> Tensor:
    """Run a file in onnxruntime, on the CPU.

    Args:
        path: the file.
        *inputs: `[B, ...]` each.

    Returns:
        The output, `[B, ...]`.

    Raises:
        InputError: there is no such file, or onnxruntime is not installed or does not take it.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a file that export_qcdq wrote.") from error
    return _run(content, inputs)


def _run(content: bytes, inputs: tuple[Tensor, ...]) -> Tensor:
    runtime = library("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base
        raise InputError(f"onnxruntime does not take the graph ({error}).") from error
    names = [one.name for one in session.get_inputs()]
    (output,) = session.run(None, {name: x.cpu().numpy() for name, x in zip(names, inputs, strict=True)})
    return torch.from_numpy(output)


def _beyond(quantizer: Quantizer) -> tuple[str, str]:
    """What a quantizer makes that the format has no node for, and the formats that have; empty where it has."""
    if isinstance(quantizer, Binary):
        return "binary values", "qonnx, program, packed or safetensors"
    if isinstance(quantizer, PowerOfTwo | Spikes):
        what = "spikes" if isinstance(quantizer, Spikes) else "powers of two"
        return what, "program, packed or safetensors"
    if not isinstance(quantizer, Uniform | Pact | Ternary):
        return f"values of a {type(quantizer).__name__}", "program"
    if quantizer.bits > _MOST_BITS:
        return f"codes of {quantizer.bits} bits", "qonnx, program, packed or safetensors"
    return "", ""


class _Codes(nn.Module):
    """Scale, zero point and limits as ONNX takes them."""

    scale: Tensor
    zero: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, quantizer: Quantizer, scale: Tensor) -> None:
        super().__init__()
        low, high = quantizer.limits()
        dtype, full = (torch.int8, (-128, 127)) if low < 0 else (torch.uint8, (0, 255))
        zero = torch.as_tensor(quantizer.zero_point(), device=scale.device).detach()
        flat = scale.detach().flatten() if scale.numel() > 1 else scale.detach().reshape(())
        self.register_buffer("scale", flat.clone())
        self.register_buffer("zero", zero.to(dtype).expand(flat.shape).clone())
        self.register_buffer("low", torch.tensor(low, dtype=dtype, device=scale.device))
        self.register_buffer("high", torch.tensor(high, dtype=dtype, device=scale.device))
        self.clips = (low, high) != full

    def dequantized(self, codes: Tensor, **attributes: int) -> Tensor:
        """The values of codes, which are clipped before."""
        if self.clips:
            codes = node("Clip", (codes, self.low, self.high), codes, codes.dtype)
        return node("DequantizeLinear", (codes, self.scale, self.zero), codes, self.scale.dtype, **attributes)


class _Value(_Codes):
    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__(quantizer, quantizer.scale(torch.zeros(1)))  # one scale, whatever the value

    def forward(self, x: Tensor) -> Tensor:
        return self.dequantized(node("QuantizeLinear", (x, self.scale, self.zero), x, self.zero.dtype))


class _Weight(_Codes):
    codes: Tensor

    def __init__(self, quantizer: Quantizer, weight: Tensor) -> None:
        with torch.no_grad():
            super().__init__(quantizer, quantizer.scale(weight))
            self.register_buffer("codes", quantizer.codes(weight).round().to(self.zero.dtype))
        self.attributes = {"axis": (quantizer.axis or 0) % weight.dim()} if self.scale.dim() else {}

    def forward(self) -> Tensor:
        return self.dequantized(self.codes, **self.attributes)
