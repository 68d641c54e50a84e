"""Choose the unit (largest threshold) of every neuron from values that the float network takes on real inputs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hardware_models.errors import InputError
from neuro.coding.encoder import Encoder
from neuro.coding.network import SpikingNetwork

_SAMPLE = 1 << 16
"""Magnitudes kept of each batch for percentiles."""


@dataclass
class _Seen:
    """What one neuron's value was."""

    largest: float = 0.0
    smallest: float = math.inf
    magnitudes: list[Tensor] = field(default_factory=list)


@torch.no_grad()
def calibrate(network: SpikingNetwork, batches: Iterable[tuple[Tensor, ...]], percentile: float = 99.9) -> None:
    """Set the unit of every neuron so that it covers `percentile` percent of the magnitudes seen.

    Args:
        network: a network fresh from `to_spiking`; calibrated in place.
        batches: inputs of the float network, each `[B, ...]`.
        percentile: share of magnitudes, percent, that one spike of the largest threshold reaches.

    Raises:
        InputError: no batches, or values that are not finite.
    """
    encoders = network.encoders()
    seen = {name: _Seen() for name in encoders}
    handles = [e.register_forward_pre_hook(_look(seen[name])) for name, e in encoders.items()]
    kinds = {name: e.spikes for name, e in encoders.items()}
    count = 0
    try:
        for encoder in encoders.values():
            encoder.spikes = "ideal"
        for batch in batches:
            for _ in network.over_time(*batch, timesteps=1):
                count += batch[0].shape[0]
    finally:
        for handle in handles:
            handle.remove()
        for name, encoder in encoders.items():
            encoder.spikes = kinds[name]
    if not count:
        raise InputError("there is no calibration data; give at least one batch of real inputs.")
    for name, encoder in encoders.items():
        encoder.unit = _unit(name, encoder, seen[name], percentile)


def _look(seen: _Seen):
    def hook(encoder: Encoder, inputs: tuple[Tensor]) -> None:
        x = inputs[0].detach().float().flatten()
        low, high = (float(v) for v in x.aminmax())
        seen.largest = max(seen.largest, -low, high)
        seen.smallest = min(seen.smallest, low)
        step = max(1, x.numel() // _SAMPLE)
        seen.magnitudes.append(x[::step].abs())

    return hook


def _unit(name: str, encoder: Encoder, seen: _Seen, percentile: float) -> Tensor:
    if not math.isfinite(seen.largest):
        raise InputError(f"neuron {name} saw values that are not finite; look at the calibration data and the weights.")
    if seen.largest == 0:
        return torch.tensor(1.0)
    magnitudes = torch.cat(seen.magnitudes)
    reach = float(torch.quantile(magnitudes[:: max(1, magnitudes.numel() // 1_000_000)], percentile / 100))
    reach = reach or seen.largest
    if encoder.spikes == "power-of-two":
        return torch.tensor(2.0 ** round(math.log2(reach)))
    return torch.tensor(reach)
