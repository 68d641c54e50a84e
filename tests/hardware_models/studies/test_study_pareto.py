"""Fronts against their definitions, point by point, and the volume that they dominate against boxes counted by hand."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardware_models.errors import InputError
from hardware_models.studies.hypervolume import hypervolume
from hardware_models.studies.pareto import epsilon_front, minimised, non_dominated, ranks, robust_front

Floats = npt.NDArray[np.float64]
SOME = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def tables(draw: st.DrawFn, largest: int = 5, most: int = 5, least_rows: int = 0, least: int = 0) -> Floats:
    """Points with few distinct values, so that ties and copies are common."""
    columns = draw(st.integers(1, most))
    row = st.lists(st.integers(least, largest), min_size=columns, max_size=columns)
    return np.array(draw(st.lists(row, min_size=least_rows, max_size=25)), dtype=float).reshape(-1, columns)


def beats(a: Floats, b: Floats) -> bool:
    return bool((a <= b).all() and (a < b).any())


def front_by_definition(table: Floats) -> list[bool]:
    return [not any(beats(other, point) for other in table) for point in table]


def signs_and_senses(table: Floats, seed: int) -> tuple[Floats, Any]:
    signs = np.random.default_rng(seed).choice([1.0, -1.0], table.shape[1])
    return signs, ["minimise" if sign > 0 else "maximise" for sign in signs]


@SOME
@given(tables(), st.integers(0, 9))
def test_the_front_is_what_nothing_beats(table: Floats, seed: int) -> None:
    signs, senses = signs_and_senses(table, seed)
    assert non_dominated(table * signs, senses).tolist() == front_by_definition(table)


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("values", [4, 10**6])
def test_the_front_of_many_points(columns: int, values: int) -> None:
    table = np.random.default_rng(columns).integers(0, values, (1500, columns)).astype(float)
    no_larger = (table[:, None] <= table).all(axis=2)
    smaller = (table[:, None] < table).any(axis=2)
    assert (non_dominated(table) == ~(no_larger & smaller).any(axis=0)).all()


@pytest.mark.parametrize("columns", [2, 3, 5])
def test_a_plane_is_its_own_front(columns: int) -> None:
    table = np.random.default_rng(0).integers(0, 50, (3000, columns)).astype(float)
    table[:, -1] = -table[:, :-1].sum(axis=1)
    assert non_dominated(table).all()


def test_copies_stay_together_and_infinity_has_an_order() -> None:
    assert non_dominated([[1, 2], [1, 2], [2, 1], [2, 2]]).tolist() == [True, True, True, False]
    assert non_dominated([[np.inf, 1], [-np.inf, 1], [0, -0.0], [0, 0.0]]).tolist() == [False, True, True, True]
    assert non_dominated(np.empty((0, 2))).tolist() == []


@SOME
@given(tables())
def test_each_rank_is_the_front_of_what_the_lower_ones_leave(table: Floats) -> None:
    found, left = ranks(table), np.arange(len(table))
    for rank in itertools.count():
        if not len(left):
            break
        front = np.array(front_by_definition(table[left]), dtype=bool)
        assert (found[left[front]] == rank).all()
        left = left[~front]


@SOME
@given(tables(), st.integers(0, 99))
def test_the_robust_front_by_definition_and_what_it_contains(table: Floats, seed: int) -> None:
    random = np.random.default_rng(seed)
    low, high = table - random.integers(0, 3, table.shape), table + random.integers(0, 3, table.shape)
    signs, senses = signs_and_senses(table, seed)
    ends = np.sort(np.stack([low * signs, high * signs]), axis=0)
    found = robust_front(*ends, senses)
    assert found.tolist() == [not any(beats(high[a], low[b]) for a in range(len(table))) for b in range(len(table))]
    for inside in (table, low, high, random.uniform(low, high)):
        assert found[non_dominated(inside)].all()
    assert (robust_front(table, table) == non_dominated(table)).all()


def test_a_robust_front_by_hand() -> None:
    low, high = [[1.0, 1], [3, 3], [2, 5], [2, 1]], [[2.0, 2], [4, 4], [3, 6], [2, 2]]
    # The second and third are worse than the worst of the first, the third only just; the fourth overlaps.
    assert robust_front(low, high).tolist() == [True, False, False, True]


@SOME
@given(tables(least=1, largest=30, least_rows=1), st.floats(0.1, 9), st.booleans(), st.integers(0, 9))
def test_the_epsilon_front_comes_near_every_point(table: Floats, epsilon: float, ratio: bool, seed: int) -> None:
    signs, senses = signs_and_senses(table, seed)
    given_table, form = (np.exp(np.log(table) * signs), "multiplicative") if ratio else (table * signs, "additive")
    kept = epsilon_front(given_table, epsilon, senses, form)  # type: ignore[arg-type]
    assert non_dominated(table)[kept].all()
    reach = table[kept] / (1 + epsilon) if ratio else table[kept] - epsilon
    assert all((reach <= point + 1e-9).all(axis=1).any() for point in table)


def test_one_point_of_a_box_is_kept() -> None:
    table = [[0.1, 0.9], [0.2, 0.8], [1.5, 0.2], [1.1, 1.1]]
    assert epsilon_front(table, 1.0).tolist() == [True, False, False, False]  # the box of the third is dominated
    assert epsilon_front(table, [1.0, 0.5]).tolist() == [True, False, True, False]
    # Boxes that double: (0, 3), (0, 2) and (2, 0).
    assert epsilon_front([[1, 8], [1.9, 5], [4, 1]], 1.0, form="multiplicative").tolist() == [False, True, True]


def boxes_by_hand(table: Floats, corner: int) -> int:
    """Count the unit cells of [0, corner]^M that some point is no larger than."""
    cells = itertools.product(range(corner), repeat=table.shape[1])
    return sum(bool((table <= np.array(cell)).all(axis=1).any()) for cell in cells)


@SOME
@given(tables(largest=4, most=5), st.integers(0, 9))
def test_the_hypervolume_counts_cells(table: Floats, seed: int) -> None:
    signs, senses = signs_and_senses(table, seed)
    corner = np.full(table.shape[1], 4.0)
    assert hypervolume(table * signs, corner * signs, senses) == pytest.approx(boxes_by_hand(table, 4))


def test_hypervolumes_by_hand() -> None:
    assert hypervolume([[1, 3], [2, 1]], [4, 4]) == 3 * 1 + 2 * 3 - 2 * 1
    assert hypervolume([[0, 0, 1], [1, 1, 0]], [2, 2, 2]) == 4 + 2 - 1
    assert hypervolume([[5, 0], [2, 2]], [2, 9]) == 0  # neither is better than the corner in both
    assert hypervolume([], [2, 2]) == 0
    assert hypervolume([[3.0]], [5.0]) == 2
    # One point for each objective, at 0 there and at 1/2 elsewhere, seen from 1: by inclusion and exclusion all
    # meet in the cube of side 1/2, and each adds a cube of side 1/2 beside it.
    for count in (2, 3, 4, 5, 6):
        points = np.full((count, count), 0.5) - 0.5 * np.eye(count)
        assert hypervolume(points, np.ones(count)) == pytest.approx((count + 1) * 0.5**count)


@SOME
@given(tables(largest=9, most=6, least_rows=1), st.integers(0, 99))
def test_hypervolume_grows_with_points_and_ignores_their_order(table: Floats, seed: int) -> None:
    random = np.random.default_rng(seed)
    corner = np.full(table.shape[1], 8.5)
    whole = hypervolume(table, corner)
    assert hypervolume(random.permutation(table), corner) == pytest.approx(whole)
    assert hypervolume(table[non_dominated(table)], corner) == pytest.approx(whole)
    assert hypervolume(table[:-1], corner) <= whole + 1e-9
    axes = random.permutation(table.shape[1])
    assert hypervolume(table[:, axes], corner) == pytest.approx(whole)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: non_dominated([[1, np.nan], [1, 2]]), "point 0 hold NaN"),
        (lambda: non_dominated([1, 2]), r"shape \(2,\); expected \[N, M\]"),
        (lambda: non_dominated([[1], [1, 2]]), "no table of numbers"),
        (lambda: non_dominated([["a"]]), "no table of numbers"),
        (lambda: minimised([[1, 2]], ["minimise"]), "1 senses were given for 2"),
        (lambda: minimised([[1]], ["minimize"]), "did you mean 'minimise'"),
        (lambda: robust_front([[1, 2]], [[1, 1]]), "point 0 has its low end above"),
        (lambda: robust_front([[1, 2]], [[1]]), "give bands with both ends"),
        (lambda: epsilon_front([[1, 2]], 0), "above 0"),
        (lambda: epsilon_front([[1, 2]], [1, 1, 1]), "one for each objective"),
        (lambda: epsilon_front([[0, 2]], 1, form="multiplicative"), "has no logarithm"),
        (lambda: epsilon_front([[-1, 2]], 1, form="multiplicative"), "has no logarithm"),
        (lambda: epsilon_front([[np.inf, 2]], 1), "lies in no box"),
        (lambda: epsilon_front([[1, 2]], 1, form="relative"), "unknown form"),
        (lambda: hypervolume([[1, 2]], [1, 2, 3]), "2 objectives and the reference 3"),
        (lambda: hypervolume([[1, -np.inf]], [2, 2]), "spans no finite volume"),
        (lambda: hypervolume([[1, np.nan]], [2, 2]), "hold NaN"),
    ],
)
def test_bad_objectives_are_refused(call: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        call()
