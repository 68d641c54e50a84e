"""At which firing rate a spiking network costs as much as its parent quantized to as many bits as the spikes carry.

On one chip, with the spiking network's energy E_s(r, T) at r spikes per neuron and timestep (`at_firing_rate`) and its
weights in b bits, and the parent's energy E_q(b) with weights and activations in b bits,

    break-even rate:  E_s(r, T) = E_q(b)
    its low end:      dear end of E_s(r, T) = cheap end of E_q(b)     below it spikes win whatever the figures are
    its high end:     cheap end of E_s(r, T) = dear end of E_q(b)     above it the parent does

Both run on the same chip, so that their figures are in truth off together: the true rate is less uncertain than that.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from hardware_models.chip import Chip
from hardware_models.conventions import rival_bits_of
from hardware_models.engine import Run
from hardware_models.errors import InputError
from hardware_models.estimate import Estimate, estimate
from hardware_models.layer_table import LayerTable, layer_table
from hardware_models.quantity import with_prefix
from hardware_models.studies.rates import at_rates
from hardware_models.totals import Floats
from hardware_models.whole_numbers import whole_numbers
from hardware_models.workload import Layer, Operand, Workload

Outcome = Literal["never", "always", "below"]
"""never: spikes cost more at any rate. always: they cost less at any. below: they cost less below the rate."""

Setting = tuple[str, int, int | None]
"""Name of the chip, T, and b or None."""

STILL: Final = 1e-9
"""Share of the measured rate that stands for a network that is silent, whose rate cannot be scaled to 0."""

HALVINGS: Final = 30
"""Steps of bisection: the rate is found to a billionth of the highest one."""


@dataclass(frozen=True, eq=False)
class BreakEven:
    """Where a spiking network and its quantized twin cost the same on one chip.

    Attributes:
        chip: its name.
        timesteps: T of the spiking network.
        bits: of the twin's weights and activations, and of the spiking network's weights.
        outcome: by the values of the figures.
        rate: spikes per neuron and timestep at equal energy; None unless the outcome is `below`.
        low, high: ends of its band: 0 where spikes are never sure to win, `highest_rate` where the parent never is.
        highest_rate: at which one layer would fire in every place and timestep.
        rates: of the curve, `[R]`.
        spiking_j: joules of the spiking network at these rates, `[3, R]`: value, low, high.
        twin_j: joules of the twin, `[3]`.
        assumptions: one sentence each.
    """

    chip: str
    timesteps: int
    bits: int
    outcome: Outcome
    rate: float | None
    low: float
    high: float
    highest_rate: float
    rates: Floats
    spiking_j: Floats
    twin_j: Floats
    assumptions: tuple[str, ...]

    def __str__(self) -> str:
        setting = f"{self.chip}, T = {self.timesteps}, {self.bits} bits ({with_prefix(float(self.twin_j[0]), 'J')})"
        band = f"{self.low:.3g} to {self.high:.3g}"
        if self.rate is None:
            costs = "more" if self.outcome == "never" else "less"
            return f"{setting}: spikes cost {costs} at any rate up to {self.highest_rate:.3g} (band: {band})"
        return f"{setting}: spikes cost less below {self.rate:.3g} per neuron and timestep (band: {band})"


def break_even(
    spiking: Workload,
    parent: Workload,
    chip: Chip,
    timesteps: int | None = None,
    bits: int | None = None,
    rates: Sequence[float] = (),
    run: Run | None = None,
) -> BreakEven:
    """Return the firing rate at which `spiking` costs as much energy on `chip` as `parent` at `bits` bits.

    The rate is found by bisection; energy is taken to rise with the rate, as additions and messages do.

    Args:
        spiking: a network that was measured while spiking.
        parent: the network that it came from.
        chip: where both run.
        timesteps: T; None for the T measured.
        bits: b; None for `rival_bits_of` the spiking network with T timesteps.
        rates: of the curve, above 0.
        run: how both are executed; None for timesteps in batches.

    Raises:
        InputError: a network that fires nothing; a parent that does fire; a chip that refuses energy, cannot run one of
            the two, or leaves out convolutions or products of one that it runs of the other; a rate above
            `highest_rate`; bits below 1.
    """
    if not spiking.firing_rate > 0:
        raise InputError(f"{spiking.name!r} fires no spikes; give a network that was measured while spiking.")
    if parent.firing_rate > 0:
        raise InputError(f"{parent.name!r} fires spikes itself; give the network that the spiking one came from.")
    timed = at_rates(spiking, timesteps)
    width = rival_bits_of(timed) if bits is None else int(whole_numbers("bits", bits))
    twin = _energy(layer_table(parent).with_bits(width), chip, run)
    known: dict[float, Estimate] = {}

    def at_scale(scale: float) -> Floats:
        if scale not in known:
            table = layer_table(at_rates(spiking, timesteps, scale)).with_weight_bits(width)
            known[scale] = _energy(table, chip, run)
        return _total(known[scale])

    at_scale(1.0)
    _check_coverage(spiking, known[1.0], parent, twin)
    own, highest = timed.firing_rate, _highest_scale(spiking)
    value, low, high = _total(twin)
    found = _crossing(lambda scale: at_scale(scale)[0] - value, highest)
    surely_below = _crossing(lambda scale: at_scale(scale)[2] - low, highest)
    maybe_below = _crossing(lambda scale: at_scale(scale)[1] - high, highest)
    curve = [at_scale(rate / own) for rate in rates]
    return BreakEven(
        chip=chip.name,
        timesteps=timed.timesteps,
        bits=width,
        outcome="never" if found == 0 else "always" if math.isinf(found) else "below",
        rate=found * own if 0 < found < math.inf else None,
        low=min(surely_below, highest) * own,
        high=min(maybe_below, highest) * own,
        highest_rate=highest * own,
        rates=np.array(rates, dtype=np.float64),
        spiking_j=np.array(curve, dtype=np.float64).reshape(-1, 3).T,
        twin_j=_total(twin),
        assumptions=_said(known[1.0], twin, width),
    )


def break_even_curves(
    spiking: Workload,
    parent: Workload,
    chips: Sequence[Chip],
    timesteps: Sequence[int],
    bits: Sequence[int | None] = (None,),
    rates: Sequence[float] = (),
    run: Run | None = None,
) -> tuple[tuple[BreakEven, ...], Mapping[Setting, str]]:
    """Return `break_even` for every chip, T and width, and why those settings without an answer have none."""
    found: list[BreakEven] = []
    refused: dict[Setting, str] = {}
    for chip, steps, width in itertools.product(chips, timesteps, bits):
        try:
            found.append(break_even(spiking, parent, chip, steps, width, rates, run))
        except InputError as error:
            refused[chip.name, steps, width] = str(error)
    return tuple(found), refused


def _crossing(excess: Callable[[float], float], highest: float) -> float:
    """Where a rising `excess` becomes positive: 0 if it always is, infinity if it never is."""
    if excess(STILL) > 0:
        return 0.0
    if excess(highest) <= 0:
        return math.inf
    below, above = STILL, highest
    for _ in range(HALVINGS):
        middle = (below + above) / 2
        below, above = (middle, above) if excess(middle) <= 0 else (below, middle)
    return (below + above) / 2


def _highest_scale(workload: Workload) -> float:
    """The factor of all rates at which the busiest tensor of spikes has one in every place and timestep."""
    layers = [layer for layer in workload.layers if layer.timesteps == workload.timesteps]
    return 1 / max(one.mean_density for layer in layers for one in _scaled(layer))


def _scaled(layer: Layer) -> list[Operand]:
    """The operands of a layer whose density follows the rate."""
    found = [one for one in layer.operands if one.role == "activation" and one.is_spikes]
    return [*found, *([layer.output] if layer.output and layer.output.is_spikes else [])]


def _energy(table: LayerTable, chip: Chip, run: Run | None) -> Estimate:
    if "energy" in chip.refuses:
        raise InputError(f"chip {chip.name!r} refuses energy ({chip.refuses['energy']}); choose another.")
    return estimate(table, chip, run)


def _total(found: Estimate) -> Floats:
    total = found.total_energy_j
    assert total is not None  # a chip that refuses energy was turned away
    return total


def _check_coverage(spiking: Workload, one: Estimate, parent: Workload, other: Estimate) -> None:
    """Refuse to compare networks of which the chip runs different parts."""
    left = [
        {layer.name for layer in network.synaptic_layers() if layer.name in found.left_out}
        for network, found in ((spiking, one), (parent, other))
    ]
    if left[0] != left[1]:
        name = sorted(left[0] ^ left[1])[0]
        raise InputError(
            f"chip {one.chip.name!r} leaves out {name!r} of one network and not of the other, so that their energies "
            "are not of the same work; choose another chip."
        )


def _said(spiking: Estimate, twin: Estimate, bits: int) -> tuple[str, ...]:
    left = [name for name in spiking.left_out if name in twin.left_out]
    return (
        f"The twin is the parent with weights and activations of {bits} bits; spikes meet weights of as many.",
        "All layers fire in the same proportion to each other as measured, whatever the rate.",
        *([f"{spiking.chip.name} leaves out of both networks {', '.join(left)}."] if left else []),
        *dict.fromkeys((*spiking.assumptions, *twin.assumptions)),
    )
