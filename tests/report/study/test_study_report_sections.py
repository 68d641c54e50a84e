"""The sections of one point against its estimate, and against numbers worked by hand."""

from dataclasses import replace

import numpy as np
import pytest
from study_files import NET

from hardware_models.chip import chip
from hardware_models.errors import InputError
from hardware_models.estimate import estimate
from hardware_models.inputs import read_workload
from hardware_models.layer_table import layer_table
from neuro.report.study.constants import constants
from neuro.report.study.costs import with_figures
from neuro.report.study.layer_energy import layer_energy
from neuro.report.study.mesh_map import core_map
from neuro.report.study.rates import rates
from neuro.report.study.roofline import roofline_view
from neuro.report.study.scored import scored_rows, unscored
from neuro.report.study.traffic import OTHERS, flows

CHIPS = ("eyeriss", "tpu_like", "generic_45nm", "loihi2", "loihi1_nahuku", "jetson_nano", "spikesim_65nm_rram")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "net.yaml"
    path.write_text(NET)
    return layer_table(read_workload(path))


@pytest.mark.parametrize("name", CHIPS)
def test_components_and_layers_add_up(name, table):
    found = estimate(table, chip(name))
    made = layer_energy(found)
    assert sum(map(sum, made.components.values())) == pytest.approx(found.total_energy_j[0])
    assert set(made.layers) <= set(found.names)
    if made.latency_s is not None and found.chip.engine not in ("event_driven", "crossbar"):  # whose layers overlap
        assert sum(made.latency_s) == pytest.approx(found.total_latency_s[0])


@pytest.mark.parametrize("name", CHIPS)
def test_no_byte_is_lost(name, table):
    found = estimate(table, chip(name))
    made = flows(found)
    for level, moved in found.traffic_bytes.items():
        assert sum(flow.bytes for flow in made if flow.level == level) == pytest.approx(moved.sum())


def test_dram_fills_the_buffer_and_the_buffer_serves_layers(table):
    """181576 bytes to and from DRAM: 4 x ((2048 + 2 x 16384) / 8 + 10) + 288 + 163840."""
    first, *rest = flows(estimate(table, chip("generic_45nm")))
    assert (first.level, first.target, first.bytes, first.to_layer) == ("dram", "buffer", 181576, False)
    assert {flow.target for flow in rest} <= {"stem", "stem.lif", "head"}
    assert all(flow.level == "buffer" and flow.to_layer for flow in rest)


def test_small_layers_are_one_flow(table, monkeypatch):
    monkeypatch.setattr("neuro.report.study.traffic.MOST_LAYERS", 1)
    found = estimate(table, chip("generic_45nm"))
    assert [flow.target for flow in flows(found)] == ["buffer", "head", OTHERS]


def test_roof_of_an_array_by_hand(table):
    """16 x 16 elements at 500 MHz, 12.8 GB/s; head: 163840 weights, 4 x 16384 spikes in, 4 x 10 bytes out."""
    found = estimate(table, chip("generic_45nm"))
    view = roofline_view(found, table)
    assert view.balance == pytest.approx(2 * 256 * 500e6 / 12.8e9)
    head = view.layers.index("head")
    assert view.intensity[head] == pytest.approx(2 * 4 * 163840 / (163840 + 4 * 2048 + 40))
    operations = 2 * 4 * (163840 + 32 * 32 * 16 * 18)
    assert view.ideal_s == pytest.approx(operations / 256e9)
    assert view.below == 1
    assert view.efficiency == pytest.approx(view.ideal_s / view.latency_s)
    assert view.latency_s >= view.attainable_s >= view.ideal_s


@pytest.mark.parametrize("name", ["eyeriss", "tpu_like", "jetson_nano"])
def test_no_layer_is_above_the_roof(name, table):
    view = roofline_view(estimate(table, chip(name)), table)
    for peak, intensity, attained in zip(view.peak, view.intensity, view.attained, strict=True):
        assert attained <= min(peak, intensity * view.bandwidth) * (1 + 1e-9)


@pytest.mark.parametrize("name", ["loihi2", "spikesim_65nm_rram", "xne"])
def test_chips_without_a_roof_have_none(name, table):
    assert roofline_view(estimate(table, chip(name)), table) is None


def test_cores_lie_on_tiles(table):
    found = estimate(table, chip("loihi1_nahuku"))
    made = core_map(found)
    assert sum(made.cores) == found.cores.sum()
    assert {(tile.layer, tile.cores) for tile in made.tiles}
    for layer, cores in enumerate(made.cores):
        assert sum(tile.cores for tile in made.tiles if tile.layer == layer) == cores
    used = {}
    for tile in made.tiles:
        assert tile.x < made.columns
        assert tile.y < made.rows
        used[tile.chip, tile.x, tile.y] = used.get((tile.chip, tile.x, tile.y), 0) + tile.cores
    assert max(used.values()) == made.cores_per_tile
    assert len([cores for cores in used.values() if cores < made.cores_per_tile]) <= 1  # the last tile


def test_a_chip_without_a_mesh_has_cores_and_one_of_another_kind_none(table):
    made = core_map(estimate(table, chip("loihi2")))
    assert made.cores
    assert not made.tiles
    assert core_map(estimate(table, chip("eyeriss"))) is None


def test_constants_are_the_figures_that_were_read(table):
    found = estimate(table, chip("eyeriss"))
    made = {row[0]: row[1:] for row in constants(found)}
    assert set(made) == set(found.figures)
    value, band, grade, source, _ = made["mac.energy"]
    assert (value, band, grade) == ("7.6 pJ", "6.86 to 9.78 pJ", "derived")
    assert source.startswith("fitted unit")


def test_rates_by_layer_and_channel(table):
    """2 channels of 8192 neurons that fire 0, 8192, 4096, 0 and 2048, 0, 0, 0 spikes in 4 timesteps."""
    row = table.names.index("stem.lif")
    counts = np.array([[0, 8192, 4096, 0], [2048, 0, 0, 0]])
    offset = np.where(np.arange(len(table) + 1) > row, 2, 0)
    measured = replace(table, channel_spikes=counts, channel_offset=offset)
    found = rates(measured)
    assert found.layers == ["stem.lif"]
    assert found.raster["stem.lif"].tolist() == [[0, 1, 0.5, 0], [0.25, 0, 0, 0]]
    assert found.rate[0].tolist() == pytest.approx([0.15] * 4, rel=1e-3)
    assert rates(measured, cells=7).left == ["stem.lif"]
    assert rates(table).raster == {}


def test_a_figure_of_the_study_keeps_its_relative_band():
    changed = with_figures(chip("eyeriss"), {"mac.energy": 15.2e-12}).figures["mac.energy"]
    assert changed.si == pytest.approx(15.2e-12)
    assert changed.si_band == pytest.approx((13.72e-12, 19.56e-12))
    assert changed.grade == "assumed"
    with pytest.raises(InputError, match=r"array\.rows"):
        with_figures(chip("eyeriss"), {"array.row": 3})


def test_scorecard_rows_of_the_chips_come_first():
    rows = scored_rows([chip("eyeriss"), chip("loihi2")])
    own = [row.target for _, row, is_own in rows if is_own]
    assert set(own) == {"Eyeriss silicon (JSSC 2017)"}
    assert {engine for engine, _, _ in rows} == {"row_stationary", "event_driven"}
    assert unscored([chip("eyeriss"), chip("loihi2")], rows) == [chip("loihi2").title]
