"""Files of packed networks: the same network again, and as small as arithmetic says."""

from __future__ import annotations

import copy
import json
import struct
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import quant
from hardware_models.errors import InputError, RunError
from quant.capture import Captured, capture
from quant.packed import PackedWeight, load, pack, save
from quant.packed.content import parameter_of
from quant.packed.formats import packed_weight
from quant.quantizers import Binary, PowerOfTwo, Quantizer, Ternary, Uniform


class Wide(nn.Module):
    """Between an 8-bit first and last layer, two convolutions that hold nearly all the weights; `[B, 3, 8, 8]`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width)
        self.one, self.norm1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.two, self.norm2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem_norm(self.stem(x)).relu()
        y = self.norm1(self.one(y)).relu()
        return self.head((self.norm2(self.two(y)) + y).relu().mean((2, 3)))


def wide(width: int, seed: int) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(seed)
    network = Wide(width).eval()
    for one in network.modules():
        if isinstance(one, nn.BatchNorm2d):
            nn.init.uniform_(one.running_mean, -0.5, 0.5)
            nn.init.uniform_(one.running_var, 0.5, 2)
            nn.init.uniform_(one.bias, -0.3, 0.3)
    return network, torch.randn(2, 3, 8, 8)


@pytest.fixture(scope="module")
def captured() -> list[tuple[Captured, Tensor]]:
    """The same architecture with two sets of weights."""
    found = []
    for seed in range(2):
        network, x = wide(16, seed)
        found.append((capture(network, x, fold=False), x))
    return found


@torch.no_grad()
@pytest.mark.parametrize("recipe", quant.recipe_names())
def test_a_file_makes_the_same_network_again(recipe: str, captured: Any, tmp_path: Path) -> None:
    (model, x), (other, y) = captured
    network = quant.quantize(model, recipe, x, timesteps=2)
    packed = pack(network)
    size = save(network, tmp_path / "a.safetensors")
    assert size == (tmp_path / "a.safetensors").stat().st_size
    save(packed, tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    again = load(tmp_path / "a.safetensors", quant.quantize(other, recipe, y, timesteps=2))
    assert torch.equal(again(x), packed(x))
    assert again.operators == packed.operators
    save(again, tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@torch.no_grad()
@pytest.mark.parametrize(
    ("kind", "recipe"), [("cnn", "w1a1"), ("cnn", "bitnet"), ("cnn", "w4a4"), ("vit", "w8a8"), ("words", "w8a8")]
)
def test_layers_that_are_simulated_are_small_too(kind: str, recipe: str, networks: Any, tmp_path: Path) -> None:
    model, x = networks(kind, 0)
    network = quant.quantize(model, recipe, x)
    save(network, tmp_path / "a")
    other = copy.deepcopy(network)
    for one in other.parameters():
        one.normal_()
    assert torch.equal(load(tmp_path / "a", other)(x), pack(network)(x))
    weights = {one.weight for one in network.operators if one.weight}
    assert set(header(tmp_path / "a")["weights"]) == weights, "transposed convolutions and tables too"


def header(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["neuro"])


@pytest.mark.parametrize("trainable", [True, False])
def test_size_of_a_binary_network(trainable: bool, tmp_path: Path) -> None:
    """Each binary weight takes one bit, each output channel a scale and a bias, or scale and shift of BatchNorm."""
    width = 256
    model, x = wide(width, 0)
    network = quant.quantize(model, "w1a1", x, trainable=trainable)
    save(network, tmp_path / "a")
    tensors = safetensors.torch.load_file(tmp_path / "a")
    ours = [name for name in tensors if any(one in name for one in ("one.", "two.", "norm", "folded"))]
    body = sum(tensors[name].nbytes for name in ours if not name.startswith("quantizers."))
    weights, norms = 2 * width * width * 9, (4 if trainable else 0) * 3 * width
    vectors = 2 * width + (2 * 3 * width if trainable else 3 * width)
    state = 2 * 2 * 4  # two numbers of each quantizer of a weight
    assert body == weights // 8 + 4 * vectors + state
    assert 4 * (weights + norms) / body >= 28
    planes = [one for name, one in tensors.items() if name.endswith("planes")]
    assert sum(one.nbytes for one in planes) == weights // 8 + width * 8 * 4 + 10 * width
    whole = (tmp_path / "a").stat().st_size
    assert whole < body + width * 8 * 4 + 10 * width + 4 * (width + 20) + 8192, (
        "the rest is first and last layer, header"
    )


@pytest.mark.parametrize(("recipe", "bits"), [("w1a2", 1), ("ternary-a8", 2), ("w2a2", 2), ("w4a4", 4), ("w8a8", 8)])
def test_weights_take_their_bits(recipe: str, bits: int, captured: Any, tmp_path: Path) -> None:
    save(quant.quantize(captured[0][0], recipe, captured[0][1]), tmp_path / "a")
    tensors = safetensors.torch.load_file(tmp_path / "a")
    assert tensors["weight_quantizers.one.weight.planes"].nbytes == 16 * 16 * 9 * bits // 8
    assert tensors["weight_quantizers.stem.weight.planes"].nbytes == 16 * 8 * 4, "27 weights are padded to 4 bytes"
    assert not {"one.weight", "norm1.running_mean"} & set(tensors)


QUANTIZERS = st.sampled_from(
    [
        lambda axis, n: Binary("mean", axis=axis),
        lambda axis, n: Binary("learned", channels=n, axis=axis),
        lambda axis, n: Ternary("threshold", axis=axis),
        lambda axis, n: Ternary("mean", axis=axis),
        lambda axis, n: Uniform(2, True, narrow=True, channels=n, axis=axis),
        lambda axis, n: Uniform(5, True, narrow=True, channels=n, axis=axis),
        lambda axis, n: Uniform(8, True, channels=n, axis=axis),
        lambda axis, n: PowerOfTwo(4, channels=n, axis=axis),
    ]
)


@torch.no_grad()
@settings(deadline=None, max_examples=60)
@given(
    QUANTIZERS, st.sampled_from([None, 0, 1]), st.lists(st.integers(1, 9), min_size=2, max_size=4), st.integers(0, 99)
)
def test_a_parameter_is_made_of_the_packed_weight(build: Any, axis: int | None, shape: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    value = torch.randn(shape)
    quantizer: Quantizer = build(axis, 1 if axis is None else shape[axis])
    quantizer.initialise(value)
    weight = packed_weight(quantizer, value)
    assert weight.shape[0] == shape[axis or 0]
    again = PackedWeight.read(weight.header(), weight.tensors())
    torch.testing.assert_close(quantizer(parameter_of(again, quantizer)), quantizer(value), rtol=1e-5, atol=0)


def test_tied_weights_with_two_quantizers_stay_as_they_are(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.mix, self.head = nn.Embedding(12, 8), nn.Linear(8, 8), nn.Linear(8, 12, bias=False)
            self.head.weight = self.table.weight

        def forward(self, words: Tensor) -> Tensor:
            return self.head(self.mix(self.table(words)).relu().mean(1))

    torch.manual_seed(0)
    words = torch.randint(0, 12, (3, 5))
    network = quant.quantize(Tied().eval(), "w4a8", words)
    save(network, tmp_path / "a")
    again = load(tmp_path / "a", quant.quantize(Tied().eval(), "w4a8", words))
    assert torch.equal(again(words), pack(network)(words))
    assert header(tmp_path / "a")["weights"].keys() == {"weight_quantizers.mix.weight"}


def test_wrong_files(captured: Any, tmp_path: Path) -> None:
    (model, x), _ = captured
    network, path = quant.quantize(model, "w1a1", x), tmp_path / "a"
    save(network, path)
    with pytest.raises(InputError, match=r"holds a network by w1a1 with T = 1, and one by w4a4"):
        load(path, quant.quantize(model, "w4a4", x))
    other, y = wide(24, 0)
    with pytest.raises(InputError, match=r"another architecture.*another"):
        load(path, quant.quantize(other, "w1a1", y))
    with pytest.raises(InputError, match=r"another architecture.*another"):
        load(path, quant.quantize(wide(16, 0)[0], "w1a1", x, trainable=False))
    with pytest.raises(InputError, match="quantize it first"):
        load(path, nn.Linear(2, 2))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "none", network)
    (tmp_path / "short").write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "short", network)
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "plain")
    with pytest.raises(InputError, match="tensors alone"):
        load(tmp_path / "plain", network)
    tensors = safetensors.torch.load_file(path)
    del tensors["weight_quantizers.one.weight.planes"]
    safetensors.torch.save_file(tensors, tmp_path / "less", {"neuro": json.dumps(header(path))})
    with pytest.raises(InputError, match=r"cannot be understood.*one\.weight\.planes"):
        load(tmp_path / "less", network)
    safetensors.torch.save_file(tensors, tmp_path / "none", {"neuro": json.dumps(header(path) | {"schema_version": 2})})
    with pytest.raises(InputError, match="cannot be understood"):
        load(tmp_path / "none", network)
    with pytest.raises(InputError, match="Linear was to be written"):
        save(nn.Linear(2, 2), tmp_path / "b")  # type: ignore[arg-type]
    with pytest.raises(RunError):
        save(network, tmp_path / "no" / "folder")
