"""Which cores of a neuromorphic chip the layers of one point occupy, and where on the mesh they lie."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from hardware_models.estimate import Estimate
from hardware_models.event_driven import engine as event_driven
from hardware_models.event_driven.mesh import Mesh, tiles_of

MOST_CHIPS: Final = 16
"""Chips whose meshes are drawn."""


@dataclass(frozen=True)
class Tile:
    """Cores of one tile that one layer occupies."""

    chip: int
    x: int
    y: int
    layer: int
    cores: int


@dataclass(frozen=True)
class CoreMap:
    """Cores of a network.

    Attributes:
        layers: that occupy any, in execution order.
        cores: of each.
        columns, rows: tiles of one chip's mesh; 0 where the chip's file gives none.
        cores_per_tile: that share a router.
        chips: that hold the network.
        tiles: on the first `MOST_CHIPS` of them; a tile that several layers share has one entry for each.
    """

    layers: list[str]
    cores: list[int]
    columns: int = 0
    rows: int = 0
    cores_per_tile: int = 0
    chips: int = 0
    tiles: tuple[Tile, ...] = ()

    def to_document(self) -> dict[str, Any]:
        """Return it as plain data, tiles as rows of numbers."""
        return {**asdict(self), "tiles": [[t.chip, t.x, t.y, t.layer, t.cores] for t in self.tiles]}


def core_map(found: Estimate) -> CoreMap | None:
    """Return the cores of an event-driven chip that the layers of `found` occupy, laid as its engine lays them.

    None for other engines, whose cores are arrays or tiles, and where one core serves all layers in turn.
    """
    if found.chip.engine != "event_driven" or found.cores is None:
        return None
    settings = event_driven.Settings.model_validate(found.chip.settings)
    rows = np.flatnonzero(np.rint(found.cores))
    if settings.one_core or not len(rows):
        return None
    cores = np.rint(found.cores[rows]).astype(np.int64)
    layers = [found.names[row] for row in rows]
    sizes = [found.chip.figures.get(name) for name in ("mesh.columns", "mesh.rows", "tile.cores")]
    if None in sizes:
        return CoreMap(layers, cores.tolist())
    columns, lines, per_tile = (round(size.si) for size in sizes if size is not None)
    placed = tiles_of(np.cumsum(cores) - cores, cores, Mesh(columns, lines, per_tile, settings.placement))
    shown = np.flatnonzero(placed.chip < MOST_CHIPS)
    columns_of = (placed.chip, placed.x, placed.y, placed.item, placed.cores)
    tiles = tuple(Tile(*(int(values[index]) for values in columns_of)) for index in shown)
    return CoreMap(layers, cores.tolist(), columns, lines, per_tile, int(placed.chip.max()) + 1, tiles)
