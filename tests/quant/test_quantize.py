"""Whole networks: what becomes of each operator, and that the result trains, compiles, copies, saves and runs."""

from __future__ import annotations

import copy
import pickle
import warnings

import pytest
import torch
from small_networks import NETWORKS, ViT, network, warmed
from torch import Tensor, nn

import quant
from hardware_models.errors import InputError
from quant.capture import capture
from quant.observe import CalibrationWarning, initialise
from quant.quantizers import Binary, ShiftedPReLU, Spikes, Uniform
from quant.recipes import Recipe, load_recipe, recipe_names, uniform_recipe

CASES = [(name, recipe) for name in NETWORKS for recipe in ("w4a4", "w1a1")]


def error(one: nn.Module, other: nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        return float((one(x) - other(x)).norm() / other(x).norm())


def operators(found: quant.QuantizedNetwork, kind: str) -> list[quant.network.Quantized]:
    return [one for one in found.operators if one.kind == kind]


@pytest.mark.parametrize("name", [*NETWORKS, "words"])
def test_sixteen_bits_change_next_to_nothing(name: str) -> None:
    model, x = network(name)
    recipe = uniform_recipe(16, 16)
    wide = {"scheme": "uniform", "bits": 16, "affine": True}
    ends = {"weights": {"scheme": "uniform", "bits": 16}, "activations": wide}
    document = recipe.model_dump(by_alias=True) | {"sums": wide, "functions": wide, "first": ends, "last": ends}
    found = quant.quantize(model, Recipe.model_validate(document | {"tables": ends["weights"]}), x)
    assert error(found, model, x) < 2e-3


@pytest.mark.parametrize("name", [*NETWORKS, "words"])
def test_error_falls_with_bits(name: str) -> None:
    model, x = network(name)
    errors = [error(quant.quantize(model, recipe, x), model, x) for recipe in ("w8a8", "w4a4", "w1a1")]
    assert errors == sorted(errors)
    assert errors[0] < 0.1


FORMS = [*((name, recipe) for name in ("resnet", "sdpa") for recipe in recipe_names()), ("words", "w4a4")]


@pytest.mark.parametrize(("name", "recipe"), FORMS)
def test_every_recipe_trains_every_form(name: str, recipe: str) -> None:
    model, x = network(name)
    found = quant.quantize(model, recipe, x, timesteps=2)
    labels = torch.randint(0, 3, (len(x),))
    optimizer = torch.optim.Adam(found.parameters(), 1e-2)
    losses = []
    found.train()
    for _ in range(8):
        loss = nn.functional.cross_entropy(found(x), labels)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in found.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(("name", "recipe"), CASES)
def test_it_compiles_without_a_break(name: str, recipe: str) -> None:
    model, x = network(name)
    found = quant.quantize(model, recipe, x).train()
    compiled = torch.compile(found, fullgraph=True, backend="eager")
    compiled(x).square().sum().backward()
    gradients = [p.grad.clone() for p in found.parameters() if p.grad is not None]
    assert len(gradients) == len(list(found.parameters()))
    found.eval()
    with torch.no_grad():
        assert torch.allclose(compiled(x), found(x), atol=1e-5)
    torch._dynamo.reset()


@pytest.mark.parametrize(("name", "recipe"), [*CASES, ("resnet", "spike-w1"), ("sdpa", "reactnet")])
def test_it_is_saved_before_the_first_step(name: str, recipe: str) -> None:
    """Loaded into the variant of another network that saw other data."""
    model, x = network(name)
    found = quant.quantize(model, recipe, x)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
    again = quant.quantize(other, recipe, x * 2)
    again.load_state_dict(found.state_dict())
    assert error(again, found, x) == 0


@pytest.mark.parametrize(("name", "recipe"), [*CASES, ("sdpa", "spike-w1")])
def test_it_is_copied_pickled_and_run_in_inference_mode(name: str, recipe: str) -> None:
    model, x = network(name)
    found = quant.quantize(model, recipe, x)
    assert error(copy.deepcopy(found), found, x) == 0
    assert error(pickle.loads(pickle.dumps(found)), found, x) == 0
    with torch.inference_mode():
        assert found(x).isfinite().all()


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_exported_and_takes_any_batch(name: str) -> None:
    model, x = network(name)
    found = quant.quantize(model, "w4a4", x)
    program = torch.export.export(found, (x,), dynamic_shapes=(({0: torch.export.Dim("batch")},),))
    for count in (1, 5):
        assert torch.allclose(program.module()(x[:count]), found(x[:count]), atol=1e-5)


def test_names_of_parameters_stay() -> None:
    model, x = network("resnet")
    state = quant.quantize(model, "w4a4", x).layers.state_dict()
    given = {name: value for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert given.keys() <= state.keys()
    assert all(torch.equal(state[name], value) for name, value in given.items())


def test_the_network_that_was_given_is_left_alone() -> None:
    model, x = network("resnet")
    before = copy.deepcopy(model.state_dict())
    found = quant.quantize(model, "w1a1", x).train()
    found(x).sum().backward()
    torch.optim.SGD(found.parameters(), 1.0).step()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_weights_take_as_many_values_as_their_bits_hold() -> None:
    model, x = network("resnet")
    for recipe, most in (("w4a4", 15), ("w2a2", 3), ("ternary-a8", 3), ("w1a1", 2)):
        found = quant.quantize(model, recipe, x)
        for one in operators(found, "synapse"):
            quantizer = found.quantizers()[one.weight]
            weight = found.layers.get_parameter(one.parameter)
            at_end = one.path in ("stem", "head")
            assert quantizer.bits == 8 if at_end else len(quantizer.codes(weight).unique()) <= most


def test_the_first_and_the_last_layer_keep_eight_bits() -> None:
    model, x = network("sdpa")
    found = quant.quantize(model, "w1a1", x)
    bits = {one.path: found.quantizers()[one.weight].bits for one in operators(found, "synapse")}
    assert bits.pop("patches") == bits.pop("head") == 8
    assert set(bits.values()) == {1}


def test_both_operands_of_attention_are_quantized() -> None:
    for name in ("plain", "sdpa", "mha"):
        model, x = network(name)
        found = quant.quantize(model, "w4a4", x)
        products = operators(found, "product")
        assert len(products) == 4
        for one in products:
            assert [found.quantizers()[q].bits for q in one.inputs] == [4, 4]


def test_operands_of_a_sum_share_one_scale() -> None:
    model, x = network("resnet")
    found = quant.quantize(model, "w4a4", x)
    for one in operators(found, "add"):
        (name,) = one.inputs
        calls = [n for n in found.layers.graph.nodes if n.op == "call_module" and n.target == name]
        assert len(calls) == 2


def test_what_functions_read_is_quantized_and_rectifiers_are_not_in_the_way() -> None:
    model, x = network("sdpa")
    found = quant.quantize(model, "w4a4", x)
    named = {one.operator: one.inputs for one in operators(found, "nonlinear")}
    assert all(named[name] for name in ("layer_norm", "gelu", "softmax"))
    resnet = quant.quantize(*network("resnet")[:1], "w4a4", network("resnet")[1])
    assert all(not one.inputs for one in operators(resnet, "nonlinear") if one.operator in ("relu", "max_pool2d"))


def test_a_table_of_words_is_quantized() -> None:
    model, x = network("words")
    found = quant.quantize(model, "w4a4", x)
    (table,) = [one for one in found.operators if one.operator == "embedding"]
    assert found.quantizers()[table.weight].bits == 8


def test_values_that_are_never_negative_have_unsigned_codes() -> None:
    model, x = network("resnet")
    found = quant.quantize(model, "w4a4", x)
    signs = {
        one.path: found.quantizers()[one.inputs[0]].limits()[0] < 0 or getattr(q, "affine", False)
        for one in operators(found, "synapse")
        for q in [found.quantizers()[one.inputs[0]]]
    }
    assert signs["stem"]
    assert not any(signs[path] for path in ("conv1", "conv2", "up", "head"))


def test_reactnet_takes_the_place_of_rectifiers_by_channel() -> None:
    model, x = network("resnet")
    found = quant.quantize(model, "reactnet", x)
    layers = [one for one in found.modules() if isinstance(one, ShiftedPReLU)]
    assert [len(one.slope) for one in layers] == [8, 8, 12, 12, 6]
    signs = [one for one in found.modules() if isinstance(one, Binary) and one.shifts]
    assert signs
    vit, y = network("sdpa")
    of_tokens = [one for one in quant.quantize(vit, "reactnet", y).modules() if isinstance(one, ShiftedPReLU)]
    assert [(one.axis, len(one.slope)) for one in of_tokens] == [(2, 32)] * 2


def test_a_spiking_variant_fires_over_its_timesteps() -> None:
    model, x = network("resnet")
    found = quant.quantize(model, "spike-w1", x, timesteps=3)
    seen: list[Tensor] = []
    neurons = [one for one in found.modules() if isinstance(one, Spikes)]
    handles = [one.register_forward_hook(lambda m, i, o: seen.append(o / m.scale(o))) for one in neurons]
    with torch.no_grad():
        found(x)
    for handle in handles:
        handle.remove()
    assert len(seen) == len(neurons) > 4
    assert all(set(spikes.unique().tolist()) <= {0.0, 1.0} and len(spikes) == 3 * len(x) for spikes in seen)


def test_more_timesteps_are_nearer() -> None:
    """Where nothing but neurons lies between layers, spikes add up to what the network computes."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5))
    x = torch.randn(8, 3, 8, 8)
    errors = [error(quant.quantize(model.eval(), "spike-w8", x, timesteps=t), model, x) for t in (1, 4, 16, 64)]
    assert errors == sorted(errors, reverse=True)
    assert errors[3] < 0.05


def test_batch_norm_is_a_layer_to_train_or_is_folded() -> None:
    model, x = network("resnet")
    trained = quant.quantize(model, "w8a8", x).train()
    before = trained.layers.bn1.running_mean.clone()
    trained(x + 1)
    assert not torch.equal(before, trained.layers.bn1.running_mean)
    folded = quant.quantize(model, "w8a8", x, trainable=False)
    assert not [one for one in folded.modules() if isinstance(one, nn.BatchNorm2d)]
    assert error(folded, model, x) < 0.1


def test_rules_for_single_layers() -> None:
    model, x = network("sdpa")
    document = load_recipe("w4a4").model_dump(by_alias=True)
    document["layers"] = {
        "mlps.*": {"weights": {"scheme": "uniform", "bits": 2}, "activations": None},
        "mlps.1.*": {"weights": None, "activations": {"scheme": "uniform", "bits": 3}},
    }
    found = quant.quantize(model, Recipe.model_validate(document), x)
    by_path = {one.path: one for one in operators(found, "synapse")}
    assert found.quantizers()[by_path["mlps.0.3"].weight].bits == 2
    assert not by_path["mlps.0.3"].inputs
    assert not by_path["mlps.1.0"].weight
    assert found.quantizers()[by_path["mlps.1.0"].inputs[0]].bits == 3


def test_a_rule_for_layers_that_are_not_there_is_refused() -> None:
    model, x = network("resnet")
    document = load_recipe("w4a4").model_dump(by_alias=True) | {"layers": {"conv_1": {}}}
    with pytest.raises(InputError, match=r"'conv_1', which fits none; layers are called conv1"):
        quant.quantize(model, Recipe.model_validate(document), x)


def test_what_is_kept_stays_in_floating_point() -> None:
    model, x = network("resnet")
    found = quant.quantize(model, "w1a1", x, keep=["depthwise", "max_pool2d"])
    kept = {one.path or one.operator: one for one in operators(found, "kept")}
    assert not kept["depthwise"].weight
    with pytest.raises(InputError, match="'depthwize' was to be kept"):
        quant.quantize(model, "w1a1", x, keep=["depthwize"])


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.matrix_exp(self.inner(x).unsqueeze(-1) @ x.unsqueeze(-2)).sum(-1)


def test_an_operator_without_a_rule_is_named_with_the_way_out() -> None:
    model, x = Odd().eval(), torch.randn(3, 4)
    with pytest.raises(InputError, match=r"linalg_matrix_exp.*no rule.*keep"):
        quant.quantize(model, "w8a8", x)
    found = quant.quantize(model, "w8a8", x, keep=["linalg_matrix_exp"])
    assert [one.operator for one in operators(found, "kept")] == ["linalg_matrix_exp"]


def test_bad_requests() -> None:
    model, x = network("resnet")
    with pytest.raises(InputError, match=r"unknown recipe 'w4a5'; did you mean .*'w4a4'"):
        quant.quantize(model, "w4a5", x)
    with pytest.raises(InputError, match="at least 1"):
        quant.quantize(model, "spike-w1", x, timesteps=0)
    with pytest.raises(InputError, match="training mode"):
        quant.quantize(copy.deepcopy(model).train(), "w4a4", x)
    with pytest.raises(InputError, match="everywhere"):
        quant.quantize(model, "w4a4", torch.ones_like(x))
    with pytest.raises(InputError, match="NaN or infinite"):
        quant.quantize(model, "w4a4", torch.where(x > 1, torch.inf, x))
    with pytest.raises(InputError, match="no data"):
        initialise(quant.quantize(model, "w4a4", x), [])


def test_a_silent_value_is_named() -> None:
    model, x = network("resnet")
    muted = copy.deepcopy(model)
    with torch.no_grad():
        muted.depthwise.weight.zero_()
        muted.depthwise.bias.zero_()
    with pytest.warns(CalibrationWarning, match="zeros alone"):
        found = quant.quantize(muted, "w4a4", x)
    with torch.no_grad():
        assert found(x).isfinite().all()


def test_ranges_come_from_all_batches() -> None:
    model, x = network("resnet")
    found = quant.quantize(model, "w8a8", x)
    first = found.quantizers()["quantizers.input_1" if "quantizers.input_1" in found.quantizers() else "quantizers.x"]
    assert isinstance(first, Uniform)
    before = first.scale_.item()
    initialise(found, [(x,), (3 * x,)], "minmax")
    assert first.scale_.item() == pytest.approx(float((3 * x).amax() - (3 * x).amin()) / 255, rel=5e-3)
    assert first.scale_.item() > before


def test_a_captured_network_is_quantized_without_capturing_again() -> None:
    model, x = network("sdpa")
    captured = capture(model, x, fold=False)
    assert error(quant.quantize(captured, "w4a4", x), quant.quantize(model, "w4a4", x), x) == 0


def test_stored_bits_are_counted() -> None:
    layer = nn.Sequential(nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False))
    found = quant.quantize(layer.eval(), "w1a1", torch.randn(4, 64))
    state = sum(v.numel() for n, v in found.layers.state_dict().items() if not n.endswith("weight"))
    assert found.bits() == 64 * 64 * (8 + 1 + 8) + 32 * state


def test_dropout_is_left_out_and_the_network_still_trains() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3, 16, 16)
    found = quant.quantize(warmed(ViT("sdpa"), x), "w4a4", x).train()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(found(x), found(x))
