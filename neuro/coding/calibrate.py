"""Choose the unit (largest threshold) of every neuron from values that the float network takes on real inputs."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hardware_models.errors import InputError
from neuro.coding.encoder import Encoder
from neuro.coding.network import SpikingNetwork
from neuro.coding.observe import Inputs, Observed, observe
from neuro.coding.threshold_search import covering_unit, expected_error, searched_unit

Method = Literal["percentile", "max", "search"]

_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d",
                 "conv_transpose3d")  # fmt: skip
_MUCH = 0.1
"""An expected relative error above this is warned of."""


class CalibrationWarning(UserWarning):
    """The calibration data, or the number of timesteps, are unlikely to be what was meant."""


@dataclass(frozen=True)
class InputRange:
    """What inputs a network was trained with.

    Attributes:
        smallest, largest: extremes a value can take.
        mean, std: of typical data.
    """

    smallest: float
    largest: float
    mean: float
    std: float

    @classmethod
    def normalised(cls, mean: Sequence[float], std: Sequence[float]) -> InputRange:
        """Return the range of pixels in 0..1 minus `mean` over `std`, by channel; such data are near mean 0, std 1."""
        pairs = list(zip(mean, std, strict=True))
        return cls(min(-m / s for m, s in pairs), max((1 - m) / s for m, s in pairs), 0.0, 1.0)

    def complaint(self, found: Inputs) -> str | None:
        """Return what is unlikely about the data, with the numbers; None where nothing is."""
        slack = 0.05 * (self.largest - self.smallest)
        outside = found.smallest < self.smallest - slack or found.largest > self.largest + slack
        strange = not 0.4 <= found.std / self.std <= 2.5 or abs(found.mean - self.mean) > self.std
        if not (outside or strange):
            return None
        return (
            f"the calibration data lie in {found.smallest:.4g} ... {found.largest:.4g} with mean {found.mean:.3g} and "
            f"standard deviation {found.std:.3g}, but the network expects {self.smallest:.4g} ... {self.largest:.4g} "
            f"with about {self.mean:.3g} and {self.std:.3g}; normalise them as in its training."
        )


@dataclass(frozen=True)
class NeuronRecord:
    """How one layer of neurons was calibrated.

    Attributes:
        spikes: the kind of spikes it sends.
        smallest, largest: extremes of the values it saw.
        unit: its largest unit, and `units` how many it has: 1, or one for each channel.
        expected_error: of the value it sends after T timesteps: root mean square, relative.
        note: why it is not what was asked for; empty where it is.
    """

    spikes: str
    smallest: float
    largest: float
    unit: float
    units: int
    expected_error: float
    note: str


@dataclass(frozen=True)
class Calibration:
    """The record of a calibration.

    Attributes:
        method: how units were chosen.
        samples: how many inputs were looked at.
        timesteps: T they were chosen for.
        neurons: by name in the graph.
        warnings: what was warned of.
    """

    method: str
    samples: int
    timesteps: int
    neurons: dict[str, NeuronRecord]
    warnings: tuple[str, ...]


@torch.no_grad()
def calibrate(
    network: SpikingNetwork,
    batches: Iterable[tuple[Tensor, ...]],
    percentile: float = 99.9,
    *,
    method: Method = "percentile",
    per_channel: bool = False,
    outlier_channels: int = 0,
    expects: InputRange | None = None,
) -> Calibration:
    """Set the unit of every neuron, in one pass over the data.

    `percentile` covers that share of the magnitudes seen, `max` all of them, and `search` takes the unit with the least
    error of the value sent after T timesteps (`neuro.coding.threshold_search`). Binary spikes carry no sign: neurons
    whose values were negative send ternary ones, and so do all neurons of differential coding; their record says so.

    Args:
        network: a network fresh from `to_spiking`; calibrated in place, for its T.
        batches: inputs of the float network, each `[B, ...]`.
        percentile: of the method of that name, percent.
        method: how to choose.
        per_channel: a unit for each input channel of a convolution or linear operator; other values have one.
        outlier_channels: where there is one unit for all channels, as many may have their own: those whose largest
            magnitude most exceeds what the common unit covers.
        expects: what the inputs should look like, where that is known; a `CalibrationWarning` tells the difference.

    Raises:
        InputError: no data, of another shape, constant, or not finite; an option out of range.
    """
    _check_options(method, percentile, outlier_channels)
    axes = _channel_axes(network) if per_channel or outlier_channels else dict.fromkeys(network.encoders())
    seen, inputs = observe(network, batches, axes)
    if inputs.smallest == inputs.largest:
        raise InputError(f"the calibration data are constant: every value is {inputs.largest:.4g}; give real inputs.")
    found = {}
    for name, encoder in network.encoders().items():
        note = _carry_the_sign(encoder, seen[name])
        chosen = _Chosen(encoder, network.timesteps, method, percentile)
        unit = chosen.unit(seen[name]) if per_channel else chosen.common_unit(seen[name], outlier_channels)
        encoder.unit = _shaped(unit, encoder, seen[name].axis)
        found[name] = _record(encoder, seen[name], unit, network.timesteps, note)
    complaints = [expects.complaint(inputs) if expects else None, _too_few_timesteps(network, found)]
    told = tuple(one for one in complaints if one)
    for one in told:
        warnings.warn(one, CalibrationWarning, stacklevel=3)  # past the decorator
    return Calibration(method, inputs.samples, network.timesteps, found, told)


@dataclass(frozen=True)
class _Chosen:
    """The chosen way to a unit."""

    encoder: Encoder
    timesteps: int
    method: Method
    percentile: float

    def unit(self, seen: Observed) -> Tensor:
        """Return one for each channel, `[C]`."""
        if self.method == "search":
            return searched_unit(seen, self.encoder, self.timesteps)
        return covering_unit(seen, self.encoder, self.timesteps, 100 if self.method == "max" else self.percentile)

    def common_unit(self, seen: Observed, outliers: int) -> Tensor:
        """Return one for all channels but `outliers` of them, `[C]`; `[1]` where there are none."""
        whole = seen.merged()
        common = self.unit(whole)
        if not outliers or len(seen.largest) == 1:
            return common
        own = covering_unit(seen, self.encoder, self.timesteps, 100)
        units = common.expand(len(own)).clone()
        furthest = own.topk(min(outliers, len(own))).indices
        furthest = furthest[own[furthest] > common]
        units[furthest] = self.unit(seen)[furthest].maximum(common)
        return units


def _check_options(method: str, percentile: float, outlier_channels: int) -> None:
    if method not in ("percentile", "max", "search"):
        raise InputError(f"unknown method of calibration {method!r}; there are percentile, max and search.")
    if not 0 < percentile <= 100:
        raise InputError(f"percentile was {percentile}; give a number above 0 and at most 100.")
    if outlier_channels < 0:
        raise InputError(f"outlier_channels was {outlier_channels}; give a whole number from 0.")


def _channel_axes(network: SpikingNetwork) -> dict[str, int | None]:
    """Return the axis of the channels of each value that only convolutions, or only linear operators, read."""
    operators = {one.module: one.operator for one in network.operators if one.is_driven}
    encoders = network.encoders()
    axes: dict[str, int | None] = {}
    for node in network.graph.graph.nodes:
        if node.op != "call_module" or node.target not in encoders:
            continue
        readers = {operators.get(str(user.target), "") for user in node.users}
        if readers <= set(_CONVOLUTIONS):
            axes[node.target] = 1
        else:
            axes[node.target] = encoders[node.target].place.dims - 1 if readers == {"linear"} else None
    return axes


def _carry_the_sign(encoder: Encoder, seen: Observed) -> str:
    """Make binary neurons ternary where they could not follow their target; return the note for the record."""
    smallest, largest = float(seen.smallest.min()), float(seen.largest.max())
    if encoder.spikes != "binary":
        return ""
    if not encoder.coding.rises:
        why = f"{encoder.coding.name} coding takes back what was too much"
    elif smallest < -1e-6 * abs(largest):
        why = f"values down to {smallest:.3g} were seen"
    else:
        return ""
    encoder.spikes = "ternary"
    return f"ternary, not binary: {why}, and binary spikes carry no sign"


def _shaped(unit: Tensor, encoder: Encoder, axis: int | None) -> Tensor:
    """Return `[C]` so that it broadcasts against the neuron's value; a single unit as a scalar."""
    if axis is None or unit.numel() == 1:
        return unit.reshape(())
    return unit.view(-1, *[1] * (encoder.place.dims - axis - 1))


def _record(encoder: Encoder, seen: Observed, unit: Tensor, timesteps: int, note: str) -> NeuronRecord:
    return NeuronRecord(
        spikes=encoder.spikes,
        smallest=float(seen.smallest.min()),
        largest=float(seen.largest.max()),
        unit=float(unit.max()),
        units=unit.numel(),
        expected_error=expected_error(seen, encoder, unit, timesteps),
        note=note,
    )


def _too_few_timesteps(network: SpikingNetwork, found: dict[str, NeuronRecord]) -> str | None:
    """Return what to expect of a T that is too small for the coding; None where it is not."""
    if not found:
        return None
    median = statistics.median(one.expected_error for one in found.values())
    if median <= _MUCH:
        return None
    worst = max(found, key=lambda name: found[name].expected_error)
    encoder = network.encoders()[worst]
    return (
        f"with T = {network.timesteps}, {encoder.coding.name} coding sends a value with an expected error of "
        f"{median:.0%} (median; worst {found[worst].expected_error:.0%} at {worst}); give more timesteps, or spikes of "
        "more levels."
    )
