"""Energy, time and place of each layer of one point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_models.estimate import Estimate

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LayerEnergy:
    """What layers cost that cost anything.

    Attributes:
        layers: names, in execution order.
        components: joules by component, `[L]`; components without any are left out.
        latency_s: seconds by layer `[L]`, or None.
        utilization: share of the units that work `[L]`, or None.
    """

    layers: list[str]
    components: dict[str, list[float]]
    latency_s: list[float] | None
    utilization: list[float] | None

    def to_document(self) -> dict[str, Any]:
        """Return it as plain data, numbers to 5 digits."""
        return {
            "layers": self.layers,
            "components": {name: shortened(joules) for name, joules in self.components.items()},
            "latency_s": None if self.latency_s is None else shortened(self.latency_s),
            "utilization": None if self.utilization is None else shortened(self.utilization),
        }


def layer_energy(found: Estimate) -> LayerEnergy:
    """Return joules by layer and component, and seconds, of the layers of `found` that cost either."""
    joules = {name: values[0] for name, values in found.energy_j.items() if values[0].any()}
    costs = np.zeros(len(found.names)) + sum(joules.values())
    if found.latency_s is not None:
        costs = costs + found.latency_s[0]
    rows = np.flatnonzero(costs)
    return LayerEnergy(
        layers=[found.names[row] for row in rows],
        components={name: values[rows].tolist() for name, values in joules.items()},
        latency_s=None if found.latency_s is None else found.latency_s[0][rows].tolist(),
        utilization=None if found.utilization is None else found.utilization[rows].tolist(),
    )


def shortened(values: list[float]) -> list[float]:
    """Return numbers to 5 significant digits."""
    return [float(f"{value:.5g}") for value in values]
