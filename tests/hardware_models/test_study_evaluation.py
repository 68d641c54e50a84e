"""Points of a study against one estimate each, and what cannot be, with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from test_rates import network
from test_variant_costs import changed

from hardware_models.chip import chip
from hardware_models.errors import InputError
from hardware_models.estimate import estimate
from hardware_models.layer_table import layer_table
from hardware_models.studies.columns import Columns
from hardware_models.studies.evaluation import COSTS, Evaluation
from hardware_models.studies.rates import at_firing_rate
from hardware_models.studies.software import Answer, GivenNetworks
from hardware_models.studies.space import Space

SPIKING = network(0.2, 0.4)


def columns(**axes: list[Any]) -> Columns:
    """Columns by name, `__` for a dot."""
    return Columns({name.replace("__", "."): np.array(values) for name, values in axes.items()})


def evaluation(*objectives: str, **more: Any) -> Evaluation:
    return Evaluation(GivenNetworks({"spiking": SPIKING}), objectives or COSTS, **more)


def test_each_point_is_an_estimate_of_its_network_on_its_chip() -> None:
    rows, cols = [6, 12, 6, 12], [14, 14, 7, 7]
    points = columns(
        chip=["eyeriss"] * 4,
        software__rate=[0.1, 0.1, 0.2, 0.1],
        software__timesteps=[2, 4, 4, 2],
        hardware__array__rows=rows,
        hardware__array__cols=cols,
    )
    found = evaluation()(points)
    assert found.state.tolist() == ["done"] * 4
    for index in range(4):
        point = points.point(index)
        net = at_firing_rate(SPIKING, point["software.rate"], point["software.timesteps"])
        start = changed(chip("eyeriss"), **{"array.rows": rows[index], "array.cols": cols[index]})
        one = estimate(net, start)
        assert one.total_energy_j is not None
        assert one.total_latency_s is not None
        np.testing.assert_allclose(found.objectives["energy_j"][:, index], one.total_energy_j)
        np.testing.assert_allclose(found.objectives["latency_s"][:, index], one.total_latency_s)
        product = one.total_energy_j * one.total_latency_s
        np.testing.assert_allclose(found.objectives["energy_delay_js"][:, index], product)


def test_widths_are_those_asked_for() -> None:
    points = columns(software__bits=[4, 8])
    found = evaluation("energy_j", chip="eyeriss")(points)
    for index, bits in enumerate((4, 8)):
        one = estimate(layer_table(SPIKING).with_bits(bits), chip("eyeriss"))
        np.testing.assert_allclose(found.objectives["energy_j"][:, index], one.total_energy_j)


def test_what_cannot_be_is_infeasible_and_says_why() -> None:
    points = columns(software__rate=[0.1, 1.5, 0.2], chip=["loihi2", "loihi2", "xne"])
    found = evaluation("latency_s")(points)
    assert found.state.tolist() == ["done", "infeasible", "infeasible"]
    assert "would have them at" in found.reason[1]
    assert found.reason[2] == "chip 'xne' does not tell latency_s."
    assert np.isnan(found.objectives["latency_s"][:, 1:]).all()


def test_inactive_axes_are_not_read() -> None:
    space = Space.from_document(
        {
            "axes": {
                "chip": {"choices": ["eyeriss", "loihi2"]},
                "hardware.array.rows": {"choices": [6, 12], "when": "chip == 'eyeriss'"},
            }
        }
    )
    points = space.grid(0, space.size())
    found = evaluation("energy_j")(points)
    assert len(points) == 3
    assert found.state.tolist() == ["done"] * 3


def test_a_network_is_asked_for_once() -> None:
    asked = []

    class Counting:
        axes = ("timesteps",)
        figures = ("accuracy",)

        def answer(self, point: Mapping[str, Any]) -> Answer:
            asked.append(dict(point))
            return Answer(layer_table(SPIKING), {"accuracy": (0.9, 0.8, 1.0)})

    judged = Evaluation(Counting(), ["accuracy", "energy_j"])
    points = columns(software__timesteps=[1, 2, 1, 2], chip=["eyeriss", "eyeriss", "loihi2", "loihi2"])
    found = judged(points)
    judged(points)
    assert asked == [{"timesteps": 1}, {"timesteps": 2}]
    assert found.objectives["accuracy"].T.tolist() == [[0.9, 0.8, 1.0]] * 4


def test_objectives_that_nobody_computes_are_refused() -> None:
    with pytest.raises(InputError, match="energy_j"):
        evaluation("energy")


@pytest.mark.parametrize(
    ("axes", "message"),
    [(["chip", "software.rat"], "software.rate"), (["software.rate"], "the study names no chip")],
)
def test_axes_that_nothing_reads_are_refused(axes: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluation().check_axes(axes)


def test_unknown_figures_chips_and_networks_are_the_points_fault() -> None:
    found = evaluation("energy_j")(columns(chip=["eyeris", "eyeriss"], hardware__array__row=[3, 3]))
    assert found.state.tolist() == ["infeasible"] * 2
    assert "eyeriss" in found.reason[0]
    assert "array.rows" in found.reason[1]
