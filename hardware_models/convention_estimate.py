"""What one inference costs, layer by layer, under one named convention of counting."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA: Final = "neuro.estimate/1"


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class ConventionLayer(_Document):
    """Cost of one layer in one inference.

    Attributes:
        name: the layer's name in the Workload or table.
        operator: its operator.
        macs: multiply-accumulates that the rules count.
        acs: accumulates that the rules count.
        energy_j: joules; `energy_low_j` and `energy_high_j` are the band that the constants allow.
        rule: which rule was applied, in a few words.
    """

    name: str
    operator: str
    macs: float
    acs: float
    energy_j: float
    energy_low_j: float
    energy_high_j: float
    rule: str


class ConventionEstimate(_Document):
    """Cost of one inference.

    Attributes:
        subject: name of the Workload or table.
        convention: name of the rules.
        sources: where the rules and constants come from.
        layers: in execution order; layers that the rules ignore are left out and named in `assumptions`,
            those without synapses by kind and number.
        assumptions: what was assumed, one sentence each.
    """

    schema_version: Literal["neuro.estimate/1"] = Field(default=SCHEMA, alias="schema")
    subject: str
    convention: str
    sources: tuple[str, ...]
    layers: tuple[ConventionLayer, ...]
    assumptions: tuple[str, ...] = ()

    @property
    def macs(self) -> float:
        """Multiply-accumulates of all layers."""
        return math.fsum(layer.macs for layer in self.layers)

    @property
    def acs(self) -> float:
        """Accumulates of all layers."""
        return math.fsum(layer.acs for layer in self.layers)

    @property
    def energy_j(self) -> float:
        """Joules of all layers."""
        return math.fsum(layer.energy_j for layer in self.layers)

    @property
    def energy_band_j(self) -> tuple[float, float]:
        """Ends of the band, every constant at its low or at its high end at once."""
        low = math.fsum(layer.energy_low_j for layer in self.layers)
        return low, math.fsum(layer.energy_high_j for layer in self.layers)

    def to_csv(self) -> str:
        """Return one line a layer and a last one with the totals."""
        return estimates_to_csv([self])

    def to_document(self) -> dict[str, Any]:
        """Return the estimate with its totals as plain data, the JSON that `neuro energy --json` prints."""
        low, high = self.energy_band_j
        return {
            "convention": self.convention,
            "subject": self.subject,
            "sources": list(self.sources),
            "assumptions": list(self.assumptions),
            "layers": [layer.model_dump() for layer in self.layers],
            "total": {
                "macs": self.macs,
                "acs": self.acs,
                "energy_j": self.energy_j,
                "energy_mj": self.energy_j * 1e3,
                "energy_low_j": low,
                "energy_high_j": high,
            },
        }


def estimates_to_csv(estimates: Sequence[ConventionEstimate]) -> str:
    """Return the layers of each estimate and a line with its totals; of several, under their subjects."""
    text = io.StringIO()
    fields = list(ConventionLayer.model_fields)
    writer = csv.writer(text, lineterminator="\n")
    several = len(estimates) > 1
    writer.writerow(["subject", *fields] if several else fields)
    for estimate in estimates:
        subject = [estimate.subject] if several else []
        writer.writerows([*subject, *(getattr(layer, f) for f in fields)] for layer in estimate.layers)
        totals = [estimate.macs, estimate.acs, estimate.energy_j, *estimate.energy_band_j]
        writer.writerow([*subject, "total", "", *totals, estimate.convention])
    return text.getvalue()
