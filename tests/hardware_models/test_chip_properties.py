"""What holds on every chip: cost never falls when work grows, batches add up, units survive, bands hold the value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardware_models.chip import chip, chip_names
from hardware_models.engine import Run
from hardware_models.errors import InputError
from hardware_models.estimate import Estimate, estimate
from hardware_models.quantity import Quantity, unit_factor
from hardware_models.workload import Bounds, Layer, Operand, Workload

CHIPS = chip_names()
SOME = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def spiking(
    rate: float = 0.25, channels: int = 4, outputs: int = 8, side: int = 4, timesteps: int = 2, batch: int = 1
) -> Workload:
    """Neurons, a 3x3 convolution on their spikes, neurons, and a linear classifier, every count by hand."""
    inputs, middle = channels * side * side, outputs * side * side
    fired = round(rate * inputs)
    fired_middle = round(rate * middle)

    def binary(name: str, elements: int, count: int) -> Operand:
        return Operand(
            name=name,
            bits=1,
            signed=False,
            form="binary",
            elements=elements,
            nonzero=(count * batch,) * timesteps,
            magnitude=(count * batch,) * timesteps,
            density=(count / elements,) * timesteps,
        )

    def weight(elements: int) -> Operand:
        return Operand(
            name="weight",
            role="weight",
            bits=8,
            signed=True,
            form="float",
            elements=elements,
            nonzero=(elements,),
            density=(1.0,),
        )

    conv = Bounds(
        in_channels=channels,
        out_channels=outputs,
        in_size=(side, side),
        out_size=(side, side),
        kernel=(3, 3),
        stride=(1, 1),
        padding=(1, 1),
        dilation=(1, 1),
    )
    linear = Bounds(in_channels=middle, out_channels=10, in_size=(1,), out_size=(1,))
    layers = (
        Layer(
            name="lif1",
            operator="neuron",
            op="lif",
            timesteps=timesteps,
            out_elements=inputs,
            output=binary("output", inputs, fired),
            consumers=("conv",),
        ),
        Layer(
            name="conv",
            operator="conv",
            op="convolution",
            timesteps=timesteps,
            bounds=conv,
            operands=(binary("input", inputs, fired), weight(channels * outputs * 9)),
            out_elements=middle,
            acs=fired * 9 * outputs * timesteps * batch,
            driven_by="input",
            consumers=("lif2",),
        ),
        Layer(
            name="lif2",
            operator="neuron",
            op="lif",
            timesteps=timesteps,
            out_elements=middle,
            output=binary("output", middle, fired_middle),
            consumers=("head",),
        ),
        Layer(
            name="head",
            operator="linear",
            op="addmm",
            timesteps=timesteps,
            bounds=linear,
            operands=(binary("input", middle, fired_middle), weight(middle * 10)),
            out_elements=10,
            acs=fired_middle * 10 * timesteps * batch,
            driven_by="input",
        ),
    )
    return Workload(name="by hand", timesteps=timesteps, batch=batch, layers=layers)


def figures(found: Estimate) -> dict[str, float]:
    """Every figure that must not fall when work grows."""
    known: dict[str, float] = {f"bytes {level}": float(values.sum()) for level, values in found.traffic_bytes.items()}
    if found.total_energy_j is not None:
        known |= dict(zip(("energy", "energy low", "energy high"), found.total_energy_j.tolist(), strict=True))
    if found.total_latency_s is not None:
        known |= dict(zip(("latency", "latency low", "latency high"), found.total_latency_s.tolist(), strict=True))
    return known


def check_grown(name: str, small: Workload, large: Workload) -> None:
    try:
        before = estimate(small, chip(name))
        after = estimate(large, chip(name))
    except InputError:  # one of them does not fit this chip
        return
    less, more = figures(before), figures(after)
    assert less.keys() == more.keys()
    for key, value in less.items():
        assert more[key] >= value * (1 - 1e-9), f"{key} fell from {value} to {more[key]}"


@pytest.mark.parametrize("name", CHIPS)
@SOME
@given(rate=st.floats(0, 0.9), more=st.floats(0, 0.1))
def test_more_spikes_never_cost_less(name: str, rate: float, more: float) -> None:
    check_grown(name, spiking(rate), spiking(rate + more))


@pytest.mark.parametrize("name", CHIPS)
@SOME
@given(outputs=st.integers(1, 16), more=st.integers(1, 16), side=st.integers(1, 8))
def test_more_channels_of_the_same_rate_never_cost_less(name: str, outputs: int, more: int, side: int) -> None:
    # Channels by fours: a rate of 1/4 is a whole number of spikes. Silent channels may save what unused rows cost.
    check_grown(name, spiking(outputs=4 * outputs, side=side), spiking(outputs=4 * (outputs + more), side=side))


@pytest.mark.parametrize("name", CHIPS)
@SOME
@given(timesteps=st.integers(1, 8), more=st.integers(1, 8))
def test_more_timesteps_never_cost_less(name: str, timesteps: int, more: int) -> None:
    check_grown(name, spiking(timesteps=timesteps), spiking(timesteps=timesteps + more))


@pytest.mark.parametrize("name", CHIPS)
def test_the_batch_that_was_measured_does_not_matter(name: str) -> None:
    one, many = estimate(spiking(batch=1), chip(name)), estimate(spiking(batch=16), chip(name))
    assert figures(many) == pytest.approx(figures(one))


@pytest.mark.parametrize("name", CHIPS)
def test_every_figure_is_finite_positive_and_inside_its_band(name: str) -> None:
    found = estimate(spiking(), chip(name))
    for key, value in figures(found).items():
        assert np.isfinite(value), key
        assert value >= 0, key
    for total in (found.total_energy_j, found.total_latency_s):
        if total is not None:
            assert 0 < total[1] <= total[0] <= total[2]
    assert found.total_energy_j is not None or found.total_latency_s is not None
    if found.utilization is not None:
        assert (found.utilization >= 0).all()
        assert (found.utilization <= 1 + 1e-9).all()


@pytest.mark.parametrize("name", CHIPS)
def test_components_add_up_and_assumptions_are_sentences(name: str) -> None:
    found = estimate(spiking(), chip(name))
    if found.total_energy_j is not None:
        parts = sum(values.sum(axis=1) for values in found.energy_j.values())
        assert found.total_energy_j == pytest.approx(parts)
    for sentence in found.assumptions:
        assert sentence.endswith("."), sentence
        assert "\n" not in sentence


@pytest.mark.parametrize("name", CHIPS)
def test_one_step_at_a_time_is_never_cheaper_in_traffic(name: str) -> None:
    batched, steps = (
        estimate(spiking(timesteps=4), chip(name), Run(mode)) for mode in ("time-batched", "step-by-step")
    )
    for level, values in batched.traffic_bytes.items():
        assert steps.traffic_bytes[level].sum() >= values.sum() * (1 - 1e-9)


@pytest.mark.parametrize("name", CHIPS)
def test_units_survive_a_round_trip(name: str) -> None:
    for figure in chip(name).figures.values():
        factor, base = unit_factor(figure.unit)
        again = Quantity(value=figure.si, unit=base, source=figure.source, grade=figure.grade)
        assert again.si == pytest.approx(figure.si)
        assert figure.value * factor == figure.si
