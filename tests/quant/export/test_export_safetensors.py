"""Networks written as tensors, and made again from the same architecture with other weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor, nn

import quant
from hardware_models.errors import InputError
from quant.capture import capture
from quant.export import export_safetensors, load_quantized
from quant.export.header import make, settings
from quant.quantizers import Binary, Pact, PowerOfTwo, Quantizer, Spikes, Ternary, Uniform
from quant.recipes import uniform_recipe


def assert_same(a: quant.QuantizedNetwork, b: quant.QuantizedNetwork, x: Tensor) -> None:
    assert torch.equal(a(x), b(x))
    assert a.operators == b.operators
    assert a.recipe == b.recipe
    assert a.timesteps == b.timesteps
    first, second = a.state_dict(), b.state_dict()
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert [str(one) for one in a.quantizers().values()] == [str(one) for one in b.quantizers().values()]


@pytest.mark.parametrize("recipe", quant.recipe_names())
def test_every_recipe_comes_back(recipe: str, quantized: Any, networks: Any, tmp_path: Path) -> None:
    network, x = quantized("cnn", recipe)
    assert export_safetensors(network, tmp_path / "a", x) == 0
    assert_same(load_quantized(tmp_path / "a", networks("cnn", 5)[0]), network, x)


@pytest.mark.parametrize(("kind", "recipe"), [("vit", "w4a4"), ("words", "w8a8")])
def test_other_networks_come_back(kind: str, recipe: str, quantized: Any, networks: Any, tmp_path: Path) -> None:
    network, x = quantized(kind, recipe)
    assert export_safetensors(network, tmp_path / "a", x) == 0
    assert_same(load_quantized(tmp_path / "a", networks(kind, 5)[0]), network, x)


def test_signs_of_values_come_from_the_file(tmp_path: Path) -> None:
    """What is never negative in the data has unsigned codes; no data are needed to know that again."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).eval()
    network = quant.quantize(model, "w4a4", -torch.rand(8, 4))
    export_safetensors(network, tmp_path / "a", torch.rand(1, 4))
    fresh = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).eval()
    assert_same(load_quantized(tmp_path / "a", fresh), network, torch.randn(8, 4))


@pytest.mark.parametrize("keep", [["relu"], ["up"], ["relu", "head"]])
def test_what_was_kept_is_kept_again(keep: list[str], networks: Any, tmp_path: Path) -> None:
    model, x = networks("cnn", 0)
    network = quant.quantize(model, uniform_recipe(3, 5), x, keep=keep)
    export_safetensors(network, tmp_path / "a", x)
    assert_same(load_quantized(tmp_path / "a", networks("cnn", 1)[0]), network, x)


def test_folded_norms_and_captured_networks(networks: Any, tmp_path: Path) -> None:
    model, x = networks("cnn", 0)
    network = quant.quantize(model, "w4a4", x, trainable=False)
    export_safetensors(network, tmp_path / "a", x)
    assert_same(load_quantized(tmp_path / "a", networks("cnn", 1)[0]), network, x)
    assert_same(load_quantized(tmp_path / "a", capture(networks("cnn", 2)[0], x)), network, x)


def test_tied_weights_are_written_once(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(32, 32, bias=False), nn.Linear(32, 32, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x).relu())

    x = torch.randn(4, 32)
    network = quant.quantize(Tied().eval(), "w8a8", x)
    export_safetensors(network, tmp_path / "a", x)
    assert (tmp_path / "a").stat().st_size < 1.8 * 32 * 32 * 4
    again = load_quantized(tmp_path / "a", Tied().eval())
    assert_same(again, network, x)


QUANTIZERS = [
    Uniform(4, True),
    Uniform(4, True, narrow=True, channels=3, axis=1, learned=False),
    Uniform(4, False, affine=True),
    Uniform(1, False),
    Uniform(1, True),
    Pact(3),
    Binary("mean", "polynomial", axis=0),
    Binary("learned", channels=3, axis=0),
    Binary("one", channels=5, axis=1, shift=True),
    Ternary("mean"),
    Ternary("threshold", axis=0),
    PowerOfTwo(4, channels=3, axis=0),
    Spikes(3, 0.5, None, (1, 2)),
]


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=str)
def test_quantizers_are_made_again_from_their_settings(quantizer: Quantizer) -> None:
    again = make(type(settings(quantizer)).model_validate_json(settings(quantizer).model_dump_json()))
    again.load_state_dict(quantizer.state_dict())
    hidden = ("_parameters", "_buffers", "_modules")
    first, second = ({k: v for k, v in vars(one).items() if k not in hidden} for one in (quantizer, again))
    assert first == second


def test_other_architectures_and_files_are_refused(quantized: Any, networks: Any, tmp_path: Path) -> None:
    network, x = quantized("cnn", "w4a4")
    export_safetensors(network, tmp_path / "a", x)
    wide, _ = networks("cnn", 0)
    wide.head = nn.Linear(6, 11)
    with pytest.raises(InputError, match=r"made of another architecture, which has another layers.head"):
        load_quantized(tmp_path / "a", wide.eval())
    with pytest.raises(InputError, match="made of another architecture"):
        load_quantized(tmp_path / "a", networks("vit", 0)[0])
    with pytest.raises(InputError, match="cannot be read"):
        load_quantized(tmp_path / "none", wide)
    (tmp_path / "text").write_text("no tensors")
    with pytest.raises(InputError, match="cannot be read"):
        load_quantized(tmp_path / "text", wide)
    safetensors.torch.save_file({"a": torch.ones(1)}, tmp_path / "plain")
    with pytest.raises(InputError, match="holds tensors alone"):
        load_quantized(tmp_path / "plain", wide)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schema_version": "neuro.quantized-network/9"}, "header that cannot be read"),
        ({"timesteps": "many"}, "header that cannot be read"),
        ({"inputs": [{"shape": [3, 8, 8], "dtype": "manual_seed"}]}, "not known"),
        ({"quantizers": "first"}, "not known"),
    ],
)
def test_a_changed_header_is_refused(
    change: dict[str, Any], problem: str, quantized: Any, networks: Any, tmp_path: Path
) -> None:
    network, x = quantized("cnn", "w4a4")
    export_safetensors(network, tmp_path / "a", x)
    with safe_open(tmp_path / "a", "pt") as file:
        header = json.loads(file.metadata()["neuro"])
    if change.get("quantizers"):
        name = next(iter(header["quantizers"]))
        change = {"quantizers": {**header["quantizers"], name: {"kind": "Module", "arguments": {}}}}
    tensors = safetensors.torch.load_file(tmp_path / "a")
    safetensors.torch.save_file(tensors, tmp_path / "b", {"neuro": json.dumps(header | change)})
    with pytest.raises(InputError, match=problem):
        load_quantized(tmp_path / "b", networks("cnn", 0)[0])
