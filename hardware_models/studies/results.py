"""What became of points: objectives with their bands, and why those without were left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from hardware_models.errors import InputError, unknown_name
from hardware_models.studies.columns import Columns

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

State = Literal["done", "infeasible", "failed"]
"""done: every objective is known. infeasible: the point breaks a limit. failed: something went wrong; a later result
may take its place."""

STATES: Final[tuple[State, ...]] = get_args(State)


@dataclass(frozen=True, eq=False)
class Results:
    """Results of N points.

    Attributes:
        points: the points.
        objectives: by name, `[3, N]`: value, low and high end of its band; NaN where it is not known.
        state: `done`, `infeasible` or `failed`, `[N]`.
        reason: the limit that an infeasible point breaks, or why a point failed, `[N]`; empty of done ones.
        seconds: that the point took, `[N]`.
        worker: who computed it, `[N]`.

    Raises:
        InputError: arrays of other lengths; a done point without an objective or with a reason, another one without
            a reason; a value outside its band.
    """

    points: Columns
    objectives: Mapping[str, Floats]
    state: Array
    reason: Array
    seconds: Floats
    worker: Array

    def __post_init__(self) -> None:
        count = len(self.points)
        for name in ("state", "reason", "seconds", "worker"):
            if getattr(self, name).shape != (count,):
                raise InputError(f"{name} has shape {getattr(self, name).shape}; give one entry to each of {count}.")
        for state in set(self.state.tolist()) - set(STATES):
            raise unknown_name("state", state, STATES)
        if not (np.isfinite(self.seconds) & (self.seconds >= 0)).all():
            raise InputError("seconds hold a number below 0 or none; give the time that each point took.")
        done = self.state == "done"
        if ((self.reason == "") != done).any():
            raise InputError(
                "a done point has a reason, or another has none; say why each infeasible or failed one is."
            )
        for name, values in self.objectives.items():
            self._check_objective(name, values, np.asarray(done, dtype=bool))

    def __len__(self) -> int:
        return len(self.points)

    def _check_objective(self, name: str, values: Floats, done: npt.NDArray[np.bool_]) -> None:
        if values.shape != (3, len(self)):
            raise InputError(
                f"objective {name!r} has shape {values.shape}; expected [3, {len(self)}]: value, low, high."
            )
        value, low, high = values
        unknown = np.isnan(values).all(axis=0) & ~done
        wrong = ~unknown & ~(np.isfinite(value) & (low <= value) & (value <= high))
        if wrong.any():
            row = int(wrong.argmax())
            raise InputError(
                f"objective {name!r} of point {row} is {value[row]:g} with band {low[row]:g} to {high[row]:g}; expected"
                " a finite number inside its band, so mend it."
            )
