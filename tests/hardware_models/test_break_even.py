"""Break-even rates against costs that are worked by hand, and what must hold at them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_chips import round_chip
from hypothesis import given, settings
from hypothesis import strategies as st
from workload_builders import linear, operand, other, spikes, workload

from hardware_models.chip import Chip, chip
from hardware_models.errors import InputError
from hardware_models.estimate import estimate
from hardware_models.layer_table import layer_table
from hardware_models.quantity import Quantity
from hardware_models.studies.break_even import BreakEven, break_even, break_even_curves
from hardware_models.studies.rates import at_firing_rate
from hardware_models.workload import Workload

INPUTS, OUTPUTS = 1000, 100


def spiking(rate: float = 0.2, timesteps: int = 4) -> Workload:
    """1000 neurons that drive a layer of 100 outputs."""
    counts = (round(INPUTS * rate),) * timesteps
    read = spikes(*[rate] * timesteps).model_copy(update={"elements": INPUTS, "nonzero": counts, "magnitude": counts})
    first = other(
        *("lif", "neuron"),
        timesteps=timesteps,
        out_elements=INPUTS,
        output=read.model_copy(update={"name": "output"}),
        consumers=("fc",),
    )
    acs = tuple(count * OUTPUTS for count in counts)
    product = linear(
        *("fc", 1, INPUTS, OUTPUTS, read, operand("weight", elements=INPUTS * OUTPUTS)),
        timesteps=timesteps,
        driven_by="input",
        acs=sum(acs),
        acs_by_timestep=acs,
    )
    return workload(first, product, timesteps=timesteps)


def parent() -> Workload:
    operands = operand("input", elements=INPUTS), operand("weight", elements=INPUTS * OUTPUTS)
    return workload(linear("fc", 1, INPUTS, OUTPUTS, *operands, macs=INPUTS * OUTPUTS))


def machine(band: float = 1.0) -> Chip:
    """A chip on which a synaptic operation of 2 J is all that costs energy; `band` widens it to both sides."""
    silent = [f"neuron.{part}_energy" for part in ("access", "update", "spike")]
    silent += [*(f"network.{part}_energy" for part in ("message", "hop_x", "hop_y")), "power.chip"]
    plain = round_chip(
        "event_driven",
        {"core.neurons": (4096.0, "1"), "chip.cores": (4.0, "1"), "core.synapses": (1e6, "1")},
        refuses={"latency": "not asked"},
        graded_spikes=True,
        without=dict.fromkeys(silent, "costs nothing"),
    )
    energy = Quantity(value=2, low=2 / band, high=2 * band, unit="J", source="a book", grade="assumed")
    return plain.model_copy(update={"figures": plain.figures | {"synapse.energy": energy}})


def joules(network: Workload, on: Chip, rate: float, timesteps: int, bits: int) -> Any:
    table = layer_table(at_firing_rate(network, rate, timesteps)).with_weight_bits(bits)
    return estimate(table, on).total_energy_j


DENSE_CHIPS = ["generic_45nm", "eyeriss", "loihi2", "sram_cim_jia2020", "seneca"]


@pytest.mark.parametrize("timesteps", [1, 2, 4, 8])
def test_at_the_rate_both_cost_the_same(timesteps: int) -> None:
    found = break_even(spiking(), parent(), chip("loihi2"), timesteps)
    assert found.outcome == "below"
    assert found.rate is not None
    at = joules(spiking(), chip("loihi2"), found.rate, timesteps, found.bits)
    assert at[0] == pytest.approx(found.twin_j[0], rel=0.01)  # counts of spikes are whole


def test_the_twin_has_as_many_bits_as_the_spikes_carry() -> None:
    bits = [break_even(spiking(), parent(), chip("loihi2"), timesteps).bits for timesteps in (1, 2, 3, 4, 7, 8)]
    assert bits == [1, 2, 2, 3, 3, 4]  # ceil(log2(T + 1))
    assert break_even(spiking(), parent(), chip("loihi2"), 4, bits=8).bits == 8


def test_break_even_by_hand() -> None:
    # The twin: every one of 1000 x 100 products costs an operation. Spikes: rate x T times as many.
    found = break_even(spiking(), parent(), machine(), 4)
    assert found.twin_j[0] == INPUTS * OUTPUTS * 2
    assert found.rate == pytest.approx(0.25, rel=0.01)


@pytest.mark.parametrize("timesteps", [2, 5, 10])
def test_the_band_by_hand(timesteps: int) -> None:
    # Spikes cost rate x T / band .. rate x T x band, the twin 1 / band .. band.
    found = break_even(spiking(), parent(), machine(1.5), timesteps)
    assert found.rate == pytest.approx(1 / timesteps, rel=0.02)
    assert found.low == pytest.approx(1 / timesteps / 1.5**2, rel=0.02)
    assert found.high == pytest.approx(min(1.0, 1.5**2 / timesteps), rel=0.02)


def test_one_timestep_always_costs_less_where_operations_are_all() -> None:
    found = break_even(spiking(), parent(), machine(), 1)
    assert (found.outcome, found.rate) == ("always", None)
    assert found.low == found.high == found.highest_rate == pytest.approx(1.0)
    assert "less at any rate up to 1" in str(found)


def test_a_chip_that_gains_nothing_from_zeros_is_never_better() -> None:
    found = break_even(spiking(), parent(), chip("edge_tpu"), 16)
    assert (found.outcome, found.rate, found.low) == ("never", None, 0)
    assert "more at any rate" in str(found)


@pytest.mark.parametrize("name", DENSE_CHIPS)
def test_curves_rise_with_the_rate_and_cross_the_twin_where_they_say(name: str) -> None:
    rates = [0.01, 0.1, 0.3, 0.6, 0.99]
    found = break_even(spiking(), parent(), chip(name), rates=rates)
    value, low, high = found.spiking_j
    assert (np.diff(value) >= 0).all()
    assert (low <= value).all()
    assert (value <= high).all()
    threshold = {"never": 0.0, "always": np.inf, "below": found.rate or 0.0}[found.outcome]
    assert ((value <= found.twin_j[0]) == (np.array(rates) <= threshold)).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 12), st.sampled_from(DENSE_CHIPS), st.floats(0.05, 0.5))
def test_bands_hold_the_rate(timesteps: int, name: str, rate: float) -> None:
    found = break_even(spiking(rate), parent(), chip(name), timesteps)
    middle = {"never": 0.0, "always": found.highest_rate, "below": found.rate or 0.0}[found.outcome]
    assert 0 <= found.low <= middle <= found.high <= found.highest_rate * (1 + 1e-9)


@settings(max_examples=10, deadline=None)
@given(st.floats(0.02, 0.9))
def test_what_was_measured_does_not_matter(rate: float) -> None:
    """A network that fires in proportion has one break-even rate, whatever rate it was measured at."""
    found = break_even(spiking(round(rate, 3)), parent(), machine(), 4)
    assert found.rate == pytest.approx(0.25, rel=0.02)


def test_curves_of_several_chips_and_timesteps() -> None:
    found, refused = break_even_curves(spiking(), parent(), [chip("loihi2"), chip("akida")], [1, 4], [None, 8])
    assert [(one.chip, one.timesteps, one.bits) for one in found] == [
        ("loihi2", 1, 1),
        ("loihi2", 1, 8),
        ("loihi2", 4, 3),
        ("loihi2", 4, 8),
    ]
    assert set(refused) == {("akida", timesteps, bits) for timesteps in (1, 4) for bits in (None, 8)}
    assert all("refuses energy" in reason for reason in refused.values())
    assert all(isinstance(one, BreakEven) for one in found)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spiking": parent()}, "fires no spikes"),
        ({"parent": spiking()}, "fires spikes itself"),
        ({"chip": chip("akida")}, "refuses energy"),
        ({"chip": chip("loihi1")}, "no layer"),
        ({"rates": [1.5]}, "at most"),
        ({"rates": [0.0]}, "above 0"),
        ({"bits": 0}, "bits"),
        ({"timesteps": 0}, "at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, Any], words: str) -> None:
    given_: dict[str, Any] = {"spiking": spiking(), "parent": parent(), "chip": chip("loihi2"), **change}
    with pytest.raises(InputError, match=words):
        break_even(**given_)


def test_different_work_is_not_compared() -> None:
    """A chip that takes only spikes leaves out the layer that reads pixels in one of the two."""
    pixels = linear("stem", 1, 10, 10, operand("input", elements=10), operand("weight"), timesteps=4, macs=400)
    given_ = spiking()
    longer = given_.model_copy(update={"layers": (pixels, *given_.layers)})
    binary = linear("fc", 1, INPUTS, OUTPUTS, spikes(1.0), operand("weight"), driven_by="input", acs=INPUTS * OUTPUTS)
    with pytest.raises(InputError, match="leaves out 'stem' of one network"):
        break_even(longer, workload(binary), chip("loihi1"), bits=4)


def test_layers_outside_of_time_do_not_limit_the_rate() -> None:
    last = linear("classifier", 1, 10, 10, operand("input", "integer", 8), operand("weight"), macs=100)
    given_ = spiking()
    longer = given_.model_copy(update={"layers": (*given_.layers, last)})
    both = parent().model_copy(update={"layers": (*parent().layers, last)})
    assert break_even(longer, both, chip("loihi2"), 1).highest_rate == pytest.approx(1.0)
