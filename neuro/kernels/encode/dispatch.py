"""Which implementation encodes and decodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch

from neuro.kernels import gpu, native
from neuro.kernels.dispatch import Implementation, Operator, Request
from neuro.kernels.encode import operators, reference
from neuro.kernels.lif.cpu import DTYPES


def _native_refuses(request: Request) -> str:
    if request.device != "cpu":
        return f"the tensor is on {request.device}, not on the CPU"
    if request.dtype not in DTYPES:
        return f"dtype {str(request.dtype).removeprefix('torch.')}"
    return native.why_not()


def _operator(name: str, through_library: Callable[..., Any], meaning: Callable[..., Any]) -> Operator:
    return Operator(
        name,
        [
            Implementation("triton", gpu.refuses, through_library),
            Implementation("native", _native_refuses, through_library),
            Implementation("reference", lambda request: "", meaning),
        ],
    )


ENCODE: Final = _operator("encode", operators.encode, reference.encode)
DECODE: Final = _operator("decode", operators.decode, reference.decode)
_BY_NAME: Final = {operator.name: operator for operator in (ENCODE, DECODE)}


@torch.compiler.assume_constant_result
def _chosen(operator: str, device: str, dtype: torch.dtype) -> str:
    return _BY_NAME[operator].choose(Request(device, dtype)).implementation.name


def run(operator: Operator, x: torch.Tensor, *arguments: Any) -> Any:
    """Run the implementation that serves the tensor."""
    name = _chosen(operator.name, x.device.type, x.dtype)
    return next(one.run for one in operator.implementations if one.name == name)(x, *arguments)
