"""What one network costs on many variants of a chip, those that cannot run it marked with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_models.chip import Chip
from hardware_models.engine import Run
from hardware_models.errors import InputError
from hardware_models.layer_table import LayerTable
from hardware_models.totals import Floats
from hardware_models.variants import VariantEstimates, estimate_variants


@dataclass(frozen=True, eq=False)
class Costs:
    """Totals of one inference on each of H variants; a first axis of 3 holds value, low and high.

    Attributes:
        energy_j: joules, `[3, H]`; NaN where a variant cannot run the network or the chip does not say.
        latency_s: seconds, `[3, H]`, in the same way.
        reasons: why a variant cannot run it, `[H]`; empty where it can.
        assumptions: one sentence each.
    """

    energy_j: Floats
    latency_s: Floats
    reasons: npt.NDArray[np.object_]
    assumptions: tuple[str, ...]


def variant_costs(
    table: LayerTable,
    chip: Chip,
    variants: Mapping[str, npt.NDArray[Any]],
    run: Run | None = None,
    samples: int = 0,
    seed: int = 0,
) -> Costs:
    """Return the costs of `table` on each variant, in one pass where all can run it.

    Engines that lay a network out on cores pass over variants that are too small. Others stop at one that cannot run
    the network; the variants are then halved until it stands alone.

    Args:
        table: the network's columns.
        chip: the chip that the variants start from.
        variants: figures that vary, by name: `[H]` values in base units; none of them for the chip as it is.
        run: how the network is executed; None for timesteps in batches.
        samples: Monte Carlo draws for the bands; 0 for the corners.
        seed: of the draws.
    """
    count = len(next(iter(variants.values()))) if variants else 1
    found = Costs(np.full((3, count), np.nan), np.full((3, count), np.nan), np.full(count, "", dtype=object), ())
    said: dict[str, None] = {}
    waiting = [(0, count)]
    while waiting:
        start, stop = waiting.pop()
        part = {name: values[start:stop] for name, values in variants.items()}
        try:
            estimates = estimate_variants(table, chip, part, run, samples, seed)
        except InputError as error:
            if stop - start == 1:
                found.reasons[start] = str(error)
            else:
                middle = (start + stop) // 2
                waiting += [(middle, stop), (start, middle)]
            continue
        said.update(dict.fromkeys(estimates.assumptions))
        for index in _passed_over(estimates):
            found.reasons[start + index] = _reason(table, chip, part, index, run)
        for place, values in ((found.energy_j, estimates.total_energy_j), (found.latency_s, estimates.total_latency_s)):
            if values is not None:
                place[:, start:stop] = _ordered(values)
    return Costs(found.energy_j, found.latency_s, found.reasons, tuple(said))


def _ordered(values: Floats) -> Floats:
    """A band that holds its value, which rounding can move past an end."""
    value, low, high = values
    return np.stack([value, np.minimum(low, value), np.maximum(high, value)])


def _passed_over(estimates: VariantEstimates) -> list[int]:
    """The variants without any figure."""
    totals = [one for one in (estimates.total_energy_j, estimates.total_latency_s) if one is not None]
    nowhere = np.all([np.isnan(one[0]) for one in totals], axis=0) if totals else np.zeros(0, dtype=bool)
    return [int(index) for index in np.flatnonzero(nowhere)]


def _reason(
    table: LayerTable, chip: Chip, variants: Mapping[str, npt.NDArray[Any]], index: int, run: Run | None
) -> str:
    """What the engine says of a variant that stands alone."""
    try:
        estimate_variants(table, chip, {name: values[index : index + 1] for name, values in variants.items()}, run)
    except InputError as error:
        return str(error)
    return f"chip {chip.name!r} has no figures for {table.subject!r} at these sizes."
