"""Against power and energy that were measured on neuromorphic chips; each row says what its figures come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hardware_models.chip import chip
from hardware_models.event_driven.equations import neuron_energy, synapse_energy
from hardware_models.validation.row import Row, single

TRUENORTH: Final = ((11.58, 68e-3), (95.93, 94e-3))
"""Mean firing rate in Hz and watts of 2^20 neurons with 128 synapses each (Akopyan 2015, Merolla 2014)."""
ODIN: Final = (37.5e6, 477e-6)
"""Synaptic operations per second at 75 MHz and watts (Frenkel 2019)."""
POHOIKI: Final = ((5.12e7, 5.76e7), 4.608e6, 1.33e-3)
"""Fewest and most synaptic operations, neuron updates and joules of one query (Frady 2020)."""


def rows() -> Iterator[Row]:
    """Yield the rows of the scorecard."""
    # 26 mW / (84.35 Hz x 2^20 x 128) is the 2.297 pJ of the chip's figures: the points are no test of the line.
    fitted = "the published line, which runs through this point and the other one"
    for rate, watts in TRUENORTH:
        quantity, ours = f"power at {rate:g} Hz, 128 synapses a neuron", truenorth_watts(rate)
        yield single("TrueNorth silicon", "silicon", quantity, ours, watts, "W", 0.02, fitted, "Transcription.")
    operations, watts = ODIN
    quantity = f"power at 75 MHz, {operations / 1e6:g} M synaptic operations/s"
    yield single("ODIN silicon", "silicon", quantity, odin_watts(operations), watts, "W", 0.01, note="Transcription.")
    counts, updates, joules = POHOIKI
    target = "Loihi silicon (Pohoiki Springs)"
    note = "Read in transcription; the published count of operations is a range, and both its ends are shown."
    for count in counts:
        quantity = f"energy of a query, {count / 1e6:g} M synaptic operations"
        ours = loihi_joules(count, updates)[0]
        yield single(target, "silicon", quantity, ours, joules, "J", None, note=note)
    outside = [_outside(loihi_joules(count, updates)[1:], joules) for count in counts]
    band = (
        "The band takes 20 % off figures that were published before silicon; that share is assumed, and was set when "
        "this point was known."
    )
    mean, worst = sum(outside) / len(outside), max(outside)
    yield Row(target, "silicon", "energy outside of the band", None, None, "J", mean, worst, 2, 0.0, note=band)


def truenorth_watts(rate_hz: float) -> float:
    """Return the power of a full TrueNorth whose neurons fire at `rate_hz` onto 128 synapses each."""
    figures = chip("truenorth").figures
    return figures["power.chip"].si + float(synapse_energy(2**20 * 128 * rate_hz, figures["synapse.energy"].si))


def odin_watts(operations_per_s: float) -> float:
    """Return the power of ODIN at its clock."""
    figures = chip("odin").figures
    clock = figures["clock.energy"].si * figures["clock.frequency"].si
    return figures["power.chip"].si + clock + float(synapse_energy(operations_per_s, figures["synapse.energy"].si))


def loihi_joules(operations: float, updates: float) -> tuple[float, float, float]:
    """Return the dynamic energy of synaptic operations and inactive neurons on Loihi: value, low and high."""
    synapse, access = (chip("loihi1").figures[name] for name in ("synapse.energy", "neuron.access_energy"))

    def joules(each_operation: float, each_update: float) -> float:
        neurons = neuron_energy(updates, 0, 0, each_update, 0, 0)
        return float(synapse_energy(operations, each_operation) + neurons)

    low, high = zip(synapse.si_band, access.si_band, strict=True)
    return joules(synapse.si, access.si), joules(*low), joules(*high)


def _outside(band: tuple[float, ...], silicon: float) -> float:
    """Return how far a measured figure lies outside of a band, as a share of it; 0 inside."""
    low, high = band
    return max(low - silicon, silicon - high, 0.0) / silicon
