"""Recipes as data: what ships is sound, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hardware_models.errors import InputError
from quant.recipes import Recipe, load_recipe, recipe_names, recipe_text, uniform_recipe

ISSUED = {"w8a8", "w4a4", "w4a8", "w2a2", "ternary-a8", "w1a8", "w1a2", "w1a1", "bireal", "reactnet", "bitnet"}
FIRING = {"spike-w8", "spike-w4", "spike-ternary", "spike-w1"}


def test_every_recipe_ships() -> None:
    assert set(recipe_names()) == ISSUED | FIRING


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_what_its_name_says(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.fires == (name in FIRING)
    assert recipe.first is not None
    assert recipe.first.weights is not None
    assert recipe.first.weights.bits == 8
    widths = {"w8": 8, "w4": 4, "w2": 2, "w1": 1, "te": 2, "bi": 1, "re": 1}
    assert recipe.weights is not None
    key = name.removeprefix("spike-")[:2]
    assert recipe.weights.bits == (2 if name == "bitnet" else widths[key])


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_goes_through_a_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(load_recipe(name).to_yaml())
    assert load_recipe(path) == load_recipe(name)
    path.write_text(recipe_text(name))
    assert load_recipe(str(path)) == load_recipe(name)


def changed(**what: Any) -> str:
    document = yaml.safe_load(recipe_text("w4a4")) | what
    return yaml.safe_dump({key: value for key, value in document.items() if value != "gone"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (changed(weights={"scheme": "uniform", "bits": 17}), "weights"),
        (changed(weights={"scheme": "uniform", "bits": 1}), "weights"),
        (changed(activations={"scheme": "uniform", "bits": 0}), "activations"),
        (changed(weights={"scheme": "binry"}), "weights"),
        (changed(activation={"scheme": "binary"}), "activation"),
        (changed(sums={"scheme": "spikes"}), "give them bits"),
        (changed(name="gone"), "name"),
        (changed(schema="neuro.workload/1"), "expected a recipe of schema"),
        (changed(rectifier="prelu"), "rectifier"),
        ("- a\n- b\n", "no mapping"),
        ("name: [", "not YAML"),
    ],
)
def test_files_that_are_no_recipes(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        load_recipe(path)
    assert "mine.yaml" in str(caught.value)


def test_names_and_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"did you mean .*'reactnet'"):
        load_recipe("reacnet")
    with pytest.raises(InputError, match="cannot be read"):
        load_recipe(tmp_path / "none.yaml")


def test_plain_widths() -> None:
    recipe = uniform_recipe(3, 5)
    assert isinstance(recipe, Recipe)
    assert recipe.weights is not None
    assert recipe.activations is not None
    assert (recipe.name, recipe.weights.bits, recipe.activations.bits) == ("w3a5", 3, 5)
    for widths in ((1, 8), (8, 0), (17, 8)):
        with pytest.raises(InputError, match=r"2 to 16 bits .*binary"):
            uniform_recipe(*widths)


def test_the_last_pattern_that_fits_wins() -> None:
    eight = {"weights": {"scheme": "uniform", "bits": 8}, "activations": None}
    document = load_recipe("w4a4").model_dump(by_alias=True) | {"layers": {"a.*": eight, "a.b": {}}}
    recipe = Recipe.model_validate(document)
    assert recipe.rule("a.c", None).weights == recipe.rule("x", "first").weights
    assert recipe.rule("a.b", "first").weights is None
    assert recipe.rule("x", None).weights == load_recipe("w4a4").weights
