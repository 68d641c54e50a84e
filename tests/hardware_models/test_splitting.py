"""Networks over several chips: costs by hand, against all cuts tried one by one, and what must hold for any."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
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
from hardware_models.estimate import estimate
from hardware_models.quantity import Quantity
from hardware_models.studies.class_wise import class_wise_split
from hardware_models.studies.crossings import crossings
from hardware_models.studies.cuts import best_cuts
from hardware_models.studies.links import Link, link, link_names, load_link
from hardware_models.studies.splitting import Goal, split
from hardware_models.workload import Layer, Workload

FIGURES = {
    "peak.int8": (1000.0, "1/s"),
    "memory.bandwidth": (10.0, "B/s"),
    "memory.energy": (0.5, "J/bit"),
    "op.int8.energy": (2.0, "J"),
}


def machine(speed: float = 1.0, **more: tuple[float, str]) -> Chip:
    figures = {name: (value * (speed if unit.endswith("/s") else 1), unit) for name, (value, unit) in FIGURES.items()}
    return round_chip("roofline", figures | {name.replace("_", "."): figure for name, figure in more.items()})


def wire(bandwidth: float = 100.0, energy: float | None = 0.25, latency: float = 2.0) -> Link:
    def figure(value: float, unit: str) -> Quantity:
        return Quantity(value=value, low=value / 2, high=value * 2, unit=unit, source="a book", grade="assumed")

    figures = {"bandwidth": figure(bandwidth, "bit/s"), "latency_per_message": figure(latency, "s")}
    if energy is not None:
        figures["energy_per_bit"] = figure(energy, "J/bit")
    return Link(name="wire", title="a wire", sources=("nowhere",), figures=figures)


def fc(name: str, inputs: int, outputs: int, *consumers: str) -> Layer:
    weights = operand("weight", "integer", 8, elements=inputs * outputs)
    return linear(
        *(name, 1, inputs, outputs, operand("input", "integer", 8, elements=inputs), weights), consumers=consumers
    )


def chain(*sizes: int) -> Workload:
    """Linear layers of 8 bits, each the reader of the one before."""
    names = [f"fc{index}" for index in range(len(sizes) - 1)]
    layers = [fc(name, *sizes[i : i + 2], *names[i + 1 : i + 2]) for i, name in enumerate(names)]
    return workload(*layers)


def spiking(*density: float) -> Workload:
    """A layer that charges 100 neurons, whose spikes drive the next one."""
    steps = len(density)
    read = operand("input", "integer", 8, (1.0,) * steps)
    first = linear("stem", 1, 100, 100, read, operand("weight"), timesteps=steps, consumers=("neuron",))
    fired = spikes(*density, name="output")
    neuron = other("neuron", "neuron", timesteps=steps, out_elements=100, output=fired, consumers=("head",))
    head = linear("head", 1, 100, 10, spikes(*density), operand("weight"), timesteps=steps, driven_by="input")
    return workload(first, neuron, head, timesteps=steps)


def seconds(found: Any) -> float:
    total = found.latency_s if hasattr(found, "parts") else found.total_latency_s
    return float(total[0])


def test_shipped_links_are_what_their_files_say() -> None:
    assert "gigabit_ethernet" in link_names()
    for name in link_names():
        one = link(name)
        assert one.name == name
        assert set(one.figures) == {"bandwidth", "energy_per_bit", "latency_per_message"}
        low, high = one.figures["energy_per_bit"].si_band
        assert low < one.figures["energy_per_bit"].si < high


def test_a_transfer_by_hand() -> None:
    # 300 bits: 3 s at 100 bit/s (1.5 s at 200, 6 s at 50) and 2 messages of 2 s (1 s, 4 s); 0.25 J a bit.
    assert wire().latency_s(300, 2).tolist() == [7, 3.5, 14]
    assert wire().energy_j(300).tolist() == [75, 37.5, 150]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bandwidth": {"value": 1, "unit": "B/s"}}, "bit/s"),
        ({"bandwidth": {"value": 0, "unit": "bit/s"}}, "positive"),
        ({"colour": {"value": 1, "unit": "J"}}, "none of a link"),
    ],
)
def test_a_bad_link_file_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    text = "schema: neuro.link/1\nname: l\ntitle: l\nsources: [nowhere]\nfigures:\n"
    for name, entry in change.items():
        text += f"  {name}: {{value: {entry['value']}, unit: {entry['unit']}, source: a book, grade: assumed}}\n"
    (tmp_path / "l.yaml").write_text(text)
    with pytest.raises(InputError, match=words):
        load_link(tmp_path / "l.yaml")


def test_few_spikes_cross_as_events_and_many_dense() -> None:
    # 100 neurons in 2 timesteps: 200 bits dense. An address among 200 has 8 bits: 30 spikes are 240, 3 are 24.
    (many,), (few,) = crossings(spiking(0.1, 0.2), 2), crossings(spiking(0.01, 0.02), 2)
    assert (many.encoding, many.bits) == ("dense", 200)
    assert (few.encoding, few.bits) == ("address events", 24)


def test_signs_of_ternary_spikes_cost_a_bit() -> None:
    given_ = spiking(0.01, 0.02)
    fired = given_.layers[1].output.model_copy(update={"form": "ternary", "bits": 2})  # type: ignore[union-attr]
    layers = (given_.layers[0], given_.layers[1].model_copy(update={"output": fired}), given_.layers[2])
    (crossing,) = crossings(given_.model_copy(update={"layers": layers}), 2)
    assert crossing.bits == 3 * 9


def test_sums_on_their_way_to_neurons_are_wide() -> None:
    (crossing,) = crossings(spiking(0.1, 0.2), 1)
    assert (crossing.bits_per_value, crossing.encoding, crossing.bits) == (32, "dense", 6400)


def test_counts_are_of_one_sample() -> None:
    given_ = spiking(0.02, 0.04)
    (crossing,) = crossings(given_.model_copy(update={"batch": 2}), 2)
    assert crossing.bits == 3 * 8


def test_a_residual_stream_crosses_as_one_sum() -> None:
    first, second = fc("a", 8, 8, "b", "c"), fc("b", 8, 8, "c")
    (summed,) = crossings(workload(first, second, fc("c", 8, 4)), 2)
    assert (summed.layers, summed.bits) == (("a", "b"), 64)


def test_what_is_joined_end_to_end_crosses_in_pieces() -> None:
    found = crossings(workload(fc("a", 8, 8, "c"), fc("b", 8, 8, "c"), fc("c", 16, 4)), 2)
    assert [(one.layers, one.bits) for one in found] == [(("a",), 64), (("b",), 64)]


def test_one_part_is_the_plain_estimate() -> None:
    one, plain = split(chain(8, 6, 4), [machine()], wire()), estimate(chain(8, 6, 4), machine())
    np.testing.assert_array_equal(one.latency_s, plain.total_latency_s)
    np.testing.assert_array_equal(one.energy_j, plain.total_energy_j)
    assert one.throughput_per_s is not None
    assert one.throughput_per_s[0] == pytest.approx(1 / seconds(plain))
    assert not one.cuts


def test_two_parts_cost_their_parts_and_the_link() -> None:
    given_ = chain(8, 6, 4)
    parts = [estimate(workload(fc("fc0", 8, 6)), machine()), estimate(workload(fc("fc1", 6, 4)), machine(2))]
    found = split(given_, [machine(), machine(2)], wire())
    # Six values of 8 bits cross: 48 bits, 0.48 s and a message of 2 s, 12 J.
    assert found.cuts[0].bits == 48
    # The first part hands on 8 bits, not the 32 of sums that nobody reads.
    saved = 6 * 3
    assert seconds(found) == pytest.approx(seconds(parts[0]) - saved / 10 + seconds(parts[1]) + 2.48)
    energies = [part.total_energy_j[0] for part in parts if part.total_energy_j is not None]
    assert found.energy_j is not None
    assert found.energy_j[0] == pytest.approx(sum(energies) - saved * 8 * 0.5 + 12)


def test_throughput_is_that_of_the_slowest() -> None:
    found = split(chain(8, 6, 4), [machine(100), machine(100)], wire(latency=50.0), "throughput")
    assert found.throughput_per_s is not None
    assert found.throughput_per_s[0] == pytest.approx(1 / 50.48)
    assert found.throughput_per_s[1] == pytest.approx(1 / 100.96)


def test_a_message_for_each_timestep_when_run_step_by_step() -> None:
    batched, stepped = (
        split(spiking(0.1, 0.2), [chip("jetson_nano")] * 2, wire(), run=run, begin_at=["head"])
        for run in (Run(), Run("step-by-step"))
    )
    assert batched.cuts[0].latency_s is not None
    assert stepped.cuts[0].latency_s is not None
    assert stepped.cuts[0].latency_s[0] - batched.cuts[0].latency_s[0] == 2


def brute_force(network: Workload, chips: list[Chip], over: Link, goal: Goal) -> float:
    """The best value of all ways to cut, each part estimated as it stands in a split that may begin only there."""
    values = []
    for places in itertools.combinations(range(1, len(network.layers)), len(chips) - 1):
        # A part that may begin at these places alone leaves no choice.
        found = split(network, chips, over, goal, begin_at=[network.layers[place].name for place in places])
        assert found.latency_s is not None
        assert found.energy_j is not None
        assert found.throughput_per_s is not None
        stages = [part.estimate.total_latency_s[0] for part in found.parts if part.estimate.total_latency_s is not None]
        stages += [cut.latency_s[0] for cut in found.cuts if cut.latency_s is not None]
        assert found.latency_s[0] == pytest.approx(sum(stages))
        assert found.throughput_per_s[0] == pytest.approx(1 / max(stages))
        values.append({"latency": sum(stages), "energy": found.energy_j[0], "throughput": max(stages)}[goal])
    return float(min(values))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=4, max_size=6),
    st.lists(st.sampled_from([0.5, 1.0, 4.0]), min_size=2, max_size=3),
    st.sampled_from(["latency", "energy", "throughput"]),
)
def test_no_other_cut_is_better(sizes: list[int], speeds: list[float], goal: Goal) -> None:
    chips = [machine(speed) for speed in speeds]
    found = split(chain(*sizes), chips, wire(), goal)
    costs = {"latency": found.latency_s, "energy": found.energy_j, "throughput": found.throughput_per_s}[goal]
    assert costs is not None
    best = 1 / costs[0] if goal == "throughput" else costs[0]
    assert best == pytest.approx(brute_force(chain(*sizes), chips, wire(), goal))


@given(st.data(), st.integers(1, 7), st.integers(1, 4), st.booleans())
def test_dynamic_programming_finds_the_best_of_all(data: st.DataObject, length: int, parts: int, slowest: bool) -> None:
    cost = st.one_of(st.integers(0, 20).map(float), st.just(math.inf))
    triples = [(k, i, j) for k in range(parts) for i in range(length) for j in range(i + 1, length + 1)]
    of_part = {triple: data.draw(cost) for triple in triples}
    of_cut = {(k, i): float(data.draw(st.integers(0, 9))) for k in range(parts) for i in range(length)}

    def whole(cuts: tuple[int, ...]) -> float:
        bounds = (0, *cuts, length)
        costs = [of_part[k, *bounds[k : k + 2]] for k in range(parts)] + [of_cut[k, i] for k, i in enumerate(cuts)]
        return max(costs) if slowest else sum(costs)

    ways = list(itertools.combinations(range(1, length), parts - 1))
    least = min(map(whole, ways), default=math.inf)
    found = best_cuts(
        range(1, length), length, parts, lambda k, i, j: of_part[k, i, j], lambda k, i: of_cut[k, i], slowest
    )
    assert (found is None) == (least == math.inf)
    if found is not None:
        assert whole(found) == least


@settings(max_examples=20, deadline=None)
@given(st.floats(1.0, 1e4), st.floats(1.0, 10.0), st.sampled_from(["latency", "throughput"]))
def test_more_bandwidth_is_never_slower(bandwidth: float, factor: float, goal: Goal) -> None:
    slow, fast = (
        split(chain(9, 30, 5, 20, 3), [machine(), machine()], wire(rate), goal)
        for rate in (bandwidth, bandwidth * factor)
    )
    assert slow.latency_s is not None
    assert fast.latency_s is not None
    assert slow.throughput_per_s is not None
    assert fast.throughput_per_s is not None
    if goal == "latency":
        assert (fast.latency_s[0] <= slow.latency_s[0]) or fast.latency_s[0] == pytest.approx(slow.latency_s[0])
    else:
        assert fast.throughput_per_s[0] >= slow.throughput_per_s[0] * (1 - 1e-12)


def test_bands_hold_their_values() -> None:
    found = split(spiking(0.1, 0.2), [chip("jetson_nano"), chip("loihi2")], link("fast_ethernet"), "energy")
    for costs in (found.energy_j, found.latency_s, found.throughput_per_s):
        assert costs is not None
        assert costs[1] < costs[0] < costs[2]


def test_a_chip_gets_only_what_it_runs() -> None:
    found = split(spiking(0.1, 0.2), [chip("jetson_nano"), chip("loihi1")], link("fast_ethernet"))
    assert found.parts[1].layers[0] >= 1
    with pytest.raises(InputError, match=r"loihi1.*'stem'"):
        split(spiking(0.1, 0.2), [chip("loihi1")], [])
    assert split(spiking(0.1, 0.2), [chip("loihi1")], [], may_leave_out=["stem"]).latency_s is not None


def test_weights_must_fit_where_they_are_to_stay() -> None:
    # fc0 has 48 bytes of weights and fc1 24.
    small, big = machine(onchip_capacity=(24.0, "B")), machine(onchip_capacity=(60.0, "B"))
    found = split(chain(8, 6, 4), [big, small], wire(), weights_on_chip=True)
    assert [part.weight_bytes for part in found.parts] == [48, 24]
    with pytest.raises(InputError, match="48 bytes of weights do not fit 24"):
        split(chain(8, 6, 4), [small, big], wire(), weights_on_chip=True)
    with pytest.raises(InputError, match=r"'round' has no figure 'onchip.capacity'"):
        split(chain(8, 6, 4), [machine(), big], wire(), weights_on_chip=True)


def test_a_link_that_does_not_tell_energy_leaves_it_open() -> None:
    found = split(chain(8, 6, 4), [machine(), machine()], wire(energy=None))
    assert found.latency_s is not None
    assert found.energy_j is None
    assert "wire" in found.refused["energy"]
    with pytest.raises(InputError, match="energy_per_bit"):
        split(chain(8, 6, 4), [machine(), machine()], wire(energy=None), "energy")


def test_a_chip_that_refuses_the_goal_is_refused() -> None:
    with pytest.raises(InputError, match="xne' refuses latency"):
        split(chain(8, 6, 4), [chip("xne")] * 2, wire(), "latency")
    assert split(chain(8, 6, 4), [chip("xne")] * 2, wire(), "energy").latency_s is None


def test_unknown_edges_are_refused() -> None:
    loose = workload(fc("a", 8, 6), fc("b", 6, 4))
    with pytest.raises(InputError, match="consumers"):
        split(loose, [machine(), machine()], wire())


def test_a_place_where_nothing_is_known_to_cross_is_said() -> None:
    network = chain(8, 6, 4)
    ended = network.model_copy(update={"layers": (*network.layers, other("mean", "reduce"))})
    found = split(ended, [machine(), machine()], wire())
    assert any("No part begins with mean" in sentence for sentence in found.assumptions)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"goal": "speed"}, "unknown goal"),
        ({"links": [wire(), wire()]}, "2 links were given for 2 chips"),
        ({"chips": []}, "no chips"),
        ({"chips": [machine()] * 4}, "2 layers for 4 chips"),
        ({"begin_at": ["fc7"]}, "unknown layer"),
        ({"may_leave_out": ["fc7"]}, "unknown layer"),
    ],
)
def test_what_cannot_be_split_is_refused(change: dict[str, Any], words: str) -> None:
    given_: dict[str, Any] = {"workload": chain(8, 6, 4), "chips": [machine()] * 2, "links": wire(), **change}
    with pytest.raises(InputError, match=words):
        split(**given_)


def thinned(outputs: int) -> Workload:
    return workload(fc("body", 8, outputs))


def test_class_wise_split_by_hand() -> None:
    devices, fusion = [thinned(6), thinned(4)], workload(fc("fusion", 10, 3))
    found = class_wise_split(devices, [machine(), machine(3)], wire(), fusion, machine(2), bits_per_feature=8)
    times = [seconds(estimate(devices[0], machine())), seconds(estimate(devices[1], machine(3)))]
    fused = seconds(estimate(fusion, machine(2)))
    # 6 and 4 features of 8 bits: 0.48 s and 0.32 s, and a message of 2 s each; 0.25 J a bit.
    assert found.feature_bits == (48, 32)
    assert seconds_of(found.latency_s) == pytest.approx(max(times[0] + 2.48, times[1] + 2.32) + fused)
    joules = [estimate(one, machine()).total_energy_j for one in (*devices, fusion)]
    assert seconds_of(found.energy_j) == pytest.approx(sum(one[0] for one in joules if one is not None) + 80 * 0.25)
    assert seconds_of(found.throughput_per_s) == pytest.approx(1 / max(*times, 2.48, 2.32, fused))


def seconds_of(values: Any) -> float:
    assert values is not None
    assert values[1] <= values[0] <= values[2]
    return float(values[0])


def test_a_device_more_waits_for_the_slowest_alone() -> None:
    one = class_wise_split([thinned(5)], [machine()], wire(), workload(fc("fusion", 5, 3)), machine(1e6))
    two = class_wise_split([thinned(5)] * 2, [machine()] * 2, wire(), workload(fc("fusion", 10, 3)), machine(1e6))
    assert seconds_of(two.latency_s) == pytest.approx(seconds_of(one.latency_s), rel=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"chips": [machine()]}, "1 chips"),
        ({"fusion": workload(fc("fusion", 9, 3))}, "reads 9 features but the devices send 10"),
        ({"fusion": workload(other("mean", "reduce"))}, "does not begin"),
        ({"chips": [machine(), chip("loihi1")]}, "loihi1"),
        ({"bits_per_feature": 0}, "bits_per_feature"),
        ({"networks": []}, "0 networks"),
    ],
)
def test_what_cannot_be_fused_is_refused(change: dict[str, Any], words: str) -> None:
    given_: dict[str, Any] = {
        "networks": [thinned(5)] * 2,
        "chips": [machine()] * 2,
        "links": wire(),
        "fusion": workload(fc("fusion", 10, 3)),
        "fusion_chip": machine(),
        **change,
    }
    with pytest.raises(InputError, match=words):
        class_wise_split(**given_)
