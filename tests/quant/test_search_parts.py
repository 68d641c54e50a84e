"""Fronts and hypervolumes, NSGA-II on functions whose front is known, and the predictor."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from hardware_models.errors import InputError
from quant.search import Predictor, hypervolume, nsga2, on_front
from quant.search.pareto import gain, most_gain, ranks
from quant.search.predictor import rank_correlation

LEVELS = 11


def zdt1(configuration: tuple[int, ...]) -> tuple[float, float]:
    """ZDT1 (Zitzler, Deb and Thiele, Evolutionary Computation 8(2), 2000) on eleven levels of each variable."""
    x = np.array(configuration) / (LEVELS - 1)
    g = 1 + 9 * x[1:].mean()
    return float(x[0]), float(g * (1 - math.sqrt(x[0] / g)))


def test_nsga2_reaches_the_front_of_zdt1() -> None:
    pytest.importorskip("optuna")
    sizes = [LEVELS] * 8
    front = [zdt1((i, *[0] * 7)) for i in range(LEVELS)]
    best = hypervolume(front, (1.1, 1.1))
    found, values = nsga2(sizes, zdt1, trials=1600, population=40, seed=1)
    assert len(found) == len(set(found)) == len(values)
    assert 0.98 * best < hypervolume(values, (1.1, 1.1)) <= best * (1 + 1e-12)
    random = np.random.default_rng(0)
    drawn = [zdt1(tuple(one)) for one in random.integers(0, LEVELS, (1600, 8)).tolist()]
    assert hypervolume(drawn, (1.1, 1.1)) < 0.5 * best


def test_nsga2_starts_where_it_is_told_repeats_itself_and_keeps_limits() -> None:
    pytest.importorskip("optuna")
    start = [(0,) * 4, (10, 0, 0, 0), (0,) * 4]
    first = nsga2([LEVELS] * 4, zdt1, trials=60, population=10, seed=3, start=start)
    again = nsga2([LEVELS] * 4, zdt1, trials=60, population=10, seed=3, start=start)
    assert first[0] == again[0]
    assert first[0][:2] == start[:2]
    limited = nsga2([LEVELS] * 4, zdt1, trials=400, population=10, seed=3, limits=(0.25, math.inf))
    free = nsga2([LEVELS] * 4, zdt1, trials=400, population=10, seed=3)
    assert np.mean(limited[1][:, 0] <= 0.25) > 1.5 * np.mean(free[1][:, 0] <= 0.25)


def test_nsga2_needs_variables_and_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"pip install neuro\[search\]"):
        nsga2([2], zdt1)
    monkeypatch.undo()
    pytest.importorskip("optuna")
    with pytest.raises(InputError, match="no variable"):
        nsga2([], zdt1)
    with pytest.raises(InputError, match="population 1"):
        nsga2([2], zdt1, population=1)


def test_fronts() -> None:
    points = [(1, 3), (2, 2), (3, 1), (2, 2), (3, 3), (1, 4)]
    assert on_front(points).tolist() == [True, True, True, False, False, False]
    assert ranks(points, 3) == [0, 1, 2]
    assert sorted(ranks(points, 6)) == list(range(6))
    assert ranks(np.zeros((0, 2)), 3) == []


def test_hypervolumes_by_hand() -> None:
    assert hypervolume([(1, 3), (2, 2), (3, 1)], (4, 4)) == 6
    assert hypervolume([(1, 1, 1)], (2, 3, 4)) == 6
    assert hypervolume([(0, 1, 1), (1, 0, 1), (1, 1, 0)], (2, 2, 2)) == 4
    assert hypervolume([(5, 0)], (4, 4)) == 0
    assert hypervolume(np.zeros((0, 3)), (1, 1, 1)) == 0
    assert hypervolume([(3,), (1,)], (4,)) == 3


@pytest.mark.parametrize("dimensions", [2, 3, 4])
def test_hypervolumes_against_counting(dimensions: int) -> None:
    """Points on a grid of whole numbers: the volume is the number of unit cells that some point dominates."""
    random = np.random.default_rng(dimensions)
    points = random.integers(0, 6, (12, dimensions))
    cells = np.stack(np.meshgrid(*[np.arange(6)] * dimensions), -1).reshape(-1, dimensions)
    covered = (cells[:, None] >= points[None]).all(-1).any(1).sum()
    assert hypervolume(points, [6] * dimensions) == pytest.approx(covered)
    more = random.integers(0, 6, dimensions)
    whole = hypervolume([*points, more], [6] * dimensions)
    assert gain(more, points, [6] * dimensions) == pytest.approx(whole - covered)


def test_what_enlarges_most_comes_first() -> None:
    reference = np.array([4.0, 4.0])
    offered = [(3, 3), (1, 1), (0, 3.5), (5, 0)]
    assert most_gain([(2, 2)], offered, reference, 2) == [1, 2]
    assert most_gain(np.zeros((0, 2)), offered, reference, 9)[:2] == [1, 2]
    assert most_gain([(2, 2)], np.zeros((0, 2)), reference, 3) == []


@pytest.mark.parametrize("kind", ["ridge", "boosting"])
def test_the_predictor_ranks_what_it_has_not_seen(kind: str) -> None:
    """Errors that multiply over layers suit ridge, a threshold suits trees; the better is chosen."""
    random = np.random.default_rng(0)
    configurations = [tuple(one) for one in random.integers(0, 3, (160, 10)).tolist()]
    shares = random.uniform(0, 1, 10)

    def error(one: tuple[int, ...]) -> float:
        if kind == "ridge":
            return float(np.exp(-(shares * one).sum()))
        return 0.01 + float(one[0] == 0 and one[1] == 0) + 0.5 * float(one[2] == 0 and one[3] == 0)

    errors = [error(one) for one in configurations]
    predictor = Predictor([3] * 10).fit(configurations[:80], errors[:80])
    assert predictor.kind == kind
    predicted = predictor(configurations[80:])
    assert (predicted >= 0).all()
    assert rank_correlation(list(predicted), errors[80:]) > (0.9 if kind == "ridge" else 0.45)


def test_a_predictor_needs_something_to_learn_from() -> None:
    predictor = Predictor([2, 2])
    with pytest.raises(InputError, match="call fit first"):
        predictor([(0, 0)])
    with pytest.raises(InputError, match="at least 4"):
        predictor.fit([(0, 0)], [0.1])
    with pytest.raises(InputError, match="not finite"):
        predictor.fit([(0, 0), (0, 1), (1, 0), (1, 1)], [0.1, 0.2, 0.3, math.nan])
    alike = predictor.fit([(0, 0), (0, 1), (1, 0), (1, 1)], [0.0] * 4)
    assert alike([(0, 1)]) == pytest.approx([0.0], abs=1e-6)


def test_rank_correlations_by_hand() -> None:
    assert rank_correlation([1, 2, 3], [10, 20, 30]) == 1
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == -1
    assert rank_correlation([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 3)
    assert math.isnan(rank_correlation([1, 1], [1, 2]))
