"""From an engine's `[S, H, L]` arrays to totals, and from draws to a value with its band."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from hardware_models.engine import Array, Cost
from hardware_models.hardware import Hardware

PERCENTILES: Final = (5.0, 95.0)
"""Ends of a Monte Carlo band."""

Floats = npt.NDArray[np.float64]


def total_energy(cost: Cost, hardware: Hardware, layers: int) -> Floats | None:
    """Return the joules of all layers and components, `[S, H]`; None where the chip refuses the question."""
    if not hardware.answers("energy"):
        return None
    return sum((over_layers(values, hardware, layers) for values in cost.energy_j.values()), np.zeros(()))


def total_latency(cost: Cost, hardware: Hardware, layers: int) -> Floats | None:
    """Return the seconds of one inference, `[S, H]`; None where the chip refuses the question."""
    if cost.latency_s is None or not hardware.answers("latency"):
        return None
    if cost.total_latency_s is None:
        return over_layers(cost.latency_s, hardware, layers)
    return np.broadcast_to(cost.total_latency_s, (hardware.draw_count, hardware.variant_count)).astype(np.float64)


def over_layers(values: Array, hardware: Hardware, layers: int) -> Floats:
    """Return the sum over layers, `[S, H]`."""
    broadcast = layers if values.ndim == 0 or values.shape[-1] == 1 else 1
    summed = np.atleast_1d(values).sum(axis=-1) * broadcast
    return np.broadcast_to(summed, (hardware.draw_count, hardware.variant_count)).astype(np.float64)


def band(draws: Floats, samples: int) -> Floats:
    """Return value, low and high, `[3, ...]`, from draws `[S, ...]`.

    Percentiles are widened to hold the value, which lies outside of them where figures are at an end of their bands.
    """
    if not samples:
        return draws
    value = draws[:1]
    low, high = np.percentile(draws[1:], PERCENTILES, axis=0)
    return np.concatenate([value, np.minimum(value, low), np.maximum(value, high)])
