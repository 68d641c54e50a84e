"""Whole packed networks against the simulated ones: integer sums equal, outputs up to rounding."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import quant
from hardware_models.errors import InputError
from quant.capture import Captured, capture
from quant.packed import PackedActivation, PackedNetwork, library, pack
from quant.packed.modules import Pack, Product
from quant.quantizers import Binary, Uniform
from quant.recipes import Recipe, load_recipe, uniform_recipe

ROUNDING = 2e-6
"""Relative error of an output where no code is another."""
FLIP = 0.02
"""The same where values within rounding of the middle between two codes went the other way: a step is up to the whole
range for one bit, and each changes what comes behind it."""


class Residual(nn.Module):
    """Strides, depthwise and 1x1 convolutions, sums of two layers and of a layer and a shortcut; `[B, 3, 12, 12]`."""

    def __init__(self, norms: bool = True) -> None:
        super().__init__()
        norm = nn.BatchNorm2d if norms else nn.Identity
        self.stem, self.stem_norm = nn.Conv2d(3, 20, 3, padding=1), norm(20)
        self.one, self.one_norm = nn.Conv2d(20, 20, 3, padding="same", bias=False), norm(20)
        self.two, self.two_norm = nn.Conv2d(20, 24, 3, 2, 1, bias=False), norm(24)
        self.down, self.down_norm = nn.Conv2d(20, 24, 1, 2, bias=False), norm(24)
        self.depthwise, self.pointwise = nn.Conv2d(24, 24, 3, padding=2, dilation=2, groups=24), nn.Conv2d(24, 16, 1)
        self.grouped = nn.Conv2d(16, 16, (1, 3), groups=2)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = F.max_pool2d(self.stem_norm(self.stem(x)).relu(), 3, 2, 1)
        y = (self.one_norm(self.one(y)) + y).relu()
        y = (self.two_norm(self.two(y)) + self.down_norm(self.down(y))).relu()
        y = self.pointwise(self.depthwise(y).relu()).relu()
        y = self.grouped(F.pad(y, (1, 1))) + y
        return self.head(y.mean((2, 3)))


def fill(network: nn.Module) -> nn.Module:
    """Give BatchNorm statistics, and biases, that are not those of the beginning."""
    for one in network.modules():
        if isinstance(one, nn.BatchNorm2d):
            nn.init.uniform_(one.running_mean, -0.5, 0.5)
            nn.init.uniform_(one.running_var, 0.5, 2)
            nn.init.uniform_(one.weight, 0.5, 1.5)
    for name, value in network.named_parameters():
        if "bias" in name:
            nn.init.uniform_(value, -0.3, 0.3)
    return network.eval()


@pytest.fixture(scope="module")
def make(networks: Any) -> Callable[..., tuple[quant.QuantizedNetwork, Tensor]]:
    """Return a function from a kind of network and a recipe to the quantized network and an input; made once."""

    @functools.cache
    def captured(kind: str, fold: bool) -> tuple[Captured, Tensor]:
        if kind == "vit":
            network, x = networks("vit", 0)
        else:
            torch.manual_seed(0)
            network, x = fill(Residual()), torch.randn(3, 3, 12, 12)
        return capture(network, x, fold=fold), x

    made: dict[tuple[str, str, bool], quant.QuantizedNetwork] = {}

    def quantized(kind: str, recipe: str | Recipe, trainable: bool = True) -> tuple[quant.QuantizedNetwork, Tensor]:
        network, x = captured(kind, not trainable)
        key = kind, str(recipe), trainable
        if key not in made:
            made[key] = quant.quantize(network, recipe, x, timesteps=2, trainable=trainable)
        return made[key], x

    return quantized


@torch.no_grad()
def error(packed: PackedNetwork, network: quant.QuantizedNetwork, x: Tensor) -> float:
    wanted = network(x)
    return float((packed(x) - wanted).norm() / wanted.norm())


CASES = [(kind, recipe) for kind in ("residual", "vit") for recipe in quant.recipe_names()]


@pytest.mark.parametrize(("kind", "recipe"), CASES)
def test_every_recipe(kind: str, recipe: str, make: Any) -> None:
    network, x = make(kind, recipe)
    packed = pack(network, batch=3)
    check_sums(packed, network, x)
    assert error(packed, network, x) < FLIP
    layers = [one for one in packed.operators if one.operator in ("conv2d", "linear")]
    assert len(layers) == len(packed.products()) > 4
    assert all(one.packed for one in layers), packed.operators


def test_hardly_any_network_meets_a_tie(make: Any) -> None:
    errors = [error(pack(make("residual", one)[0]), *make("residual", one)) for one in quant.recipe_names()]
    assert sum(one > ROUNDING for one in errors) <= 3, errors


def check_sums(packed: PackedNetwork, network: quant.QuantizedNetwork, x: Tensor) -> None:
    """Hold each layer's integer sums to float64 arithmetic on the codes that the network's own quantizers make."""
    read: dict[int, tuple[Tensor, PackedActivation]] = {}
    checked = []

    def after_pack(_: Pack, args: tuple[Tensor], made: PackedActivation) -> None:
        read[id(made)] = args[0], made

    def after_product(name: str, module: Product, args: tuple[Any, ...], __: Tensor) -> None:
        (one,) = (one for one in network.operators if one.node == name)
        quantizers = network.quantizers()
        weight, activation = quantizers[one.weight], quantizers[one.inputs[0]]
        value = read[id(args[0])][0].contiguous()
        q = activation.codes(value).double().round() - activation.zero_point()
        parameter = network.get_parameter(f"layers.{one.parameter}")
        w = weight.codes(parameter).double().round()
        if module.operand.kernel:
            groups = module.operand.layout.groups
            wanted = F.conv2d(q, w, None, **module.places, groups=groups).movedim(1, -1)
        else:
            wanted = F.linear(q, w)
        assert torch.equal(module.sums(args[0]).double(), wanted), name
        checked.append(name)

    handles: list[Any] = []
    for one in packed.modules():
        if isinstance(one, Pack):
            handles.append(one.register_forward_hook(after_pack))
    for name, product in packed.products().items():
        handles.append(product.register_forward_hook(functools.partial(after_product, name)))
    with torch.no_grad():
        packed(x)
    for handle in handles:
        handle.remove()
    assert sorted(checked) == sorted(packed.products())


@functools.cache
@torch.no_grad()
def exact() -> tuple[Captured, Tensor]:
    """A network with weights of +-1/4 and biases of a few eighths, and an input of eighths."""
    torch.manual_seed(1)
    model, x = fill(Residual(norms=False)), torch.randint(-8, 9, (2, 3, 12, 12)) / 8
    for parameter in model.parameters():
        quarters = torch.where(parameter < 0, -0.25, 0.25)
        parameter.copy_(quarters if parameter.dim() > 1 else (parameter * 8).round() / 8)
    return capture(model, x), x


@torch.no_grad()
@pytest.mark.parametrize(
    "recipe", ["w1a1", "w2a2", "w4a4", "w8a8", "bireal", "reactnet", "ternary-a8", "bitnet", "spike-w1", "spike-w8"]
)
def test_without_rounding_networks_answer_the_same_to_the_bit(recipe: str) -> None:
    """Scales, weights, biases and inputs of few binary digits: float32 is exact, so that no code can flip."""
    model, x = exact()
    network = quant.quantize(model, recipe, x, timesteps=2, trainable=False)
    for one in network.quantizers().values():
        for name, value in one.named_parameters():
            if name in ("scale_", "threshold_"):
                value.copy_(torch.exp2(value.abs().log2().round()))
            if name == "shift_":
                value.copy_(torch.randint(-4, 5, value.shape) / 8)
    for one in network.layers.modules():
        if isinstance(one, quant.quantizers.ShiftedPReLU):
            one.before.copy_(torch.randint(-4, 5, one.before.shape) / 8)
            one.after.copy_(torch.randint(-4, 5, one.after.shape) / 8)
    assert torch.equal(pack(network)(x), network(x))


@pytest.mark.parametrize("recipe", ["w1a1", "w4a4", "reactnet", "spike-w4"])
def test_what_follows_a_layer_is_fused(recipe: str, make: Any) -> None:
    packed = pack(make("residual", recipe)[0])
    words = {(one.path, one.operator): one.words for one in packed.operators}
    assert words["one_norm", "BatchNorm2d"] == "fused into one"
    assert words["stem_norm", "BatchNorm2d"] == "fused into stem"
    adds = [one.words for one in packed.operators if one.operator == "add"]
    assert adds == ["fused into one", "fused into two", "fused into grouped"]
    rectifiers = [one.words for one in packed.operators if one.operator in ("relu", "ShiftedPReLU")]
    if recipe == "spike-w4":  # neurons do to values below 0 what rectifiers do
        assert rectifiers == ["fused into stem", "fused into pointwise"]
        return
    assert rectifiers == [f"fused into {name}" for name in ("stem", "one", "two", "depthwise", "pointwise")]
    assert not any(isinstance(one, nn.BatchNorm2d) for one in packed.modules())


def test_folded_batch_norm(make: Any) -> None:
    network, x = make("residual", "w4a4", False)
    packed = pack(network)
    assert error(packed, network, x) < FLIP
    assert not any(one.operator == "BatchNorm2d" for one in packed.operators)


def test_what_is_not_packed_says_why(networks: Any) -> None:
    model, x = networks("cnn", 0)
    network = quant.quantize(model, "w4a4", x, keep=["head"])
    packed = pack(network)
    found = {one.path: one for one in packed.operators if one.operator.startswith(("conv", "linear"))}
    assert found["stem"].packed
    assert "activations of 8" in found["stem"].words
    assert found["depthwise"].words.startswith("depthwise: integer weights of 4 bits")
    assert not found["up"].packed
    assert found["up"].words.startswith("conv_transpose2d: packed are")
    assert found["head"].words == "in floating point"
    assert error(packed, network, x) < FLIP


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (uniform_recipe(16, 8), "weights of whole numbers of 16 bits"),
        (uniform_recipe(4, 16), "activations of 16 bits"),
        (load_recipe("w4a4").model_copy(update={"activations": None}), "activations in floating point"),
        (load_recipe("w4a4").model_copy(update={"weights": None}), "weights in floating point"),
        (
            Recipe.model_validate(
                load_recipe("w8a8").model_dump() | {"weights": {"scheme": "power-of-two", "bits": 5}}
            ),
            "weights of whole numbers of 16 bits",
        ),
    ],
)
def test_wide_values_stay_simulated(recipe: Recipe, words: str, make: Any) -> None:
    network, x = make("residual", recipe)
    packed = pack(network)
    whys = {one.words for one in packed.operators if one.operator == "conv2d" and not one.packed}
    assert whys == {words}
    assert error(packed, network, x) < FLIP
    assert set(packed.products()) == {"conv2d", "linear"}, "first and last have 8 bits"


def test_powers_of_two_of_few_bits_are_packed(make: Any) -> None:
    weights = {"scheme": "power-of-two", "bits": 4}
    network, x = make("residual", Recipe.model_validate(load_recipe("w4a8").model_dump() | {"weights": weights}))
    packed = pack(network)
    check_sums(packed, network, x)
    assert all(one.packed for one in packed.operators if one.operator == "conv2d")


def test_attention_products_are_listed(make: Any) -> None:
    packed = pack(make("vit", "w8a8")[0])
    products = [one for one in packed.operators if one.operator in ("matmul", "bmm")]
    assert [one.words for one in products] == ["a product of two values"] * 2


def test_images_in_one_dimension() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(4, 8, 3), nn.ReLU(), nn.Conv1d(8, 8, 3, 2, 1), nn.Flatten(), nn.Linear(40, 3)
    ).eval()
    x = torch.randn(2, 4, 12)
    network = quant.quantize(model, "w4a4", x)
    packed = pack(network)
    assert len(packed.products()) == 3
    assert error(packed, network, x) < FLIP


@torch.no_grad()
@pytest.mark.parametrize("kind", ["residual", "vit"])
def test_what_comes_before_the_first_spike_runs_once(kind: str, make: Any) -> None:
    network, x = make(kind, "spike-w8")
    packed = pack(network)
    assert packed.repeats
    seen = []
    packed.products()["conv2d"].register_forward_hook(lambda _, __, y: seen.append(len(y)))
    for count in (1, 3):
        packed(x[:count])
    assert seen == [1, 3]
    assert error(packed, network, x) < FLIP
    assert pack(pickle.loads(pickle.dumps(network))).repeats is False, "its graph tells no shapes"


@torch.no_grad()
def test_batches_threads_copies_and_layouts(make: Any) -> None:
    network, x = make("residual", "w1a1")
    packed = pack(network)
    wanted = packed(x)
    for count in (1, 2):
        assert torch.equal(packed(x[:count]), wanted[:count])
    assert torch.equal(packed(x.to(memory_format=torch.channels_last)), wanted)
    assert torch.equal(copy.deepcopy(packed)(x), wanted)
    assert torch.equal(pickle.loads(pickle.dumps(packed))(x), wanted)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert torch.equal(packed(x), wanted)
    finally:
        torch.set_num_threads(threads)


def test_the_network_is_left_as_it_was(make: Any) -> None:
    network, _ = make("residual", "w2a2")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    names = [one.name for one in network.layers.graph.nodes]
    pack(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert [one.name for one in network.layers.graph.nodes] == names
    assert all(one.requires_grad for one in network.parameters())


def test_an_unpickled_network_can_be_packed(make: Any) -> None:
    """Its nodes have other names, and no shapes: it is only slower."""
    network, x = make("residual", "w4a4")
    again = pickle.loads(pickle.dumps(network))
    packed = pack(again)
    assert set(packed.products()) == set(pack(network).products())
    assert error(packed, network, x) < FLIP


def test_without_a_compiler(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for recipe in ("reactnet", "spike-w1", "w4a4"):
        network, x = make("residual", recipe)
        wanted = pack(network)(x)
        with monkeypatch.context() as patch:
            patch.setattr(library, "available", lambda: False)
            packed = pack(network)
            assert {one.operand.algorithm for one in packed.products().values()} == {"reference"}
            torch.testing.assert_close(packed(x), wanted)


def test_refusals(make: Any) -> None:
    network, x = make("residual", "w1a1")
    with pytest.raises(InputError, match=r"Linear was to be packed; quantize it first"):
        pack(nn.Linear(2, 2))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"training mode.*eval\(\)"):
        pack(copy.deepcopy(network).train())
    with pytest.raises(InputError, match="network on meta"):
        pack(copy.deepcopy(network).to("meta"))
    broken = copy.deepcopy(network)
    quantizers = [one for one in broken.quantizers().values() if isinstance(one, Uniform | Binary)]
    with torch.no_grad():
        quantizers[0].scale_.fill_(float("nan"))
    with pytest.raises(InputError, match=r"scale_ holds nan.*calibrate"):
        pack(broken)
    packed = pack(network)
    with pytest.raises(InputError, match="no gradient"):
        packed(x.clone().requires_grad_())
    with pytest.raises(InputError, match="on meta"):
        packed(x.to("meta"))
    with pytest.raises(InputError, match="cannot be trained"):
        packed.train()
    with pytest.raises(InputError, match="NaN"):
        packed(x * float("nan"))
