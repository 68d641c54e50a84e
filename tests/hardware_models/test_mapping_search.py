"""The mapping search: against trying everything, against ZigZag, and what must always hold."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_models.errors import InputError
from hardware_models.spatial.loop_nest import Loops, Shapes, Words, count
from hardware_models.spatial.loop_orders import batches, distinct_orders
from hardware_models.spatial.mapping_search import Mappings, search, unroll
from hardware_models.spatial.memory_hierarchy import DIMS, OPERANDS, Counting, Level, Structure
from hardware_models.spatial.tiling import Memories
from hardware_models.validation import zigzag

BITS = 8
AXES = ("columns", "rows")
CHOICE = {"columns": "K", "rows": "C"}


def layer(**sizes: int) -> Shapes:
    """One layer; sizes that are not given are 1."""
    return layers([sizes])


def layers(many: list[dict[str, int]]) -> Shapes:
    table = np.array([[sizes.get(dim, 1) for dim in DIMS] for sizes in many])
    ones = np.ones((len(many), 2), dtype=np.int64)
    extent = table[:, 4:6] + table[:, 6:8] - 1
    return Shapes(table, ones, extent, np.full((len(many), 3), BITS), np.full(len(many), 2 * BITS))


def hierarchy(shared: bool = True) -> Structure:
    """Registers of weights and outputs at each multiplier, a buffer (for two or three operands), a DRAM."""
    return Structure(
        (
            Level("weights", ("W",), ()),
            Level("sums", ("O",), ()),
            Level("buffer", OPERANDS if shared else ("I", "O"), AXES),
            Level("dram", OPERANDS, AXES),
        ),
        AXES,
        Counting(),
    )


def memories(weights: float = 64, sums: float = 64, buffer: float = 2048) -> Memories:
    """Capacities in bits; words of 8 bits; a fill further out costs more."""
    words = Words(np.full((1, 4), float(BITS)), np.zeros((1, 4)))
    read = np.array([[0.1, 0.2, 5.0, 100.0]])
    return Memories(words, np.array([[weights, sums, buffer, np.inf]]), read, 1.5 * read)


def every_mapping(shapes: Shapes, structure: Structure, figures: Memories, positions: tuple[int, int]) -> float:
    """Return the least energy over all orders of all prime factors and all tilings, each counted by itself."""
    unrolled, left = unroll(shapes.sizes, np.array([positions]), structure.axes, CHOICE)
    primes = [(dim, prime) for dim, size in enumerate(left[0]) for prime in factors(int(size))]
    orders = sorted(set(itertools.permutations(primes)))
    inner = [structure.chain(operand)[:-1] for operand in OPERANDS]
    places = range(len(primes) + 1)
    tilings = [list(itertools.combinations_with_replacement(places, len(chain))) for chain in inner]
    mappings = list(itertools.product(orders, itertools.product(*tilings)))
    cuts = np.full((len(mappings), 3, len(structure.levels)), len(primes))
    for row, (_, tiling) in enumerate(mappings):
        for column, (chain, tops) in enumerate(zip(inner, tiling, strict=True)):
            cuts[row, column, chain] = tops
    table = np.array([order for order, _ in mappings]).reshape(len(mappings), -1, 2)
    found = count(Loops(table[..., 0], table[..., 1].astype(float)), cuts, unrolled, shapes, structure, figures.words)
    energy = (found.reads.sum(axis=-1) * figures.read_j + found.writes.sum(axis=-1) * figures.write_j).sum(axis=-1)
    return float(energy[(found.held <= figures.capacity_bits).all(axis=1)].min())


def factors(number: int) -> list[int]:
    for prime in range(2, number + 1):
        if number % prime == 0:
            return [prime, *factors(number // prime)]
    return []


def counted_energy(found: Mappings, shapes: Shapes, structure: Structure, figures: Memories) -> np.ndarray:
    accesses = count(found.loops, found.cuts, found.unrolled, shapes, structure, figures.words)
    assert (accesses.held <= figures.capacity_bits).all()
    return (accesses.reads.sum(axis=-1) * figures.read_j + accesses.writes.sum(axis=-1) * figures.write_j).sum(axis=-1)


# --- against trying everything ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [True, False], ids=["three share a buffer", "two share a buffer"])
@pytest.mark.parametrize(
    "sizes",
    [
        {"K": 4, "C": 4, "P": 3},
        {"K": 6, "C": 2, "B": 4},
        {"G": 3, "P": 4, "R": 3},
        {"K": 2, "C": 8, "P": 2, "S": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("buffer", [200.0, 400.0, 2048.0])
def test_the_search_finds_the_least_of_all_mappings(sizes: dict[str, int], shared: bool, buffer: float) -> None:
    shapes, structure, figures = layer(**sizes), hierarchy(shared), memories(weights=24, sums=32, buffer=buffer)
    found = search(shapes, structure, figures, np.array([[2, 2]]), [CHOICE])
    assert found.complete[0]
    assert found.energy_j[0] == pytest.approx(every_mapping(shapes, structure, figures, (2, 2)), rel=1e-12)


def test_the_number_of_candidates_is_that_of_all_mappings() -> None:
    # K 4, C 3 in time: primes 2, 2, 3: 3 orders. Weights and outputs have two inner levels: 10 tilings each of 3
    # loops, inputs one: 4.
    found = search(layer(K=8, C=6), hierarchy(), memories(), np.array([[2, 2]]), [CHOICE])
    assert found.candidates[0] == 3 * 10 * 10 * 4


random_layers = st.lists(
    st.fixed_dictionaries({dim: st.integers(1, 40) for dim in "KCPQ"} | {dim: st.integers(1, 5) for dim in "GBRS"}),
    min_size=1,
    max_size=3,
)


@settings(max_examples=25, deadline=None)
@given(many=random_layers, orders=st.sampled_from([1, 24, 200]))
def test_the_energy_is_that_of_the_mapping_and_everything_fits(many: list[dict[str, int]], orders: int) -> None:
    shapes, structure, figures = layers(many), hierarchy(), memories()
    found = search(shapes, structure, figures, np.array([[4, 8]]), [CHOICE], orders=orders)
    np.testing.assert_allclose(found.energy_j, counted_energy(found, shapes, structure, figures), rtol=1e-12)
    # Time and space together run every loop in full.
    extents = np.ones((len(many), len(DIMS)))
    for dim in range(len(DIMS)):
        extents[:, dim] = np.where(found.loops.dims == dim, found.loops.factors, 1).prod(axis=1)
    np.testing.assert_allclose(extents * found.unrolled.all(), shapes.sizes)
    assert (np.diff(found.cuts[:, :, 2:], axis=-1) >= 0).all()


@settings(max_examples=10, deadline=None)
@given(many=random_layers)
def test_room_never_costs_and_orders_never_hurt(many: list[dict[str, int]]) -> None:
    def least(orders: int, **room: float) -> np.ndarray:
        return search(layers(many), hierarchy(), memories(**room), np.array([[4, 8]]), [CHOICE], orders=orders).energy_j

    small = least(24)
    assert (least(24, buffer=4096) <= small * (1 + 1e-12)).all()
    assert (least(24, weights=256) <= small * (1 + 1e-12)).all()


def test_equal_layers_get_equal_mappings_in_a_crowd() -> None:
    one = {"K": 16, "C": 16, "P": 8, "Q": 8, "R": 3, "S": 3}
    found = search(layers([one, {"K": 5}, one]), hierarchy(), memories(), np.array([[4, 4]]), [CHOICE])
    assert found.energy_j[0] == found.energy_j[2]
    alone = search(layer(K=5), hierarchy(), memories(), np.array([[4, 4]]), [CHOICE])
    assert found.energy_j[1] == pytest.approx(alone.energy_j[0], rel=1e-12)


def test_the_better_unrolling_is_taken() -> None:
    # A layer without input channels is better off with its output rows on the rows of the array.
    shapes, positions = layer(K=8, P=8), np.array([[8, 8]])
    by_rows = {"columns": "K", "rows": "P"}
    both = search(shapes, hierarchy(), memories(), positions, [CHOICE, by_rows])
    single = [search(shapes, hierarchy(), memories(), positions, [choice]).energy_j[0] for choice in (CHOICE, by_rows)]
    assert both.energy_j[0] == min(single)


def test_another_objective_is_met() -> None:
    # The fewest cycles: unrolling over the output rows too, whatever it costs.
    shapes, positions = layer(K=8, P=8), np.array([[8, 8]])
    choices = [CHOICE, {"columns": "K", "rows": "P"}]
    found = search(shapes, hierarchy(), memories(), positions, choices, lambda _, accesses, rows: accesses.cycles)
    assert found.loops.factors.prod() == 1


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"no mapping of the layer .*K=4.* fits into the memories.*enlarge"):
        search(layer(K=4), hierarchy(), memories(weights=4), np.array([[2, 2]]), [CHOICE])


# --- loops and their orders ---------------------------------------------------------------------------------------


@given(multiplicities=st.lists(st.integers(1, 3), min_size=1, max_size=4))
def test_distinct_orders_are_all_permutations_once(multiplicities: list[int]) -> None:
    kinds = [kind for kind, times in enumerate(multiplicities) for _ in range(times)][:7]
    counts = tuple(kinds.count(kind) for kind in range(max(kinds) + 1))
    orders = [tuple(order) for order in distinct_orders(counts).tolist()]
    assert len(orders) == len(set(orders))
    assert set(orders) == set(itertools.permutations(kinds))


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 60), min_size=8, max_size=8), limit=st.sampled_from([1, 6, 24, 720, 5040]))
def test_orders_keep_every_loop_and_the_limit(sizes: list[int], limit: int) -> None:
    whole = math.factorial(sum(size > 1 for size in sizes))
    for batch in batches(np.array([sizes]), limit):
        assert batch.loops.dims.shape[1] <= max(limit, whole, 6)
        for dim, size in enumerate(sizes):
            own = np.where(batch.loops.dims == dim, batch.loops.factors, 1)
            assert (own.prod(axis=-1) == size).all()
            # Only the innermost factor of a loop may be a fraction.
            inside = np.cumsum(batch.loops.dims == dim, axis=-1)
            assert (own[inside != 1] == np.rint(own[inside != 1])).all()


def test_unrolling_folds_evenly() -> None:
    # 100 output channels on 32 columns: 4 folds of 25 positions on average; 3 channels on 8 rows: one fold of 3.
    unrolled, left = unroll(layer(K=100, C=3).sizes, np.array([[32, 8]]), AXES, CHOICE)
    assert unrolled.by_axis[0][0, DIMS.index("K")] == 25
    assert unrolled.by_axis[1][0, DIMS.index("C")] == 3
    assert (left[0, DIMS.index("K")], left[0, DIMS.index("C")]) == (4, 1)


def test_several_loops_share_an_axis() -> None:
    # 3 x 3 taps and 2 of the input channels on 20 rows: 18 positions.
    unrolled, left = unroll(layer(C=8, R=3, S=3).sizes, np.array([[1, 20]]), AXES, {"rows": "RSC"})
    assert unrolled.by_axis[1][0].prod() == 18
    assert left[0, DIMS.index("C")] == 4


# --- ZigZag -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tpu_like", "edge_tpu_like"])
@pytest.mark.parametrize("objective", ["energy", "latency"])
def test_zigzag_resnet18_energy_of_the_best_mapping(name: str, objective: str) -> None:
    ours, theirs = zigzag.layer_energies((name, "resnet18", objective))
    assert ours.sum() == pytest.approx(theirs.sum(), rel=0.05)


def test_zigzag_layers_that_divide_evenly_are_equal() -> None:
    # On tpu_like every loop of these layers divides by its axis, and both searches find the same mapping.
    ours, theirs = zigzag.layer_energies(("tpu_like", "resnet18", "energy"))
    assert (np.abs(ours / theirs - 1)[:-1] < 1e-9).all()
    # The last layer alone does not divide: 1000 outputs on 32 columns.
    assert np.abs(ours / theirs - 1)[-1] < 1e-4


def test_a_network_is_searched_in_less_than_two_seconds() -> None:
    shapes = layers(
        [{"K": 64 * k, "C": 64 * c, "P": 28, "Q": 28, "R": 3, "S": 3} for k in (1, 2, 4) for c in (1, 2, 4)]
    )
    start = time.process_time()
    search(shapes, hierarchy(shared=False), memories(1024, 16, 2**24), np.array([[32, 32]]), [CHOICE])
    assert time.process_time() - start < 2
