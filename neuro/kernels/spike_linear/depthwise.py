"""Depthwise convolution of time-packed spikes."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from hardware_models.errors import InputError
from neuro.kernels import native
from neuro.kernels.dispatch import Implementation, Operator, Request
from neuro.kernels.spike_linear import cpu, reference

LARGEST: Final = 16
"""Side of the largest kernel; up to 256 taps, int8 sums fit 16 bits."""


def spike_depthwise(bits: Tensor, weight: Tensor, timesteps: int, padding: int | None = None) -> Tensor:
    """Convolve every channel of spikes with its own kernel, stride 1.

        y[t, b, c, i, j] = sum_uv s[t, b, c, i + u - p, j + v - p] w[c, u, v]

    Args:
        bits: time-packed spikes, uint8 `[ceil(T/8), B, C, H, W]` (`bitpack.pack`).
        weight: `[C, 1, k, k]` or `[C, k, k]`, fp32 or int8, k <= 16.
        timesteps: T.
        padding: p, of zeros on every side; None keeps the size for an odd k.

    Returns:
        `[T, B, C, H + 2 p - k + 1, ...]`: exact int32 sums for int8 weights, fp32 for fp32 weights, without a gradient.

    Raises:
        InputError: shapes or dtypes do not fit.
    """
    kernel = weight.squeeze(1) if weight.dim() == 4 else weight
    side = kernel.shape[-1] if kernel.dim() else 0
    rim = side // 2 if padding is None else padding
    _check(bits, kernel, weight, timesteps, rim)
    return torch.ops.neuro.spike_depthwise(bits, kernel, timesteps, rim)


def _check(bits: Tensor, kernel: Tensor, weight: Tensor, timesteps: int, padding: int) -> None:
    if bits.dtype != torch.uint8 or bits.dim() != 5 or timesteps < 1 or bits.shape[0] != (timesteps + 7) // 8:
        raise InputError(
            f"spike_depthwise was given {bits.dtype} of shape {tuple(bits.shape)} for timesteps={timesteps}; give "
            "time-packed uint8 [ceil(T/8), B, C, H, W]."
        )
    square = kernel.dim() == 3 and kernel.shape[0] == bits.shape[2] and kernel.shape[1] == kernel.shape[2] <= LARGEST
    if not square or kernel.dtype not in (torch.float32, torch.int8):
        raise InputError(
            f"spike_depthwise was given weights {weight.dtype} of shape {tuple(weight.shape)} for {bits.shape[2]} "
            f"channels; give fp32 or int8 [C, 1, k, k], k at most {LARGEST}."
        )
    if padding < 0 or min(bits.shape[3:]) + 2 * padding < kernel.shape[-1] or not kernel.shape[-1]:
        raise InputError(
            f"spike_depthwise was given padding={padding} and a kernel of side {kernel.shape[-1]} for "
            f"{tuple(bits.shape[3:])} positions; the kernel must fit."
        )


def _native_refuses(request: Request) -> str:
    return native.why_not() if request.device == "cpu" else f"the tensor is on {request.device}, not on the CPU"


OPERATOR: Final = Operator(
    "spike_depthwise",
    [
        Implementation("native", _native_refuses, cpu.depthwise),
        Implementation("reference", lambda request: "", reference.depthwise),
    ],
)


@torch.library.custom_op("neuro::spike_depthwise", mutates_args=())
def _depthwise(bits: Tensor, weight: Tensor, timesteps: int, padding: int) -> Tensor:
    return OPERATOR(Request(bits.device.type, weight.dtype), bits, weight, timesteps, padding)


@_depthwise.register_fake
def _(bits: Tensor, weight: Tensor, timesteps: int, padding: int) -> Tensor:
    _, batch, channels, height, width = bits.shape
    more = 2 * padding - weight.shape[-1] + 1
    dtype = torch.float32 if weight.dtype.is_floating_point else torch.int32
    return bits.new_empty((timesteps, batch, channels, height + more, width + more), dtype=dtype)
