"""The unit (largest threshold) of neurons, from a sample of the values that they are to send.

A neuron that sends at most q units in a timestep has, after T timesteps, sent at most q T units, which stand for a
value of q T unit / n_T (`neuro.coding.coding`). Threshold balancing puts the largest value there, or a percentile of
the magnitudes: the first never saturates, the second resolves small values better (Rueckauer et al., "Conversion of
Continuous-Valued Deep Networks to Efficient Event-Driven Networks for Image Classification", Frontiers in Neuroscience
2017). The local search weighs the two by what it costs: the mean squared error of the value sent after T timesteps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from neuro.coding.coding import Coding
from neuro.coding.encoder import Encoder
from neuro.coding.observe import Observed
from neuro.kernels.encode import encode

_EXPONENTS = 8
_FRACTIONS = 32
_NEGLIGIBLE = 1e-5
"""A smaller unit must make the error smaller by this share of the signal's power: else the larger, which is faster."""


def covering_unit(seen: Observed, encoder: Encoder, timesteps: int, percentile: float) -> Tensor:
    """Return the unit with which `percentile` percent of the magnitudes do not saturate at T, `[C]`; 100 for all."""
    magnitudes = seen.values.abs()
    largest = torch.maximum(seen.largest.abs(), seen.smallest.abs())
    reach = largest if percentile == 100 else torch.quantile(magnitudes, percentile / 100, dim=1)
    reach = torch.where(reach > 0, reach, largest)
    reach = torch.where(reach > 0, reach, largest.max())  # a channel that was always 0 is like the others
    return _as_unit(torch.where(reach > 0, reach, 1.0), encoder, timesteps)


def searched_unit(seen: Observed, encoder: Encoder, timesteps: int) -> Tensor:
    """Return the unit with the least mean squared error of the value sent after T timesteps, `[C]`.

    Power-of-two spikes: of eight exponents, from twice the largest value down. Others: of 32 fractions of the unit that
    covers the largest value.
    """
    most = covering_unit(seen, encoder, timesteps, 100)
    values = seen.values
    power = values.square().mean(1)
    best, least = most.clone(), torch.full_like(power, math.inf)
    for unit in _candidates(most, encoder):
        error = (sent_value(values, unit[:, None], encoder, timesteps) - values).square().mean(1)
        better = error < least - _NEGLIGIBLE * power
        best, least = torch.where(better, unit, best), torch.where(better, error, least)
    return best


def expected_error(seen: Observed, encoder: Encoder, unit: Tensor, timesteps: int) -> float:
    """Return the root-mean-square error of the value sent after T timesteps, relative to that of the value.

    What the neuron does by itself, its input constant; errors that reach it from neurons before it come on top.
    """
    values = seen.values
    power = float(values.square().mean())
    error = float((sent_value(values, unit[:, None], encoder, timesteps) - values).square().mean())
    return math.sqrt(error / power) if power else 0.0


def sent_value(x: Tensor, unit: Tensor, encoder: Encoder, timesteps: int) -> Tensor:
    """Return the value E_T / n_T that T timesteps of spikes stand for, the neurons' input `x` being constant."""
    presentations = encoder.coding.presentations(0, timesteps)
    over_time = x.expand(timesteps, *x.shape)
    presentations = None if presentations is None else presentations.to(x.device)
    found, _ = encode(over_time, None, unit, presentations, encoder.spikes, encoder.levels, summed=True)
    return found[-1]


def presented(coding: Coding, timesteps: int) -> float:
    """Return n_T."""
    presentations = coding.presentations(timesteps - 1, 1)
    return 1.0 if presentations is None else float(presentations[0])


def _as_unit(reach: Tensor, encoder: Encoder, timesteps: int) -> Tensor:
    if encoder.spikes == "power-of-two":
        return torch.exp2(torch.log2(reach).round())
    most_units = encoder.levels if encoder.spikes == "integer" else 1
    return reach * presented(encoder.coding, timesteps) / (most_units * timesteps)


def _candidates(most: Tensor, encoder: Encoder) -> Iterator[Tensor]:
    """Yield units to try, from large to small."""
    if encoder.spikes == "power-of-two":
        yield from (most * 2.0**e for e in range(1, 1 - _EXPONENTS, -1))
    else:
        yield from (most * (k / _FRACTIONS) for k in range(_FRACTIONS, 0, -1))
