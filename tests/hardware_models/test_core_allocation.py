import json
from fractions import Fraction
from math import lcm
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_models.event_driven.core_allocation import (
    Split,
    busiest_share,
    cores_needed,
    input_seen,
    place,
)

DATA = Path(__file__).parents[2] / "hardware_models" / "validation" / "data"


def one(*values):
    return [np.array([value]) for value in values]


def test_each_limit_decides_once_by_hand():
    # Per core 1024 neurons, 128 KiB = 131072 bytes, 4096 axons in, 4096 out.
    needs = {
        "neurons": np.array([1025, 10, 10, 10, 10]),  # ceil(1025/1024) = 2
        "bytes": np.array([0, 131072 * 3, 1, 1, 1]),  # 3 exactly
        "in": np.array([1, 1, 4097 * 4, 1, 1]),  # ceil(16388/4096) = 5
        "out": np.array([1, 1, 1, 4096 * 6 + 1, 1]),  # 7
    }
    limits = {"neurons": 1024, "bytes": 131072, "in": 4096, "out": 4096}
    split, decided = cores_needed(needs, {name: np.array([[limit]]) for name, limit in limits.items()})
    assert split.cores.tolist() == [[2, 3, 5, 7, 1]]
    assert decided.tolist() == [[0, 1, 2, 3, 0]]


def test_several_chips_at_once():
    split, _ = cores_needed({"neurons": np.array([100, 1])}, {"neurons": np.array([[10], [33], [1000]])})
    assert split.cores.tolist() == [[10, 1], [4, 1], [1, 1]]


def test_ceilings_are_exact_beyond_floating_point():
    split, _ = cores_needed({"neurons": np.array([2**53 + 1])}, {"neurons": np.array([[2**53]])})
    assert split.cores.tolist() == [[2]]


def test_placement_by_hand():
    placed = place(np.array([[2, 3, 4]]), np.array([4]))
    assert placed.first.tolist() == [[0, 2, 5]]
    assert placed.total.tolist() == [9]
    assert placed.chips.tolist() == [3]


@pytest.mark.parametrize(
    ("cores", "share"),
    [
        (1, 1.0),
        (2, 7.5 / 9),  # channel 0 and half of channel 1: 6 + 1.5
        (3, 6 / 9),
        (6, 3 / 9),  # half of channel 0
        (7, 6 * 3 / 7 / 9),
    ],
)
def test_busiest_core_by_hand(cores, share):
    counts = np.array([[6.0], [3.0], [0.0]])
    assert busiest_share(counts, *one(0, 3, cores))[0, 0] == pytest.approx(share)


def test_the_busiest_core_may_change_from_step_to_step():
    counts = np.array([[4.0, 0.0], [0.0, 4.0]])
    assert busiest_share(counts, *one(0, 2, 2)).tolist() == [[1.0, 1.0]]
    assert busiest_share(np.array([[2.0, 1.0], [2.0, 3.0]]), *one(0, 2, 2)).tolist() == [[0.5, 0.75]]


def test_nothing_fires():
    assert busiest_share(np.zeros((4, 2)), *one(0, 4, 3)) == pytest.approx(np.full((1, 2), 1 / 3))


def test_cores_that_are_filled_by_hand():
    # 5 channels of 2 neurons on cores of 4: filled 2.5 times, with channels 0-1, 2-3 and 4.
    split, _ = cores_needed({"neurons": np.array([10])}, {"neurons": np.array([[4]])})
    assert split.filled.tolist() == [[2.5]]
    assert split.cores.tolist() == [[3]]
    counts = np.array([[1.0], [1.0], [3.0], [1.0], [3.5]])
    assert busiest_share(counts, *one(0, 5, 2.5))[0, 0] == pytest.approx(4 / 9.5)
    # Evenly on 3 cores: 5/3 of a channel each; the last has 2/3 of channel 3 and channel 4.
    assert busiest_share(counts, *one(0, 5, 3))[0, 0] == pytest.approx((2 / 3 + 3.5) / 9.5)
    small, _ = cores_needed({"neurons": np.array([3])}, {"neurons": np.array([[4]])})
    assert small.filled.tolist() == [[1]]


