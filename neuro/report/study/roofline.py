"""Where the layers of one point stand against the peak and the bandwidth of their chip."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_models.chip import Chip
from hardware_models.errors import InputError
from hardware_models.estimate import Estimate
from hardware_models.layer_table import LayerTable
from hardware_models.roofline.engine import WIDTHS, operand_kind
from hardware_models.roofline.waterline import efficiency_gap, waterline
from neuro.report.study.layer_energy import shortened

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RooflineView:
    """Layers against the roof; every list is over the layers that multiply and move bytes.

    Attributes:
        layers: names.
        intensity: dense operations (a multiply-accumulate is two) per byte of the outer memory.
        attained: dense operations per second.
        peak: operations per second of the arithmetic that each layer runs on.
        bandwidth: bytes per second of the outer memory.
        level: its name.
        balance: operations per byte at which arithmetic and memory take equally long, at the highest peak.
        below: how many layers are below the waterline, bound by memory.
        ideal_s: seconds of the dense operations at the peak.
        attainable_s: seconds that the slower of arithmetic and memory takes.
        latency_s: seconds that the estimate gives.
        efficiency: ideal / latency; None where zeros are skipped and it is faster than dense operations could be.
    """

    layers: list[str]
    intensity: list[float]
    attained: list[float]
    peak: list[float]
    bandwidth: float
    level: str
    balance: float
    below: int
    ideal_s: float
    attainable_s: float
    latency_s: float
    efficiency: float | None

    def to_document(self) -> dict[str, Any]:
        """Return it as plain data, numbers of layers to 5 digits."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return plain | {name: shortened(plain[name]) for name in ("intensity", "attained", "peak")}


def roofline_view(found: Estimate, table: LayerTable) -> RooflineView | None:
    """Return the layers of `found` against the roof of its chip.

    None where the chip is not one of arithmetic behind a memory (neuromorphic and in-memory chips), where it does not
    tell its bandwidth, or refuses latency.
    """
    outer = _outer_memory(found.chip)
    if found.latency_s is None or outer is None or outer[0] not in found.traffic_bytes:
        return None
    level, bandwidth = outer
    seconds, moved = found.latency_s[0], found.traffic_bytes[level]
    chosen = table.synaptic & (seconds > 0) & (moved > 0)
    if not chosen.any():
        return None
    layers = table.select(chosen)
    operations, peak = 2 * layers.macs_dense, _peak(found.chip, layers)
    line = waterline(operations, moved[chosen], peak, bandwidth)
    ideal, taken = line.ideal_s.sum(), seconds[chosen].sum()
    return RooflineView(
        layers=list(layers.names),
        intensity=line.intensity.tolist(),
        attained=(operations / seconds[chosen]).tolist(),
        peak=peak.tolist(),
        bandwidth=bandwidth,
        level=level,
        balance=float(peak.max() / bandwidth),
        below=int(line.below.sum()),
        ideal_s=float(ideal),
        attainable_s=float(line.attainable_s.sum()),
        latency_s=float(taken),
        efficiency=_efficiency(ideal, taken),
    )


def _outer_memory(chip: Chip) -> tuple[str, float] | None:
    """Name and bytes per second of the memory outside of the chip; None where there is none or it is not known."""
    if chip.engine == "spatial":
        level = chip.settings["levels"][-1]["name"]
        name, figure = level, f"memory.{level}.bandwidth"
    else:
        name, figure = {
            "roofline": ("memory", "memory.bandwidth"),
            "systolic": ("dram", "dram.bandwidth"),
            "row_stationary": ("dram", "link.bandwidth"),
        }.get(chip.engine, ("", ""))
    if figure not in chip.figures:
        return None
    return name, chip.figures[figure].si * _share(chip, "memory.efficiency")


def _peak(chip: Chip, layers: LayerTable) -> Floats:
    """Operations per second of each of `layers`, `[L]`."""
    figures = chip.figures
    if chip.engine == "roofline":
        kinds = {WIDTHS[name.split(".")[1]]: figures[name].si for name in figures if name.startswith("peak.")}
        selects = layers.spike_driven & ~layers.shifted
        bits = np.maximum(np.where(selects, 1, layers.input_bits), layers.weight_bits)
        widths = operand_kind(np.minimum(bits, max(kinds)), tuple(kinds))
        return np.array([kinds[int(width)] for width in widths]) * _share(chip, "compute.efficiency")
    clock = figures["core.clock" if chip.engine == "row_stationary" else "array.clock"].si
    sides = [
        one.si for name, one in figures.items() if name in ("array.rows", "array.cols") or name.startswith("axis.")
    ]
    return np.full(len(layers), 2 * float(np.prod(sides)) * clock)


def _share(chip: Chip, name: str) -> float:
    return chip.figures[name].si if name in chip.figures else 1.0


def _efficiency(ideal_s: float, latency_s: float) -> float | None:
    try:
        return float(efficiency_gap(ideal_s, 1.0, latency_s).efficiency)  # seconds at the peak are operations at 1/s
    except InputError:
        return None
