"""Which timesteps a run is at; all modules of one spiking network share it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Clock:
    """A run goes through its timesteps in pieces, each of them computed at once.

    Attributes:
        first: timesteps that are done.
        steps: timesteps of the piece that runs now.
    """

    first: int = 0
    steps: int = 1
