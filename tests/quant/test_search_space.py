"""Spaces of recipes, quick measurements, and what widths cost on a chip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import quant
from hardware_models.comparison import find_chips
from hardware_models.errors import InputError
from hardware_models.estimate import estimate
from hardware_models.layer_table import LayerTable, layer_table
from hardware_models.workload import Workload
from neuro.profiling.low_bit import profile_low_bit
from quant.capture import Captured, capture
from quant.recipes import BinaryActivations, BinaryWeights, Recipe, UniformActivations, load_recipe, uniform_recipe
from quant.search import ChipCost, ElasticPerceptron, QuickEvaluation, Space, Variable, search_space
from quant.search.elastic import largest
from quant.search.space import with_activation_bits, with_weight_bits

Networks = Callable[[str, int], tuple[nn.Module, Tensor]]
Given = tuple[Captured, Tensor]


@pytest.fixture(scope="module")
def convolutions(networks: Networks) -> Given:
    network, x = networks("cnn", 0)
    return capture(network, x), x


@pytest.fixture(scope="module")
def space(convolutions: Given) -> Space:
    return search_space(*convolutions, weight_bits=(1, 4, 8), activation_bits=(4, 8))


@pytest.fixture(scope="module")
def workload(convolutions: Given) -> Workload:
    network, x = convolutions
    return profile_low_bit(quant.quantize(network, "w8a8", x, trainable=False), x)


def test_ends_are_left_to_the_base(space: Space, convolutions: Given) -> None:
    assert space.paths == ("depthwise", "up")
    assert space.sizes == (3, 2, 3, 2)
    assert search_space(*convolutions, ends=True).paths == ("stem", "depthwise", "up", "head")
    assert search_space(*convolutions, skip=["up"]).paths == ("depthwise",)


def test_a_configuration_is_a_recipe_with_a_rule_for_each_layer(space: Space, convolutions: Given) -> None:
    network, x = convolutions
    made = quant.quantize(network, space.recipe((0, 1, 1, 0)), x, trainable=False)
    widths = {
        one.path: (made.quantizers()[one.weight].bits, made.quantizers()[one.inputs[0]].bits)
        for one in made.operators
        if one.weight
    }
    assert widths == {"stem": (8, 8), "depthwise": (1, 8), "up": (4, 4), "head": (8, 8)}


def test_uniform_configurations_are_the_plain_recipes(space: Space, convolutions: Given) -> None:
    network, x = convolutions
    for bits in ((8, 8), (4, 8), (4, 4)):
        mine = quant.quantize(network, space.recipe(space.uniform(*bits)), x, trainable=False)
        plain = quant.quantize(network, uniform_recipe(*bits), x, trainable=False)
        torch.testing.assert_close(mine(x), plain(x))
    with pytest.raises(InputError, match="depthwise has no weights of 3 bits"):
        space.uniform(3, 8)


def test_sizes_are_those_of_the_quantized_network_without_scales(space: Space, convolutions: Given) -> None:
    network, x = convolutions
    for one in ((1, 0, 2, 1), (2, 1, 1, 0)):
        made = quant.quantize(network, space.recipe(one), x, trainable=False)
        scales = sum(32 * p.numel() for q in made.quantizers().values() for p in [*q.parameters(), *q.buffers()])
        assert space.size_bits(one) == made.bits() - scales


def test_one_bit_is_binary_and_the_bases_own_width_keeps_its_scheme() -> None:
    assert isinstance(with_weight_bits(None, 1), BinaryWeights)
    assert isinstance(with_activation_bits(None, 1), BinaryActivations)
    ternary = load_recipe("ternary-a8").weights
    assert with_weight_bits(ternary, 2) is ternary
    assert with_weight_bits(ternary, None) is ternary
    assert with_weight_bits(ternary, 4).scheme == "uniform"  # type: ignore[union-attr]
    symmetric = UniformActivations(scheme="uniform", bits=8, affine=False, learned=False)
    assert with_activation_bits(symmetric, 4) == symmetric.model_copy(update={"bits": 4})


def test_names_of_recipes_stay_short() -> None:
    space = Space(load_recipe("w8a8"), tuple(Variable(f"layer{i}", "weights", (2, 4)) for i in range(40)))
    names = {space.recipe((*[0] * 39, i)).name for i in (0, 1)}
    assert len(names) == 2
    assert all(name.startswith("mixed-") and len(name) < 20 for name in names)


def test_products_share_one_choice(networks: Networks) -> None:
    model, x = networks("vit", 0)
    network = capture(model, x)
    space = search_space(network, x, weight_bits=(), activation_bits=(), product_bits=(4, 8))
    assert [(one.name, one.role) for one in space.variables] == [("", "products")]
    products = space.recipe((0,)).products
    assert products is not None
    assert products.bits == 4
    made = quant.quantize(network, "w8a8", x, trainable=False)
    cost = ChipCost(profile_low_bit(made, x), "generic_45nm", space.paths)
    assert cost(space.recipe((0,)), {})["energy_j"] < cost(space.recipe((1,)), {})["energy_j"]
    assert space.uniform(8, 2) == (1,)


def test_of_a_base_that_fires_weights_are_searched(convolutions: Given) -> None:
    network, x = convolutions
    with pytest.raises(InputError, match="spikes have one bit"):
        search_space(network, x, base="spike-w8")
    space = search_space(network, x, base="spike-w8", activation_bits=(), weight_bits=(2, 8))
    measured = profile_low_bit(quant.quantize(network, "spike-w8", x, trainable=False), x)
    cost = ChipCost(measured, "generic_45nm", space.paths)
    table = cost.table(space.recipe(space.uniform(2, 1)), {})
    base = cost.table(space.recipe(space.uniform(8, 1)), {})
    assert (table.acs == base.acs).all()
    assert (table.input_bits == base.input_bits).all()
    assert set(table.weight_bits[table.synaptic].tolist()) == {2, 8}


def test_nothing_to_search(convolutions: Given) -> None:
    with pytest.raises(InputError, match="no layer to search: the network's layers are stem"):
        search_space(*convolutions, only=["blocks.*"])
    with pytest.raises(InputError, match="no layer to search"):
        search_space(*convolutions, weight_bits=(), activation_bits=())
    perceptron = nn.Sequential(nn.Linear(4, 4)).eval()
    with pytest.raises(InputError, match="no layer to search"):
        search_space(perceptron, torch.randn(4, 4))


@pytest.mark.parametrize("bits", [(0, 8), (17,), (True,), (2.5,)])
def test_widths_outside_of_their_range(convolutions: Given, bits: Any) -> None:
    with pytest.raises(InputError, match="from 1 to 16"):
        search_space(*convolutions, weight_bits=bits)


@pytest.mark.parametrize("bits", [(4, 8), (4, 4), (8, 4)])
def test_costs_are_those_of_a_measured_network(
    space: Space, workload: Workload, convolutions: Given, bits: tuple[int, int]
) -> None:
    """Rescaling w8a8's workload and measuring the quantized network differ in the zeros alone, which stay w8a8's."""
    network, x = convolutions
    recipe = space.recipe(space.uniform(*bits))
    cost = ChipCost(workload, "generic_45nm", space.paths)
    found = cost.table(recipe, {})
    measured = layer_table(profile_low_bit(quant.quantize(network, recipe, x, trainable=False), x))
    for column in fields(LayerTable):
        if "density" not in column.name:
            np.testing.assert_array_equal(getattr(found, column.name), getattr(measured, column.name), column.name)
    for name in ("generic_45nm", "sram_cim_jia2020", "eyeriss", "jetson_orin_nano"):
        whole = estimate(measured, find_chips([name])[0])
        figures = ChipCost(workload, name, space.paths)(recipe, {})
        assert whole.total_energy_j is not None
        assert whole.total_latency_s is not None
        assert figures["energy_j"] == pytest.approx(whole.total_energy_j[0], rel=0.02)
        assert figures["latency_s"] == pytest.approx(whole.total_latency_s[0], rel=0.02)


def test_a_chip_gives_the_figures_that_it_answers(space: Space, workload: Workload) -> None:
    recipe = space.recipe(space.uniform(8, 8))
    assert set(ChipCost(workload, "xne", space.paths)(recipe, {})) == {"energy_j"}
    with pytest.raises(InputError, match=r"unknown chip 'jetson'.*jetson_nano"):
        ChipCost(workload, "jetson", space.paths)
    with pytest.raises(InputError, match=r"no layer 'blocks\.0'"):
        ChipCost(workload, "xne", ["blocks.0"])


def test_an_elastic_network_costs_by_choice() -> None:
    torch.manual_seed(0)
    elastic, x = ElasticPerceptron(6, 4, widths=(8, 16), depths=(1, 2)), torch.randn(8, 6)
    space = search_space(elastic, x, weight_bits=(2, 8))
    asked: list[Any] = []

    def measured(choice: Any) -> Workload:
        asked.append(choice)
        return profile_low_bit(quant.quantize(elastic.subnet(choice), "w8a8", x, trainable=False), x)

    cost = ChipCost(measured, "generic_45nm", space.paths)
    wide, deep = space.uniform(8, 8), {"width": 16, "depth": 2}
    assert space.choice(wide) == deep
    full = cost(space.recipe(wide), deep)["energy_j"]
    assert cost(space.recipe(space.uniform(2, 8)), deep)["energy_j"] < full
    shallow = (*wide[:-1], 0)
    assert cost(space.recipe(shallow), space.choice(shallow))["energy_j"] < full
    assert len(asked) == 2


def test_a_subnet_shares_its_weights() -> None:
    elastic = ElasticPerceptron(6, 4, widths=(8, 16), depths=(1, 2))
    subnet, x = elastic.subnet({"width": 8, "depth": 1}), torch.randn(2, 6)
    torch.testing.assert_close(elastic.subnet(largest(elastic))(x), elastic.whole(x))
    with torch.no_grad():
        subnet.head.weight += 1  # type: ignore[operator]
    assert torch.equal(elastic.whole.head.weight[:, :8], subnet.head.weight)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'depth' has no values"):
        search_space(_Empty(), x)


class _Empty:
    def choices(self) -> dict[str, tuple[int, ...]]:
        return {"depth": ()}

    def subnet(self, choice: Any) -> nn.Module:
        raise AssertionError


def test_measures(convolutions: Given) -> None:
    network, x = convolutions
    with torch.no_grad():
        labels = network.graph(x).argmax(1)
    wide, narrow = load_recipe("w8a8"), load_recipe("w1a1")
    for given in ({"labels": labels}, {"measure": "agreement"}, {"measure": "output"}):
        evaluate = QuickEvaluation(network, x, x, **given)  # type: ignore[arg-type]
        assert evaluate.float_error == 0
        assert 0 <= evaluate(wide, {}) <= evaluate(narrow, {})
        assert evaluate(narrow, {}) > 0
    batches = QuickEvaluation(network, x, x, measure="output", batch=3)
    assert batches(wide, {}) == pytest.approx(evaluate(wide, {}), rel=1e-4)


def test_descriptions_tell_networks_and_data_apart(convolutions: Given, networks: Networks) -> None:
    network, x = convolutions
    other, _ = networks("cnn", 1)
    first = QuickEvaluation(network, x, x)
    assert first.description == QuickEvaluation(network, x, x.clone()).description
    assert first.description != QuickEvaluation(other, x, x).description
    assert first.description != QuickEvaluation(network, x, x + 1).description
    assert first.description != QuickEvaluation(network, x, x, measure="output").description


def test_measurements_without_samples_or_labels(convolutions: Given) -> None:
    network, x = convolutions
    with pytest.raises(InputError, match="at least one"):
        QuickEvaluation(network, x, x[:0])
    with pytest.raises(InputError, match="needs labels"):
        QuickEvaluation(network, x, x, measure="labels")
    with pytest.raises(InputError, match="one class for each sample"):
        QuickEvaluation(network, x, x, torch.zeros(3))


def test_rules_of_the_base_for_single_layers_stay(convolutions: Given) -> None:
    base = Recipe.model_validate(
        {**load_recipe("w8a8").model_dump(by_alias=True), "layers": {"up": {"weights": {"scheme": "binary"}}}}
    )
    space = search_space(*convolutions, base=base, only=["depthwise"])
    recipe = space.recipe(space.uniform(4, 4))
    assert recipe.rule("up", None).weights == BinaryWeights(scheme="binary")
    assert recipe.rule("depthwise", None).weights.bits == 4  # type: ignore[union-attr]
