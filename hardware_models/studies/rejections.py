"""Counting what constraints reject, to say which of them leaves too little."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hardware_models.errors import InputError


class Rejections:
    """How many points were looked at, kept, and rejected by each of `rules`, the first that a point breaks."""

    def __init__(self, rules: Sequence[str]) -> None:
        self._rules = rules
        self._counts = np.zeros(len(rules), dtype=np.int64)
        self.tried = 0

    @property
    def kept(self) -> int:
        """Number of points that broke no rule."""
        return self.tried - int(self._counts.sum())

    def note(self, broken: npt.NDArray[np.int16]) -> npt.NDArray[np.bool_]:
        """Count points by the index of the rule that they break (-1: none), `[N]`; return which are kept, `[N]`."""
        self.tried += len(broken)
        self._counts += np.bincount(broken[broken >= 0], minlength=len(self._rules))
        return broken < 0

    def error(self, what: str) -> InputError:
        """Return the error that says `what` is wrong and which rules reject how many, most first."""
        order = np.argsort(-self._counts, kind="stable")
        said = ", ".join(f"{self._rules[i]!r} rejects {self._counts[i]}" for i in order if self._counts[i])
        return InputError(f"{what}: {said} (each counted at the first that it breaks); loosen these or widen the axes.")
