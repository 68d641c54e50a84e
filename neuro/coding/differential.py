"""Differential coding: spikes are increments."""

from __future__ import annotations

from torch import Tensor


class Differential:
    """E_t follows x_t itself: n_t = 1.

    A neuron sends what is missing, or too much, from what it sent before. Once its value has settled, it sends ever
    smaller corrections, or nothing: the error falls by a factor with every timestep where spikes are powers of two, and
    the firing rate falls with it. Too much can only be taken back by a negative spike.

    Source: the increments of Huang et al., "Differential Coding for Training-Free ANN-to-SNN Conversion", ICML 2025,
    arXiv:2503.00301.
    """

    name = "differential"
    rises = False

    def presentations(self, first: int, steps: int) -> Tensor | None:
        return None
