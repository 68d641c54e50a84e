"""A network at other rates and other T: counts by hand, and what costs make of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workload_builders import linear, operand, other, spikes, workload

from hardware_models.chip import chip
from hardware_models.conventions import convention
from hardware_models.errors import InputError
from hardware_models.estimate import estimate
from hardware_models.studies.rates import at_firing_rate, at_rates
from hardware_models.workload import Layer, Workload


def network(*density: float) -> Workload:
    """A stem that reads pixels, a neuron, and a layer driven by its spikes; 100 values each."""
    steps = len(density)
    pixels = operand("input", density=(1.0,) * steps)
    stem = linear("stem", 1, 100, 100, pixels, operand("weight"), macs=10_000 * steps, timesteps=steps)
    fired = spikes(*density, name="output").model_copy(update={"magnitude": tuple(round(100 * d) for d in density)})
    neuron = other("neuron", "neuron", timesteps=steps, out_elements=100, output=fired, consumers=("head",))
    acs = tuple(round(100 * share) * 10 for share in density)
    counts = {"acs": sum(acs), "acs_by_timestep": acs, "driven_by": "input", "timesteps": steps}
    head = linear("head", 1, 100, 10, spikes(*density), operand("weight"), **counts)
    return workload(stem, neuron, head, timesteps=steps)


def layer(found: Workload, name: str) -> Layer:
    return next(one for one in found.layers if one.name == name)


def test_half_the_rate_is_half_the_accumulates() -> None:
    found = at_rates(network(0.2, 0.4), scale=0.5)
    assert layer(found, "head").acs == 300  # 100 places x 0.15 x 2 timesteps x 10 outputs
    assert layer(found, "head").operand("input").density == pytest.approx((0.15, 0.15))
    assert layer(found, "stem").macs == 20_000
    assert found.firing_rate == pytest.approx(0.15)


def test_more_timesteps_repeat_the_mean() -> None:
    found = at_rates(network(0.2, 0.4), timesteps=5)
    assert layer(found, "head").acs == 1500
    assert layer(found, "head").acs_by_timestep == (300,) * 5
    assert layer(found, "stem").macs == 50_000
    assert found.timesteps == 5
    assert found.spikes == pytest.approx(150)


def test_what_is_outside_of_time_stays() -> None:
    given = network(0.2, 0.4)
    last = linear("classifier", 1, 10, 10, macs=100)
    found = at_rates(given.model_copy(update={"layers": (*given.layers, last)}), 4, 0.5)
    assert layer(found, "classifier") == last


def test_pixels_do_not_fire() -> None:
    given = network(0.2, 0.4)
    stem = layer(given, "stem")
    pixels = operand("input", "integer", 8, (1.0, 1.0))
    integer = stem.model_copy(update={"operands": (pixels, *stem.operands[1:])})
    found = at_rates(given.model_copy(update={"layers": (integer, *given.layers[1:])}), 3, 2.0)
    assert layer(found, "stem").operand("input").density == (1.0,) * 3


def test_a_rate_is_that_of_the_neurons() -> None:
    assert at_firing_rate(network(0.2, 0.4), 0.1, timesteps=3).firing_rate == pytest.approx(0.1)


@pytest.mark.parametrize(("timesteps", "scale"), [(0, 1.0), (2, 0.0), (2, -1.0), (2, float("nan")), (2, 4.0)])
def test_what_makes_no_sense_is_refused(timesteps: int, scale: float) -> None:
    with pytest.raises(InputError, match="give"):
        at_rates(network(0.2, 0.4), timesteps, scale)


def test_a_network_that_fires_nothing_has_no_rate_to_scale() -> None:
    with pytest.raises(InputError, match="fires no spikes"):
        at_firing_rate(workload(linear("one", 1, 10, 10, macs=100)), 0.1)


@given(st.integers(1, 12), st.floats(0.05, 2.0))
def test_accumulates_are_shared_out_whole(timesteps: int, scale: float) -> None:
    head = layer(at_rates(network(0.2, 0.4), timesteps, scale), "head")
    assert sum(head.acs_by_timestep) == head.acs
    assert max(head.acs_by_timestep) - min(head.acs_by_timestep) <= 1
    assert head.acs == pytest.approx(3 * timesteps * scale * 100, abs=1)


def test_energy_follows_the_accumulates() -> None:
    rules = convention("horowitz45")
    one, half = (rules.estimate(at_rates(network(0.4, 0.4), 8, scale)) for scale in (1.0, 0.5))
    stem = 80_000 * 4.6e-12
    assert one.energy_j - stem == pytest.approx(2 * (half.energy_j - stem), rel=1e-6)


def test_chips_take_such_a_network() -> None:
    cheap, dear = (estimate(at_rates(network(0.4, 0.4), 8, scale), chip("loihi2")) for scale in (0.25, 1.0))
    assert cheap.total_energy_j is not None
    assert dear.total_energy_j is not None
    assert cheap.total_energy_j[0] < dear.total_energy_j[0]
