"""An Estimate: what one inference costs, layer by layer, under one named set of rules."""

from __future__ import annotations

import csv
import io
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = "neuro.estimate/1"


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class LayerEstimate(_Document):
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


class Estimate(_Document):
    """Cost of one inference.

    Attributes:
        subject: name of the Workload or table.
        convention: name of the rules.
        sources: where the rules and constants come from.
        layers: in execution order; layers that the rules ignore are left out and named in `assumptions`.
        assumptions: what was assumed, one sentence each.
    """

    schema_version: Literal["neuro.estimate/1"] = Field(default=SCHEMA, alias="schema")
    subject: str
    convention: str
    sources: tuple[str, ...]
    layers: tuple[LayerEstimate, ...]
    assumptions: tuple[str, ...] = ()

    @property
    def macs(self) -> float:
        """Multiply-accumulates of all layers."""
        return sum(layer.macs for layer in self.layers)

    @property
    def acs(self) -> float:
        """Accumulates of all layers."""
        return sum(layer.acs for layer in self.layers)

    @property
    def energy_j(self) -> float:
        """Joules of all layers."""
        return sum(layer.energy_j for layer in self.layers)

    @property
    def energy_band_j(self) -> tuple[float, float]:
        """Ends of the band, every constant at its low or at its high end at once."""
        return sum(layer.energy_low_j for layer in self.layers), sum(layer.energy_high_j for layer in self.layers)

    def to_csv(self) -> str:
        """Return one line a layer and a last one with the totals."""
        text = io.StringIO()
        fields = list(LayerEstimate.model_fields)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(fields)
        writer.writerows([getattr(layer, field) for field in fields] for layer in self.layers)
        writer.writerow(["total", "", self.macs, self.acs, self.energy_j, *self.energy_band_j, self.convention])
        return text.getvalue()
