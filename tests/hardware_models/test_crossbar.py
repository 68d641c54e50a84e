"""The crossbar engine against costs worked by hand, what must hold for any network, and published figures."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from engine_chips import round_chip
from hypothesis import given, settings
from hypothesis import strategies as st
from workload_builders import linear, operand, other, product, spikes, workload

from hardware_models.chip import Chip, chip
from hardware_models.engine import Run
from hardware_models.errors import InputError
from hardware_models.estimate import Estimate, estimate
from hardware_models.validation.edge_networks import NETWORKS
from hardware_models.validation.in_memory import fit_neurram, operations_per_joule
from hardware_models.variants import estimate_variants
from hardware_models.workload import Workload

ARRAY = {
    "array.rows": (16.0, "1"),
    "array.cols": (8.0, "1"),
    "array.adcs": (2.0, "1"),
    "cell.bits": (2.0, "bit"),
    "dac.bits": (1.0, "bit"),
    "adc.energy": (1.0, "J"),
    "adc.time": (1.0, "s"),
    "array.energy": (100.0, "J"),
}
PRECISION = {"input_bits": 8, "weight_bits": 8}


def arrays(more: dict[str, tuple[float, str]] | None = None, without: tuple[str, ...] = (), **settings_: Any) -> Chip:
    figures = {name: figure for name, figure in (ARRAY | (more or {})).items() if name not in without}
    return round_chip("crossbar", figures, precision=PRECISION, **settings_)


def dense(inputs: int = 20, outputs: int = 3, rows: int = 5, bits: tuple[int, int] = (4, 8)) -> Workload:
    read = operand("input", bits=bits[0], elements=rows * inputs)
    weights = operand("weight", bits=bits[1], elements=inputs * outputs)
    return workload(linear("fc", rows, inputs, outputs, read, weights))


def spiking(rate: float = 0.25, timesteps: int = 2, inputs: int = 20, outputs: int = 3) -> Workload:
    read = spikes(*[rate] * timesteps).model_copy(update={"elements": inputs})
    weights = operand("weight", bits=8, elements=inputs * outputs)
    layer = linear(
        *("fc", 1, inputs, outputs, read, weights),
        timesteps=timesteps,
        driven_by="input",
        acs=1,
        consumers=("lif",),
    )
    fired = read.model_copy(update={"name": "output"})
    neuron = other("lif", "neuron", timesteps=timesteps, out_elements=outputs, output=fired)
    return workload(layer, neuron, timesteps=timesteps)


def joules(found: Estimate) -> float:
    assert found.total_energy_j is not None
    return float(found.total_energy_j[0])


def seconds(found: Estimate) -> float:
    assert found.total_latency_s is not None
    return float(found.total_latency_s[0])


def test_one_layer_by_hand() -> None:
    # K = 20 on 16 rows: 2 blocks. 8-bit weights on 2-bit cells: 3 * 4 = 12 columns, 2 tiles of 8: 4 arrays.
    # 5 positions, 4 phases: 20 readings of 4 arrays and 20 * 2 blocks * 12 columns = 480 conversions.
    # 8 columns to 2 converters: 4 turns; 20 * 4 = 80 s.
    found = estimate(dense(), arrays())
    assert found.cores is not None
    assert found.cores.tolist() == [4]
    assert joules(found) == pytest.approx(20 * 4 * 100 + 480)
    assert seconds(found) == pytest.approx(80)
    assert found.utilization is not None
    assert found.utilization[0] == pytest.approx(20 * 12 / (4 * 128))


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        ("dac.energy", 20 * 20 * 2),  # phases * positions, K rows, column tiles
        ("column.energy", 480),
        ("cell.energy", 20 * 20 * 12),
        ("mux.energy", 480),
        ("shift_add.energy", 480),
        ("periphery.activation_energy", 5 * 4),  # positions, arrays
        ("buffer.activation_energy", 20),
        ("network.activation_energy", 20),
        ("neuron.activation_energy", 20),
    ],
)
def test_counts_of_every_part_by_hand(figure: str, expected: float) -> None:
    base = joules(estimate(dense(), arrays()))
    assert joules(estimate(dense(), arrays({figure: (1.0, "J")}))) - base == pytest.approx(expected)


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        ("buffer.read_energy", 5 * 20 * 4),
        ("buffer.write_energy", 5 * 3 * 8),  # no one was seen to read the result: as wide as inputs may be
        ("network.energy", 5 * 20 * 4 * 2 + 5 * 3 * 2 * 8),  # to 2 column tiles; results of 2 row blocks
    ],
)
def test_bits_by_hand(figure: str, expected: float) -> None:
    base = joules(estimate(dense(), arrays()))
    assert joules(estimate(dense(), arrays({figure: (1.0, "J/bit")}))) - base == pytest.approx(expected)


def test_several_dac_bits_take_fewer_phases() -> None:
    found = estimate(dense(), arrays({"dac.bits": (3.0, "bit")}))  # ceil(4 / 3) = 2 phases for 4
    assert seconds(found) == pytest.approx(40)
    assert joules(found) == pytest.approx((20 * 4 * 100 + 480) / 2)


def test_sums_kept_analog_are_converted_once() -> None:
    found = estimate(dense(), arrays(phase_sum="analog"))
    assert joules(found) == pytest.approx(20 * 4 * 100 + 480 / 4)


def test_rows_read_in_steps() -> None:
    # 4 rows at once: 16 rows in 4 steps, the block of 4 rows in 1: conversions * 5 / 2, time * 4.
    found = estimate(dense(), arrays({"array.parallel_rows": (4.0, "1")}))
    assert seconds(found) == pytest.approx(320)
    assert joules(found) == pytest.approx(20 * 2 * (4 + 1) * 100 + 480 * 5 / 2)


def test_signs_in_rows_or_columns_halve_an_array() -> None:
    rows = estimate(dense(), arrays({"dac.energy": (1.0, "J")}, signs="rows"))
    assert rows.cores is not None
    assert rows.cores.tolist() == [3 * 2]  # ceil(20 / 8) blocks, 2 column tiles
    columns = estimate(dense(), arrays(signs="columns"))
    assert columns.cores is not None
    assert columns.cores.tolist() == [2 * 3]
    assert seconds(columns) == pytest.approx(20 * 2)  # 4 sums to 2 converters


def test_every_turn_may_read_the_array_anew() -> None:
    assert joules(estimate(dense(), arrays(turns="reread"))) == pytest.approx(20 * 4 * 100 * 4 + 480)


def test_silent_rows_by_hand() -> None:
    # Rate 1/4: a driver works for a quarter of 2 steps * 20 rows * 2 tiles; readings and conversions stay.
    base = joules(estimate(spiking(), arrays()))
    full = joules(estimate(spiking(), arrays({"dac.energy": (1.0, "J")}))) - base
    gated = joules(estimate(spiking(), arrays({"dac.energy": (1.0, "J")}, rows={"policy": "gate"}))) - base
    assert (full, gated) == (pytest.approx(80), pytest.approx(20))


def test_silent_steps_by_hand() -> None:
    # 4 rows at once, 20 rows: steps with a spike 1 - 0.75^4; all 2 blocks silent together 0.75^8.
    figures = {"array.parallel_rows": (4.0, "1")}
    read, skip = (estimate(spiking(), arrays(figures, silent_steps=how)) for how in ("read", "skip"))
    assert joules(skip) == pytest.approx(joules(read) * (1 - 0.75**4))
    assert seconds(skip) == pytest.approx(seconds(read) * (1 - 0.75**8))


def test_conversion_energy_follows_the_bits() -> None:
    bits = {"adc.bits": (8.0, "bit"), "adc.reference_bits": (6.0, "bit")}
    assert joules(estimate(dense(), arrays(bits, adc_scaling="walden"))) == pytest.approx(8000 + 480 * 4)
    assert joules(estimate(dense(), arrays(bits, adc_scaling="linear"))) == pytest.approx(8000 + 480 * 8 / 6)
    with pytest.raises(InputError, match="for one resolution only"):
        estimate(dense(), arrays(bits))


def test_converters_of_too_few_bits_are_said() -> None:
    # 16 rows of 2-bit cells, 1-bit phases: sums of 0..48 need 6 bits.
    coarse, exact = (estimate(dense(), arrays({"adc.bits": (bits, "bit")})) for bits in (5.0, 6.0))
    assert any("exact sums" in said for said in coarse.assumptions)
    assert not any("exact sums" in said for said in exact.assumptions)


def test_a_network_that_does_not_fit() -> None:
    small = {"chip.arrays": (3.0, "1")}
    with pytest.raises(InputError, match="needs 4 arrays and chip 'round' has 3"):
        estimate(dense(), arrays(small))
    powered = small | {"static.power": (1.0, "W")}
    chips = estimate(dense(), arrays(powered, overflow="more-chips"))
    assert chips.energy_j["static"][0, 0] == pytest.approx(2 * 80)
    assert any("2 chips" in said for said in chips.assumptions)


def test_rewriting_by_hand() -> None:
    writing = {"chip.arrays": (3.0, "1"), "write.cell_energy": (1.0, "J"), "write.row_time": (1.0, "s")}
    found = estimate(dense(), arrays(writing, overflow="rewrite"))
    assert joules(found) == pytest.approx(20 * 4 * 100 + 480 + 20 * 12)  # every cell once
    assert seconds(found) == pytest.approx(2 * 80 + 2 * 16)  # the chip is filled twice, 16 rows each
    with pytest.raises(InputError, match=r"no figure 'write\.row_time'"):
        estimate(dense(), arrays({"chip.arrays": (3.0, "1")}, overflow="rewrite"))
    batched, steps = (
        estimate(spiking(), arrays(writing, overflow="rewrite"), Run(how)) for how in ("time-batched", "step-by-step")
    )
    assert joules(steps) - joules(batched) == pytest.approx(20 * 12)


def test_products_of_activations_are_left_out_or_written() -> None:
    attention = product("qk", 1, 6, 5, 7, operand("left", bits=4, elements=30), operand("right", bits=4, elements=35))
    both = workload(dense().layers[0], attention)
    found = estimate(both, arrays())
    assert joules(found) == pytest.approx(joules(estimate(dense(), arrays())))
    assert "activations" in found.left_out["qk"]
    writing = {"write.cell_energy": (1.0, "J"), "write.row_time": (1.0, "s")}
    assert joules(estimate(both, arrays(writing, activations="rewrite"))) > joules(found)


def test_neurons_and_other_operators() -> None:
    found = estimate(spiking(), arrays({"neuron.update_energy": (1.0, "J")}))
    assert found.energy_j["neurons"][0].tolist() == [0, 2 * 3]
    assert found.left_out == {}
    assert set(estimate(spiking(), arrays()).left_out) == {"lif"}
    pooled = workload(dense().layers[0], other("pool", "pool"))
    assert "no unit for pool" in estimate(pooled, arrays()).left_out["pool"]


def test_layers_that_overlap() -> None:
    two = workload(dense().layers[0], dense().layers[0].model_copy(update={"name": "fc2"}))
    assert seconds(estimate(two, arrays(start_share=0.75))) == pytest.approx(0.75 * 80 + 80)


def test_a_layer_that_overlaps_a_short_one_is_still_finished() -> None:
    # 80 s, then from second 60 on 1 position of 4 phases and 4 turns, 16 s: done at 76, when the first is not.
    short = dense(rows=1).layers[0].model_copy(update={"name": "fc2"})
    assert seconds(estimate(workload(dense().layers[0], short), arrays(start_share=0.75))) == pytest.approx(80)


@pytest.mark.parametrize("missing", ["array.rows", "array.energy", "adc.energy", "adc.time", "cell.bits"])
def test_missing_figures_are_named(missing: str) -> None:
    with pytest.raises(InputError, match=f"no figure '{missing}'"):
        estimate(dense(), arrays(without=(missing,)))


sizes = st.integers(1, 200)
ALL = dict.fromkeys(("dac.energy", "column.energy", "cell.energy", "buffer.activation_energy"), (1.0, "J")) | {
    "network.energy": (1.0, "J/bit"),
    "buffer.read_energy": (1.0, "J/bit"),
    "array.parallel_rows": (5.0, "1"),
}


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, st.integers(1, 6), st.floats(0.01, 1), st.sampled_from(["none", "rows", "columns"]), st.booleans())
def test_cost_never_falls_when_work_grows(
    inputs: int, outputs: int, steps: int, rate: float, signs: str, skip: bool
) -> None:
    crossbars = arrays(ALL, signs=signs, silent_steps="skip" if skip else "read", rows={"policy": "gate"})
    rate = round(rate, 2)
    small = estimate(spiking(rate, steps, inputs, outputs), crossbars)
    for larger in (
        spiking(rate, steps + 1, inputs, outputs),
        spiking(rate, steps, inputs + 1, outputs),
        spiking(rate, steps, inputs, outputs + 1),
        spiking(min(1.0, rate + 0.1), steps, inputs, outputs),
    ):
        found = estimate(larger, crossbars)
        assert joules(found) >= joules(small) * (1 - 1e-12)
        assert seconds(found) >= seconds(small) * (1 - 1e-12)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 1), st.integers(1, 4))
def test_skip_costs_no_more_than_gate_and_gate_no_more_than_none(rate: float, steps: int) -> None:
    network = spiking(round(rate, 2), steps)
    rules: dict[str, dict[str, Any]] = {
        "skip": {"rows": {"policy": "skip"}, "silent_steps": "skip"},
        "gate": {"rows": {"policy": "gate"}},
        "group": {"rows": {"policy": "group-skip", "group": 4}},
        "none": {},
    }
    cost = {name: estimate(network, arrays(ALL, **rule)) for name, rule in rules.items()}
    assert joules(cost["skip"]) <= joules(cost["gate"]) <= joules(cost["group"]) <= joules(cost["none"]) * (1 + 1e-12)
    assert seconds(cost["skip"]) <= seconds(cost["gate"]) == seconds(cost["none"])


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50))
def test_rows_of_an_input_add_up(first: int, second: int) -> None:
    whole, parts = (estimate(dense(rows=rows), arrays(ALL)) for rows in (first + second, first)), second
    both, left = whole
    right = estimate(dense(rows=parts), arrays(ALL))
    assert joules(both) == pytest.approx(joules(left) + joules(right))
    assert seconds(both) == pytest.approx(seconds(left) + seconds(right))


def test_spikesim_example() -> None:
    # 48 processing elements and 15,906,934.026 pJ are what ela_spikesim.py prints; it also charges a subtractor.
    found = estimate(NETWORKS["spikesim_vgg9"](), chip("spikesim_65nm_rram"))
    assert found.cores is not None
    assert found.cores.sum() == 48 * 9
    assert joules(found) == pytest.approx(15906934.026240002e-12, rel=1e-6)


def test_efficiencies_that_the_chips_were_built_from() -> None:
    assert operations_per_joule("sram_cim_jia2020", 1, 1, 8, ("shift_add.energy",)) == pytest.approx(400e12, rel=0.01)
    assert operations_per_joule("sram_cim_jia2020", 1, 1, 8) == pytest.approx(297e12, rel=0.01)
    # It scales with the product of the widths, as published.
    assert operations_per_joule("sram_cim_jia2020", 4, 4, 8) == pytest.approx(297e12 / 16, rel=0.01)


def test_neurram_is_fitted_to_two_points_and_tried_on_the_third() -> None:
    column, conversion = fit_neurram()
    figures = chip("neurram_rram").figures
    assert figures["column.energy"].si == pytest.approx(column, rel=1e-4)
    assert figures["adc.energy"].si == pytest.approx(6 * conversion, rel=1e-4)
    assert operations_per_joule("neurram_rram", 1, 4, 3) == pytest.approx(43.1e12, rel=1e-3)
    assert operations_per_joule("neurram_rram", 8, 4, 10) == pytest.approx(6.4e12, rel=1e-3)
    assert operations_per_joule("neurram_rram", 4, 4, 6) == pytest.approx(15.95e12, rel=0.08)  # held out


@pytest.mark.parametrize(("bits", "published", "error"), [(1, 5.31e-6, 0.26), (4, 105.2e-6, 0.02)])
def test_cifar_networks_on_silicon(bits: int, published: float, error: float) -> None:
    found = estimate(NETWORKS[f"cifar_cnn_{bits}bit"](), chip("sram_cim_jia2020"))
    assert joules(found) == pytest.approx(published, rel=error)


def test_ten_thousand_variants_of_a_chip_take_seconds() -> None:
    start = time.process_time()
    found = estimate_variants(
        NETWORKS["mobilenet_v2"](), chip("sram_cim_jia2020"), {"array.rows": np.arange(100, 10_100)}
    )
    assert time.process_time() - start < 2
    assert found.total_energy_j is not None
    assert found.total_energy_j.shape == (3, 10_000)
