"""What zeros save: the share of operations or accesses that still cost energy, and time.

| policy     | share of energy                | share of time                                        |
|------------|--------------------------------|------------------------------------------------------|
| none       | 1                              | 1                                                    |
| gate       | density                        | 1: the unit idles through the cycle of a zero        |
| skip       | density                        | density of the busiest unit, for the others wait     |
| group-skip | 1 - (1 - density)^group        | the same, of the busiest unit                        |

A group is skipped when all its `group` values are zero (rows of an in-memory array, SIMD lanes, N:M blocks);
the share assumes that zeros fall independently. Whatever finds the zeros costs its own energy: the engine
charges the overhead figure for every value looked at.

A membrane potential is read and written in every timestep; no policy applies to it.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

Array = npt.NDArray[Any]
Policy = Literal["none", "gate", "skip", "group-skip"]


class SparsityRule(BaseModel):
    """A policy and, for group-skip, the number of values in a group."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: Policy = "none"
    group: int = Field(default=1, ge=1, le=2**20)

    @model_validator(mode="after")
    def _group_belongs_to_group_skip(self) -> SparsityRule:
        if (self.policy == "group-skip") != (self.group > 1):
            raise ValueError(f"policy {self.policy} with a group of {self.group}; a group above 1 needs group-skip")
        return self

    def energy_share(self, density: Array) -> Array:
        """Return the share of operations or accesses that cost energy, of the shape of `density`."""
        if self.policy == "none":
            return np.ones_like(density)
        return self._worked(density)

    def time_share(self, density: Array, busiest: Array | None = None) -> Array:
        """Return the share of cycles that remain.

        Args:
            density: mean share of values that are not zero.
            busiest: the density of the unit with most to do, which the others wait for; None: all alike.
        """
        if self.policy in ("none", "gate"):
            return np.ones_like(density)
        return self._worked(density if busiest is None else np.maximum(density, busiest))

    def _worked(self, density: Array) -> Array:
        return 1.0 - (1.0 - density) ** self.group if self.policy == "group-skip" else density


class OperandRules(BaseModel):
    """What a level does with zeros of the input and of the other operand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: SparsityRule = SparsityRule()
    weight: SparsityRule = SparsityRule()
