"""How often neurons fire, layer by layer, channel by channel, timestep by timestep, in the network of one point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hardware_models.layer_table import LayerTable
from neuro.report.study.layer_energy import shortened

Floats = npt.NDArray[np.float64]

MOST_CELLS: Final = 60_000
"""Channels times timesteps that the rasters of one page may have."""


@dataclass(frozen=True, eq=False)
class Rates:
    """Firing of a network.

    Attributes:
        layers: of neurons, in execution order.
        rate: spikes per neuron, `[L, T]`.
        raster: by layer, spikes per neuron of each channel `[C, T]`; layers without counts by channel have none.
        left: layers whose channels are counted and not shown, for they are too many.
    """

    layers: list[str]
    rate: Floats
    raster: dict[str, Floats]
    left: list[str]

    def to_document(self) -> dict[str, Any]:
        """Return it as plain data, rates to 5 digits."""
        return {
            "layers": self.layers,
            "rate": [shortened(row) for row in self.rate.tolist()],
            "raster": {name: [shortened(row) for row in rows.tolist()] for name, rows in self.raster.items()},
            "left": self.left,
        }


def rates(table: LayerTable, cells: int = MOST_CELLS) -> Rates | None:
    """Return how often the neurons of `table` fire; None for a network without neurons.

    Args:
        table: the network.
        cells: channels times timesteps of all rasters together; a layer that would exceed them is left.
    """
    rows = np.flatnonzero(table.neuron & (table.neurons > 0))
    if not len(rows):
        return None
    raster: dict[str, Floats] = {}
    left, taken = [], 0
    for row in rows:
        counts = table.channel_spikes[table.channel_offset[row] : table.channel_offset[row + 1]]
        if not len(counts):
            continue
        if taken + counts.size > cells:
            left.append(table.names[row])
            continue
        taken += counts.size
        raster[table.names[row]] = counts * (len(counts) / table.neurons[row])
    rate = table.step_spikes[rows] / table.neurons[rows, None]
    return Rates([table.names[row] for row in rows], rate, raster, left)
