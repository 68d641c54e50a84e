"""Against the measured Eyeriss chip: VGG-16 and AlexNet, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from hardware_models.validation.fit_eyeriss import score
from hardware_models.validation.row import NOTHING, Row

TARGET: Final = "Eyeriss silicon (JSSC 2017)"
GOALS: Final = {"processing latency": 0.05, "energy": 0.08}
NOTES: Final = {
    "energy": "Power of the chip without its memory, times total latency.",
    "active PEs": "No constant; rules of the mapping were inferred with both networks in view.",
    "global buffer accesses": "No constant; rules of the mapping were inferred with both networks in view.",
    "DRAM accesses": "No constant; an output is taken to be as sparse as the next layer's input.",
}


def rows() -> Iterator[Row]:
    """Yield one row for each quantity and way of leaving layers out; the goal holds for layers that were not fitted."""
    for line in score():
        kind = next(name for name in (*GOALS, *NOTES, "total latency") if name in line.quantity)
        fitted = NOTHING if line.fitted == "no constant" else f"3 constants on {line.fitted}"
        in_sample = line.fitted == "these layers"
        size = np.abs(line.errors)
        yield Row(
            TARGET,
            "silicon",
            line.quantity,
            None,
            None,
            "",
            float(size.mean()),
            float(size.max()),
            len(size),
            None if in_sample else GOALS.get(kind),
            fitted,
            NOTES.get(kind, ""),
        )
