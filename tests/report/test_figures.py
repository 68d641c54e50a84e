"""Numbers for people, layer figures, and the geometry of the charts."""

import math

import pytest

from hardware_models.convention_estimate import ConventionLayer
from neuro.report import charts
from neuro.report.figures import Column, exact, percent, si, times
from neuro.report.layers import energy_parts, firing_rates, layer_figures

from .synthetic import AC_J, MAC_J, hand_estimate, small_documents


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (7.463502601886196e-3, "J", "7.46 mJ"),
        (4.2e-7, "J", "420 nJ"),
        (2.8e-6, "J", "2.80 µJ"),
        (999.96e3, "", "1.00 M"),
        (12_345_678, "", "12.3 M"),
        (576, "", "576"),
        (0, "J", "0 J"),
        (0, "", "0"),
        (-1500, "", "-1.50 k"),
        (1e-20, "J", "0.0000100 fJ"),
        (None, "J", "not measured"),
        (math.nan, "J", "not measured"),
    ],
)
def test_si(value, unit, text):
    assert si(value, unit).replace("\N{NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize("value", [0.1 + 0.2, 7.463502601886196e-3, 1e300, 5e-324, 12.0, -3.0, 2.0**60])
def test_exact_reads_back(value):
    assert float(exact(value)) == value


def test_exact_of_nothing():
    assert exact(None) == exact(math.nan) == ""
    assert exact(576.0) == "576"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0.0 %"),
        (1e-9, "<0.1 %"),
        (0.5, "50.0 %"),
        (0.99999, ">99.9 %"),
        (1, "100.0 %"),
        (None, "not measured"),
    ],
)
def test_percent_never_rounds_to_all_or_nothing(share, text):
    assert percent(share).replace("\N{NO-BREAK SPACE}", " ") == text


def test_a_band_without_width_is_not_shown():
    column = Column.of([3.0])
    assert column.band(0.1 + 0.2, 0.3) == ""
    assert column.band(1, 3) == "1–3"


def test_times():
    assert [times(x) for x in (3.421, 1240.0, 0.0938)] == ["3.42×", "1240×", "0.0938×"]
    assert times(math.inf) == times(0) == "not measured"


def test_one_column_has_one_unit():
    column = Column.of([52.18e-6, 4.89e-6, 0.0, None], "J")
    assert [column.text(v) for v in (52.18e-6, 4.89e-6, 0.0, None)] == ["52.18", "4.89", "0", "not measured"]
    assert column.head("Energy") == ("Energy, µJ", "Energy, J")
    assert column.text(1e-12) == "<0.01"
    assert Column.of([120, 576]).text(120) == "120"
    assert Column.of([]).text(0) == "0"


def test_rates_by_hand():
    (layer,) = firing_rates(small_documents().workloads["spiking-merged"])
    assert layer.rates == (16 / 64, 8 / 64)
    assert layer.mean == 0.1875
    assert layer.busiest == 0.75


def test_layer_figures_join_measurement_and_estimate():
    conv, norm, fired, head = layer_figures(small_documents(), "spiking")
    assert (conv.macs, conv.counted_macs, conv.energy_j) == (576, 576, 576 * MAC_J)
    assert (head.acs, head.energy_j, head.dense_macs) == (120, 120 * AC_J, 640)
    assert (fired.spikes, fired.firing_rate, fired.energy_j) == (12, 0.1875, None)
    assert norm.verdict == "normalisation"


def test_no_joule_is_lost_when_names_do_not_match():
    documents = small_documents()
    documents.estimates["float"] = hand_estimate("x", (("elsewhere", "conv", 10.0, 0.0),))  # type: ignore[index]
    rows = layer_figures(documents, "float")
    assert sum(row.energy_j or 0 for row in rows) == 10 * MAC_J
    assert (rows[-1].name, rows[-1].macs) == ("elsewhere", None)


def test_energy_is_split_where_the_constants_agree():
    layers = (("a", "conv", 10.0, 0.0), ("b", "conv", 0.0, 20.0), ("c", "conv", 5.0, 5.0))
    estimate = hand_estimate("x", layers)
    a, b, c = energy_parts(estimate)
    assert (a.mac_j, a.ac_j, b.mac_j, b.ac_j) == (10 * MAC_J, 0, 0, 20 * AC_J)
    assert (c.mac_j, c.ac_j, c.other_j) == pytest.approx((5 * MAC_J, 5 * AC_J, 0))


def test_energy_that_cannot_be_split_is_other():
    update = ConventionLayer(name="n", operator="neuron", macs=0, acs=0, energy_j=3e-12, energy_low_j=0,
                           energy_high_j=1, rule="updates")  # fmt: skip
    mixed = hand_estimate("x", (("c", "conv", 5.0, 5.0),)).layers[0]
    estimate = hand_estimate("x", ()).model_copy(update={"layers": (update, mixed)})
    assert [part.other_j for part in energy_parts(estimate)] == [3e-12, mixed.energy_j]


@pytest.mark.parametrize("largest", [0.013, 0.999, 1.0, 7.3, 101.0, 2.4e-7])
def test_axes_hold_their_values(largest):
    top, step = charts.nice_top(largest)
    assert top >= largest
    assert 2 <= round(top / step) <= 5
    assert [tick.at for tick in charts.ticks(0, top, step)][::-1][0] == 0


def test_heat_scale():
    scale = charts.heat_scale(0.233)
    assert scale[-1] >= 0.233
    assert charts.heat_step(0, scale) == 0
    assert charts.heat_step(1e-9, scale) >= 1
    assert charts.heat_step(scale[-1], scale) == charts.HEAT_STEPS
    assert charts.heat_scale(0) == [0.5]


def test_stack_fills_what_it_should():
    segments = charts.stack([("mac", 30.0), ("ac", 0.0), ("other", 20.0)], 100)
    assert [(s.kind, s.start, s.size) for s in segments] == [("mac", 0, 30), ("other", 30, 20)]
    assert charts.stack([("mac", 1.0)], 0) == []


def test_spans_only_where_they_help():
    assert [s.name for s in charts.spans(["a.x", "a.y", "b.x", "b.y"])] == ["a", "b"]
    assert charts.spans(["a", "b", "c", "d"]) == charts.spans(["a.x", "a.y"]) == []
