"""Twins of Brevitas' layers against the networks that they share everything with."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import brevitas.nn
import pytest
import torch
from brevitas.export import export_onnx_qcdq, export_qonnx
from brevitas.graph.calibrate import bias_correction_mode
from brevitas.graph.gptq import gptq_mode
from torch import Tensor, nn

import quant
from hardware_models.errors import InputError
from quant.export import run_qcdq, run_qonnx
from quant.layers import BrevitasNetwork, brevitas_form
from quant.quantizers import PowerOfTwo


def twins(quantized: Any, kind: str, recipe: str) -> tuple[quant.QuantizedNetwork, BrevitasNetwork, Tensor]:
    network, x = quantized(kind, recipe)
    network = copy.deepcopy(network)
    return network, brevitas_form(network), x


def gradients(answering: nn.Module, holding: nn.Module, x: Tensor) -> dict[str, Tensor]:
    holding.zero_grad()
    answering(x).square().sum().backward()
    return {name: one.grad.clone() for name, one in holding.named_parameters() if one.grad is not None}


SLOW = [pytest.param("vit", recipe, marks=pytest.mark.slow) for recipe in ("reactnet", "spike-w1")]
CASES = [("cnn", recipe) for recipe in quant.recipe_names()]


@pytest.mark.parametrize(("kind", "recipe"), [*CASES, ("vit", "w4a4"), ("words", "w8a8"), *SLOW])
def test_twins_answer_and_learn_alike(kind: str, recipe: str, quantized: Any) -> None:
    network, twin, x = twins(quantized, kind, recipe)
    assert torch.equal(network(x), twin(x))
    network.train(), twin.train()
    first, second = gradients(network, network, x), gradients(twin, network, x)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert {id(one) for one in twin.parameters()} == {id(one) for one in network.parameters()}


def test_layers_are_those_of_brevitas(quantized: Any) -> None:
    _, twin, _ = twins(quantized, "cnn", "w4a4")
    layers = [type(one) for one in twin.modules() if isinstance(one, brevitas.nn.mixin.base.QuantLayerMixin)]
    for kind, count in {"QuantConv2d": 2, "QuantConvTranspose2d": 1, "QuantLinear": 1}.items():
        assert layers.count(getattr(brevitas.nn, kind)) == count
    layer = twin.layers.get_submodule("weight_quantizers.depthwise.weight")
    weight = layer.quant_weight()  # type: ignore[operator]
    assert int(weight.bit_width) == 4
    assert weight.scale.shape == (8, 1, 1, 1)
    assert weight.is_valid
    assert weight.int().abs().max() == 7
    _, words, _ = twins(quantized, "words", "w8a8")
    assert any(isinstance(one, brevitas.nn.QuantEmbedding) for one in words.modules())


def test_training_the_twin_trains_the_network(quantized: Any) -> None:
    network, twin, x = twins(quantized, "cnn", "w1a1")
    before = network(x)
    optimizer = torch.optim.SGD(twin.parameters(), 0.1)
    twin.train()(x).square().sum().backward()
    optimizer.step()
    twin.eval()
    assert not torch.equal(network(x), before)
    assert torch.equal(network(x), twin(x)), "running statistics are shared too"


def test_copies_are_apart_and_states_load(quantized: Any) -> None:
    network, twin, x = twins(quantized, "cnn", "w4a4")
    wanted = network(x)
    other = copy.deepcopy(twin)
    with torch.no_grad():
        for one in other.parameters():
            one.mul_(1.5)
    assert torch.equal(network(x), wanted)
    state = {name: value.clone() for name, value in twin.state_dict().items()}
    other.load_state_dict(state)
    assert torch.equal(other(x), wanted)
    with torch.no_grad():
        next(iter(other.parameters())).mul_(0)
    assert torch.equal(network(x), wanted), "loading does not tie the copy to the network"
    twin.load_state_dict({name: value * 1.25 for name, value in state.items() if value.is_floating_point()}, False)
    assert torch.equal(network(x), twin(x))


@pytest.mark.parametrize(("kind", "recipe"), [("cnn", "w4a4"), ("cnn", "spike-w4")])
def test_brevitas_exports_qcdq(kind: str, recipe: str, quantized: Any, tmp_path: Path) -> None:
    network, twin, x = twins(quantized, kind, recipe)
    export_onnx_qcdq(twin, args=x, export_path=str(tmp_path / "a"), dynamo=False, opset_version=17)
    torch.testing.assert_close(run_qcdq(tmp_path / "a", x), network(x).detach(), rtol=0, atol=2e-2)


@pytest.mark.parametrize(
    ("kind", "recipe"),
    [
        pytest.param("vit", "w4a4", marks=pytest.mark.slow),
        ("cnn", "reactnet"),
        pytest.param("cnn", "w1a8", marks=pytest.mark.slow),
        ("cnn", "bitnet"),
    ],
)
def test_brevitas_exports_qonnx(kind: str, recipe: str, quantized: Any, tmp_path: Path) -> None:
    network, twin, x = twins(quantized, kind, recipe)
    export_qonnx(twin, args=x, export_path=str(tmp_path / "a"), dynamo=False, opset_version=17)
    torch.testing.assert_close(run_qonnx(tmp_path / "a", x), network(x).detach(), rtol=0, atol=2e-2)


def test_tools_of_brevitas_work_on_the_network(networks: Any) -> None:
    """GPTQ changes weights, and bias correction biases: the network's own."""
    model, _ = networks("cnn", 0)
    model.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8).eval()  # with a bias, or one would be added
    x = torch.randn(64, 3, 8, 8)
    network = quant.quantize(model, "w4a8", x)
    before = {name: one.clone() for name, one in network.named_parameters()}
    twin = brevitas_form(network)
    with torch.no_grad(), gptq_mode(twin, use_quant_activations=False) as mode:
        for _ in range(mode.num_layers):
            mode.model(x)
            mode.update()
    changed = {name for name, one in network.named_parameters() if not torch.equal(one, before[name])}
    assert {"layers.stem.weight", "layers.head.weight"} <= changed
    assert all(name.endswith("weight") for name in changed)
    with torch.no_grad(), bias_correction_mode(twin):
        twin(x)
    assert not torch.equal(network.layers.stem.bias, before["layers.stem.bias"])  # type: ignore[union-attr,arg-type]
    assert torch.equal(network(x), twin(x))


def test_widths_of_powers_of_two_are_those_of_their_values(networks: Any) -> None:
    model, x = networks("cnn", 0)
    network = quant.quantize(model, "w4a4", x)
    name = "weight_quantizers.stem.weight"
    quantizer = PowerOfTwo(4)
    quantizer.initialise(network.layers.get_parameter("stem.weight"))
    network.layers.set_submodule(name, quantizer.eval())
    twin = brevitas_form(network)
    weight = twin.layers.get_submodule(name).quant_weight()  # type: ignore[operator]
    assert int(weight.bit_width) == 8
    assert weight.is_valid
    assert torch.equal(network(x), twin(x))


def test_what_cannot_be_a_twin_is_refused(networks: Any, monkeypatch: Any) -> None:
    model, x = networks("cnn", 0)
    with pytest.raises(InputError, match="a Convolutions was given; quantize it first"):
        brevitas_form(model)
    network = quant.quantize(model, "w4a4", x)
    for name in [one for one in sys.modules if one.partition(".")[0] == "brevitas"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"brevitas is not installed; pip install neuro\[export\]"):
        brevitas_form(network)
