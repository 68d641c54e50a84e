"""The compiled kernels of `native.c` behind tensors."""

from __future__ import annotations

import ctypes
import functools
from typing import Any, Final

import torch
from torch import Tensor

from neuro.kernels import native
from neuro.kernels.lif.settings import CHARGES, SURROGATES, Settings, empty_packed, in_storage_order, laid_out_as

DTYPES: Final = (torch.float32, torch.float16, torch.bfloat16)
"""What the kernels take; their place is their number."""

STREAMED_BYTES: Final = 16 << 20
"""Results of at least this size are written past the caches, where they would not survive until they are read."""

SERIAL_ELEMENTS: Final = 1 << 14
"""Below this, waking other threads costs more than they save."""


class NativeSettings(ctypes.Structure):
    """`neuro_lif_settings` of native.c."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("charge", "reset", "surrogate", "detach_reset")),
        *((name, ctypes.c_float) for name in ("tau", "rest", "v_threshold", "v_reset", "alpha")),
        *((name, ctypes.c_float) for name in ("keeps", "levels", "divisor")),
    ]


def forward(x: Tensor, v: Tensor | None, tau: Tensor | None, settings: Settings, packed: bool) -> tuple[Tensor, Tensor]:
    """Run all timesteps.

    Args:
        x: input `[T, ...]`, fp32, fp16 or bf16; copied only where its timesteps do not follow each other in memory.
        v: potential before the first step, fp32 `[...]`; None for the resting potential.
        tau: a learned time constant, one number; None for that of `settings`.
        settings: the neuron.
        packed: return spikes as bits.

    Returns:
        Spikes in the shape, dtype and storage order of `x`, or packed over time, uint8 `[ceil(T/8), ...]`; and the
        last potential, fp32 `[...]`, which is left out (empty) where spikes are packed.
    """
    x = in_storage_order(x)
    s = empty_packed(x) if packed else torch.empty_like(x)
    v_last = torch.empty(0) if packed else torch.empty_like(x[0], dtype=torch.float32)
    if v is not None:
        v = laid_out_as(x[0], v, torch.float32)
    if x.numel() == 0:
        return s, v_last
    _library().neuro_lif_forward(
        x.data_ptr(),
        _pointer(v),
        settings.rest,
        None if packed else s.data_ptr(),
        s.data_ptr() if packed else None,
        None if packed else v_last.data_ptr(),
        *_common(x, tau, settings),
    )
    return s, v_last


def backward(
    grad_s: Tensor, x: Tensor, v: Tensor | None, tau: Tensor | None, settings: Settings, wants_v: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of `x`, of `v` (empty unless wanted) and of `tau` (empty where there is none).

    The charged potentials are computed again from `x` and `v`, which have to be those of `forward`.
    """
    x = in_storage_order(x)
    grad_x = torch.empty_like(x)
    grad_v = torch.empty_like(x[0], dtype=torch.float32) if wants_v else x.new_empty(0, dtype=torch.float32)
    if v is not None:
        v = laid_out_as(x[0], v, torch.float32)
    if x.numel() == 0:
        return grad_x, grad_v, torch.zeros((0,) if tau is None else tau.shape)
    grad_s = laid_out_as(x, grad_s, x.dtype)
    blocks = -(-x[0].numel() // _library().neuro_lif_block(x.shape[0]))
    parts = torch.empty(0 if tau is None else blocks, dtype=torch.float64)
    failed = _library().neuro_lif_backward(
        grad_s.data_ptr(),
        x.data_ptr(),
        _pointer(v),
        settings.rest,
        grad_x.data_ptr(),
        grad_v.data_ptr() if wants_v else None,
        None if tau is None else parts.data_ptr(),
        *_common(x, tau, settings),
    )
    if failed:
        raise MemoryError("the backward pass of a neuron found no memory for its potentials.")
    grad_tau = torch.empty(0) if tau is None else parts.sum().to(tau.dtype).reshape(tau.shape)
    return grad_x, grad_v, grad_tau


def _common(x: Tensor, tau: Tensor | None, settings: Settings) -> tuple[object, ...]:
    """The arguments that forward and backward end with."""
    steps, neurons = x.shape[0], x.numel() // x.shape[0]
    threads = torch.get_num_threads() if x.numel() >= SERIAL_ELEMENTS else 1
    neuron = ctypes.byref(native_settings(settings, settings.tau if tau is None else float(tau)))
    return steps, neurons, DTYPES.index(x.dtype), x.nbytes >= STREAMED_BYTES, neuron, threads


@functools.lru_cache(maxsize=256)
def native_settings(settings: Settings, tau: float) -> NativeSettings:
    """Return `settings` as C takes them, with the time constant `tau`, which may be a learned one."""
    reset = 2 if settings.v_reset is None else int(settings.v_reset != 0)
    return NativeSettings(
        CHARGES.index(settings.charge),
        reset,
        SURROGATES.index(settings.surrogate),
        settings.detach_reset,
        tau,
        settings.rest,
        settings.v_threshold,
        settings.rest,
        settings.alpha,
        1 - 1 / tau,
        settings.levels,
        settings.divisor,
    )


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


@functools.cache
def _library() -> ctypes.CDLL:
    """The compiled kernels, told of their arguments."""
    library = native.library()
    pointer, count, number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
    common: list[Any] = [count, count, number, number, ctypes.POINTER(NativeSettings), number]
    start: list[Any] = [pointer, ctypes.c_float]
    library.neuro_lif_forward.argtypes = [pointer, *start, pointer, pointer, pointer, *common]
    library.neuro_lif_forward.restype = None
    library.neuro_lif_backward.argtypes = [pointer, pointer, *start, pointer, pointer, pointer, *common]
    library.neuro_lif_backward.restype = number
    library.neuro_lif_block.argtypes = [count]
    library.neuro_lif_block.restype = count
    return library
