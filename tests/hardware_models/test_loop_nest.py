"""Access counts of loop nests: Timeloop's references, nests worked by hand, and a walk through every iteration."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_models.spatial.loop_nest import Accesses, Loops, Shapes, Unrolled, Words, count
from hardware_models.spatial.memory_hierarchy import DIMS, OPERANDS, Counting, Level, Structure
from hardware_models.validation import timeloop

W, I, O = range(3)  # noqa: E741
RELEVANT = {"W": "GKCRS", "I": "GBCPQRS", "O": "GBKPQ"}


def counted(
    nest: list[tuple[str, int]],
    cuts: dict[str, list[int]],
    structure: Structure,
    spatial: dict[str, dict[str, float]] | None = None,
    stride: int = 1,
    extent: int = 10**6,
) -> Accesses:
    """Count one mapping: `nest` innermost first, `cuts` by operand for every level, words of one value."""
    factors = [[[(spatial or {}).get(axis, {}).get(dim, 1.0) for dim in DIMS]] for axis in structure.axes]
    sizes = np.prod(factors, axis=0)
    for dim, factor in nest:
        sizes[0, DIMS.index(dim)] *= factor
    bits = 16
    return count(
        Loops(np.array([[DIMS.index(dim) for dim, _ in nest]]), np.array([[float(factor) for _, factor in nest]])),
        np.array([[cuts[operand] for operand in OPERANDS]]),
        Unrolled(tuple(np.array(axis) for axis in factors)),
        Shapes(sizes, np.full((1, 2), stride), np.full((1, 2), extent), np.full((1, 3), bits), np.full(1, bits)),
        structure,
        Words(np.full((1, len(structure.levels)), float(bits)), np.zeros((1, len(structure.levels)))),
    )


def register_and_dram(**counting: object) -> Structure:
    """A register for all operands at the only multiplier, and a DRAM."""
    levels = (Level("register", OPERANDS, ()), Level("dram", OPERANDS, ("array",)))
    return Structure(levels, ("array",), Counting(**counting))  # type: ignore[arg-type]


# --- Timeloop ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("found", timeloop.references(), ids=lambda found: found.name)
def test_timeloop_reference(found: timeloop.Reference) -> None:
    measured = found.measured
    assert found.accesses.cycles[0] == measured["", "cycles", ""]
    assert found.accesses.units[0] == measured["mac", "instances", ""]
    assert len(found.counts) >= 16
    for place, (ours, theirs) in found.counts.items():
        assert ours == theirs, place
    assert sum(found.energy_j.values()) == pytest.approx(measured["", "energy_uj", ""] * 1e-6, rel=0.01)


def test_row_stationary_on_the_eyeriss_like_reference() -> None:
    # 14 output columns on the columns, 3 channels x 3 kernel columns on the rows: 126 of 168 elements, 75 %.
    found = next(one for one in timeloop.references() if one.name == "eyeriss_like")
    assert found.accesses.units[0] / 168 == found.measured["", "utilization", ""] == 0.75
    # Words that pass to and from DRAM, from Timeloop's own report.
    assert found.accesses.reads[0, -1].tolist() == [13_824, 157_296, 0]
    assert found.accesses.writes[0, -1].tolist() == [0, 0, 401_408]


# --- by hand ----------------------------------------------------------------------------------------------------


def test_a_matrix_product_by_hand() -> None:
    # K = 2, C = 3, B = 4, one multiplier. Loops from the inside: C 3, K 2, B 4; registers hold one value each.
    # Weights: C and K change every iteration, B starts them again: 24 fetches.
    # Inputs: C changes every iteration: 24. Outputs: the run of C stays: 8 tiles, written 8 times, never read back.
    found = counted(
        [("C", 3), ("K", 2), ("B", 4)], {"W": [0, 3], "I": [0, 3], "O": [0, 3]}, register_and_dram(drain_reads=False)
    )
    dram, register = 1, 0
    assert found.reads[0, dram].tolist() == [24, 24, 0]
    assert found.writes[0, dram].tolist() == [0, 0, 8]
    assert found.writes[0, register].tolist() == [24, 24, 24]
    # The multiplier reads weights and inputs every cycle, and a sum except for the first of its 3 terms.
    assert found.reads[0, register].tolist() == [24, 24, 16]


def test_irrelevant_innermost_run_is_dropped() -> None:
    # B innermost: each of the 6 weights is fetched once, for all 4 of the batch.
    nest, cuts = [("B", 4), ("C", 3), ("K", 2)], {"W": [0, 3], "I": [0, 3], "O": [0, 3]}
    found = counted(nest, cuts, register_and_dram())
    assert found.reads[0, 1, W] == 6
    # Outputs: B changes every iteration, so each of 8 outputs leaves 3 times (24) and comes back twice (16).
    assert (found.writes[0, 1, O], found.reads[0, 1, O]) == (24, 16)


def test_partial_sums_stay_where_the_tile_holds_them_all() -> None:
    # A register of 4 outputs (B inside) keeps all partial sums over C: 8 words out, none back.
    found = counted([("B", 4), ("C", 3), ("K", 2)], {"W": [0, 3], "I": [0, 3], "O": [1, 3]}, register_and_dram())
    assert (found.writes[0, 1, O], found.reads[0, 1, O]) == (8, 0)


def test_multicast_and_spatial_reduction() -> None:
    # 4 output channels and 8 input channels unrolled: a buffer feeds registers at each of 32 multipliers.
    levels = (Level("register", ("O",), ()), Level("buffer", OPERANDS, ("columns", "rows")))
    structure = Structure(levels, ("columns", "rows"), Counting(drain_reads=False))
    spatial = {"columns": {"K": 4.0}, "rows": {"C": 8.0}}
    found = counted([("P", 10)], {"W": [0, 1], "I": [0, 1], "O": [1, 1]}, structure, spatial)
    buffer = 1
    assert found.reads[0, buffer, W] == 320  # nothing in common
    assert found.reads[0, buffer, I] == 80  # one word for all 4 columns
    assert found.writes[0, buffer, O] == 40  # 8 rows summed on the way
    assert found.units[0] == 32
    assert found.cycles[0] == 10


def test_a_latch_at_the_multiplier_saves_reads() -> None:
    nest, cuts = [("B", 4), ("C", 3), ("K", 2)], {"W": [3, 3], "I": [3, 3], "O": [3, 3]}
    plain, latched = (counted(nest, cuts, register_and_dram(operand_latch=latch)) for latch in (False, True))
    assert (plain.reads[0, 0, W], latched.reads[0, 0, W]) == (24, 6)
    assert plain.reads[0, 0, I] == latched.reads[0, 0, I] == 24


@pytest.mark.parametrize(("sliding", "words"), [("never", 3 * 10 * 4), ("always", 3 * 10 + 3 * 8 * 3)])
def test_sliding_window(sliding: str, words: int) -> None:
    # Tiles of 8 output rows (3 kernel rows: 10 input rows) over 3 columns of taps; 4 such tiles, the next of which
    # has 8 new rows: 10 + 3 * 8 rows instead of 4 * 10, of 3 words each.
    nest, cuts = [("S", 3), ("R", 3), ("P", 8), ("P", 4)], {"W": [0, 4], "I": [3, 4], "O": [0, 4]}
    found = counted(nest, cuts, register_and_dram(sliding_window=sliding))
    assert found.reads[0, 1, I] == pytest.approx(words)


def test_stride_beyond_the_kernel_skips_rows() -> None:
    # 1x1 kernel with stride 2: 7 x 7 positions touch 7 x 7 values, not the 13 x 13 between the first and the last.
    found = counted(
        [("Q", 7), ("P", 7)], {"W": [2, 2], "I": [2, 2], "O": [2, 2]}, register_and_dram(), stride=2, extent=14
    )
    assert found.reads[0, 1, I] == 49


def test_padding_is_not_fetched() -> None:
    # 14 x 14 with padding 1 and a 3x3 kernel: the padded 16 x 16 window reads 14 x 14 values.
    nest = [("S", 3), ("R", 3), ("Q", 14), ("P", 14)]
    found = counted(nest, {"W": [4, 4], "I": [4, 4], "O": [4, 4]}, register_and_dram(), extent=14)
    assert found.reads[0, 1, I] == 196


def test_words_are_rounded_up_to_granules() -> None:
    # 24 bits in granules of 64 of a word of 256 bits: a quarter of an access.
    words = Words(np.array([[256.0]]), np.array([[64.0]]))
    assert words.accesses(0, np.array([24.0]))[0] == 0.25
    assert Words(np.array([[256.0]]), np.array([[0.0]])).accesses(0, np.array([24.0]))[0] == 24 / 256


# --- every iteration, one by one ----------------------------------------------------------------------------------


def walk(nest: list[tuple[str, int]]) -> Iterator[tuple[int, ...]]:
    """Yield the loop indices of every iteration, innermost first."""
    for outermost_first in itertools.product(*(range(factor) for _, factor in reversed(nest))):
        yield outermost_first[::-1]


def visited_tiles(nest: list[tuple[str, int]], operand: str, cut: int) -> list[tuple[int, ...]]:
    """Return the operand's tiles in the order in which they are needed, without immediate repetition."""
    places = [place for place in range(cut, len(nest)) if nest[place][0] in RELEVANT[operand]]
    tiles = (tuple(index[place] for place in places) for index in walk(nest))
    return [tile for tile, _ in itertools.groupby(tiles)]


