"""Sensitivities against functions whose indices are known, and against estimates of chips changed by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from engine_chips import round_chip
from hypothesis import given, settings
from hypothesis import strategies as st
from workload_builders import linear, operand, spikes, workload

from hardware_models.chip import Chip, chip
from hardware_models.errors import InputError
from hardware_models.estimate import estimate
from hardware_models.layer_table import LayerTable, layer_table
from hardware_models.quantity import Quantity
from hardware_models.studies.sensitivity import Candidate, ranking, tornado, variance_shares
from hardware_models.studies.sobol_indices import latin_hypercube, sobol_indices
from hardware_models.studies.uncertain_figures import Costs, UncertainFigure
from hardware_models.totals import Floats

BANDS = {"op.int8.energy": (1.0, 2.0, 6.0), "memory.energy": (0.25, 0.5, 1.0), "memory.bandwidth": (5.0, 10.0, 20.0)}
"""Low, value and high of figures in base units."""


def quantity(low: float, value: float, high: float, unit: str, source: str = "a book") -> Quantity:
    return Quantity(value=value, low=low, high=high, unit=unit, source=source, grade="assumed")


def machine(name: str = "round", source: str = "a book", **bands: tuple[float, float, float]) -> Chip:
    """A chip of which three figures have a band."""
    units = {"op.int8.energy": "J", "memory.energy": "J/bit", "memory.bandwidth": "B/s"}
    plain = round_chip("roofline", {"peak.int8": (1000.0, "1/s")})
    chosen = BANDS | {figure.replace("_", "."): band for figure, band in bands.items()}
    figures = {figure: quantity(*band, units[figure], source) for figure, band in chosen.items()}
    return plain.model_copy(update={"name": name, "figures": plain.figures | figures})


def network(inputs: int = 4, outputs: int = 5) -> LayerTable:
    """On 8 bits: 2 x inputs x outputs operations; weights, inputs and sums of 32 bits move once."""
    weights = operand("weight", "integer", 8, elements=inputs * outputs)
    return layer_table(
        workload(linear("fc", 1, inputs, outputs, operand("input", "integer", 8, elements=inputs), weights))
    )


OPERATIONS, BITS = 40, 352
"""Of `network()`: 2 x 4 x 5, and 8 x (20 + 4) + 32 x 5."""


def ishigami(points: Floats) -> Floats:
    first, second, third = (-math.pi + 2 * math.pi * points).T
    result: Floats = np.sin(first) + 7 * np.sin(second) ** 2 + 0.1 * third**4 * np.sin(first)
    return result


def test_ishigami() -> None:
    """The function of Ishigami and Homma (1990), whose indices are known in closed form."""
    found = sobol_indices(ishigami, 3, 2**14, seed=1)
    a, b = 7, 0.1
    alone = np.array([(1 + b * math.pi**4 / 5) ** 2 / 2, a**2 / 8, 0])
    shared = b**2 * math.pi**8 * (1 / 18 - 1 / 50)  # of the first and the third input
    variance = alone.sum() + shared
    np.testing.assert_allclose(found.first, alone / variance, atol=0.03)
    np.testing.assert_allclose(found.total, (alone + np.array([shared, 0, shared])) / variance, atol=0.03)
    assert (np.abs(found.first - alone / variance) < 5 * found.first_error).all()
    assert found.variance == pytest.approx(variance, rel=0.03)
    assert found.mean == pytest.approx(a / 2, rel=0.03)
    assert found.evaluations == 5 * 2**14


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=5), st.floats(-100, 100))
def test_parts_of_a_sum_explain_their_variances(weights: list[float], constant: float) -> None:
    found = sobol_indices(lambda points: points @ np.array(weights) + constant, len(weights), 2048, seed=0)
    shares = np.square(weights) / np.square(weights).sum()
    np.testing.assert_allclose(found.first, shares, atol=0.1)
    np.testing.assert_allclose(found.total, shares, atol=0.1)


def test_several_results_at_once_are_each_as_alone() -> None:
    both = sobol_indices(lambda points: np.stack([ishigami(points), points.sum(axis=1)]), 3, 64, seed=3)
    np.testing.assert_allclose(both.first[0], sobol_indices(ishigami, 3, 64, seed=3).first)
    assert both.total.shape == (2, 3)


def test_every_row_of_a_latin_hypercube_is_taken_once() -> None:
    points = latin_hypercube(50, 4, seed=0)
    np.testing.assert_array_equal(np.sort((points * 50).astype(int), axis=0), np.tile(np.arange(50)[:, None], 4))


@pytest.mark.parametrize("result", [1.0, math.nan])
def test_what_does_not_vary_has_no_indices(result: float) -> None:
    with pytest.raises(InputError, match="leave"):
        sobol_indices(lambda points: np.full(len(points), result), 2, 16)


def test_quantiles_of_a_triangle() -> None:
    figure = UncertainFigure("power", quantity(0, 1, 4, "W"), ("round",))
    # Below 1 lies a quarter; the area below x < 1 is x^2 / 4, above x > 1 it is (4 - x)^2 / 12.
    np.testing.assert_allclose(figure.quantile(np.array([0, 1 / 16, 0.25, 1 - 1 / 12, 1])), [0, 0.5, 1, 3, 4])


@pytest.mark.parametrize("band", [(0.0, 0.0, 2.0), (0.0, 2.0, 2.0)])
def test_quantiles_where_the_value_is_an_end(band: tuple[float, float, float]) -> None:
    found = UncertainFigure("power", quantity(*band, "W"), ("round",)).quantile(np.linspace(0, 1, 11))
    assert (np.diff(found) > 0).all()
    assert found[[0, -1]].tolist() == [0, 2]


def test_tornado_by_hand() -> None:
    found = tornado([Candidate("net", network(), machine())])
    # 2 J an operation and 0.5 J a bit: 80 + 176 = 256 J; bandwidth costs no energy.
    assert found.value.tolist() == [256]
    assert [figure.name for figure in found.figures][:2] == ["memory.energy", "op.int8.energy"]
    assert found.at_low[0, :2].tolist() == [80 + 88, 40 + 176]
    assert found.at_high[0, :2].tolist() == [80 + 352, 240 + 176]
    np.testing.assert_allclose(found.swing[0], [264 / 256, 200 / 256, 0])


@pytest.mark.parametrize("name", ["eyeriss", "generic_45nm", "tpu_like", "loihi2", "jetson_nano"])
def test_all_figures_at_their_ends_are_the_corners(name: str) -> None:
    spiking: dict[str, Any] = {"acs": 400, "acs_by_timestep": (400,), "driven_by": "input"}
    net = layer_table(workload(linear("head", 1, 100, 10, spikes(0.4), operand("weight", "integer", 8), **spiking)))
    costs = Costs([Candidate("net", net, chip(name))], "energy_j")
    plain = estimate(net, chip(name)).total_energy_j
    assert plain is not None
    cheap = [figure.quantity.si_band for figure in costs.figures]
    rates = [figure.name for figure in costs.figures if "bandwidth" in figure.name or "clock" in figure.name]
    rates += [figure.name for figure in costs.figures if "efficiency" in figure.name or "peak" in figure.name]
    low = [band[figure.name in rates] for band, figure in zip(cheap, costs.figures, strict=True)]
    high = [band[figure.name not in rates] for band, figure in zip(cheap, costs.figures, strict=True)]
    np.testing.assert_allclose(costs.at(np.array([costs.nominal(), low, high]))[0], plain, rtol=1e-9)


def test_shares_of_an_energy_by_hand() -> None:
    figures, found = variance_shares([Candidate("net", network(), machine())], samples=4096)

    def variance(low: float, mode: float, high: float) -> float:  # of a triangle
        return (low**2 + mode**2 + high**2 - low * mode - low * high - mode * high) / 18

    parts = np.array(
        [OPERATIONS**2 * variance(*BANDS["op.int8.energy"]), BITS**2 * variance(*BANDS["memory.energy"]), 0]
    )
    column = [[figure.name for figure in figures].index(name) for name in BANDS]
    np.testing.assert_allclose(found.first[0, column], parts / parts.sum(), atol=0.05)
    np.testing.assert_allclose(found.total[0, column], parts / parts.sum(), atol=0.05)
    assert found.variance[0] == pytest.approx(parts.sum(), rel=0.05)


def test_a_product_is_more_than_its_parts() -> None:
    _, found = variance_shares([Candidate("net", network(), machine())], "energy_delay_js", samples=2048)
    assert found.first.sum() < found.total.sum()


def test_more_work_on_the_same_chip_always_costs_more() -> None:
    one, two = Candidate("small", network(4, 5), machine()), Candidate("large", network(5, 6), machine())
    found = ranking([one, two], samples=200)
    assert found.beats.tolist() == [[0, 1], [0, 0]]
    assert found.cheapest.tolist() == [1, 0]
    assert not tornado([one, two]).reorders.any()


def test_a_figure_that_two_chips_share_is_one() -> None:
    same = ranking([Candidate("a", network(), machine("a")), Candidate("b", network(), machine("b"))], samples=100)
    assert len(same.figures) == len(BANDS)
    assert same.figures[0].chips == ("a", "b")
    assert same.beats.tolist() == [[0, 0], [0, 0]]


def test_figures_of_other_sources_are_drawn_apart() -> None:
    chips = machine("a"), machine("b", source="another book")
    found = ranking([Candidate(one.name, network(), one) for one in chips], samples=4000)
    assert len(found.figures) == 2 * len(BANDS)
    assert found.beats[0, 1] == pytest.approx(0.5, abs=0.03)
    assert found.beats[0, 1] + found.beats[1, 0] == pytest.approx(1)


def test_a_figure_that_turns_the_order_is_named() -> None:
    cheap_bits = machine("bits", "another book", memory_energy=(0.05, 0.1, 2.0), op_int8_energy=(6.0, 7.0, 8.0))
    found = tornado([Candidate("a", network(), machine("a")), Candidate("b", network(), cheap_bits)])
    # b costs 40 x 7 + 35.2 = 315.2 J for 256 J of a, which memory or operations of a at their high end exceed.
    turning = {figure.label for figure, turns in zip(found.figures, found.reorders, strict=True) if turns}
    assert turning == {"memory.energy of a", "op.int8.energy of a"}


@given(st.integers(0, 5))
@settings(max_examples=5, deadline=None)
def test_nobody_wins_more_than_all_draws(seed: int) -> None:
    chips = [machine("a"), machine("b", "another book"), machine("c", "a third book", op_int8_energy=(1.0, 1.5, 2.0))]
    found = ranking([Candidate(one.name, network(), one) for one in chips], samples=50, seed=seed)
    assert (found.beats + found.beats.T <= 1 + 1e-12).all()
    assert found.cheapest.sum() == pytest.approx(1)
    assert (found.cheapest <= found.beats.max(axis=1)).all()


def test_sizes_stay_as_they_are() -> None:
    costs = Costs([Candidate("net", network(), chip("eyeriss"))], "energy_j")
    assert not {"array.rows", "buffer.capacity"} & {figure.name for figure in costs.figures}


def test_what_cannot_be_asked_is_refused() -> None:
    net = network()
    with pytest.raises(InputError, match="xne' refuses latency"):
        tornado([Candidate("net", net, chip("xne"))], "latency_s")
    with pytest.raises(InputError, match="no figure"):
        tornado([Candidate("net", net, chip("xne"))])
    with pytest.raises(InputError, match="unknown objective"):
        tornado([Candidate("net", net, machine())], "area")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="name of its own"):
        tornado([Candidate("net", net, machine()), Candidate("net", net, machine())])
    with pytest.raises(InputError, match="at least two"):
        ranking([Candidate("net", net, machine())])
    with pytest.raises(InputError, match="moves energy_j of 'fixed'"):
        variance_shares([Candidate("net", net, machine()), Candidate("fixed", net, chip("xne"))])
