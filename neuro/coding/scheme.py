"""`Scheme`: how the values of a network become spikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hardware_models.errors import InputError, unknown_name
from neuro.coding.coding import CODINGS
from neuro.kernels.encode import SPIKES

STRICTNESSES: Final = ("exact-nonlinear", "spike-only")

_USUAL_SPIKES: Final = {"differential": "power-of-two", "rate": "binary"}
_USUAL_LEVELS: Final = {"power-of-two": 15, "integer": 4}
"""15 thresholds: with the sign, what 5 bits hold."""


@dataclass(frozen=True)
class Scheme:
    """How values become spikes.

    Attributes:
        coding: a name of `CODINGS`.
        spikes: kind of spikes, a name of `neuro.kernels.encode.SPIKES`.
        levels: thresholds of a neuron, or most unit spikes at once.
        strictness: `exact-nonlinear`: functions that are not linear are computed in floating point, on values;
            `spike-only`: by thresholds (`neuro.coding.ladder`) and products of spikes.
    """

    coding: str = "differential"
    spikes: str = "power-of-two"
    levels: int = _USUAL_LEVELS["power-of-two"]
    strictness: str = "exact-nonlinear"

    def __post_init__(self) -> None:
        for what, given, known in (
            ("coding", self.coding, CODINGS),
            ("kind of spikes", self.spikes, SPIKES),
            ("strictness", self.strictness, STRICTNESSES),
        ):
            if given not in known:
                raise unknown_name(what, given, known)
        if not 1 <= self.levels <= 15:
            raise InputError(f"spikes were to have {self.levels} levels; give 1 to 15.")

    @classmethod
    def of(
        cls, coding: str, spikes: str | None = None, levels: int | None = None, strictness: str = STRICTNESSES[0]
    ) -> Scheme:
        """Return a scheme; spikes and levels that are None are the usual ones of the coding and of the kind."""
        kind = spikes or _USUAL_SPIKES.get(coding, cls.spikes)
        return cls(coding, kind, _USUAL_LEVELS.get(kind, 1) if levels is None else levels, strictness)
