"""The compiled kernels of `native.c` behind tensors."""

from __future__ import annotations

import ctypes
import functools
import math
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from neuro.kernels import native
from neuro.kernels.lif.cpu import DTYPES, SERIAL_ELEMENTS, STREAMED_BYTES, NativeSettings, native_settings
from neuro.kernels.lif.settings import Settings, laid_out_as

LONGEST: Final = 512
"""Timesteps whose potentials fit into the scratch of a chunk."""

_POINTERS: Final = (
    *("x", "residual", "v", "s", "h", "v_last", "weight", "bias", "mean", "var", "rstd"),
    *("grad_s", "grad_h", "grad_x", "grad_sum", "grad_v", "grad_weight", "grad_bias"),
)


class _Task(ctypes.Structure):
    """`Task` of native.c."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in _POINTERS),
        *((name, ctypes.c_int64) for name in ("T", "B", "C", "P")),
        ("eps", ctypes.c_double),
        *((name, ctypes.c_int32) for name in ("dtype", "channels_last", "batch_statistics", "streamed", "threads")),
        ("neuron", NativeSettings),
    ]


class Inputs(NamedTuple):
    """What forward and backward both take.

    Attributes:
        x: `[T, B, C, ...]`, fp32, fp16 or bf16, as `dense` returns it.
        residual: the shortcut, like x; None for none.
        v: potential before the first step, fp32 `[B, C, ...]`; None for the resting potential.
        weight: of BatchNorm, fp32 `[C]`; None for no BatchNorm at all.
        bias: likewise.
    """

    x: Tensor
    residual: Tensor | None
    v: Tensor | None
    weight: Tensor | None
    bias: Tensor | None


def forward(
    given: Inputs, mean: Tensor | None, rstd: Tensor | None, settings: Settings, eps: float, keep_sum: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run BatchNorm, shortcut and neuron over all timesteps.

    Args:
        given: input, shortcut, potential and BatchNorm's parameters.
        mean: given mean, fp32 `[C]`; None (with `rstd`) for the statistics of the batch.
        rstd: 1 / sqrt(var + eps).
        settings: the neuron.
        eps: added to the variance of the batch.
        keep_sum: return the input of the neuron too.

    Returns:
        Spikes, the sum h (empty unless kept), the last potential (fp32 `[B, C, ...]`); mean, variance and rstd of the
        batch (empty where they were given).
    """
    given = _laid_out(given)
    x = given.x
    s, h = torch.empty_like(x), torch.empty_like(x) if keep_sum else x.new_empty(0)
    v_last = torch.empty_like(x[0], dtype=torch.float32)
    of_batch = given.weight is not None and mean is None
    size = x.shape[2] if of_batch else 0
    found = [x.new_full((size,), math.nan, dtype=torch.float32) for _ in range(3)]
    if x.numel() == 0:
        return s, h, v_last, found[0], found[1], found[2]
    mean, var, rstd = found if of_batch else (mean, None, rstd)
    results = {"s": s, "h": h if keep_sum else None, "v_last": v_last, "mean": mean, "var": var, "rstd": rstd}
    _call("neuro_norm_lif_forward", _task(given, settings, of_batch, eps, results))
    return s, h, v_last, found[0], found[1], found[2]


def backward(
    grad_s: Tensor | None,
    grad_h: Tensor | None,
    given: Inputs,
    h: Tensor | None,
    mean: Tensor | None,
    rstd: Tensor | None,
    settings: Settings,
    batch_statistics: bool,
    wants_sum: bool,
    wants_v: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x, of the sum (the residual's), of v (both empty unless wanted), of weight and of bias.

    Args:
        grad_s: gradient of the spikes; None for zero.
        grad_h: gradient of the sum; None for zero.
        given: those of `forward`; the residual is not read where `h` is there.
        h: the sum that forward kept; None where it did not.
        mean: the mean that x was normalised with.
        rstd: likewise.
        settings: the neuron.
        batch_statistics: whether mean and rstd were those of the batch.
        wants_sum: whether the residual's gradient is wanted.
        wants_v: whether the gradient of `given.v` is.
    """
    given = _laid_out(given)
    x = given.x
    grad_x = torch.empty_like(x)
    grad_sum = torch.empty_like(x) if wants_sum else x.new_empty(0)
    grad_v = torch.empty_like(x[0], dtype=torch.float32) if wants_v else x.new_empty(0, dtype=torch.float32)
    size = 0 if given.weight is None else x.shape[2]
    grad_weight, grad_bias = (x.new_zeros(size, dtype=torch.float32) for _ in range(2))
    if x.numel() == 0:
        return grad_x, grad_sum, grad_v, grad_weight, grad_bias
    more = {
        "grad_s": None if grad_s is None else laid_out_as(x, grad_s, x.dtype),
        "grad_h": None if grad_h is None else laid_out_as(x, grad_h, x.dtype),
        "h": None if h is None else laid_out_as(x, h, x.dtype),
        "mean": mean,
        "rstd": rstd,
        "grad_x": grad_x,
        "grad_sum": grad_sum if wants_sum else None,
        "grad_v": grad_v if wants_v else None,
        "grad_weight": grad_weight if size else None,
        "grad_bias": grad_bias if size else None,
    }
    _call("neuro_norm_lif_backward", _task(given, settings, batch_statistics, 0.0, more))
    return grad_x, grad_sum, grad_v, grad_weight, grad_bias


def dense(x: Tensor) -> Tensor:
    """Return x `[T, B, C, ...]` contiguous or channels-last, copied where it is neither."""
    return x if _is_channels_last(x) else x.contiguous()


def _is_channels_last(x: Tensor) -> bool:
    return x.movedim(2, -1).is_contiguous()


def _laid_out(given: Inputs) -> Inputs:
    x = dense(given.x)
    residual = None if given.residual is None else laid_out_as(x, given.residual, x.dtype)
    v = None if given.v is None else laid_out_as(x[0], given.v, torch.float32)
    return given._replace(x=x, residual=residual, v=v)


def _task(
    given: Inputs, settings: Settings, batch_statistics: bool, eps: float, more: dict[str, Tensor | None]
) -> tuple[_Task, dict[str, Tensor | None]]:
    """The task of native.c, and the tensors that its pointers need alive."""
    x = given.x
    tensors = given._asdict() | more
    task = _Task(**{name: None if t is None else t.data_ptr() for name, t in tensors.items()})
    task.T, task.B, task.C = x.shape[:3]
    task.P = math.prod(x.shape[3:])
    task.eps = eps
    task.dtype = DTYPES.index(x.dtype)
    task.channels_last = _is_channels_last(x)
    task.batch_statistics = batch_statistics
    task.streamed = x.dtype == torch.float32 and x.numel() * x.element_size() >= STREAMED_BYTES
    task.threads = torch.get_num_threads() if x.numel() >= SERIAL_ELEMENTS else 1
    task.neuron = native_settings(settings, settings.tau)
    return task, tensors


def _call(name: str, task: tuple[_Task, dict[str, Tensor | None]]) -> None:
    if getattr(_library(), name)(ctypes.byref(task[0])):
        raise MemoryError("norm_lif found no memory for its sums.")


@functools.cache
def _library() -> Any:
    """The compiled kernels, told of their arguments."""
    library = native.library()
    for function in (library.neuro_norm_lif_forward, library.neuro_norm_lif_backward):
        function.argtypes, function.restype = [ctypes.POINTER(_Task)], ctypes.c_int32
    return library
