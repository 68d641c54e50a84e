"""`Encoder`: the neuron that turns values into spikes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuro.capture.samples import SamplePlace
from neuro.coding.clock import Clock
from neuro.coding.coding import Coding
from neuro.coding.spikes import SPIKES, straight_through


class Encoder(nn.Module):
    """A neuron for each element of a value, which sends the value as spikes.

    With x_t the value at timestep t and E_t the sum of the spikes so far,

        r_t = n_t x_t - E_(t-1),    s_t = fire(r_t),    E_t = E_(t-1) + s_t.

    The remainder r is the membrane potential, subtracting s the soft reset. Input and output are `[T * B, ...]`, time
    outermost, or hold the samples where `place` says.

    Args:
        place: where the value holds its samples.
        clock: the timesteps that run.
        coding: what the spikes stand for.
        spikes: kind of spikes, a name of `SPIKES`.
        levels: how many thresholds (power-of-two), or the most unit spikes at once (integer).
    """

    unit: Tensor

    def __init__(self, place: SamplePlace, clock: Clock, coding: Coding, spikes: str, levels: int) -> None:
        super().__init__()
        self.place, self.clock, self.coding = place, clock, coding
        self.spikes, self.levels = spikes, levels
        self.register_buffer("unit", torch.tensor(1.0))
        self.sent: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the spikes of `x`, in its shape."""
        target = self.place.split(x, self.clock.steps)
        presentations = self.coding.presentations(self.clock.first, self.clock.steps)
        fire = SPIKES[self.spikes]
        sent = torch.zeros_like(target[0]) if self.sent is None else self.sent
        spikes = []
        for t in range(self.clock.steps):
            goal = target[t] if presentations is None else target[t] * presentations[t]
            now = straight_through(fire, goal - sent, self.unit, self.levels)
            sent = sent + now
            spikes.append(now)
        self.sent = sent
        return self.place.join(torch.stack(spikes))

    def reset(self) -> None:
        """Forget what was sent."""
        self.sent = None

    def extra_repr(self) -> str:
        return f"{self.spikes}, levels={self.levels}, {self.coding.name}"
