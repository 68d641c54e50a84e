"""Many variants of one chip at once: one network, H values of each figure that varies, one pass of the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hardware_models.chip import Chip
from hardware_models.engine import Cost, Run
from hardware_models.estimate import evaluate
from hardware_models.hardware import Hardware
from hardware_models.layer_table import LayerTable, layer_table
from hardware_models.totals import Floats, band, over_layers, total_energy, total_latency
from hardware_models.workload import Workload

BLOCK_ELEMENTS: Final = 1_000_000
"""Elements of one `[S, H, L]` array, 8 MB: variants are taken in blocks, so that memory does not grow with H."""


@dataclass(frozen=True, eq=False)
class VariantEstimates:
    """Totals of one inference for each hardware variant; a first axis of 3 holds value, low and high.

    Attributes:
        energy_j: joules by component, `[3, H]`; empty where the chip refuses the question.
        total_energy_j: joules, `[3, H]`, or None.
        total_latency_s: seconds, `[3, H]`, or None.
        assumptions: one sentence each.
        left_out: layers that the chip does not run, with the reason.
    """

    energy_j: Mapping[str, Floats]
    total_energy_j: Floats | None
    total_latency_s: Floats | None
    assumptions: tuple[str, ...]
    left_out: Mapping[str, str]


def estimate_variants(
    workload: Workload | LayerTable,
    chip: Chip,
    variants: Mapping[str, npt.ArrayLike],
    run: Run | None = None,
    samples: int = 0,
    seed: int = 0,
) -> VariantEstimates:
    """Estimate what one inference of `workload` costs on each variant of `chip`.

    Args:
        workload: the network, or its columns.
        chip: the chip that the variants start from.
        variants: figures that vary, by name: `[H]` values in base units (`{"array.rows": [8, 16, 32]}`).
        run: how the network is executed; None for timesteps in batches.
        samples: Monte Carlo draws for the band; 0 for the corners.
        seed: of the draws.

    Raises:
        InputError: as `estimate`; a variant of a figure that the chip lacks.
    """
    table = layer_table(workload) if isinstance(workload, Workload) else workload
    hardware = Hardware(chip, variants, samples, seed)
    size = max(1, BLOCK_ELEMENTS // (hardware.draw_count * max(1, len(table))))
    blocks: list[dict[str, Floats]] = []
    said: dict[str, None] = {}
    left_out: dict[str, str] = {}
    for start in range(0, hardware.variant_count, size):
        block = hardware.block(start, min(start + size, hardware.variant_count))
        cost = evaluate(table, block, run or Run())
        blocks.append({name: band(values, samples) for name, values in _totals(cost, block, len(table)).items()})
        said.update(dict.fromkeys(cost.assumptions))
        left_out.update(cost.left_out)
    joined = {name: np.concatenate([block[name] for block in blocks], axis=1) for name in blocks[0]}
    return VariantEstimates(
        energy_j={name.removeprefix("part "): values for name, values in joined.items() if name.startswith("part ")},
        total_energy_j=joined.get("energy"),
        total_latency_s=joined.get("latency"),
        assumptions=(*said, *chip.notes),
        left_out=left_out,
    )


def _totals(cost: Cost, hardware: Hardware, layers: int) -> dict[str, Floats]:
    """Return the totals of a block, `[S, H]`; energy by component under `part NAME`."""
    totals = {f"part {name}": over_layers(values, hardware, layers) for name, values in cost.energy_j.items()}
    for name, values in (
        ("energy", total_energy(cost, hardware, layers)),
        ("latency", total_latency(cost, hardware, layers)),
    ):
        if values is not None:
            totals[name] = values
    return totals
