"""What an event-driven estimate assumed, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_models.event_driven.counts import reach
from hardware_models.event_driven.grouping import summed_by
from hardware_models.event_driven.network import Network
from hardware_models.event_driven.populations import Populations
from hardware_models.hardware import Hardware
from hardware_models.layer_table import LayerTable

Array = npt.NDArray[Any]


FILLED = {"full": "fill one core after the other", "even": "are split evenly over their cores"}


def left_out(table: LayerTable, on_chip: Array) -> dict[str, str]:
    """Return the synaptic layers that the chip does not run, with the reason."""
    rows = np.flatnonzero(table.synaptic & ~on_chip)
    return {
        table.names[row]: "its spikes are powers of two, and the chip's carry no level; let the neurons send binary or "
        "ternary ones"
        if table.shifted[row]
        else f"its inputs are no spikes: encoded off chip, {table.macs[row]:.0f} multiply-accumulates"
        for row in rows
    }


def assumptions(table: LayerTable, groups: Populations, laid: Network, hw: Hardware, on_chip: Array) -> tuple[str, ...]:
    """Return one sentence for each thing that was taken for granted."""
    return (
        "Every neuron is updated in every timestep, and timesteps run one after another; spikes reach the next layer "
        "within the timestep that they are fired in.",
        "All populations share one core."
        if hw.settings.one_core
        else "Limits of cores are taken as limits on totals; populations lie on contiguous cores in execution order "
        f"({hw.settings.placement}), {FILLED[hw.settings.balance]}, and packets leave a population's cores evenly.",
        *_of_mesh(laid, hw),
        *_of_power(laid, hw),
        *_of_network(table, groups, hw, on_chip),
        *_of_allocation(table, groups, laid, hw),
        *(f"{name} is not counted: {reason}" for name, reason in sorted(hw.settings.without.items())),
    )


def _of_mesh(laid: Network, hw: Hardware) -> Iterator[str]:
    if hw.settings.blocking and laid.mesh is not None:
        yield (
            "Packets of a layer wait for each other on the mesh while their receivers are busy, and block their "
            "senders; packets of different layers do not, and nor do those that cross to another chip."
        )


def _of_power(laid: Network, hw: Hardware) -> Iterator[str]:
    if hw.answers("energy") and "power.chip" in hw and not hw.settings.one_core:
        number = int(laid.chips[laid.fits].max())
        occupied = int(laid.total[laid.fits].max())
        chips = "the whole chip" if number == 1 else f"{number} whole chips"
        yield f"Static power is that of {chips}, of which the network occupies {occupied} cores."


def _of_network(table: LayerTable, groups: Populations, hw: Hardware, on_chip: Array) -> Iterator[str]:
    row = groups.synapses
    folded = Counter(
        operator for operator, end in zip(table.operators, table.synaptic | table.neuron, strict=True) if not end
    )
    if folded:
        kinds = ", ".join(f"{count} {operator}" for operator, count in sorted(folded.items()))
        yield f"Layers without synapses and neurons ({kinds}) are folded into the layers around them and cost nothing."
    shared = table.edges[table.synaptic[table.edges[:, 0]] & table.neuron[table.edges[:, 1]], 0]
    several = len({producer for producer, count in Counter(shared.tolist()).items() if count > 1})
    if several:
        yield (
            f"{_layers(several)} sums that reach several neuron layers; the synapses lie with the first of them, and "
            "what carries the sums on is not counted."
        )
    products = int(table.weight_is_activation[row].sum())
    if products:
        yield (
            f"Products of two activations (attention, {products} of them) are taken as synaptic operations, with "
            "one operand stored as weights."
        )
    if hw.settings.graded_spikes and not table.spike_driven[row].all():
        yield (
            f"{_layers(int((~table.spike_driven[row]).sum()))} inputs that are no spikes; each multiplication is "
            "counted as one synaptic operation on a graded spike."
        )
    powers = int(table.shifted[row].sum())
    if powers:
        yield (
            f"{_layers(powers)} power-of-two spikes: a packet carries sign and level, and a synaptic operation that "
            "shifts the weight costs what one without does."
        )
    if (table.synaptic & ~on_chip).any():
        yield ("Neurons behind layers that are encoded off chip stay on it; how their input gets there is not counted.")
    unfed = np.setdiff1d(np.arange(len(row)), groups.wires[:, 1])
    if len(unfed):
        yield f"{_layers(len(unfed))} events from outside the chip; their packets are counted, without hops."


def _of_allocation(table: LayerTable, groups: Populations, laid: Network, hw: Hardware) -> Iterator[str]:
    crowded = _reading_more_than_axons(table, groups, laid, hw)
    if crowded:
        yield (
            f"{_layers(crowded)} cores that read more inputs than a core has axons for; they are counted as if the "
            "inputs of a neuron could be shared out among cores, and what gathers them is left out."
        )
    split = laid.cores > 1
    rows = int((split & laid.by_rows).any(axis=0).sum())
    if rows:
        yield f"{_layers(rows)} cores that hold rows of all channels; they are taken as equally busy."
    counted = np.diff(table.channel_offset)[groups.rows] > 0
    uncounted = ~counted & groups.fires & (split & ~laid.by_rows).any(axis=0)
    if uncounted.any():
        yield (
            f"{_layers(int(uncounted.sum()))} several cores but no spike counts by channel; its cores are taken as "
            "equally busy."
        )
    chips = laid.chips[laid.fits]
    if chips.max() > 1:
        number = f"{chips.min()}" if chips.min() == chips.max() else f"{chips.min()} to {chips.max()}"
        yield f"The network lies on {number} chips in a row."
    unfit = int((~laid.fits[laid.of_variant]).sum())
    if unfit:
        yield f"{unfit} of {len(laid.of_variant)} hardware variants do not hold the network; their figures are NaN."


def _reading_more_than_axons(table: LayerTable, groups: Populations, laid: Network, hw: Hardware) -> int:
    """Return the number of populations with a core whose inputs are more than its axons, on any chip that fits."""
    if "core.axons_in" not in hw or hw.settings.one_core:
        return 0
    seen, channels = reach(table, groups, laid.split, laid.by_rows)
    inputs = summed_by(groups.host, len(groups), seen * channels * table.input_elements[groups.synapses])
    axons = hw.size("core.axons_in", "the assumptions")[0]
    over = inputs[laid.of_variant] > axons * (1 + 1e-9)
    return int(over[laid.fits[laid.of_variant]].any(axis=0).sum())


def _layers(number: int) -> str:
    return "1 layer has" if number == 1 else f"{number} layers have"
