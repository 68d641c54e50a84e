"""Packets that wait for each other on the mesh: by hand, against loops over every pair of cores, and what must hold."""

from __future__ import annotations

import numpy as np
import pytest
from event_networks import linear, neurons, toy_chip, two_layers, workload
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_models.chip import chip
from hardware_models.errors import InputError
from hardware_models.estimate import estimate
from hardware_models.event_driven import waiting as module
from hardware_models.event_driven.equations import waiting_work
from hardware_models.event_driven.mesh import Mesh, Order, positions
from hardware_models.event_driven.waiting import waiting


def together_and_alone(first, cores, pairs, mesh, missing=0.0):
    cores = np.array(cores)
    found = waiting(np.array(first), cores, cores - missing, np.array(pairs, dtype=np.int64).reshape(-1, 2), mesh)
    return np.stack([found.together, found.alone])


@pytest.mark.parametrize("hops", [0, 1, 3])
def test_one_sender_and_one_receiver_by_hand(hops):
    # One way of h + 2 places: M = (h + 2) / (h + 1) / (h + 2).
    assert together_and_alone([0, hops], [1, 1], [[0, 1]], Mesh(4, 1, 1))[:, 0] == pytest.approx(1 / (hops + 1))


def test_cores_of_one_tile_by_hand():
    # 2 senders and 3 receivers on one tile: each way shares its sender's port with 2 others, its receiver's with 1.
    # Row of M: (2 + 2 + 1 + 1 ways with one place in common, itself with two) = 3 + 2 = 5, by 2 places, by 6 ways.
    # One sender: itself twice, 2 others once: 4, by 2 places, by 3 ways.
    assert together_and_alone([0, 2], [2, 3], [[0, 1]], Mesh(1, 1, 8))[:, 0] == pytest.approx((5 / 12, 4 / 6))


def test_a_core_that_is_half_full_by_hand():
    # 1 sender, 2 receivers on its tile, the second half as busy: rows of M over ways f, g with 2/3 and 1/3 of receipts
    # are [2 x 2/3, 1/3] / 2 and [2/3, 2 x 1/3] / 2.
    exact = np.linalg.eigvals([[2 / 3, 1 / 6], [1 / 3, 1 / 3]]).max()
    together, alone = together_and_alone([0, 1], [1, 2], [[0, 1]], Mesh(1, 1, 4), np.array([0, 0.5]))[:, 0]
    # Ways of one tile are taken together: both with the same seconds on the way.
    assert together == pytest.approx(exact, rel=0.03)
    assert together <= exact
    assert alone == pytest.approx(together)


def test_one_sender_and_two_receivers_by_hand():
    # Cores 0, 1, 2 in a row; ways f to 1 (h = 1) and g to 2 (h = 2) share the sender's port and the link 0-1.
    # M = [[3 / 2 / 3, 2 / 2 / 4], [2 / 3 / 3, 4 / 3 / 4]] / 2 = [[1/4, 1/8], [1/9, 1/6]].
    exact = np.linalg.eigvals([[1 / 4, 1 / 8], [1 / 9, 1 / 6]]).max()
    assert exact == pytest.approx(5 / 24 + np.sqrt((1 / 24) ** 2 + 1 / 72))
    bound = together_and_alone([0, 1], [1, 2], [[0, 1]], Mesh(4, 1, 1))[:, 0]
    assert (bound <= exact).all()
    assert bound == pytest.approx(exact, rel=0.01)


def largest_eigenvalue(senders, receivers, share, mesh):
    """Follow every packet over every place."""

    def at(core):
        tile, per_chip = core // mesh.cores_per_tile, mesh.columns * mesh.rows
        x, y = positions(np.array(tile % per_chip), mesh)
        return tile // per_chip, int(x), int(y)

    def way(a, b):
        (_, x, y), (_, u, v) = at(a), at(b)
        places = {("out", a)}
        while x != u:
            step = 1 if u > x else -1
            places.add((x, y, x + step, y))
            x += step
        while y != v:
            step = 1 if v > y else -1
            places.add((x, y, x, y + step))
            y += step
        return places | {("into", b)}

    ways = [way(a, b) for a in senders for b in receivers if at(a)[0] == at(b)[0]]
    if not ways:
        return 0.0
    matrix = [[len(f & g) / (len(f) - 1) * share / len(g) for g in ways] for f in ways]
    return np.abs(np.linalg.eigvals(matrix)).max()


