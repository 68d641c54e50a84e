"""Energy and time of a systolic chip, worked by hand on an array of 4 x 2, and what must always hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workload_builders import linear, operand, other, product, spikes, workload

from hardware_models.chip import Chip
from hardware_models.engine import Cost, Run
from hardware_models.errors import InputError
from hardware_models.hardware import Hardware
from hardware_models.layer_table import layer_table
from hardware_models.systolic import evaluate
from hardware_models.workload import Layer, Workload

SOURCE = {"source": "this test", "grade": "assumed"}
FIGURES: dict[str, tuple[float, str]] = {
    "array.rows": (4, "1"),
    "array.cols": (2, "1"),
    "array.clock": (1, "MHz"),
    "accumulator.bits": (32, "bit"),
    "mac.energy": (3, "pJ"),
    "buffer.ifmap.capacity": (100, "B"),
    "buffer.filter.capacity": (100, "B"),
    "buffer.ofmap.capacity": (1000, "B"),
    "buffer.ifmap.read_energy": (1, "fJ/bit"),
    "buffer.ifmap.write_energy": (2, "fJ/bit"),
    "buffer.filter.read_energy": (3, "fJ/bit"),
    "buffer.filter.write_energy": (4, "fJ/bit"),
    "buffer.ofmap.read_energy": (5, "fJ/bit"),
    "buffer.ofmap.write_energy": (6, "fJ/bit"),
    "dram.energy": (10, "pJ/bit"),
    "dram.bandwidth": (100, "MB/s"),
    "neuron.update_energy": (2, "pJ"),
    "neuron.membrane_bits": (16, "bit"),
    "static.power": (1, "mW"),
}
INT8 = {"dataflow": "weight-stationary", "precision": {"input_bits": 8, "weight_bits": 8}}


def chip(figures: Mapping[str, tuple[float, str]] | None = None, refuses: Any = None, **settings: Any) -> Chip:
    """The chip above, with figures added or changed, and settings."""
    all_figures = {**FIGURES, **(figures or {})}
    quantities = {name: {"value": value, "unit": unit, **SOURCE} for name, (value, unit) in all_figures.items()}
    return Chip.model_validate(
        {
            "schema": "neuro.chip/1",
            "name": "test",
            "title": "a test",
            "kind": "accelerator",
            "engine": "systolic",
            "node": "45 nm",
            "sources": ["this test"],
            "figures": quantities,
            "settings": {**INT8, **settings},
            "refuses": refuses or {},
        }
    )


def cost(network: Workload, which: Chip | None = None, **run: Any) -> Cost:
    return evaluate(layer_table(network), Hardware(which or chip()), Run(**run))


def total(costs: Cost) -> float:
    return float(sum(values[0].sum() for values in costs.energy_j.values()))


def int8_layer(**extra: Any) -> Layer:
    """M = 5, K = 7, N = 3 with 8-bit operands, whose own sizes are given."""
    read, weight = operand("input", "integer", 8, elements=35), operand("weight", "integer", 8, elements=21)
    return linear("fc", 5, 7, 3, read, weight, **extra)


def spiking(timesteps: int = 4, density: float = 0.5, bits: int = 8) -> Workload:
    """A neuron layer of 20 and a linear layer 5 x 4 -> 5 x 3 that it drives."""
    rates = (density,) * timesteps
    fired = spikes(*rates, name="output").model_copy(
        update={"elements": 20, "nonzero": (round(20 * density),) * timesteps}
    )
    read = fired.model_copy(update={"name": "input"})
    neuron = other("lif", "neuron", timesteps=timesteps, out_elements=20, output=fired, consumers=("fc",))
    weight = operand("weight", "integer", bits, elements=12)
    fc = linear("fc", 5, 4, 3, read, weight, timesteps=timesteps, acs=1, driven_by="input")
    return workload(neuron, fc, timesteps=timesteps)


def test_one_layer_by_hand() -> None:
    # Weight-stationary, 2 x 2 folds of 5 + 2 * 4 + 2 - 2 = 13 cycles: 52 cycles, 52 us at 1 MHz.
    # SRAM words: ifmap 5 * 7 * 2 = 70, filter 21, results 15, partial sums 15 written and 15 read.
    # DRAM words: ifmap 35 (fits 50 B), filter 21, results 15; a column fold's sums, 2 x 5 words of 4 B, fit 500 B.
    result = cost(workload(int8_layer()))
    assert result.cycles is not None
    assert result.latency_s is not None
    assert result.cycles[0, 0].tolist() == pytest.approx([52])
    assert result.latency_s[0, 0].tolist() == pytest.approx([52e-6])
    assert result.energy_j["compute"][0].sum() == pytest.approx(105 * 3e-12)
    reads = 70 * 8 * 1 + 21 * 8 * 3 + 15 * 32 * 5 + 15 * 8 * 5
    writes = 35 * 8 * 2 + 21 * 8 * 4 + (15 * 8 + 15 * 32) * 6
    assert result.energy_j["buffer"][0].sum() == pytest.approx((reads + writes) * 1e-15)
    assert result.traffic_bytes["dram"].sum() == 35 + 21 + 15
    assert result.energy_j["dram"][0].sum() == pytest.approx(71 * 8 * 10e-12)
    assert result.energy_j["static"][0].sum() == pytest.approx(1e-3 * 52e-6)
    assert result.traffic_bytes["buffer"].sum() == (70 + 21 + 15 + 71) + 2 * 15 * 4
    assert result.utilization is not None
    assert result.utilization[0, 0].tolist() == pytest.approx([105 / (52 * 8)])


def test_the_array_waits_for_dram() -> None:
    # 71 bytes at 0.5 MB/s take 142 us, longer than 52 us of work.
    result = cost(workload(int8_layer()), chip({"dram.bandwidth": (0.5, "MB/s")}))
    assert result.latency_s is not None
    assert result.utilization is not None
    assert result.latency_s[0, 0, 0] == pytest.approx(142e-6)
    assert result.utilization[0, 0, 0] == pytest.approx(105 / (142 * 8))


def test_batched_timesteps_fetch_weights_once() -> None:
    network = spiking(timesteps=4)
    batched, stepwise = cost(network), cost(network, execution="step-by-step")
    # fc: K x N = 4 x 3 weights of 8 bits: 12 bytes once, or 4 times. Spikes: 20 bits a step; results: 15 of 8 bits.
    assert batched.traffic_bytes["dram"][0, 0].tolist() == [0, 4 * 20 / 8 + 12 + 4 * 15]
    assert stepwise.traffic_bytes["dram"][0, 0].tolist() == [0, 4 * 20 / 8 + 4 * 12 + 4 * 15]
    # 1 x 2 folds: batched 2 * (20 + 8) cycles, stepwise 4 * 2 * (5 + 8)
    assert batched.cycles is not None
    assert stepwise.cycles is not None
    assert batched.cycles[0, 0, 1] == pytest.approx(56)
    assert stepwise.cycles[0, 0, 1] == pytest.approx(104)


def test_membranes_cost_the_same_at_any_rate() -> None:
    quiet, busy = cost(spiking(density=0.0)), cost(spiking(density=1.0))
    # 20 neurons, 4 steps: 80 updates of 2 pJ, each with 16 bits read (5 fJ) and written (6 fJ)
    expected = 80 * (2e-12 + 16 * 11e-15)
    assert quiet.energy_j["neurons"][0].sum() == pytest.approx(expected)
    assert busy.energy_j["neurons"][0].sum() == pytest.approx(expected)


def test_membranes_that_do_not_fit_pass_through_dram_step_by_step() -> None:
    small = chip({"buffer.ofmap.capacity": (39, "B")})  # 20 x 16 bit = 40 bytes
    stepwise = cost(spiking(), small, execution="step-by-step")
    assert stepwise.traffic_bytes["dram"][0, 0, 0] == 2 * 80 * 2
    assert any("do not fit" in sentence for sentence in stepwise.assumptions)
    assert cost(spiking(), small).traffic_bytes["dram"][0, 0, 0] == 0


def test_narrow_weights_cost_less_traffic_and_an_array_of_fixed_width_no_less_arithmetic() -> None:
    wide, narrow = cost(spiking(bits=8)), cost(spiking(bits=2))
    assert narrow.traffic_bytes["dram"].sum() == wide.traffic_bytes["dram"].sum() - 12 * 6 / 8
    assert narrow.energy_j["compute"][0].sum() == wide.energy_j["compute"][0].sum()


def test_additions_instead_of_multiplications_where_the_elements_can() -> None:
    adding = cost(spiking(), chip({"ac.energy": (1, "pJ")}))
    assert adding.energy_j["compute"][0].sum() == pytest.approx(4 * 60 * 1e-12)
    assert cost(spiking()).energy_j["compute"][0].sum() == pytest.approx(4 * 60 * 3e-12)


def policy(name: str, level: str = "array") -> Chip:
    return chip({"sparsity.check_energy": (0, "pJ")}, **{level: {"input": {"policy": name}}})


def test_gating_saves_energy_and_skipping_time_too() -> None:
    none, gate, skip = (cost(spiking(density=0.25), policy(name)) for name in ("none", "gate", "skip"))
    assert gate.energy_j["compute"][0].sum() == pytest.approx(none.energy_j["compute"][0].sum() / 4)
    assert skip.energy_j["compute"][0].sum() == pytest.approx(none.energy_j["compute"][0].sum() / 4)
    for result, share in ((none, 1.0), (gate, 1.0), (skip, 0.25)):
        assert result.latency_s is not None
        assert result.latency_s[0, 0, 1] == pytest.approx(56e-6 * share)


@settings(max_examples=25)
@given(st.integers(0, 20), st.sampled_from(["array", "buffer", "dram"]))
def test_skip_is_at_most_gate_is_at_most_none(fired: int, level: str) -> None:
    network = spiking(density=fired / 20)
    none, gate, skip = (total(cost(network, policy(name, level))) for name in ("none", "gate", "skip"))
    assert skip <= gate * (1 + 1e-12)
    assert gate <= none * (1 + 1e-12)


def test_the_busiest_channel_sets_the_time_of_skipping() -> None:
    network = spiking(timesteps=1, density=0.25)
    read = network.layers[1].operands[0].model_copy(update={"channels": "fc/input"})
    fc = network.layers[1].model_copy(update={"operands": (read, network.layers[1].operands[1])})
    measured = workload(network.layers[0], fc)
    # 5 spikes in 4 channels of 5 positions; channel 2 fired 4 times: a density of 0.8 where the mean is 0.25
    measured.arrays["fc/input"] = np.array([[0, 1, 4, 0]])
    result = cost(measured, policy("skip"))
    assert result.latency_s is not None
    assert result.latency_s[0, 0, 1] == pytest.approx(0.8 * 2 * 13e-6)


def test_skipping_needs_the_cost_of_finding_zeros() -> None:
    with pytest.raises(InputError, match=r"no figure 'sparsity.check_energy'.*skipping zeros of the input"):
        cost(spiking(), chip(array={"input": {"policy": "skip"}}))


def test_activations_that_stay_on_the_chip() -> None:
    first, second = int8_layer(consumers=("next",)), int8_layer().model_copy(update={"name": "next"})
    network = workload(first, second)
    kept = cost(network, chip(activations="on-chip"))
    # the first layer's results (15) and the second's inputs (35) stay; the network's own input and output do not
    assert kept.traffic_bytes["dram"][0, 0].tolist() == [35 + 21, 21 + 15]


def test_activations_of_all_timesteps_must_fit_where_a_layer_runs_them_at_once() -> None:
    def layer(**extra: Any) -> Layer:
        return int8_layer(timesteps=4, **extra)

    network = workload(layer(consumers=("next",)), layer().model_copy(update={"name": "next"}), timesteps=4)
    # Half of the ifmap buffer, 59 bytes, holds 35 inputs of one timestep, not the 140 of four. As both column folds
    # would fetch those again, the timesteps run in a product each and fetch 21 weights 4 times.
    small = chip({"buffer.ifmap.capacity": (118, "B")}, activations="on-chip")
    together = cost(network, small).traffic_bytes["dram"][0, 0]
    assert together.tolist() == [140 + 4 * 21, 140 + 4 * 21 + 60]
    apart = cost(network, small, execution="step-by-step").traffic_bytes["dram"][0, 0]
    assert apart.tolist() == [140 + 4 * 21, 4 * 21 + 60]


def test_timesteps_run_apart_where_together_they_would_not_fit() -> None:
    network = workload(int8_layer(timesteps=16), timesteps=16)
    # Together: M = 80. 560 inputs exceed half a buffer and come once for each of 2 column folds; 80 x 2 partial sums
    # exceed 125 words, so that 80 * 3 of 4 bytes go out and come back. Apart: 35 inputs and 5 x 2 sums fit.
    together, apart = 2 * 560 + 21 + 240 + 2 * 4 * 240, 560 + 16 * 21 + 240
    tight, roomy = cost(network), cost(network, chip({"buffer.ofmap.capacity": (2, "KiB")}))
    assert tight.traffic_bytes["dram"].sum() == apart < together
    assert any("1 of 1 such layers run in a product each" in said for said in tight.assumptions)
    assert tight.cycles is not None
    # 16 products of 4 folds of 5 + 8 cycles. DRAM is waited for in neither.
    assert tight.cycles.ravel()[0] == pytest.approx(832)
    # With room for the sums, inputs that come twice are still more than filters that come 16 times.
    assert roomy.traffic_bytes["dram"].sum() == min(together - 2 * 4 * 240, apart)


def test_weights_that_stay_on_the_chip_all_or_none() -> None:
    network = workload(int8_layer(), int8_layer().model_copy(update={"name": "next"}))
    assert cost(network, chip(weights="resident")).traffic_bytes["dram"].sum() == 2 * 50
    small = chip({"buffer.filter.capacity": (41, "B")}, weights="resident")  # 42 bytes of weights
    assert cost(network, small).traffic_bytes["dram"].sum() == 2 * 71


def test_products_of_activations_run_once_for_each_timestep() -> None:
    left, right = (
        operand("left", "integer", 8, (1.0, 1.0), elements=24),
        operand("right", "integer", 8, (1.0, 1.0), elements=16),
    )
    attention = product("qk", 2, 3, 4, 2, left, right, timesteps=2)
    result = cost(workload(attention, timesteps=2))
    # 2 heads x 2 steps of one fold each: M = 3, K = 4, N = 2: 3 + 8 + 2 - 2 = 11 cycles
    assert result.cycles is not None
    assert result.cycles[0, 0, 0] == pytest.approx(44)
    # ifmap 2 * 3 * 4, filter 2 * 4 * 2, results 2 * 3 * 2, each in both steps
    assert result.traffic_bytes["dram"].sum() == 2 * (24 + 16 + 12)


def test_what_the_array_does_not_run_is_named() -> None:
    result = cost(workload(int8_layer(), other("norm", "norm")))
    assert list(result.left_out) == ["norm"]


def test_a_missing_figure_is_refused_by_name() -> None:
    bare = chip()
    figures = {name: figure for name, figure in bare.figures.items() if name != "dram.energy"}
    with pytest.raises(InputError, match=r"no figure 'dram.energy', which is needed for DRAM transfers"):
        cost(workload(int8_layer()), bare.model_copy(update={"figures": figures}))


def test_a_refused_question_needs_no_figures() -> None:
    bare = chip(refuses={"latency": "no clock is known"})
    kept = ("array.clock", "dram.bandwidth", "static.power")
    figures = {name: figure for name, figure in bare.figures.items() if name not in kept}
    result = cost(workload(int8_layer()), bare.model_copy(update={"figures": figures}))
    assert result.latency_s is None
    assert "static" not in result.energy_j


def test_hardware_variants_equal_chips_of_their_own() -> None:
    network = workload(int8_layer())
    rows = [2, 4, 16]
    together = evaluate(layer_table(network), Hardware(chip(), {"array.rows": rows}), Run())
    for index, value in enumerate(rows):
        alone = cost(network, chip({"array.rows": (value, "1")}))
        for name, joules in alone.energy_j.items():
            whole = np.broadcast_to(together.energy_j[name], (3, 3, 1))
            assert whole[0, index, 0] == pytest.approx(np.broadcast_to(joules, (3, 1, 1))[0, 0, 0])


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 9))
def test_energy_and_time_never_fall_when_work_grows(m: int, n: int, k: int, more: int) -> None:
    def of(m: int, n: int, k: int) -> Cost:
        read, weight = (
            operand(name, "integer", 8, elements=size) for name, size in (("input", m * k), ("weight", k * n))
        )
        return cost(workload(linear("fc", m, k, n, read, weight)))

    base = of(m, n, k)
    for grown in (of(m + more, n, k), of(m, n + more, k), of(m, n, k + more)):
        assert total(grown) >= total(base)
        assert grown.latency_s is not None
        assert base.latency_s is not None
        assert grown.latency_s[0].sum() >= base.latency_s[0].sum()
