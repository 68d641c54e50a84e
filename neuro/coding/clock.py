"""Which timesteps a run is at; all modules of one spiking network share it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Clock:
    """A run goes through its timesteps in pieces, each of them computed at once.

    Attributes:
        first: timesteps that are done.
        steps: timesteps of the piece that runs now.
        timesteps: of the whole run.
        shows_spikes: whether spikes run between the modules, for whoever looks at them. Else it is what they stand for
            so far, E_t / n_t: what is linear in spikes is linear in their sum, so the operators compute on that the
            same value, up to rounding, without sums of their own.
    """

    first: int = 0
    steps: int = 1
    timesteps: int = 1
    shows_spikes: bool = True

    @property
    def goes_on(self) -> bool:
        """Whether another piece follows, so that state has to be kept for it."""
        return self.first + self.steps < self.timesteps
