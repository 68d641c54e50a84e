"""The roofline engine against costs worked by hand, what must hold for any network, and published latencies."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from engine_chips import round_chip
from hypothesis import given, settings
from hypothesis import strategies as st
from workload_builders import linear, operand, other, spikes, workload

from hardware_models.chip import Chip, chip
from hardware_models.engine import Run
from hardware_models.errors import InputError
from hardware_models.estimate import Estimate, estimate
from hardware_models.roofline.engine import operand_kind
from hardware_models.validation.edge_networks import NETWORKS
from hardware_models.variants import estimate_variants
from hardware_models.workload import Workload

FIGURES = {
    "peak.int8": (1000.0, "1/s"),
    "peak.fp32": (100.0, "1/s"),
    "memory.bandwidth": (10.0, "B/s"),
    "memory.energy": (0.5, "J/bit"),
    "op.int8.energy": (2.0, "J"),
    "op.fp32.energy": (5.0, "J"),
}
STEPS = Run("step-by-step")


def machine(more: dict[str, tuple[float, str]] | None = None, without: tuple[str, ...] = (), **settings_: Any) -> Chip:
    figures = {name: figure for name, figure in (FIGURES | (more or {})).items() if name not in without}
    return round_chip("roofline", figures, **settings_)


def dense(bits: int = 8, inputs: int = 4, outputs: int = 5, name: str = "fc") -> Workload:
    operands = operand("input", bits=bits, elements=inputs), operand("weight", bits=bits, elements=inputs * outputs)
    return workload(linear(name, 1, inputs, outputs, *operands))


def spiking(timesteps: int = 2, rate: float = 0.25, inputs: int = 100, outputs: int = 10) -> Workload:
    """Neurons that feed a linear layer of 8-bit weights that feeds neurons."""
    read = spikes(*[rate] * timesteps).model_copy(update={"elements": inputs})
    fired = read.model_copy(update={"name": "output"})
    first = other("lif1", "neuron", timesteps=timesteps, out_elements=inputs, output=fired, consumers=("fc",))
    weights = operand("weight", bits=8, elements=inputs * outputs)
    product = linear(
        *("fc", 1, inputs, outputs, read, weights),
        timesteps=timesteps,
        driven_by="input",
        acs=round(rate * inputs) * outputs * timesteps,
        consumers=("lif2",),
    )
    last = other("lif2", "neuron", timesteps=timesteps, out_elements=outputs, output=fired)
    return workload(first, product, last, timesteps=timesteps)


def seconds(found: Estimate) -> float:
    assert found.total_latency_s is not None
    return float(found.total_latency_s[0])


def joules(found: Estimate) -> float:
    assert found.total_energy_j is not None
    return float(found.total_energy_j[0])


def test_one_layer_by_hand() -> None:
    # 20 MACs = 40 operations: 0.04 s at the peak. Bytes: 20 of weights, 4 of inputs, 5 sums of 4 bytes: 44, 4.4 s.
    found = estimate(dense(), machine())
    assert found.traffic_bytes["memory"].tolist() == [44]
    assert seconds(found) == pytest.approx(4.4)
    assert found.energy_j["compute"][0, 0] == pytest.approx(80)  # 40 * 2 J
    assert found.energy_j["memory"][0, 0] == pytest.approx(176)  # 44 * 8 bits * 0.5 J
    assert found.utilization is not None
    assert found.utilization[0] == pytest.approx(0.04 / 4.4)


def test_overheads_and_shares_by_hand() -> None:
    slow = machine({"memory.efficiency": (0.5, "1"), "launch.time": (3.0, "s"), "static.power": (10.0, "W")})
    found = estimate(dense(), slow)
    assert seconds(found) == pytest.approx(8.8 + 3)
    assert found.energy_j["static"][0, 0] == pytest.approx(118)
    busy = estimate(dense(), machine({"compute.efficiency": (0.001, "1")}))
    assert seconds(busy) == pytest.approx(40)  # 40 operations at 1 a second


def test_a_width_without_a_peak_runs_at_the_next_wider_one() -> None:
    found = estimate(dense(bits=4), machine())
    assert found.energy_j["compute"][0, 0] == pytest.approx(80)
    assert any("next wider" in said for said in found.assumptions)
    assert estimate(dense(bits=16), machine()).energy_j["compute"][0, 0] == pytest.approx(200)  # fp32
    assert operand_kind([1, 2, 8, 9], (4, 8, 32)).tolist() == [4, 4, 8, 32]


def test_operands_wider_than_every_peak_are_refused_or_quantized() -> None:
    narrow = ("peak.fp32", "op.fp32.energy")
    with pytest.raises(InputError, match=r"'fc' has operands of 32 bits .* at most 8"):
        estimate(dense(bits=32), machine(without=narrow))
    found = estimate(dense(bits=32), machine(without=narrow, wider="quantize"))
    assert any("accuracy is not known" in said for said in found.assumptions)
    with pytest.raises(InputError, match="wider than the 8 bits of the machine"):
        operand_kind([32], (8,))


def test_time_batched_and_step_by_step_by_hand() -> None:
    # T = 2; 100 spikes a step as 4-byte values, 1000 bytes of weights, 10 outputs.
    batched = estimate(spiking(), machine())
    # lif1 has no producer and reads 100 sums of 4 bytes a step; it writes 100 spikes of 4 bytes a step.
    # fc reads 1000 + 2 * 400 bytes; its sums stay in registers, and lif2 writes 10 spikes of 4 bytes a step.
    assert batched.traffic_bytes["memory"].tolist() == [2 * 400 + 2 * 400, 1800, 80]
    steps = estimate(spiking(), machine(), STEPS)
    # Step by step: weights twice, and each membrane potential of 4 bytes read and written in each step.
    assert steps.traffic_bytes["memory"].tolist() == [1600 + 1600, 2800, 80 + 160]
    assert any("stay in registers" in said for said in batched.assumptions)
    assert any("read and written in every timestep" in said for said in steps.assumptions)


def test_launches_by_hand() -> None:
    slow = machine({"launch.time": (1e6, "s")})
    assert seconds(estimate(spiking(4), slow)) == pytest.approx(2e6, rel=1e-2)  # lif1 and fc; lif2 is fused
    assert seconds(estimate(spiking(4), slow, STEPS)) == pytest.approx(8e6, rel=1e-2)
    apart = machine({"launch.time": (1e6, "s")}, fused=False)
    assert seconds(estimate(spiking(4), apart)) == pytest.approx(3e6, rel=1e-2)


def test_neurons_that_are_not_fused_move_sums_and_membranes() -> None:
    found = estimate(spiking(), machine(fused=False))
    # lif1: sums in, spikes out, membrane read and written: 2 * (400 + 400 + 800).
    # fc: 1000 + 2 * 400 in, sums of 4 bytes out. lif2: 2 * (40 + 40 + 80).
    assert found.traffic_bytes["memory"].tolist() == [3200, 1880, 320]


def test_spikes_packed_or_dense() -> None:
    packed = estimate(spiking(), machine(packed_spikes=True))
    # 100 spikes are 12.5 bytes.
    assert packed.traffic_bytes["memory"][1] == pytest.approx(1000 + 2 * 12.5)
    bytes_ = estimate(spiking(), machine(dense_spike_bits=8)).traffic_bytes["memory"][1]
    assert bytes_ == pytest.approx(1000 + 2 * 100)


def test_membrane_traffic_does_not_follow_the_rate() -> None:
    quiet, busy = (estimate(spiking(rate=rate), machine(), STEPS) for rate in (0.01, 1.0))
    assert quiet.traffic_bytes["memory"].tolist() == busy.traffic_bytes["memory"].tolist()


def test_weights_that_fit_the_chip_are_not_fetched() -> None:
    found = estimate(spiking(), machine({"onchip.capacity": (600.0, "B")}, activations="on-chip"))
    # 400 of 1000 bytes come from memory; activations pass only at the ends: 2 * 400 in, 2 * 40 out.
    assert found.traffic_bytes["memory"].tolist() == [800, 400, 80]
    steps = estimate(spiking(), machine({"onchip.capacity": (600.0, "B")}, activations="on-chip"), STEPS)
    assert steps.traffic_bytes["memory"][1] == 800


def test_power_where_a_vendor_gives_no_more() -> None:
    only = machine({"device.power": (3.0, "W")}, without=("op.int8.energy", "op.fp32.energy"))
    found = estimate(dense(), only)
    assert set(found.energy_j) == {"device"}
    assert joules(found) == pytest.approx(3 * 4.4)


def test_missing_figures_are_named() -> None:
    with pytest.raises(InputError, match=r"no figure 'device\.power'"):
        estimate(dense(), machine(without=("op.int8.energy", "op.fp32.energy")))
    with pytest.raises(InputError, match=r"no figure 'memory\.bandwidth'"):
        estimate(dense(), machine(without=("memory.bandwidth",)))
    with pytest.raises(InputError, match=r"unknown arithmetic .* 'int7'"):
        estimate(dense(), machine({"peak.int7": (1.0, "1/s")}))


def test_a_refused_question_needs_no_figures() -> None:
    silent = round_chip("roofline", {"op.int8.energy": (2.0, "J")}, {"latency": "no"}, operation_energy="system")
    found = estimate(dense(), silent)
    assert found.total_latency_s is None
    assert joules(found) == pytest.approx(80)


def test_a_workload_without_edges_is_taken_as_a_chain() -> None:
    layers = [layer.model_copy(update={"consumers": ()}) for layer in spiking().layers]
    found = estimate(workload(*layers, timesteps=2), machine())
    assert found.traffic_bytes["memory"].tolist() == estimate(spiking(), machine()).traffic_bytes["memory"].tolist()
    assert any("names no consumers" in said for said in found.assumptions)


sizes = st.integers(1, 300)


@settings(max_examples=40, deadline=None)
@given(sizes, sizes, st.integers(1, 6), st.floats(0.01, 1), st.sampled_from([Run(), STEPS]), st.booleans())
def test_cost_never_falls_when_work_grows(
    inputs: int, outputs: int, steps: int, rate: float, run: Run, fused: bool
) -> None:
    chip_ = machine({"launch.time": (0.1, "s"), "static.power": (1.0, "W")}, fused=fused)
    small = estimate(spiking(steps, rate, inputs, outputs), chip_, run)
    for larger in (
        spiking(steps + 1, rate, inputs, outputs),
        spiking(steps, rate, inputs + 1, outputs),
        spiking(steps, rate, inputs, outputs + 1),
    ):
        found = estimate(larger, chip_, run)
        assert joules(found) >= joules(small)
        assert seconds(found) >= seconds(small)
        assert found.traffic_bytes["memory"].sum() >= small.traffic_bytes["memory"].sum()


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 1), st.integers(1, 4))
def test_skip_costs_no_more_than_gate_and_gate_no_more_than_none(rate: float, steps: int) -> None:
    network = spiking(steps, round(rate, 2))
    skip, gate, none = (estimate(network, machine(sparsity={"policy": policy})) for policy in ("skip", "gate", "none"))
    assert joules(skip) <= joules(gate) <= joules(none)
    assert seconds(skip) <= seconds(gate) == seconds(none)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(sizes, sizes), min_size=1, max_size=4))
def test_layers_without_links_add_up(shapes: list[tuple[int, int]]) -> None:
    parts = [dense(8, *shape, name=f"fc{index}") for index, shape in enumerate(shapes)]
    whole = workload(*(part.layers[0] for part in parts))
    found = estimate(whole, machine())
    assert joules(found) == pytest.approx(sum(joules(estimate(part, machine())) for part in parts))
    assert seconds(found) == pytest.approx(sum(seconds(estimate(part, machine())) for part in parts))


@pytest.mark.parametrize(
    ("name", "macs", "weights"),
    [
        ("mobilenet_v1", 569e6, 4.2e6),  # arXiv:1704.04861, table 4
        ("mobilenet_v2", 300e6, 3.4e6),  # arXiv:1801.04381, table 4
        ("vgg16", 15.5e9, 138e6),  # arXiv:1409.1556, table 2
        ("vgg19", 19.6e9, 144e6),
        ("resnet34_binary", 3.6e9, 21.8e6),  # arXiv:1512.03385, table 1
    ],
)
def test_published_networks_have_their_published_sizes(name: str, macs: float, weights: float) -> None:
    found = NETWORKS[name]()
    assert found.macs == pytest.approx(macs, rel=0.02)
    assert sum(layer.operand("weight").elements for layer in found.layers) == pytest.approx(weights, rel=0.03)


@pytest.mark.parametrize(
    ("name", "published", "error"),
    [
        # Coral benchmarks page, USB 3.0. These networks do not fit the chip's memory and wait for the link.
        ("vgg16", 296e-3, 0.16),
        ("vgg19", 308e-3, 0.16),
        ("resnet50_299", 49e-3, 0.05),
    ],
)
def test_edge_tpu_latency_where_the_link_limits(name: str, published: float, error: float) -> None:
    assert seconds(estimate(NETWORKS[name](), chip("edge_tpu"))) == pytest.approx(published, rel=error)


@pytest.mark.parametrize(("name", "published"), [("mobilenet_v1", 2.2e-3), ("mobilenet_v2", 2.3e-3)])
def test_edge_tpu_is_too_fast_where_the_call_limits(name: str, published: float) -> None:
    # The time of a call is not published: what the model leaves out is 1.3 to 1.6 ms.
    assert 0.2 * published < seconds(estimate(NETWORKS[name](), chip("edge_tpu"))) < published


@pytest.mark.parametrize(
    ("name", "published"),
    # TensorRT on a Jetson Nano at fp16, 256 x 256 (kentaroy47/benchmark-FP32-FP16-INT8-with-TensorRT).
    [("resnet18_256_fp16", 18e-3), ("resnet34_256_fp16", 30e-3), ("resnet50_256_fp16", 42e-3)],
)
def test_jetson_nano_latency(name: str, published: float) -> None:
    found = estimate(NETWORKS[name](), chip("jetson_nano"))
    assert seconds(found) == pytest.approx(published, rel=0.4)
    assert found.total_latency_s is not None
    assert found.total_latency_s[1] < published < found.total_latency_s[2]


def test_no_more_than_a_peak_can_be_reached() -> None:
    with pytest.raises(InputError, match=r"compute\.efficiency.* reaches 1\.2"):
        estimate(dense(), machine({"compute.efficiency": (1.2, "1")}))


def test_monte_carlo_lies_within_the_corners() -> None:
    network, drawn = NETWORKS["mobilenet_v2"](), chip("jetson_orin_nano")
    corners, samples = estimate(network, drawn), estimate(network, drawn, samples=200)
    assert corners.total_energy_j is not None
    assert samples.total_energy_j is not None
    assert corners.total_energy_j[1] < samples.total_energy_j[1] < samples.total_energy_j[0]
    assert (
        samples.total_energy_j[0] == corners.total_energy_j[0] < samples.total_energy_j[2] < corners.total_energy_j[2]
    )


def test_ten_thousand_variants_of_a_chip_take_seconds() -> None:
    start = time.process_time()
    bandwidths = np.linspace(1e8, 1e9, 10_000)
    found = estimate_variants(NETWORKS["mobilenet_v2"](), chip("edge_tpu"), {"memory.bandwidth": bandwidths})
    assert time.process_time() - start < 2
    assert found.total_latency_s is not None
    assert (np.diff(found.total_latency_s[0]) <= 0).all()
