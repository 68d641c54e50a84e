"""`Encoder`: the neuron that turns values into spikes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neuro.coding.clock import Clock
from neuro.coding.coding import Coding
from neuro.kernels.encode import SPIKES, encode
from quant.capture.samples import SamplePlace


class Encoder(nn.Module):
    """A neuron for each element of a value, which sends the value as spikes.

    With x_t the value at timestep t and E_t the sum of the spikes so far,

        r_t = n_t x_t - E_(t-1),    s_t = fire(r_t),    E_t = E_(t-1) + s_t.

    The remainder r is the membrane potential, subtracting s the soft reset. Input and output are `[T * B, ...]`, time
    outermost, or hold the samples where `place` says. The gradient goes straight through (`neuro.kernels.encode`).

    Args:
        place: where the value holds its samples.
        clock: the timesteps that run.
        coding: what the spikes stand for.
        spikes: kind of spikes, a name of `neuro.kernels.encode.SPIKES`.
        levels: how many thresholds (power-of-two), or the most unit spikes at once (integer).

    Attributes:
        unit: the threshold, in the unit of `n_t x_t`; a number, or what broadcasts to one sample's value.
        sent: E after the last piece, `[B, ...]`, while another piece follows; else None.
    """

    unit: Tensor
    elementwise_neuron = True  # one layer of a profile, whatever it computes (`neuro.profiling`)

    def __init__(self, place: SamplePlace, clock: Clock, coding: Coding, spikes: str, levels: int) -> None:
        super().__init__()
        self.place, self.clock, self.coding = place, clock, coding
        self.spikes, self.levels = spikes, levels
        self.register_buffer("unit", torch.tensor(1.0))
        self.sent: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the spikes of `x`, in its shape; what they stand for so far, unless the clock shows spikes."""
        clock = self.clock
        presentations = self.coding.presentations(clock.first, clock.steps)
        if presentations is not None:
            presentations = presentations.to(x.device)
        target = self.place.split(x, clock.steps)
        before = self.sent if clock.first else None
        summed = not clock.shows_spikes
        found, sent = encode(target, before, self.unit, presentations, self.spikes, self.levels, summed)
        self.sent = sent if clock.goes_on else None
        return self.place.join(found)

    def reset(self) -> None:
        """Forget what was sent."""
        self.sent = None

    def get_extra_state(self) -> Tensor:
        """For `state_dict`, what calibration may choose beside the unit: the kind's place in `SPIKES`, and levels."""
        return torch.tensor([list(SPIKES).index(self.spikes), self.levels])

    def set_extra_state(self, state: Tensor) -> None:
        """Undo `get_extra_state`."""
        self.spikes, self.levels = list(SPIKES)[int(state[0])], int(state[1])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        unit = state_dict.get(f"{prefix}unit")
        if isinstance(unit, Tensor):
            self.unit = self.unit.new_empty(unit.shape)  # one for all channels before calibration, perhaps not after
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def extra_repr(self) -> str:
        return f"{self.spikes}, levels={self.levels}, {self.coding.name}"
