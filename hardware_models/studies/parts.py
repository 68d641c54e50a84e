"""Parts of a network on chips of their own and the cuts between them: what each costs, asked for once."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from hardware_models.chip import Chip
from hardware_models.engine import Question, Run
from hardware_models.errors import InputError
from hardware_models.estimate import Estimate, estimate
from hardware_models.layer_table import LayerTable, layer_table
from hardware_models.studies.crossings import Crossing, crossings
from hardware_models.studies.links import Link
from hardware_models.totals import Floats
from hardware_models.workload import Workload

CAPACITY: Final = "onchip.capacity"
"""The figure of a chip that says how many bytes of weights it keeps."""


@dataclass(frozen=True, eq=False)
class Part:
    """Consecutive layers on one chip.

    Attributes:
        layers: place of the first layer and of the one behind the last.
        estimate: what they cost.
        weight_bytes: of all weights.
    """

    layers: tuple[int, int]
    estimate: Estimate
    weight_bytes: float


@dataclass(frozen=True, eq=False)
class Cut:
    """What lies between two parts.

    Attributes:
        before: name of the first layer behind the cut.
        link: that carries what crosses.
        crossings: tensors that cross.
        bits: of one inference.
        latency_s: seconds, `[3]`: value, low, high; None where the link does not say.
        energy_j: joules, in the same way.
    """

    before: str
    link: Link
    crossings: tuple[Crossing, ...]
    bits: float
    latency_s: Floats | None
    energy_j: Floats | None


class PartCosts:
    """A network, chips and the links between them.

    Args:
        workload: the network.
        chips: chip k is that of part k.
        links: link k lies behind part k.
        run: how each part is executed.
        may_leave_out: synaptic layers that a chip may leave to a host.
        weights_on_chip: whether the weights of a part must fit the capacity that its chip states.

    Raises:
        InputError: `weights_on_chip` with a chip that states no capacity.
    """

    def __init__(
        self,
        workload: Workload,
        chips: Sequence[Chip],
        links: Sequence[Link],
        run: Run,
        may_leave_out: Collection[str],
        weights_on_chip: bool,
    ) -> None:
        self.workload, self.chips, self.links, self.run = workload, chips, links, run
        self.names = [layer.name for layer in workload.layers]
        self._table = layer_table(workload)
        self._may_leave_out = set(may_leave_out)
        weights = self._table.weight_bits * self._table.weight_elements
        self._weight_bytes = np.where(self._table.weight_is_activation, 0, weights) / 8
        self._capacities = [_capacity(chip) if weights_on_chip else math.inf for chip in chips]
        self._crossings: dict[int, tuple[Crossing, ...]] = {}
        self._parts: dict[tuple[int, int, int], Part | str] = {}
        self._kinds = [chips.index(chip) for chip in chips]  # equal chips share their estimates

    @property
    def reasons(self) -> list[str]:
        """Why parts that were asked for cannot run."""
        return [part for part in self._parts.values() if isinstance(part, str)]

    def part(self, index: int, start: int, stop: int) -> Part | str:
        """Return layers `start` to `stop` - 1 on chip `index`, or why it cannot run them."""
        key = (self._kinds[index], start, stop)
        if key not in self._parts:
            self._parts[key] = self._part(index, start, stop)
        return self._parts[key]

    def crossings(self, place: int) -> tuple[Crossing, ...]:
        """Return what crosses the cut before layer `place`."""
        if place not in self._crossings:
            self._crossings[place] = crossings(self.workload, place)
        return self._crossings[place]

    def cut(self, index: int, place: int, needed: Question | None = None) -> Cut:
        """Return the cut before layer `place` with the link behind part `index`.

        Raises:
            InputError: the link lacks a figure for the question that is `needed`.
        """
        crossing, link = self.crossings(place), self.links[index]
        bits = sum(one.bits for one in crossing)
        by_step = self.run.execution == "step-by-step"
        messages = sum(one.timesteps if by_step else 1 for one in crossing)
        timed = needed == "latency" or {"bandwidth", "latency_per_message"} <= set(link.figures)
        costed = needed == "energy" or "energy_per_bit" in link.figures
        latency = link.latency_s(bits, messages) if timed else None
        return Cut(self.names[place], link, crossing, bits, latency, link.energy_j(bits) if costed else None)

    def _part(self, index: int, start: int, stop: int) -> Part | str:
        chip, weights = self.chips[index], float(self._weight_bytes[start:stop].sum())
        where = f"layers {self.names[start]!r} to {self.names[stop - 1]!r} on {chip.name}"
        if weights > self._capacities[index]:
            return f"{where}: {weights:.0f} bytes of weights do not fit {self._capacities[index]:.0f}"
        try:
            found = estimate(self._part_table(start, stop), chip, self.run)
        except InputError as error:
            return f"{where}: {error}".rstrip(".")
        synaptic = {self.names[row] for row in range(start, stop) if self._table.synaptic[row]}
        left = next((name for name in found.left_out if name in synaptic - self._may_leave_out), None)
        if left is not None:
            return f"{where}: the chip does not run {left!r}: {found.left_out[left]}"
        return Part((start, stop), found, weights)

    def _part_table(self, start: int, stop: int) -> LayerTable:
        """The columns of a part; what leaves it is handed on in the width that crosses."""
        bits, places = self._table.output_bits.copy(), np.arange(len(self._table))
        for crossing in self.crossings(stop) if stop < len(self.names) else ():
            rows = [self.names.index(name) for name in crossing.layers]
            bits[rows] = np.maximum(bits[rows], crossing.bits_per_value)
        return replace(self._table, output_bits=bits).select((places >= start) & (places < stop))


def _capacity(chip: Chip) -> float:
    return chip.figure(CAPACITY, "keeping the weights of a part on the chip").si
