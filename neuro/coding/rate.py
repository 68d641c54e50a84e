"""Rate coding: spikes are counted."""

from __future__ import annotations

import torch
from torch import Tensor


class Rate:
    """E_t / t, the firing rate in units of the value, follows x_t: n_t = t.

    A neuron is an integrate-and-fire neuron with soft reset: what it integrates, n_t x_t - E_(t-1), is the current of
    all timesteps less the spikes sent, and it fires from half its threshold on, which is the same as to start there
    and fire at the whole. Its input being constant, it so sends the nearest of the T + 1 rates 0, 1/T ... 1: the error
    falls as 1 / T, and the firing rate stays. Values that rose late are caught up with only as far as the rate is below
    1.

    Sources: Rueckauer et al., Frontiers in Neuroscience 2017 (soft reset, threshold balancing); Bu et al.,
    "Optimized Potential Initialization for Low-latency Spiking Neural Networks", AAAI 2022, arXiv:2202.01440 (half a
    threshold).
    """

    name = "rate"
    rises = True

    def presentations(self, first: int, steps: int) -> Tensor | None:
        return torch.arange(first + 1, first + steps + 1, dtype=torch.float32)
