"""What values the neurons of a network will have to send: extremes and a random sample of each, in one pass."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hardware_models.errors import InputError
from neuro.coding.encoder import Encoder
from neuro.coding.network import SpikingNetwork

_VALUES = 1 << 15
"""Values kept of each neuron layer, over all its channels."""
_VALUES_OF_CHANNEL = 1 << 9
"""The least kept of each channel."""


class Observed:
    """The values that one layer of neurons saw, by channel.

    Attributes:
        axis: the channels' axis; None for one channel that is the whole value.
        largest, smallest: extremes, `[C]`.
        values: a uniform random sample of all values seen, `[C, n]`; the same places in every channel.
    """

    def __init__(self, axis: int | None, seed: int) -> None:
        self.axis = axis
        self.largest = self.smallest = torch.empty(0)
        self.values = torch.empty(0)
        self._seen = 0
        self._generator = torch.Generator().manual_seed(seed)

    def add(self, x: Tensor) -> None:
        """Take in a value, whole or one batch of it; keeps nothing of its size."""
        x = x.detach().float()
        x = x.unsqueeze(-1) if self.axis is None else x.movedim(self.axis, -1)
        axes = tuple(range(x.dim() - 1))
        low, high = x.amin(axes), x.amax(axes)
        count = math.prod(x.shape[:-1])
        first = self._seen == 0
        self.smallest = low if first else torch.minimum(self.smallest, low)
        self.largest = high if first else torch.maximum(self.largest, high)
        self._seen += count
        sample = self._sample(x, count)
        if first:
            self.values = sample
        else:  # each kept value gives way with the share of the new ones among all: the sample stays uniform
            new = self._uniform(sample.shape[1]) < count / self._seen
            self.values = torch.where(new.to(x.device), sample, self.values)

    def merged(self) -> Observed:
        """Return the same values as those of one channel."""
        whole = Observed(None, 0)
        whole.smallest, whole.largest = self.smallest.min().view(1), self.largest.max().view(1)
        whole.values = self.values.T.reshape(1, -1)  # the first of them are of every channel
        return whole

    def _sample(self, x: Tensor, count: int) -> Tensor:
        """Return values at random places, `[C, n]`."""
        wanted = max(_VALUES_OF_CHANNEL, _VALUES // x.shape[-1])
        places = (self._uniform(wanted).double() * count).long().clamp(max=count - 1).to(x.device)
        return x[torch.unravel_index(places, x.shape[:-1])].T.contiguous()

    def _uniform(self, count: int) -> Tensor:
        return torch.rand(count, generator=self._generator)


@dataclass
class Inputs:
    """What the calibration data were, over all inputs of floating point.

    Attributes:
        samples: how many.
        smallest, largest: extremes.
        mean, std: over all values; NaN where there are none in floating point.
    """

    samples: int = 0
    smallest: float = math.inf
    largest: float = -math.inf
    _count: int = 0
    _sum: float = 0.0
    _squares: float = 0.0

    def add(self, batch: tuple[Tensor, ...]) -> None:
        """Take in one batch."""
        self.samples += batch[0].shape[0]
        for x in batch:
            if not x.is_floating_point():
                continue
            low, high = x.aminmax()
            self.smallest, self.largest = min(self.smallest, float(low)), max(self.largest, float(high))
            wide = x.double()
            self._count += x.numel()
            self._sum += float(wide.sum())
            self._squares += float(wide.square().sum())

    @property
    def mean(self) -> float:
        return self._sum / self._count if self._count else math.nan

    @property
    def std(self) -> float:
        return math.sqrt(max(0.0, self._squares / self._count - self.mean**2)) if self._count else math.nan


@torch.no_grad()
def observe(
    network: SpikingNetwork, batches: Iterable[tuple[Tensor, ...]], axes: dict[str, int | None]
) -> tuple[dict[str, Observed], Inputs]:
    """Run the float network on `batches` and look at what each neuron is given.

    Every spike carries all that is left (`ideal`), so one timestep computes the float network; a run of one timestep
    keeps no state, so no activation outlives the operators that read it. Between the modules run values, not spikes, as
    nobody looks at those.

    Args:
        network: not yet calibrated; left as it was.
        batches: inputs, each `[B, ...]`.
        axes: the axis of the channels to tell apart, by neuron layer.

    Returns:
        What each neuron layer saw, and what the inputs were.

    Raises:
        InputError: no batches, an input of another shape than was captured, or values that are not finite.
    """
    encoders = network.encoders()
    seen = {name: Observed(axes[name], seed) for seed, name in enumerate(encoders)}
    inputs = Inputs()
    with _watched(network, seen):
        for batch in batches:
            _check_shapes(network, batch)
            inputs.add(batch)
            if not math.isfinite(inputs.smallest + inputs.largest) and inputs.std == inputs.std:
                raise InputError("the calibration data hold values that are not finite; take those samples out.")
            network.graph(*batch)
    if not inputs.samples:
        raise InputError("there is no calibration data; give at least one batch of real inputs.")
    for name, one in seen.items():
        if not bool((one.largest.isfinite() & one.smallest.isfinite()).all()):
            raise InputError(
                f"neuron {name} saw values that are not finite; look at the calibration data and the weights."
            )
    return seen, inputs


@contextmanager
def _watched(network: SpikingNetwork, seen: dict[str, Observed]) -> Iterator[None]:
    """Show every neuron's input to its `Observed`, with ideal spikes."""
    encoders, clock = network.encoders(), network.clock
    clock.first, clock.steps, clock.timesteps, clock.shows_spikes = 0, 1, 1, False
    kinds = {name: encoder.spikes for name, encoder in encoders.items()}
    handles = [encoder.register_forward_pre_hook(_look(seen[name])) for name, encoder in encoders.items()]
    try:
        for encoder in encoders.values():
            encoder.spikes = "ideal"
        yield
    finally:
        for handle in handles:
            handle.remove()
        for name, encoder in encoders.items():
            encoder.spikes = kinds[name]


def _look(seen: Observed) -> Any:
    def hook(encoder: Encoder, inputs: tuple[Tensor]) -> None:
        seen.add(inputs[0])

    return hook


def _check_shapes(network: SpikingNetwork, batch: tuple[Tensor, ...]) -> None:
    """Refuse a batch that the captured graph would misread or stumble over."""
    expected = [node.meta["val"] for node in network.graph.graph.nodes if node.op == "placeholder"]
    if len(batch) != len(expected):
        raise InputError(f"the network takes {len(expected)} inputs, but the calibration data have {len(batch)}.")
    for given, one in zip(batch, expected, strict=True):
        if given.shape[1:] != one.shape[1:] or given.dim() != one.dim():
            wanted, found = ("x".join(map(str, x.shape[1:])) for x in (one, given))
            raise InputError(
                f"the calibration data have samples of {found or 'one number'}, but the network was captured with "
                f"{wanted}; give data of that size."
            )
        if given.shape[0] < 1:
            raise InputError("a batch of the calibration data is empty; give at least one sample in each.")
