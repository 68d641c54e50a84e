"""The compiled kernels of `native.c` behind tensors; `reference` says what the functions mean."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import torch
from torch import Tensor

from neuro.kernels import native
from neuro.kernels.encode.layout import Along, along, dense, laid_out, time_axis
from neuro.kernels.encode.reference import SPIKES, reach
from neuro.kernels.lif.cpu import DTYPES, SERIAL_ELEMENTS, STREAMED_BYTES


class _Shape(ctypes.Structure):
    """`neuro_encode_shape` of native.c."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("outer", "steps", "inner")),
        *((name, ctypes.c_int32) for name in ("dtype", "threads")),
    ]


class _Along(ctypes.Structure):
    """`neuro_encode_along` of native.c."""

    _fields_ = [("values", ctypes.c_void_p), ("channels", ctypes.c_int64), ("run", ctypes.c_int64)]


def encode(
    x: Tensor, sent: Tensor | None, unit: Tensor, presentations: Tensor | None, kind: str, levels: int, summed: bool
) -> tuple[Tensor, Tensor]:
    """As `reference.encode`, without a gradient; results lie in memory as `x` does."""
    x = dense(x)
    s, last = torch.empty_like(x), torch.empty_like(x[0], dtype=torch.float32)
    if x.numel():
        start, units = laid_out(last, sent), along(last, unit)
        presented = _floats(presentations)
        _library().neuro_encode_forward(
            x.data_ptr(), _pointer(start), _plain(units), _pointer(presented), s.data_ptr(), last.data_ptr(),
            _shape(x), *_firing(kind, levels), summed, _is_streamed(x),
        )  # fmt: skip
    return s, last


def encode_backward(
    grad_s: Tensor,
    grad_last: Tensor,
    x: Tensor,
    sent: Tensor | None,
    unit: Tensor,
    presentations: Tensor | None,
    kind: str,
    levels: int,
    summed: bool,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of `x` and of `sent`, given those of the spikes and of the last sum."""
    x = dense(x)
    grad_x, grad_sent = torch.empty_like(x), torch.empty_like(x[0], dtype=torch.float32)
    if x.numel():
        grad_s = grad_s if _lie_alike(grad_s, x) else torch.empty_like(x).copy_(grad_s)
        start, after, units = laid_out(grad_sent, sent), laid_out(grad_sent, grad_last), along(grad_sent, unit)
        presented = _floats(presentations)
        failed = _library().neuro_encode_backward(
            grad_s.data_ptr(), _pointer(after), x.data_ptr(), _pointer(start), _plain(units), _pointer(presented),
            grad_x.data_ptr(), grad_sent.data_ptr(), _shape(x), *_firing(kind, levels), summed, reach(kind, levels),
        )  # fmt: skip
        if failed:
            raise MemoryError("the backward pass of an encoder found no memory for its masks.")
    return grad_x, grad_sent


def decode(
    currents: Tensor, arrived: Tensor | None, divisors: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """As `reference.decode`, without a gradient; results lie in memory as `currents` do."""
    currents = dense(currents)
    values, last = torch.empty_like(currents), torch.empty_like(currents[0], dtype=torch.float32)
    if currents.numel():
        start, shift = laid_out(last, arrived), None if bias is None else along(last, bias)
        divided = _floats(divisors)
        _library().neuro_encode_decode(
            currents.data_ptr(), _pointer(start), _pointer(divided), _plain(shift), values.data_ptr(),
            last.data_ptr(), _shape(currents), _is_streamed(currents),
        )  # fmt: skip
    return values, last


def _shape(x: Tensor) -> Any:
    outer, inner = time_axis(x)
    threads = torch.get_num_threads() if x.numel() >= SERIAL_ELEMENTS else 1
    return ctypes.byref(_Shape(outer, x.shape[0], inner, DTYPES.index(x.dtype), threads))


def _plain(values: Along | None) -> Any:
    if values is None:
        return ctypes.byref(_Along(None, 1, 1))
    return ctypes.byref(_Along(values.tensor.data_ptr(), values.channels, values.run))


def _firing(kind: str, levels: int) -> tuple[int, float, float]:
    """The kind's number, its levels, and the smallest threshold of power-of-two spikes in units."""
    return list(SPIKES).index(kind), float(levels), 2.0 ** (1 - levels)


def _floats(numbers: Tensor | None) -> Tensor | None:
    return None if numbers is None else numbers.to(torch.float32).contiguous()


def _is_streamed(x: Tensor) -> bool:
    return x.dtype == torch.float32 and x.nbytes >= STREAMED_BYTES


def _lie_alike(a: Tensor, b: Tensor) -> bool:
    return a.stride() == b.stride() and a.dtype == b.dtype


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


@functools.cache
def _library() -> ctypes.CDLL:
    """The compiled kernels, told of their arguments."""
    library = native.library()
    pointer, number, real = ctypes.c_void_p, ctypes.c_int32, ctypes.c_float
    shape, values = ctypes.POINTER(_Shape), ctypes.POINTER(_Along)
    firing: list[Any] = [number, real, real]
    forward, backward, decoded = (
        getattr(library, f"neuro_encode_{name}") for name in ("forward", "backward", "decode")
    )
    forward.argtypes = [pointer, pointer, values, pointer, pointer, pointer, shape, *firing, number, number]
    backward.argtypes = [*[pointer] * 4, values, pointer, pointer, pointer, shape, *firing, number, real]
    decoded.argtypes = [pointer, pointer, pointer, values, pointer, pointer, shape, number]
    forward.restype, backward.restype, decoded.restype = None, number, None
    return library
