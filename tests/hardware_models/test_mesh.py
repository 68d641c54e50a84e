import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_models.event_driven.mesh import Mesh, border_packets, core_hops, link_packets, mean_hops, positions

DATA = Path(__file__).parents[2] / "hardware_models" / "validation" / "data"


@pytest.mark.parametrize(
    ("order", "places"),
    [
        ("row-major", [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]),
        ("column-major", [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]),
        ("snake", [(0, 0), (1, 0), (2, 0), (2, 1), (1, 1), (0, 1)]),
    ],
)
def test_orders_by_hand(order, places):
    x, y = positions(np.arange(6), Mesh(3, 2, 1, order))
    assert list(zip(x, y, strict=True)) == places


def test_neighbours_in_a_snake_are_one_hop_apart():
    x, y = core_hops(np.arange(31), np.arange(1, 32), Mesh(8, 4, 1, "snake"))
    assert (x + y == 1).all()


@pytest.mark.parametrize("scenario", ["tutorial", "spread"])
def test_hops_of_sanafe(scenario):
    """SANA-FE counts the hops of each of its 2.5 and 4.7 million packets; tiles lie column by column there."""
    golden = json.loads((DATA / "sanafe.json").read_text())["scenarios"][scenario]
    source, target, packets = np.array(golden["packets_between_cores"])
    x, y = core_hops(source, target, Mesh(8, 4, 4, "column-major"))
    assert packets @ (x + y) == golden["hops"]


# Two cores a tile, 2 x 2 tiles: range 0 is cores 1..2 (tiles 0 and 1), range 1 cores 4..6 (tile 2 twice, tile 3).
# x: F = (1/2, 1/2), G = (2/3, 1/3): 1/2 * 1/3 + 1/2 * 2/3 = 1/2. y: always 1.
def test_mean_hops_by_hand():
    hops = mean_hops(np.array([1, 4]), np.array([2, 3]), np.array([[0, 1], [0, 0]]), Mesh(2, 2, 2))
    assert hops.x == pytest.approx([1 / 2, 1 / 2])
    assert hops.y == pytest.approx([1, 0])
    assert hops.chips == pytest.approx([0, 0])


meshes = st.builds(
    Mesh,
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from(["row-major", "column-major", "snake"]),
)
ranges = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 40)), min_size=1, max_size=4)


def place(core, mesh):
    """Chip, x and y of a core, one by one."""
    chip, tile = divmod(core // mesh.cores_per_tile, mesh.columns * mesh.rows)
    if mesh.order == "column-major":
        x, y = divmod(tile, mesh.rows)
    else:
        y, x = divmod(tile, mesh.columns)
        if mesh.order == "snake" and y % 2:
            x = mesh.columns - 1 - x
    return chip, x, y


def core_pairs(first, second):
    """All pairs of cores of two ranges with their share of the packets."""
    share = Fraction(1, first[1] * second[1])
    for a in range(first[0], sum(first)):
        for b in range(second[0], sum(second)):
            yield a, b, share


@given(mesh=meshes, ranges=ranges)
@settings(max_examples=60, deadline=None)
def test_mean_hops_are_those_of_all_pairs_of_cores(mesh, ranges):
    pairs = [(a, b) for a in range(len(ranges)) for b in range(len(ranges))]
    first, cores = np.array(ranges).T
    hops = mean_hops(first, cores, np.array(pairs), mesh)
    for index, (a, b) in enumerate(pairs):
        expected = np.zeros(3)
        for source, target, share in core_pairs(ranges[a], ranges[b]):
            (c0, x0, y0), (c1, x1, y1) = place(source, mesh), place(target, mesh)
            # Chips stand side by side, so that a place counts through all of them along x.
            expected += float(share) * np.array(
                [abs((c0 - c1) * mesh.columns + x0 - x1), abs(y0 - y1), abs(c0 - c1)], dtype=float
            )
        assert [hops.x[index], hops.y[index], hops.chips[index]] == pytest.approx(expected, abs=1e-9)


@given(mesh=meshes, ranges=ranges, packets=st.lists(st.integers(0, 9), min_size=4, max_size=4))
@settings(max_examples=60, deadline=None)
def test_links_carry_what_walking_every_packet_gives(mesh, ranges, packets):
    pairs = [(0, index) for index in range(len(ranges))]
    first, cores = np.array(ranges).T
    sent = np.array([[packets[index], 1] for index in range(len(pairs))], dtype=float)
    group = np.zeros(len(pairs), dtype=int)
    load = {}
    border = {}
    for index, (a, b) in enumerate(pairs):
        for source, target, share in core_pairs(ranges[a], ranges[b]):
            (c0, x, y), (c1, x1, y1) = place(source, mesh), place(target, mesh)
            moved = float(share) * sent[index]
            for chip in range(min(c0, c1), max(c0, c1)):
                key = (chip, c0 < c1)
                border[key] = border.get(key, 0) + moved
            while c0 == c1 and x != x1:
                step = 1 if x1 > x else -1
                load["x", c0, x, y, step] = load.get(("x", c0, x, y, step), 0) + moved
                x += step
            while c0 == c1 and y != y1:
                step = 1 if y1 > y else -1
                load["y", c0, x, y, step] = load.get(("y", c0, x, y, step), 0) + moved
                y += step
    along = link_packets(first, cores, np.array(pairs), sent, mesh, group)
    for axis, found in zip("xy", along, strict=True):
        expected = np.max([value for key, value in load.items() if key[0] == axis] or [np.zeros(2)], axis=0)
        assert found[0] == pytest.approx(expected, abs=1e-9)
    crossing = border_packets(first, cores, np.array(pairs), sent, mesh, group)
    assert crossing[0] == pytest.approx(np.max([*border.values(), np.zeros(2)], axis=0), abs=1e-9)


def test_placements_do_not_share_links():
    # The same traffic on two chips of their own, 1 packet and 10.
    first, cores = np.array([0, 1, 0, 1]), np.ones(4, dtype=int)
    pairs, packets = np.array([[0, 1], [2, 3]]), np.array([[1.0], [10.0]])
    along_x, along_y = link_packets(first, cores, pairs, packets, Mesh(2, 1, 1), np.array([0, 1]))
    assert along_x.tolist() == [[1], [10]]
    assert along_y.tolist() == [[0], [0]]
