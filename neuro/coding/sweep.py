"""Accuracy, output error and spikes against T, in one pass: the state is carried on from each T to the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hardware_models.errors import InputError
from neuro.coding.encoder import Encoder
from neuro.coding.network import SpikingNetwork

Labelled = tuple[tuple[Tensor, ...], Tensor | None]
"""Inputs `[B, ...]` and labels `[B]`, None where there are none."""


@dataclass(frozen=True)
class SweepPoint:
    """A spiking network at one number of timesteps.

    Attributes:
        timesteps: T.
        output_error: median over the samples of |y_T - y| / |y|, y the float network's output (2-norms).
        agreement: share of samples whose largest output is that of the float network.
        accuracy: share of samples whose largest output is the label; None without labels.
        float_accuracy: the same of the float network.
        spikes: mean number of spikes of one inference, up to T.
        firing_rate: spikes per neuron and timestep.
        samples: how many inputs were compared.
    """

    timesteps: int
    output_error: float
    agreement: float
    accuracy: float | None
    float_accuracy: float | None
    spikes: float
    firing_rate: float
    samples: int


@torch.no_grad()
def sweep(
    network: SpikingNetwork, reference: nn.Module, batches: Iterable[Labelled], timesteps: Sequence[int]
) -> list[SweepPoint]:
    """Compare the spiking network with the float network at every T in `timesteps`.

    Args:
        network: calibrated.
        reference: the float network, called with the same inputs.
        batches: inputs, with labels where there are any.
        timesteps: T, rising.

    Raises:
        InputError: no timesteps, or not rising; no data.
    """
    wanted = list(timesteps)
    if not wanted or wanted[0] < 1 or sorted(set(wanted)) != wanted:
        raise InputError(f"timesteps to compare were {wanted}; give rising whole numbers, such as 1,2,4,8.")
    tally = _Tally(wanted)
    with _counting(network, tally):
        for inputs, labels in batches:
            expected = reference(*inputs).float()
            found = _outputs_at(network, inputs, wanted)
            for index, output in enumerate(found):
                tally.add(index, output.float(), expected, labels)
            tally.samples += inputs[0].shape[0]
    if not tally.samples:
        raise InputError("there is nothing to compare on; give at least one batch of inputs.")
    return tally.points()


def _outputs_at(network: SpikingNetwork, inputs: tuple[Tensor, ...], wanted: list[int]) -> Iterator[Tensor]:
    """Yield the output after each wanted number of timesteps."""
    done = 0
    for piece in network.over_time(*inputs, timesteps=wanted[-1]):
        for t in wanted:
            if done < t <= done + piece.shape[0]:
                yield piece[t - done - 1]
        done += piece.shape[0]


@dataclass
class _Tally:
    wanted: list[int]
    samples: int = 0
    labelled: int = 0
    errors: list[list[Tensor]] = field(default_factory=list)
    agreed: list[int] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    float_right: int = 0
    spikes: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    neurons: int = 0

    def __post_init__(self) -> None:
        self.errors = [[] for _ in self.wanted]
        self.agreed, self.right = [0] * len(self.wanted), [0] * len(self.wanted)
        self.spikes = torch.zeros(self.wanted[-1], dtype=torch.float64)

    def add(self, index: int, output: Tensor, expected: Tensor, labels: Tensor | None) -> None:
        difference = (output - expected).flatten(1).norm(dim=1)
        self.errors[index].append(difference / expected.flatten(1).norm(dim=1).clamp_min(1e-30))
        same = output.argmax(-1) == expected.argmax(-1)
        self.agreed[index] += int(same.view(len(same), -1).all(1).sum())
        if labels is not None:
            self.right[index] += int((output.argmax(-1) == labels).sum())
            if index == 0:
                self.labelled += len(labels)
                self.float_right += int((expected.argmax(-1) == labels).sum())

    def points(self) -> list[SweepPoint]:
        spikes = self.spikes.cumsum(0) / self.samples
        neurons = self.neurons / self.samples
        return [
            SweepPoint(
                timesteps=t,
                output_error=float(torch.cat(self.errors[i]).median()),
                agreement=self.agreed[i] / self.samples,
                accuracy=self.right[i] / self.labelled if self.labelled else None,
                float_accuracy=self.float_right / self.labelled if self.labelled else None,
                spikes=float(spikes[t - 1]),
                firing_rate=float(spikes[t - 1]) / (neurons * t) if neurons else 0.0,
                samples=self.samples,
            )
            for i, t in enumerate(self.wanted)
        ]


@contextmanager
def _counting(network: SpikingNetwork, tally: _Tally) -> Iterator[None]:
    """Count the spikes of every neuron by timestep."""

    def hook(encoder: Encoder, inputs: tuple[Tensor], spikes: Tensor) -> None:
        clock = encoder.clock
        by_step = encoder.place.split(spikes, clock.steps).flatten(1)
        tally.spikes[clock.first : clock.first + clock.steps] += by_step.count_nonzero(1).double().cpu()
        if clock.first == 0:
            tally.neurons += by_step.shape[1]

    handles = [encoder.register_forward_hook(hook) for encoder in network.encoders().values()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
