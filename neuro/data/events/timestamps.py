"""Counters that start again, and values that hold until the next: what streams of words need."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def unwrapped(counter: np.ndarray, bits: int) -> NDArray[np.int64]:
    """Return a counter of `bits` bits that starts again at 0, as one that goes on.

    A step back by more than half of the period P = 2^bits is a new turn. A step forward by more than 15/16 P is a
    word of the last turn that came late. Any other step is taken as it stands.

    Args:
        counter: values `[N]` in 0 .. P-1.
        bits: width of the counter.

    Returns:
        `counter + P * turn`, `[N]` int64, the first as it stands.
    """
    values = counter.astype(np.int64)
    period = 1 << bits
    step = np.diff(values)
    turn = np.cumsum((step < -(period // 2)).astype(np.int64) - (step > period - period // 16))
    values[1:] += period * turn
    return values


def last_place(marked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return, for each place, the last one up to it that is marked, `[N]` int64; -1 before the first."""
    return np.maximum.accumulate(np.where(marked, np.arange(len(marked)), -1))
