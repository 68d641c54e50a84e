"""Values between products, in one pass each: equal steps, and integrate-and-fire neurons."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from quant.packed import library

PARALLEL_NUMBERS = 2**15
"""Numbers from which waking a second thread pays."""


class Steps(NamedTuple):
    """Equal steps of a value: (round(clamp(x / scale + zero_point, low, high)) - zero_point) scale, in float32."""

    scale: float
    zero_point: float
    low: float
    high: float

    def round(self, x: Tensor) -> Tensor:
        """Put float32 values of any shape on the steps; half to even."""
        dense = _dense(x)
        if not library.available() or x.dtype != torch.float32:
            scale = torch.tensor(self.scale, dtype=torch.float32)
            codes = torch.clamp(x / scale + self.zero_point, self.low, self.high).round()
            return (codes - self.zero_point) * scale
        y = torch.empty_like(dense)
        threads = torch.get_num_threads() if x.numel() >= PARALLEL_NUMBERS else 1
        library.kernels().quant_packed_round(library.Round(dense.data_ptr(), y.data_ptr(), x.numel(), threads, *self))
        return y


def fire(
    current: Tensor, timesteps: int, threshold: float, leak: float = 1.0, membrane_bits: int | None = None
) -> Tensor:
    """Integrate and fire with soft reset; see `quant.schemes.spikes`.

    Args:
        current: float32 `[T B, ...]`, timesteps before samples.
        timesteps: T.
        threshold: theta.
        leak: of the membrane potential.
        membrane_bits: width of an integer membrane potential; None keeps it in floating point.

    Returns:
        Spikes, uint8, 0 or 1, of the shape and layout of `current`.
    """
    dense = _dense(current)
    if not library.available():
        return _fire_by_steps(current, timesteps, threshold, leak, membrane_bits)
    spikes = torch.empty_like(dense, dtype=torch.uint8)
    threads = torch.get_num_threads() if current.numel() >= PARALLEL_NUMBERS else 1
    bits = membrane_bits or 1
    library.kernels().quant_packed_fire(
        library.Fire(
            dense.data_ptr(), spikes.data_ptr(), timesteps, current.numel() // timesteps, membrane_bits is not None,
            threads, threshold, leak, 2.0 ** (2 - bits), -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1,
        )
    )  # fmt: skip
    return spikes


def _fire_by_steps(current: Tensor, timesteps: int, threshold: float, leak: float, bits: int | None) -> Tensor:
    apart = current.unflatten(0, (timesteps, -1)) / torch.tensor(threshold, dtype=torch.float32)
    state, fired = torch.full_like(apart[0], 0.5), []
    for x in apart:
        v = state * leak + x
        if bits is not None:
            v = torch.clamp(v / 2.0 ** (2 - bits), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1).round() * 2.0 ** (2 - bits)
        fired.append(v >= 1)
        state = v - fired[-1].float()
    return torch.cat(fired).to(torch.uint8)


def _dense(x: Tensor) -> Tensor:
    """The values one after the other in memory with the first axis outermost: as they lie, where they do."""
    if x.is_contiguous() or (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)):
        return x
    if x.dim() > 2 and x.movedim(1, -1).is_contiguous():
        return x
    return x.contiguous()