@given(neurons=st.integers(1, 100), more=st.integers(0, 100), limit=st.integers(1, 40))
def test_a_filled_core_never_loses_by_growth(neurons, more, limit):
    small, large = (
        size / cores_needed({"n": np.array([size])}, {"n": np.array([[limit]])})[0].filled[0, 0]
        for size in (neurons, neurons + more)
    )
    assert large >= small * (1 - 1e-12)


@given(counts=st.lists(st.integers(0, 20), min_size=1, max_size=8), cores=st.integers(1, 20))
@settings(deadline=None)
def test_busiest_core_is_that_of_the_finest_cut(counts, cores):
    # Cut every channel into so many pieces that each core has a whole number of them.
    pieces = lcm(len(counts), cores)
    fine = [Fraction(count, pieces // len(counts)) for count in counts for _ in range(pieces // len(counts))]
    by_core = [sum(fine[i * (pieces // cores) : (i + 1) * (pieces // cores)]) for i in range(cores)]
    expected = float(max(by_core) / sum(counts)) if sum(counts) else 1 / cores
    # Between one and two cores a channel some core may lie across a border where another lies inside.
    found = busiest_share(np.array(counts, dtype=float)[:, None], *one(0, len(counts), cores))[0, 0]
    assert found == pytest.approx(expected)


def even(cores):
    return Split(np.array([cores]), np.array([1]))


@given(parts=st.integers(1, 30), needs=st.integers(1, 60), room=st.integers(1, 40))
def test_parts_touched_are_those_of_every_core(parts, needs, room):
    needs = max(needs, room)
    touched, cores = 0, -(-needs // room)
    for core in range(cores):
        low, high = (min(Fraction((core + end) * room, needs), Fraction(1)) * parts for end in (0, 1))
        touched += -(-high.numerator // high.denominator) - low.numerator // low.denominator
    assert float(Split(*one(needs, room)).touched(np.array([parts]))[0]) == pytest.approx(touched / cores)


def test_input_seen_by_hand():
    # 8 rows of one channel on 4 cores: 2 rows each, 3x3 kernel, stride 1, so 4 of 10 input rows.
    assert input_seen(even(4), *one(1, 8, 10, 3, 1)) == pytest.approx([0.4])
    # 3 cores: 8/3 rows, touching (8 + 3 - 1) / 3 = 10/3 rows, so 16/3 of 10.
    assert input_seen(even(3), *one(1, 8, 10, 3, 1)) == pytest.approx([16 / 30])
    # Whole channels need all that the kernel reaches: 15 rows of stride 2 read 31 of 32.
    assert input_seen(even(4), *one(16, 15, 32, 3, 2)) == pytest.approx([31 / 32])
    # Padding: more rows than there are.
    assert input_seen(even(1), *one(16, 32, 32, 3, 1)) == pytest.approx([1])


@pytest.mark.parametrize("scenario", ["tutorial", "spread"])
def test_packets_of_sanafe_follow_from_the_allocation(scenario):
    """Packets = spikes x cores that they reach, against SANA-FE, which follows every synapse."""
    golden = json.loads((DATA / "sanafe.json").read_text())["scenarios"][scenario]
    cores = np.array(golden["cores_of_layer"][1:])
    channels, out_h = np.array([16, 32, 64, 11, 11]), np.array([15, 13, 11, 9, 1])
    in_h, kernel, stride = np.array([32, 15, 13, 11, 1]), np.array([3, 3, 3, 3, 1]), np.array([2, 1, 1, 1, 1])
    reached = cores * input_seen(Split(cores, np.ones_like(cores)), channels, out_h, in_h, kernel, stride)
    packets = np.array(golden["firings_of_layer"][:5]) * reached
    # Of the input image the last column is read by nobody either, but firings are fewer at the border.
    assert packets == pytest.approx(golden["packets_from_layer"][:5], rel=6e-3)
    assert packets[1:] == pytest.approx(golden["packets_from_layer"][1:5], rel=1e-12)
    assert packets.sum() == pytest.approx(golden["packets"], rel=3e-4)
