"""Against ZigZag: the energy of the best mapping of whole networks, with ZigZag's own memories and costs.

ZigZag's search merges prime factors of loops too, and tiles greedily; either search may find what the other does not.
Where a loop is not a multiple of its axis ZigZag cuts the mean number of busy positions to a whole number in one place
of its count of input reads (14 rows on an axis of 4 count as 3 instead of 3.5), which ours does not follow.
"""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np

from hardware_models.chip import Chip, load_chip
from hardware_models.estimate import Estimate, estimate
from hardware_models.validation.edge_networks import dense_operand
from hardware_models.validation.row import Row, data_text, single
from hardware_models.workload import Bounds, Layer, Workload

TARGET: Final = "ZigZag 3.9.1"
SCORED_ON: Final = "tpu_like"
"""The accelerator that ZigZag's way of counting was learnt from; the others are held out."""

GOALS: Final = (SCORED_ON, "edge_tpu_like")

_BITS: Final = 8


@functools.cache
def cases() -> dict[tuple[str, str, str], list[dict[str, str]]]:
    """Return the layers of `zigzag.csv` by (accelerator, network, objective)."""
    found: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    for line in csv.DictReader(io.StringIO(data_text("zigzag.csv"))):
        found.setdefault((line["accelerator"], line["network"], line["objective"]), []).append(line)
    return found


def accelerator(name: str) -> Chip:
    """Return ZigZag's accelerator `name` as a chip of the spatial engine."""
    with resources.as_file(resources.files("hardware_models.validation") / "data" / f"zigzag_{name}.yaml") as path:
        return load_chip(Path(path))


def network(lines: list[dict[str, str]]) -> Workload:
    """Return the layers of one case as a Workload of 8-bit operands."""
    return Workload(name=lines[0]["network"], timesteps=1, batch=1, layers=tuple(_layer(line) for line in lines))


def layer_energies(case: tuple[str, str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the joules of each layer of `case`, ours and theirs."""
    found = _estimate(case)
    ours = np.sum([joules[0] for joules in found.energy_j.values()], axis=0)
    return ours, np.array([float(line["energy_pj"]) * 1e-12 for line in cases()[case]])


def layer_cycles(case: tuple[str, str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the cycles of the array for each layer of `case` without stalls, ours and theirs."""
    cycles = _estimate(case).cycles
    assert cycles is not None
    return np.asarray(cycles), np.array([float(line["array_cycles"]) for line in cases()[case]])


@functools.lru_cache(maxsize=32)
def _estimate(case: tuple[str, str, str]) -> Estimate:
    return estimate(network(cases()[case]), accelerator(case[0]))


def rows() -> Iterator[Row]:
    """Yield the rows of the scorecard: totals of every case, then layers of all cases."""
    for case in cases():
        name, subject, objective = case
        ours, theirs = layer_energies(case)
        goal = 0.05 if name in GOALS and subject == "resnet18" else None
        quantity = f"{subject} on {name}, energy of the best mapping"
        held_out = "" if name == SCORED_ON else " Held out."
        note = f"Theirs is the mapping of least {objective} in ZigZag's search, ours of least energy.{held_out}"
        yield single(TARGET, "simulated", quantity, ours.sum(), theirs.sum(), "J", goal, note=note)
    note = "All cases where both mappings are those of least energy."
    least = [case for case in cases() if case[2] == "energy"]
    for quantity, unit, pairs in (
        ("energy by layer", "J", map(layer_energies, least)),
        ("array cycles by layer, without stalls", "", map(layer_cycles, least)),
    ):
        errors = np.concatenate([np.abs(ours / theirs - 1) for ours, theirs in pairs])
        mean, worst = float(errors.mean()), float(errors.max())
        yield Row(TARGET, "simulated", quantity, None, None, unit, mean, worst, len(errors), None, note=note)


def _layer(line: dict[str, str]) -> Layer:
    sizes = {name: int(value) for name, value in line.items() if name not in _TEXT and not name.endswith(_FIGURES)}
    groups, channels, filters = (sizes[name] for name in ("groups", "in_channels", "out_channels"))
    bounds = Bounds(
        groups=groups,
        in_channels=groups * channels,
        out_channels=groups * filters,
        in_size=(sizes["in_h"], sizes["in_w"]),
        out_size=(sizes["out_h"], sizes["out_w"]),
        kernel=(sizes["kernel_h"], sizes["kernel_w"]),
        stride=(sizes["stride_h"], sizes["stride_w"]),
        padding=(0, 0),
    )
    inputs = groups * channels * sizes["in_h"] * sizes["in_w"]
    weights = groups * channels * filters * sizes["kernel_h"] * sizes["kernel_w"]
    return Layer(
        name=line["layer"],
        operator="conv",
        op="conv",
        timesteps=1,
        bounds=bounds,
        operands=(dense_operand("input", inputs, _BITS), dense_operand("weight", weights, _BITS)),
        out_elements=groups * filters * sizes["out_h"] * sizes["out_w"],
        macs=bounds.macs,
    )


_TEXT: Final = ("accelerator", "network", "objective", "layer")
_FIGURES: Final = ("_pj", "_cycles")
