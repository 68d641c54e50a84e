"""Spike-driven self-attention by the compiled kernel `native.c`."""

from __future__ import annotations

import ctypes
import functools
from typing import Final

import torch
from torch import Tensor

from neuro.kernels import native
from neuro.kernels.sdsa.reference import Neuron

CODES: Final = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2, torch.bool: 3, torch.uint8: 3}
_TIME_PACKED: Final = 4


class _Shape(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("kind", "dtype", "steps", "batch", "heads", "tokens", "width")),
        ("strides", ctypes.c_int64 * 15),
        *((name, ctypes.c_int64) for name in ("charge", "hard", "packed_out", "threads")),
        *((name, ctypes.c_float) for name in ("scale", "threshold", "reset", "tau")),
    )


def forward(
    q: Tensor, k: Tensor, v: Tensor, kind: int, scale: float, neuron: Neuron, timesteps: int, packed: bool
) -> tuple[Tensor, Tensor] | None:
    """Return what `reference.sdsa` returns, or None where a value is neither 0 nor 1.

    Args:
        q, k, v: spikes `[T, B, heads, N, d]` in any layout; or time-packed bytes `[ceil(T/8), ...]`.
        kind: 1, or 3 for SDSA-3 and SDSA-4.
        scale: in front of the neuron.
        neuron: its constants.
        timesteps: T.
        packed: return the spikes time-packed.

    Returns:
        Spikes and the last potential (float32), both with the tokens contiguous in memory.
    """
    out, last = outputs(q, kind, timesteps, packed)
    if not out.numel():
        return out, last.fill_(neuron.v_reset or 0.0)
    shape = _shape(q, k, v, kind, scale, neuron, timesteps, packed)
    scratch = torch.zeros(_kernels().neuro_sdsa_scratch(ctypes.byref(shape)) * shape.threads, dtype=torch.uint8)
    pointers = [x.data_ptr() for x in (q, k, v, out, last, scratch)]
    return None if _kernels().neuro_sdsa(ctypes.byref(shape), *pointers) else (out, last)


def outputs(q: Tensor, kind: int, timesteps: int, packed: bool) -> tuple[Tensor, Tensor]:
    """Return the empty spikes and last potential, channels before tokens in memory."""
    _, batch, heads, tokens, width = q.shape
    steps = (timesteps + 7) // 8 if packed else timesteps
    out = q.new_empty((steps, batch, heads, width, tokens), dtype=torch.uint8 if packed else q.dtype)
    last = q.new_empty((batch, heads, width, 1 if kind == 1 else tokens), dtype=torch.float32)
    return out.transpose(-2, -1), last.transpose(-2, -1)


def _shape(
    q: Tensor, k: Tensor, v: Tensor, kind: int, scale: float, neuron: Neuron, timesteps: int, packed: bool
) -> _Shape:
    _, batch, heads, tokens, width = q.shape
    charge = 0 if not neuron.leak else 1 if neuron.decay_input else 2
    strides = (ctypes.c_int64 * 15)(*q.stride(), *k.stride(), *v.stride())
    dtype = _TIME_PACKED if is_time_packed(q, timesteps) else CODES[q.dtype]
    hard = neuron.v_reset is not None
    return _Shape(
        kind, dtype, timesteps, batch, heads, tokens, width, strides, charge, hard, packed, torch.get_num_threads(),
        scale, neuron.v_threshold, neuron.v_reset or 0.0, neuron.tau,
    )  # fmt: skip


def is_time_packed(q: Tensor, timesteps: int) -> bool:
    """Whether `q` holds bits of timesteps; a single byte plane for T = 1 is the same packed or not."""
    return q.dtype == torch.uint8 and q.shape[0] != timesteps


@functools.cache
def _kernels() -> ctypes.CDLL:
    library = native.library()
    shape = ctypes.POINTER(_Shape)
    library.neuro_sdsa_scratch.argtypes = [shape]
    library.neuro_sdsa_scratch.restype = ctypes.c_int64
    library.neuro_sdsa.argtypes = [shape, *[ctypes.c_void_p] * 6]
    library.neuro_sdsa.restype = ctypes.c_int64
    return library
