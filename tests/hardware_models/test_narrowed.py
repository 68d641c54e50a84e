"""Networks wider than a chip: the layers that an estimate calls narrowed are those that it narrowed, and as it did."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_chip_properties import figures
from test_spatial import chip as small
from workload_builders import conv3x3, linear, operand, other, spikes, workload

from hardware_models.chip import Chip, chip, chip_names
from hardware_models.engine import ENGINES, Narrowed
from hardware_models.errors import InputError
from hardware_models.estimate import Estimate, estimate
from hardware_models.variants import estimate_variants
from hardware_models.workload import Operand, Workload

WIDTHS = {
    "loihi2": (None, 8),  # events carry values of any width
    "tpu_like": (8, 8),
    "eyeriss": (16, 16),
    "edge_tpu": (8, 8),
    "small": (8, 8),
    "spikesim_65nm_rram": (8, 4),
}
"""Widest inputs and weights of one chip of each engine."""


def chip_of(name: str) -> Chip:
    return small() if name == "small" else chip(name)


def dense(first: tuple[int, int], second: tuple[int, int]) -> Workload:
    """Two linear layers of integers, (input bits, weight bits) each; an addition of the first one's results."""

    def operands(bits: tuple[int, int], inputs: int, weights: int) -> tuple[Operand, Operand]:
        read = operand("input", "integer", bits[0], elements=inputs)
        return read, operand("weight", "integer", bits[1], elements=weights)

    return workload(
        linear("a", 16, 32, 64, *operands(first, 512, 2048), consumers=("b", "sum")),
        linear("b", 16, 64, 8, *operands(second, 1024, 512)),
        other("sum", "add"),
    )


def spiking(bits: int) -> Workload:
    """A linear layer on spikes and the neurons behind it, after neurons of its own."""
    fired = spikes(0.25, 0.25).model_copy(update={"name": "output"})
    layer = linear("a", 1, 100, 8, spikes(0.25, 0.25), operand("weight", "integer", bits, elements=800))
    return workload(
        other("first", "neuron", timesteps=2, out_elements=100, output=fired, consumers=("a",)),
        layer.model_copy(update={"timesteps": 2, "driven_by": "input", "acs": 400, "consumers": ("last",)}),
        other("last", "neuron", timesteps=2, out_elements=8, output=fired),
        timesteps=2,
    )


def at(network: Workload, narrowed: dict[str, Narrowed]) -> Workload:
    """`network` as really given at the widths that it is said to run at."""
    layers = []
    for layer in network.layers:
        if layer.name in narrowed:
            pairs = zip(layer.operands, narrowed[layer.name].run, strict=True)
            layer = layer.model_copy(update={"operands": tuple(o.model_copy(update={"bits": b}) for o, b in pairs)})
        layers.append(layer)
    return network.model_copy(update={"layers": tuple(layers)})


def cuts_in_words(found: Estimate) -> dict[str, int]:
    """Layers by `given to run`, read from the sentence."""
    said = [text for text in found.assumptions if "taken as quantized" in text]
    assert len(said) == bool(found.narrowed)
    return {cut: int(number) for cut, number in re.findall(r"(\d+ x \d+ to \d+ x \d+) in (\d+) layer", " ".join(said))}


def test_every_engine_is_tried() -> None:
    assert {chip_of(name).engine for name in WIDTHS} == set(ENGINES)


@pytest.mark.parametrize("name", WIDTHS)
def test_wide_layers_are_named_with_both_widths(name: str) -> None:
    inputs, weights = WIDTHS[name]
    found = estimate(dense((32, 32), (2, 64)), chip_of(name))
    assert found.narrowed == {
        "a": Narrowed((32, 32), (inputs or 32, weights)),
        "b": Narrowed((2, 64), (2, weights)),
    }
    document = json.loads(found.to_json())["narrowed"]
    assert document["b"] == {"given": [2, 64], "run": [2, weights]}
    assert cuts_in_words(found) == {f"32 x 32 to {inputs or 32} x {weights}": 1, f"2 x 64 to 2 x {weights}": 1}


@pytest.mark.parametrize("name", WIDTHS)
def test_layers_as_wide_as_the_chip_are_not_narrowed(name: str) -> None:
    inputs, weights = WIDTHS[name]
    found = estimate(dense((inputs or 32, weights), (1, 1)), chip_of(name))
    assert found.narrowed == {}
    assert cuts_in_words(found) == {}
    assert json.loads(found.to_json())["narrowed"] == {}


@pytest.mark.parametrize("name", [*chip_names(), "small"])
@settings(max_examples=20, deadline=None)
@given(first=st.integers(1, 32), second=st.integers(1, 32), weights=st.integers(1, 32), on_spikes=st.booleans())
def test_the_estimate_is_that_of_the_narrowed_network(
    name: str, first: int, second: int, weights: int, on_spikes: bool
) -> None:
    network = spiking(weights) if on_spikes else dense((first, weights), (second, weights))
    try:
        found = estimate(network, chip_of(name))
    except InputError:  # a chip that runs nothing but spikes
        assert not on_spikes
        return
    really = estimate(at(network, dict(found.narrowed)), chip_of(name))
    assert really.narrowed == {}
    assert figures(found) == pytest.approx(figures(really))
    for one in found.narrowed.values():
        assert one.run != one.given
        assert (np.array(one.run) <= one.given).all()
    assert sum(cuts_in_words(found).values()) == len(found.narrowed)


def test_a_layer_that_the_chip_leaves_out_is_not_narrowed() -> None:
    # Three kernel rows on an array of two: the host runs it, at its own width.
    eyeriss = chip("eyeriss")
    flat = eyeriss.figures["array.rows"].model_copy(update={"value": 2})
    low = eyeriss.model_copy(update={"figures": {**eyeriss.figures, "array.rows": flat}})
    wide = operand("input", "integer", 32), operand("weight", "integer", 32)
    found = estimate(workload(conv3x3("tall", 4, (2, 4), *wide), linear("fc", 1, 8, 4, *wide)), low)
    assert list(found.left_out) == ["tall"]
    assert list(found.narrowed) == ["fc"]


def test_operands_cut_into_passes_are_not_narrowed_and_nor_are_their_results() -> None:
    passes = small(settings={"precision": {"input_bits": 8, "weight_bits": 8, "wider": "passes"}})
    read, weights = operand("input", "integer", 16, elements=4), operand("weight", "integer", 16, elements=16)
    layers = linear("a", 1, 4, 4, read, weights, consumers=("b",)), linear("b", 1, 4, 4, read, weights)
    found = estimate(workload(*layers), passes)
    assert found.narrowed == {}
    assert found.traffic_bytes["dram"][0] == 2 * (4 + 16 + 4)  # results leave at the 16 bits that `b` reads


def test_variants_say_the_narrowest() -> None:
    said = estimate_variants(spiking(16), chip("loihi2"), {"core.weight_bits": [8, 4, 32]}).assumptions
    assert any("1 x 16 to 1 x 4 in 1 layer" in text for text in said)
    said = estimate_variants(spiking(16), chip("loihi2"), {"core.weight_bits": [16, 32]}).assumptions
    assert not any("taken as quantized" in text for text in said)
