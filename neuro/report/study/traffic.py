"""Bytes that flow between the memory levels of a chip and the layers that compute."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from hardware_models.estimate import Estimate

MOST_LAYERS: Final = 12
"""Layers that are drawn by themselves; the others are one."""

OTHERS: Final = "other layers"

_FAR_TO_NEAR: Final = {
    "roofline": ("memory", "onchip"),
    "systolic": ("dram", "buffer"),
    "row_stationary": ("dram", "buffer"),
}
"""Levels of the engines that fill each level from the one before; elsewhere each level serves the layers by itself."""


@dataclass(frozen=True)
class Flow:
    """Bytes of one inference between a memory level and another level or a layer, both ways together."""

    level: str
    target: str
    bytes: float
    to_layer: bool


def flows(found: Estimate) -> list[Flow]:
    """Return the bytes between neighbouring levels, and between the nearest of them and each layer.

    Levels that are filled one from another stand in a row, the furthest first: the bytes of each go to the next one,
    those of the nearest to the layers.
    """
    levels = [level for level in _ordered(found) if found.traffic_bytes[level].any()]
    if not levels:
        return []
    chained = len(levels) > 1 and found.chip.engine in (*_FAR_TO_NEAR, "spatial")
    serving = levels[-1:] if chained else levels
    between = itertools.pairwise(levels) if chained else ()
    made = [Flow(far, near, float(found.traffic_bytes[far].sum()), False) for far, near in between]
    total = np.sum([found.traffic_bytes[level] for level in serving], axis=0)
    alone = set(np.argsort(-total, kind="stable")[:MOST_LAYERS].tolist())
    for level in serving:
        made += _to_layers(found, level, alone)
    return made


def to_document(made: Sequence[Flow]) -> list[dict[str, Any]]:
    """Return flows as plain data."""
    return [asdict(flow) for flow in made]


def _ordered(found: Estimate) -> list[str]:
    """Levels, the furthest from the arithmetic first."""
    names = list(found.traffic_bytes)
    if found.chip.engine == "spatial":
        return names[::-1]
    order = _FAR_TO_NEAR.get(found.chip.engine, ())
    return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


def _to_layers(found: Estimate, level: str, alone: set[int]) -> list[Flow]:
    moved = found.traffic_bytes[level]
    named = [Flow(level, found.names[row], float(moved[row]), True) for row in sorted(alone) if moved[row] > 0]
    rest = float(sum(moved[row] for row in range(len(moved)) if row not in alone))
    return [*named, Flow(level, OTHERS, rest, True)] if rest > 0 else named
