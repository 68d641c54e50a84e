"""What a train of spikes stands for.

A value x is sent as spikes s_1, s_2, ... Their sum after t timesteps, E_t, follows a target, and the receiver reads the
value from it:

    differential   target x_t          value E_t         each spike corrects what was sent before
    rate           target t x_t        value E_t / t     spikes per timestep

Both are one number, the presentations n_t: target n_t x_t, value E_t / n_t, with n_t = 1 or n_t = t. Whatever is linear
in x is linear in E_t, and so is driven by the spikes alone; what is not linear is computed on the value.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from neuro.coding.differential import Differential
from neuro.coding.rate import Rate


class Coding(Protocol):
    """A way to send values as spikes.

    Attributes:
        name: its name in `CODINGS`.
        rises: whether the target of a value that is not negative rises in every timestep, once the value has settled:
            then spikes without a sign can follow it.
    """

    name: str
    rises: bool

    def presentations(self, first: int, steps: int) -> Tensor | None:
        """Return n_t of `steps` timesteps after the first `first`, `[steps]`; None where it is always 1."""


CODINGS: dict[str, Coding] = {"differential": Differential(), "rate": Rate()}
"""By name."""