@settings(max_examples=40, deadline=None)
@given(
    first=st.lists(st.integers(0, 40), min_size=2, max_size=4),
    cores=st.lists(st.integers(1, 14), min_size=4, max_size=4),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3)),
    order=st.sampled_from(["row-major", "column-major", "snake"]),
)
def test_the_bound_against_the_eigenvalue_of_every_way_over_every_place(first, cores, shape, order: Order):
    mesh, cores = Mesh(*shape, order), cores[: len(first)]
    pairs = [(a, b) for a in range(len(first)) for b in range(len(first))]
    together, alone = together_and_alone(first, cores, pairs, mesh)
    for index, (a, b) in enumerate(pairs):
        senders, receivers = (range(first[end], first[end] + cores[end]) for end in (a, b))
        exact = largest_eigenvalue(senders, receivers, 1 / len(senders) / len(receivers), mesh)
        assert 0.85 * exact <= together[index] <= exact * (1 + 1e-9)
        each = [largest_eigenvalue([core], receivers, 1 / len(receivers), mesh) for core in senders]
        assert 0.85 * min(each) <= alone[index] <= max(each) * (1 + 1e-9)


def test_blocks_give_what_all_at_once_gives(monkeypatch):
    where = ([0, 3, 11], [3, 8, 9], [[0, 1], [1, 2], [2, 0], [1, 1]], Mesh(3, 3, 2, "snake"))
    whole = together_and_alone(*where)
    monkeypatch.setattr(module, "BLOCK", 10)
    assert together_and_alone(*where) == pytest.approx(whole)


def test_no_wires():
    assert together_and_alone([0], [1], [], Mesh(2, 2, 1)).shape == (2, 0)


def test_receivers_bind_where_they_are_few():
    """The toy network: core 0 at (0, 0) sends each spike to cores 1 at (1, 0) and 2 at (0, 1)."""
    # Two ways of one hop share the sender's port: M = [[3, 1], [1, 3]] / 6 / 2, L = 1/3 of 2 x 58 ns, under 58 ns.
    free, blocked = (estimate(two_layers(), toy_chip(blocking=state)) for state in (False, True))
    assert blocked.total_latency_s[0] == pytest.approx(free.total_latency_s[0])


def test_a_fan_out_waits_for_its_own_port():
    """One core of 4 neurons that all fire at 8 cores of its own tile; a receipt is 5 + 4 x 6 ns."""
    figures = {
        "mesh.columns": (1, "1"),
        "mesh.rows": (1, "1"),
        "tile.cores": (9, "1"),
        "network.message_time": (0, "s"),
    }
    network = workload(
        linear("in", 1, 4, (1,), ("a",)),
        neurons("a", 4, (4,), ("out",)),
        linear("out", 4, 32, (4,), ("b",)),
        neurons("b", 32, (0,)),
    )
    free, blocked = (estimate(network, toy_chip(figures, blocking=state)) for state in (False, True))
    assert free.total_latency_s[0] * 1e9 == pytest.approx(4 * 29 + 100)
    # Each of 8 ways shares the port with 7 others: (2 + 7) / 2 / 8 of 4 x 8 x 29 ns.
    assert blocked.total_latency_s[0] * 1e9 == pytest.approx(9 / 16 * 32 * 29 + 100)
    for part in ("compute", "neurons", "network"):
        assert blocked.energy_j[part].sum() == pytest.approx(free.energy_j[part].sum())
    assert any("wait for each other" in sentence for sentence in blocked.assumptions)


def test_the_busiest_sender_is_alone_at_last():
    # Two senders and one receiver on a tile: together M = [[2, 1], [1, 2]] / 2 / 2, L = 3/4; alone 1. W = 10, W_s = 8.
    found = together_and_alone([0, 2], [2, 1], [[0, 1]], Mesh(1, 1, 4))[:, 0]
    assert found == pytest.approx((3 / 4, 1))
    assert waiting_work(10, 8 / 10, 2, *found) == pytest.approx(7.5 + (8 - 5))


def test_concentrated_spikes_take_longer_and_no_more_synaptic_energy():
    def with_channels(counts):
        return workload(
            linear("in", 16, 2048, (16,), ("a",)),
            neurons("a", 2048, (512,), ("out",), channels=True),
            linear("out", 2048, 4096, (512,), ("b",)),
            neurons("b", 4096, (0,)),
            counts={"a": [counts]},
        )

    even = [512 // 32] * 32
    few = [64] * 8 + [0] * 24
    spread, concentrated = (estimate(with_channels(counts), chip("loihi1_nahuku")) for counts in (even, few))
    assert concentrated.total_latency_s[0] > spread.total_latency_s[0]
    for part in ("compute", "neurons", "network"):
        assert concentrated.energy_j[part].sum() == pytest.approx(spread.energy_j[part].sum())


def test_blocking_without_a_mesh_is_refused():
    figures = {"chip.cores": (4, "1"), "network.hop_x_time": (0, "s"), "network.hop_y_time": (0, "s")}
    without = toy_chip(figures, ("mesh.columns", "mesh.rows", "tile.cores"), blocking=True)
    with pytest.raises(InputError, match=r"chip 'toy' has settings\.blocking but no mesh; add mesh\.columns"):
        estimate(two_layers(), without)