nests = st.lists(st.tuples(st.sampled_from("GBKC"), st.integers(1, 3)), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(nest=nests, data=st.data())
def test_fills_are_the_tiles_that_a_walk_visits(nest: list[tuple[str, int]], data: st.DataObject) -> None:
    cut = {operand: data.draw(st.integers(0, len(nest))) for operand in OPERANDS}
    found = counted(nest, {o: [cut[o], len(nest)] for o in OPERANDS}, register_and_dram(drain_reads=True))
    for column, operand in enumerate(OPERANDS):
        tiles = visited_tiles(nest, operand, cut[operand])
        size = np.prod([factor for dim, factor in nest[: cut[operand]] if dim in RELEVANT[operand]], initial=1)
        moved = len(tiles) * size
        if operand == "O":
            assert found.writes[0, 1, column] == moved
            # A tile that was visited before comes back with its partial sums.
            assert found.reads[0, 1, column] == (len(tiles) - len(set(tiles))) * size
        else:
            assert found.reads[0, 1, column] == moved
            assert found.writes[0, 0, column] == moved


@settings(max_examples=60, deadline=None)
@given(nest=nests, rows=st.integers(1, 5), columns=st.integers(1, 5), cut=st.integers(0, 6))
def test_what_a_parent_sends_is_what_its_children_receive(
    nest: list[tuple[str, int]], rows: int, columns: int, cut: int
) -> None:
    levels = (Level("register", OPERANDS, ()), Level("dram", OPERANDS, ("x", "y")))
    structure = Structure(levels, ("x", "y"), Counting())
    cuts = {operand: [min(cut, len(nest)), len(nest)] for operand in OPERANDS}
    found = counted(nest, cuts, structure, {"x": {"K": float(columns)}, "y": {"C": float(rows)}})
    assert found.writes[0, 0, W] == found.reads[0, 1, W]
    assert found.writes[0, 0, I] == found.reads[0, 1, I] * columns
    assert found.reads[0, 0, O] >= found.writes[0, 1, O] * rows  # drained and summed over the rows
    every = [found.reads, found.writes]
    assert all((counts >= 0).all() for counts in every)
    assert found.cycles[0] * found.units[0] == rows * columns * np.prod([factor for _, factor in nest])


@given(nest=nests, cut=st.integers(0, 6))
def test_larger_tiles_never_move_more(nest: list[tuple[str, int]], cut: int) -> None:
    def dram(inside: int) -> np.ndarray:
        found = counted(nest, {operand: [inside, len(nest)] for operand in OPERANDS}, register_and_dram())
        return found.reads[0, 1] + found.writes[0, 1]

    inside = min(cut, len(nest) - 1)
    assert (dram(inside + 1) <= dram(inside)).all()
