"""Against Timeloop's bundled reference outputs: its own mappings, evaluated by our loop nests.

Timeloop counts no reading of results on their way outwards, and uses the overlap of sliding windows only where the
sliding loop stands directly above the tile; `memory_hierarchy.Counting` says both here. Leakage, which its totals
contain (0.01 % to 0.7 %), is not modelled.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from hardware_models.spatial.loop_nest import Accesses, Loops, Shapes, Unrolled, Words, count
from hardware_models.spatial.memory_hierarchy import DIMS, OPERANDS, Counting, Level, OperandName, Structure
from hardware_models.validation.row import Row, data_text, single

TARGET: Final = "Timeloop reference outputs (timeloop-accelergy-exercises 2d55108)"
_BITS = 16
"""Width that all operands are taken at: accesses are counted in words of one value."""


@dataclass(frozen=True)
class Reference:
    """One reference: Timeloop's figures beside ours for the same mapping.

    Attributes:
        name: of the example design.
        accesses: ours.
        measured: theirs, by place, name and operand; access counts are those of one instance.
        counts: pairs (ours, theirs) of access counts of one instance, by (level, operand, reads or writes).
        energy_j: ours, by component.
    """

    name: str
    accesses: Accesses
    measured: dict[tuple[str, str, str], float]
    counts: dict[tuple[str, str, str], tuple[float, float]]
    energy_j: dict[str, float]


def references() -> list[Reference]:
    """Return every reference of `timeloop.csv`, evaluated."""
    lines = list(csv.DictReader(io.StringIO(data_text("timeloop.csv"))))
    return [_reference(name, [line for line in lines if line["reference"] == name]) for name in _names(lines)]


def rows() -> Iterator[Row]:
    """Yield the rows of the scorecard."""
    note = "Timeloop's own mapping, architecture and energies."
    for found in references():
        target = f"{TARGET}: {found.name}"
        cycles, joules = found.measured["", "cycles", ""], found.measured["", "energy_uj", ""] * 1e-6
        yield single(target, "simulated", "cycles", float(found.accesses.cycles[0]), cycles, "", 0.0, note=note)
        errors = [abs(ours - theirs) / theirs for ours, theirs in found.counts.values() if theirs]
        quantity, mean = "accesses by level, operand and direction", float(np.mean(errors))
        yield Row(target, "simulated", quantity, None, None, "", mean, max(errors), len(errors), 0.05, note=note)
        ours = sum(found.energy_j.values())
        yield single(target, "simulated", "energy", ours, joules, "J", 0.1, note=f"{note} Leakage is not modelled.")


def _reference(name: str, lines: list[dict[str, str]]) -> Reference:
    def values(record: str) -> dict[tuple[str, str], str]:
        return {(line["place"], line["name"]): line["value"] for line in lines if line["record"] == record}

    level_text, size = values("level"), {key[1]: float(value) for key, value in values("layer").items()}
    names = [line["place"] for line in lines if line["record"] == "level" and line["name"] == "keeps"]
    levels = tuple(
        Level(one, _operands(level_text[one, "keeps"]), tuple(level_text[one, "serves"].split())) for one in names
    )
    axes = tuple(place for place, _ in values("axis"))
    structure = Structure(levels, axes, Counting(drain_reads=False, sliding_window="adjacent"))
    unrolled = values("unrolled")
    factors = [[[float(unrolled.get((axis, dim), 1)) for dim in DIMS]] for axis in axes]
    loops = [line for line in lines if line["record"] == "loop"]
    # A level's tile is what its own loops and those of all levels inside it run over.
    below = [sum(names.index(loop["place"]) <= row for loop in loops) for row in range(len(names))]
    shapes = Shapes(
        np.array([[size[dim] for dim in DIMS]]),
        np.full((1, 2), size["stride"]),
        np.full((1, 2), size["extent"]),
        np.full((1, 3), _BITS),
        np.full(1, _BITS),
    )
    found = count(
        Loops(
            np.array([[DIMS.index(loop["name"]) for loop in loops]]),
            np.array([[float(loop["value"]) for loop in loops]]),
        ),
        np.broadcast_to(below, (1, 3, len(names))),
        Unrolled(tuple(np.array(axis) for axis in factors)),
        shapes,
        structure,
        Words(np.full((1, len(names)), float(_BITS)), np.zeros((1, len(names)))),
    )
    measured = {
        (line["place"], line["name"], line["operand"]): float(line["value"])
        for line in lines
        if line["record"] == "measured"
    }
    energy = {"mac": float(found.cycles[0] * found.units[0]) * float(level_text["mac", "compute_pj"]) * 1e-12}
    for row, level in enumerate(names):
        read, write, per_access = (float(level_text[level, key]) for key in ("read_pj", "write_pj", "words_per_access"))
        picojoules = found.reads[0, row].sum() * read + found.writes[0, row].sum() * write
        energy[level] = float(picojoules) / per_access * 1e-12
    return Reference(name, found, measured, _counts(found, measured, names), energy)


def _counts(
    found: Accesses, measured: dict[tuple[str, str, str], float], names: list[str]
) -> dict[tuple[str, str, str], tuple[float, float]]:
    pairs = {}
    for (place, kind, operand), theirs in measured.items():
        if kind in ("reads", "writes"):
            row = names.index(place)
            ours = getattr(found, kind)[0, row, OPERANDS.index(_operands(operand)[0])] / found.instances[0, row]
            pairs[place, operand, kind] = (float(ours), theirs)
    return pairs


def _operands(text: str) -> tuple[OperandName, ...]:
    return tuple(operand for operand in OPERANDS if operand in text)


def _names(lines: list[dict[str, str]]) -> list[str]:
    return list(dict.fromkeys(line["reference"] for line in lines))
