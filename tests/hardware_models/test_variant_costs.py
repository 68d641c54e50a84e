"""Costs of many variants against one estimate each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from workload_builders import linear, operand, spikes, workload

from hardware_models.chip import Chip, chip
from hardware_models.estimate import estimate
from hardware_models.layer_table import layer_table
from hardware_models.studies.costs import variant_costs
from hardware_models.workload import Workload


def network(outputs: int = 10) -> Workload:
    extra: dict[str, Any] = {"acs": 400, "acs_by_timestep": (400,), "driven_by": "input"}
    return workload(linear("head", 1, 100, outputs, spikes(0.4), operand("weight", "integer", 8), **extra))


def changed(start: Chip, **figures: float) -> Chip:
    """The chip with other values of its figures, which keep the relative width of their bands."""
    made = dict(start.figures)
    for name, value in figures.items():
        figure = made[name]
        made[name] = figure.model_copy(
            update={
                "value": figure.value * value / figure.si,
                "low": None if figure.low is None else figure.low * value / figure.si,
                "high": None if figure.high is None else figure.high * value / figure.si,
            }
        )
    return start.model_copy(update={"figures": made})


def test_each_variant_is_what_an_estimate_of_it_is() -> None:
    start, rows, clock = chip("eyeriss"), [6.0, 12.0, 24.0], [1e8, 2e8, 4e8]
    names = {"array.rows": np.array(rows), "clock": np.array(clock)}
    names = {name: values for name, values in names.items() if name in start.figures}
    assert names, sorted(start.figures)
    found = variant_costs(layer_table(network()), start, names)
    for index in range(3):
        one = estimate(network(), changed(start, **{name: values[index] for name, values in names.items()}))
        np.testing.assert_allclose(found.energy_j[:, index], one.total_energy_j, rtol=1e-9)
        np.testing.assert_allclose(found.latency_s[:, index], one.total_latency_s, rtol=1e-9)
    assert not any(found.reasons)


def test_a_chip_as_it_is_has_one_variant() -> None:
    found = variant_costs(layer_table(network()), chip("loihi2"), {})
    one = estimate(network(), chip("loihi2"))
    np.testing.assert_allclose(found.energy_j[:, 0], one.total_energy_j)


def test_variants_that_cannot_run_it_say_why_and_leave_the_others() -> None:
    start = chip("odin")
    (name,) = [name for name in start.figures if "neurons" in name and "energy" not in name and "power" not in name][:1]
    sizes = np.array([64.0, 256.0, 32.0, 128.0, 16.0, 16.0])
    spiking = neurons(100)
    found = variant_costs(layer_table(spiking), start, {name: sizes})
    assert [bool(reason) for reason in found.reasons] == [size < 100 for size in sizes]
    assert np.isnan(found.energy_j[0]).tolist() == [size < 100 for size in sizes]
    assert "100 neurons" in found.reasons[0]


def neurons(count: int) -> Workload:
    from workload_builders import other

    fired = spikes(0.1, name="output").model_copy(update={"elements": count})
    extra: dict[str, Any] = {"acs": 40 * count, "acs_by_timestep": (40 * count,), "driven_by": "input"}
    head = linear("head", 1, 100, count, spikes(0.4), operand("weight", "integer", 3), consumers=("neuron",), **extra)
    return workload(head, other("neuron", "neuron", out_elements=count, output=fired))


def test_a_network_that_runs_nowhere_says_so_everywhere() -> None:
    sizes = np.array([16.0, 32.0, 64.0])
    start = chip("odin")
    (name,) = [name for name in start.figures if "neurons" in name and "energy" not in name and "power" not in name][:1]
    found = variant_costs(layer_table(neurons(5000)), start, {name: sizes})
    assert all("5000 neurons" in reason for reason in found.reasons)
    assert np.isnan(found.latency_s).all()


@pytest.mark.parametrize("samples", [0, 20])
def test_bands_hold_their_values(samples: int) -> None:
    found = variant_costs(layer_table(network()), chip("eyeriss"), {}, samples=samples)
    value, low, high = found.energy_j[:, 0]
    assert low <= value <= high
