"""Roofline figures of a sequence of layers: arithmetic intensity, waterline and efficiency gap.

A roofline (Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore
architectures", Communications of the ACM 52(4), 2009) says how fast one kernel can run; Lavin ("On the Efficiency of
Convolutional Neural Networks", arXiv:2404.03617, 2024) asks it of the sequence of kernels that makes a network:

* computational efficiency = ideal latency / latency, with ideal latency = operations / peak, so that
  latency = operations / (peak * efficiency): the size of the network and the efficiency of its execution are
  separate factors;
* the efficiency gap is what lies between a network's latency and its ideal latency;
* the waterline is the machine's balance, peak / bandwidth, drawn across the layers' arithmetic intensities. A layer
  below it is memory bound and can attain no more than intensity / balance of the peak; what the layers can attain,
  each for its share of the time, bounds the efficiency of the whole sequence.

Everything broadcasts: layers stand on the last axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_models.errors import InputError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Waterline:
    """Where the layers of a sequence stand against a machine's balance.

    Attributes:
        intensity: operations per byte of each layer, `[..., L]`; infinite where nothing is moved.
        balance: operations per byte at which arithmetic and memory take equally long, peak / bandwidth.
        below: which layers are memory bound.
        ideal_s: operations / peak of each layer, seconds.
        attainable_s: max(operations / peak, bytes / bandwidth) of each layer, seconds.
    """

    intensity: Floats
    balance: Floats
    below: npt.NDArray[np.bool_]
    ideal_s: Floats
    attainable_s: Floats

    @property
    def efficiency(self) -> Floats:
        """The share of the peak that each layer can attain, min(1, intensity / balance), `[..., L]`."""
        return np.minimum(1.0, self.intensity / self.balance)

    @property
    def sequence_efficiency(self) -> Floats:
        """The share of the peak that the whole sequence can attain, sum(ideal) / sum(attainable), `[...]`."""
        ideal, attainable = self.ideal_s.sum(axis=-1), self.attainable_s.sum(axis=-1)
        return np.divide(ideal, attainable, out=np.ones_like(attainable), where=attainable > 0)

    @property
    def gap_s(self) -> Floats:
        """Seconds that memory adds to the ideal latency of the sequence, sum(attainable - ideal), `[...]`."""
        return np.asarray((self.attainable_s - self.ideal_s).sum(axis=-1))


@dataclass(frozen=True)
class EfficiencyGap:
    """A latency against what the same operations would take at the peak.

    Attributes:
        ideal_s: operations / peak, seconds.
        gap_s: latency - ideal latency, seconds.
        efficiency: ideal latency / latency, the computational efficiency.
    """

    ideal_s: Floats
    gap_s: Floats
    efficiency: Floats


def attainable_time(
    operations: npt.ArrayLike, bytes_moved: npt.ArrayLike, peak: npt.ArrayLike, bandwidth: npt.ArrayLike
) -> Floats:
    """Return max(operations / peak, bytes / bandwidth), seconds.

    Args:
        operations: a multiply-accumulate is two.
        bytes_moved: to and from the memory behind `bandwidth`.
        peak: operations per second; already times the share that is reached, where that is known.
        bandwidth: bytes per second, likewise.

    Raises:
        InputError: a negative or non-finite amount of work, a peak or bandwidth that is not positive.
    """
    work, moved = _amount("operations", operations), _amount("bytes", bytes_moved)
    return np.maximum(work / _rate("peak", peak), moved / _rate("bandwidth", bandwidth))


def waterline(
    operations: npt.ArrayLike, bytes_moved: npt.ArrayLike, peak: npt.ArrayLike, bandwidth: npt.ArrayLike
) -> Waterline:
    """Return where each layer stands against the machine's balance; arguments and errors as `attainable_time`."""
    attainable = attainable_time(operations, bytes_moved, peak, bandwidth)
    work, moved = _amount("operations", operations), _amount("bytes", bytes_moved)
    work, moved = np.broadcast_arrays(work, moved)
    ideal = work / _rate("peak", peak)
    intensity = np.divide(work, moved, out=np.full(work.shape, np.inf), where=moved > 0)
    balance = _rate("peak", peak) / _rate("bandwidth", bandwidth)
    return Waterline(intensity, balance, np.asarray(intensity < balance), ideal, attainable)


def efficiency_gap(operations: npt.ArrayLike, peak: npt.ArrayLike, latency_s: npt.ArrayLike) -> EfficiencyGap:
    """Return the gap between a measured or estimated latency and the ideal one.

    Args:
        operations: of the layer or network.
        peak: operations per second.
        latency_s: seconds that it takes.

    Raises:
        InputError: as `attainable_time`; a latency below the ideal one, which no machine of that peak reaches.
    """
    ideal = _amount("operations", operations) / _rate("peak", peak)
    latency = _rate("latency", latency_s)
    if (latency < ideal * (1 - 1e-9)).any():
        raise InputError(
            "a latency is shorter than operations / peak; give the operations that were executed, or the peak at "
            "their width."
        )
    return EfficiencyGap(ideal, latency - ideal, ideal / latency)


def _amount(name: str, value: npt.ArrayLike) -> Floats:
    array: npt.NDArray[Any] = np.asarray(value, dtype=np.float64)
    if not np.isfinite(array).all() or (array < 0).any():
        raise InputError(f"{name} must be finite and not negative; mend the workload.")
    return array


def _rate(name: str, value: npt.ArrayLike) -> Floats:
    array: npt.NDArray[Any] = np.asarray(value, dtype=np.float64)
    if not np.isfinite(array).all() or (array <= 0).any():
        raise InputError(f"{name} must be finite and positive; give the figure of the machine.")
    return array
