"""The search as a whole: on analytic errors, on small networks, interrupted, and on what it cannot take."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import quant
from hardware_models.errors import InputError
from quant.capture import Captured, capture
from quant.recipes import Recipe, load_recipe
from quant.search import (
    ElasticPerceptron,
    QuickEvaluation,
    SearchResult,
    SearchSettings,
    Space,
    hypervolume,
    on_front,
    save_recipe,
    search,
    search_space,
    starts,
)

pytest.importorskip("optuna")

SMALL = SearchSettings(initial=14, rounds=2, per_round=4, population=12, generations=4)


class Layers(nn.Module):
    """Linear layers of unlike size, between ends that are not searched."""

    def __init__(self, count: int = 5) -> None:
        super().__init__()
        widths = [8 * (1 + i % 3) for i in range(count + 1)]
        self.stem = nn.Linear(6, widths[0])
        self.middle = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.head = nn.Linear(widths[-1], 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu()
        for one in self.middle:
            x = one(x).relu()
        return self.head(x)


class Analytic:
    """An error that is a sum over layers of what the width of each costs: most at the front of the network."""

    def __init__(self, limit: int | None = None) -> None:
        self.description = {"error": "analytic"}
        self.asked: list[str] = []
        self.limit = limit

    def __call__(self, recipe: Recipe, choice: Mapping[str, Any]) -> float:
        if self.limit is not None and len(self.asked) >= self.limit:
            raise KeyboardInterrupt
        self.asked.append(recipe.name)
        return sum(
            2.0**-(rule.weights.bits) * 4.0**-place + 2.0**-rule.activations.bits * 0.05 * (1 + place)
            for place, rule in enumerate(recipe.layers.values())
            if rule.weights is not None and rule.activations is not None
        )


@pytest.fixture(scope="module")
def network(samples: torch.Tensor) -> Captured:
    torch.manual_seed(0)
    return capture(Layers().eval(), samples)


@pytest.fixture(scope="module")
def samples() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(32, 6)


@pytest.fixture(scope="module")
def space(network: Captured, samples: torch.Tensor) -> Space:
    return search_space(network, samples)


@pytest.fixture(scope="module")
def found(space: Space) -> SearchResult:
    return search(space, Analytic(), settings=SMALL)


def test_the_front_is_what_no_measured_point_beats(found: SearchResult) -> None:
    values = np.array([point.values(found.objectives) for point in found.measured])
    kept = {point.configuration for point, one in zip(found.measured, on_front(values), strict=True) if one}
    assert {point.configuration for point in found.front} == kept
    assert all(point.measured for point in found.front)
    errors = [point.figures["error"] for point in found.front]
    assert errors == sorted(errors)


def test_points_say_what_was_predicted_and_what_measured(found: SearchResult) -> None:
    assert len(found.measured) == SMALL.initial + SMALL.rounds * SMALL.per_round
    first, later = found.measured[: SMALL.initial], found.measured[SMALL.initial :]
    assert all(point.predicted_error is None and point.measured for point in first)
    assert all(point.predicted_error is not None and point.measured for point in later)
    assert found.hoped
    for point in found.hoped:
        assert not point.measured
        assert point.figures["error"] == point.predicted_error
    seen = {point.configuration for point in found.measured}
    assert not seen & {point.configuration for point in found.hoped}
    assert len(found.agreement) == SMALL.rounds


def test_it_beats_random_draws_of_the_same_number(space: Space) -> None:
    settings = SearchSettings(initial=20, rounds=3, per_round=8, population=20, generations=10)
    found = search(space, Analytic(), settings=settings)
    drawn = [
        (Analytic()(space.recipe(one), {}), space.size_bits(one)) for one in starts(space, len(found.measured), seed=7)
    ]
    reference = np.max([*found.values(), *drawn], axis=0)
    assert found.hypervolume(reference) > 1.02 * hypervolume(drawn, reference)


def test_the_same_seed_gives_the_same_front(space: Space, found: SearchResult) -> None:
    assert search(space, Analytic(), settings=SMALL).to_document() == found.to_document()


def test_an_interrupted_search_goes_on_where_it_was(space: Space, found: SearchResult, tmp_path: Path) -> None:
    path = tmp_path / "measured.jsonl"
    first = Analytic(limit=16)
    with pytest.raises(KeyboardInterrupt):
        search(space, first, settings=SMALL, storage=path)
    assert len(path.read_text().splitlines()) == 17
    second = Analytic()
    again = search(space, second, settings=SMALL, storage=path)
    assert again.to_document() == found.to_document()
    assert not set(first.asked) & set(second.asked)
    assert len({*first.asked, *second.asked}) == len(found.measured)
    third = Analytic()
    search(space, third, settings=SMALL, storage=path)
    assert third.asked == []


def test_limits_keep_the_search_where_errors_are_small(space: Space) -> None:
    found = search(space, Analytic(), settings=SMALL, limits={"error": 0.1})
    later = found.measured[SMALL.initial :]
    assert later
    assert all(point.predicted_error is not None and point.predicted_error <= 0.1 for point in later)


def test_a_cost_of_ones_own_is_an_objective(space: Space) -> None:
    def cost(recipe: Recipe, choice: Mapping[str, Any]) -> Mapping[str, float]:
        return {"widest": max(rule.weights.bits for rule in recipe.layers.values() if rule.weights)}

    found = search(space, Analytic(), cost, ("error", "widest"), settings=SMALL)
    assert {point.figures["widest"] for point in found.front} == {2.0, 4.0, 8.0}


def test_no_rounds_measure_the_start_alone(space: Space) -> None:
    mine = space.uniform(2, 8)
    found = search(space, Analytic(), start=[mine], settings=SearchSettings(initial=10, rounds=0))
    assert found.measured[0].configuration == mine
    assert len(found.measured) == 10
    assert found.hoped == ()
    assert found.agreement == ()


def test_a_space_of_few_recipes_is_measured_whole(network: Captured, samples: torch.Tensor) -> None:
    space = search_space(network, samples, activation_bits=(), weight_bits=(4, 8), only=["middle.[01]"])
    found = search(space, Analytic0(), settings=SMALL)
    assert len(found.measured) == 4
    assert found.hoped == ()
    space = search_space(network, samples, activation_bits=(), weight_bits=(4, 8), only=["middle.0"])
    assert [point.recipe.layers["middle.0"].weights.bits for point in search(space, Analytic0()).front] == [8, 4]  # type: ignore[union-attr]


class Analytic0:
    """Without a description."""

    def __call__(self, recipe: Recipe, choice: Mapping[str, Any]) -> float:
        return sum(2.0**-rule.weights.bits for rule in recipe.layers.values() if rule.weights)


def test_networks_are_quantized_and_compared(network: Captured, samples: torch.Tensor, tmp_path: Path) -> None:
    """The whole way: capture, search on real errors, save, read a recipe again and quantize with it."""
    space = search_space(network, samples)
    evaluate = QuickEvaluation(network, samples, torch.randn(64, 6), measure="output")
    messages: list[str] = []
    settings = SearchSettings(initial=9, rounds=1, per_round=3, population=8, generations=3)
    found = search(space, evaluate, settings=settings, report=messages.append)
    assert len(messages) == 2
    wide = evaluate(space.recipe(space.uniform(8, 8)), {})
    narrow = evaluate(space.recipe(space.uniform(2, 2)), {})
    assert 0 < 4 * wide < narrow
    found.save(tmp_path / "front")
    document = json.loads((tmp_path / "front" / "front.json").read_text())
    assert len(document["front"]) == len(found.front)
    for point in found.front:
        recipe = load_recipe(tmp_path / "front" / f"{point.recipe.name}.yaml")
        assert recipe == point.recipe
    made = quant.quantize(network, recipe, samples, trainable=False)
    error = ((made(evaluate.inputs[0]) - evaluate.float_answers).norm() / evaluate.float_answers.norm()).item()
    assert error == pytest.approx(found.front[-1].figures["error"], rel=1e-5)


def test_an_elastic_network_chooses_width_and_depth(samples: torch.Tensor) -> None:
    torch.manual_seed(0)
    elastic = ElasticPerceptron(6, 4, widths=(8, 16), depths=(1, 2))
    space = search_space(elastic, samples, weight_bits=(4, 8), activation_bits=(8,))
    assert [one.name for one in space.variables if one.role == "architecture"] == ["width", "depth"]
    evaluate = QuickEvaluation(elastic, samples, samples, measure="output")
    settings = SearchSettings(initial=8, rounds=1, per_round=2, population=8, generations=4)
    found = search(space, evaluate, settings=settings)
    depths = {point.choice["depth"] for point in found.measured}
    assert depths == {1, 2}
    for point in found.measured:
        assert len(point.recipe.layers) == point.choice["depth"]
        assert space.canonical(point.configuration) == point.configuration
    smallest = min(found.measured, key=lambda point: point.figures["size_bits"])
    assert smallest.choice == {"width": 8, "depth": 1}


def test_no_objectives(space: Space) -> None:
    with pytest.raises(InputError, match="no objectives"):
        search(space, Analytic(), objectives=())
    with pytest.raises(InputError, match="lack 'error'"):
        search(space, Analytic(), objectives=("size_bits",))


def test_an_unknown_objective_is_named_with_the_known_ones(space: Space) -> None:
    with pytest.raises(InputError, match=r"unknown objective 'energy_j'.*Known: error, size_bits"):
        search(space, Analytic(), objectives=("error", "energy_j"))
    with pytest.raises(InputError, match="unknown limit 'size'"):
        search(space, Analytic(), limits={"size": 1})


def test_a_file_of_another_search(network: Captured, samples: torch.Tensor, space: Space, tmp_path: Path) -> None:
    path = tmp_path / "measured.jsonl"
    search(space, Analytic(), settings=SearchSettings(initial=4, rounds=0), storage=path)
    other = search_space(network, samples, weight_bits=(4, 8))
    with pytest.raises(InputError, match="another search: it differs in variables"):
        search(other, Analytic(), storage=path)
    with pytest.raises(InputError, match="another search: it differs in measured"):
        search(space, Analytic0(), storage=path)
    path.write_text("[]")
    with pytest.raises(InputError, match="no file of measurements"):
        search(space, Analytic(), storage=path)
    path.write_text("{")
    with pytest.raises(InputError, match="no file of measurements"):
        search(space, Analytic(), storage=path)


def test_a_line_that_is_no_measurement(space: Space, tmp_path: Path) -> None:
    path = tmp_path / "measured.jsonl"
    search(space, Analytic(), settings=SearchSettings(initial=4, rounds=0), storage=path)
    for line in ('{"values": [3], "error": 0.1}', '{"error": 1}', "7"):
        path.write_text(path.read_text().splitlines()[0] + "\n" + line + "\n")
        with pytest.raises(InputError, match="line 2: no measurement"):
            search(space, Analytic(), storage=path)


@pytest.mark.parametrize("error", [float("nan"), float("inf"), -1.0])
def test_an_error_that_is_none(space: Space, error: float) -> None:
    with pytest.raises(InputError, match="measure one that is at least 0"):
        search(space, lambda recipe, choice: error)


@pytest.mark.parametrize("bad", [{"initial": 3}, {"rounds": -1}, {"population": 1}, {"seed": 0.5}, {"per_round": True}])
def test_settings_that_are_none(bad: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        SearchSettings(**bad)


def test_a_recipe_round_trips(tmp_path: Path) -> None:
    for name in quant.recipe_names():
        recipe = load_recipe(name)
        save_recipe(recipe, tmp_path / "one.yaml")
        assert load_recipe(tmp_path / "one.yaml") == recipe
