import copy
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import quant
from hardware_models.errors import InputError
from quant.bias_correction import mean_difference
from quant.calibrate import calibrate, post_training
from quant.capture import capture
from quant.equalize import equalize
from quant.observe import CalibrationWarning, initialise
from quant.quantizers import Uniform
from quant.walk import Walk


class Net(nn.Module):
    """Convolutions, one depthwise and one without a bias, BatchNorm before and behind a rectifier, attention."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.n = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.b, self.m = nn.Conv2d(8, 8, 3, groups=8, stride=2), nn.BatchNorm2d(8)
        self.c = nn.Conv2d(8, 12, 1)
        self.l, self.q, self.k = nn.LayerNorm(12), nn.Linear(12, 12), nn.Linear(12, 12)
        self.o = nn.Linear(12, 5, bias=False)
        for norm in (self.n, self.m):
            nn.init.uniform_(norm.weight, 0.2, 3)
            nn.init.uniform_(norm.running_var, 0.2, 3)
            nn.init.normal_(norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.m(self.b(nn.functional.relu6(self.n(self.a(x)))).relu())
        x = self.c(nn.functional.max_pool2d(x, 2, 1)).relu().flatten(2).transpose(1, 2)
        y = self.l(x)
        scores = torch.softmax(self.q(y) @ self.k(y).transpose(1, 2), -1)
        return self.o((x + scores @ x).mean(1))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(scope="module")
def batches() -> list[tuple[Tensor, ...]]:
    return [(x,) for x in torch.randn(48, 3, 9, 9, generator=torch.Generator().manual_seed(1)).split(16)]


@pytest.fixture(scope="module")
def captured(model, batches):
    return capture(model, batches[0][0][:2])


@pytest.fixture(scope="module")
def w4a8(captured, batches):
    """The network of that recipe with BatchNorm folded, not yet calibrated."""
    return quant.quantize(captured, "w4a8", batches[0][0])


def relative_error(network: nn.Module, model: nn.Module, batches: list[tuple[Tensor, ...]]) -> float:
    with torch.no_grad():
        pairs = [(network(*x), model(*x)) for x in batches]
    return sum(float((a - b).square().sum()) for a, b in pairs) / sum(float(b.square().sum()) for _, b in pairs)


def test_one_call_quantizes_and_says_what_it_did(model, captured, batches):
    before = copy.deepcopy(model.state_dict())
    network, told = post_training(model, "w4a4", batches)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert told.samples == 48
    assert told.method == "mse"
    assert [one.path for one in told.layers] == ["a", "b", "c", "q", "k", "o"]
    assert {one.rounding for one in told.layers} == {"gptq"}
    assert all(one.bias for one in told.layers)
    assert told.error == pytest.approx(relative_error(network, model, batches), rel=1e-4)
    assert told.error < relative_error(quant.quantize(captured, "w4a4", batches[0][0]), model, batches)


@pytest.mark.parametrize("rounding", ["gptq", "adaround"])
def test_rounded_weights_lie_on_their_levels_and_stay_there(w4a8, model, batches, rounding):
    network = copy.deepcopy(w4a8)
    told = calibrate(network, batches, rounding=rounding, bias_correction=False)
    for one in network.operators:
        if one.weight:
            weight = network.layers.get_parameter(one.parameter)
            torch.testing.assert_close(network.quantizers()[one.weight](weight), weight, atol=1e-6, rtol=1e-5)
    plain = calibrate(copy.deepcopy(w4a8), batches, bias_correction=False)
    assert all(one.after <= one.before * 1.001 for one in told.layers)
    assert sum(one.after for one in told.layers) < sum(one.after for one in plain.layers)
    assert {one.rounding for one in plain.layers} == {"nearest"}


def test_levels_that_are_no_equal_steps_stay_nearest_and_are_named(model, batches):
    _, told = post_training(model, "ternary-a8", batches)
    notes = {one.path: (one.rounding, one.note) for one in told.layers}
    assert notes["c"] == ("nearest", "its weights are not on equal steps")
    assert notes["a"] == ("gptq", "")


def test_a_spiking_network_is_calibrated_for_the_mean_over_its_timesteps(model, batches):
    network, told = post_training(model, "spike-w4", batches, timesteps=4)
    assert told.samples == 48
    assert told.error == pytest.approx(relative_error(network, model, batches), rel=1e-4)


def test_bias_correction_takes_the_mean_error_away_also_without_a_bias_before():
    torch.manual_seed(0)
    layer = nn.Linear(20, 6, bias=False).eval()
    x = torch.rand(256, 20) + 1
    network = quant.quantize(layer, quant.recipes.uniform_recipe(3, 4).model_copy(update={"last": None}), x)

    @torch.no_grad()
    def mean_error() -> float:
        return float((network(x) - layer(x)).mean(0).abs().max())

    assert mean_error() > 0.01
    calibrate(network, [(x,)])
    assert mean_error() < 1e-5


def test_the_mean_error_is_of_what_a_rectifier_lets_pass():
    exact = [torch.tensor([[1.0, -9.0], [2.0, 3.0]]), torch.tensor([[-1.0, 4.0]])]
    found = [torch.tensor([[0.5, -1.0], [-2.0, 2.0]]), torch.tensor([[-7.0, 4.5]])]
    assert mean_difference(exact, found, 1, rectified=True).tolist() == pytest.approx([(0.5 + 4) / 2, (1 - 0.5) / 2])
    assert mean_difference(exact, found, 1, rectified=False).tolist() == pytest.approx([10.5 / 3, (-8 + 1 - 0.5) / 3])
    assert mean_difference([-exact[0].abs()], [-exact[0].abs()], 1, rectified=True).tolist() == [0, 0]


def test_a_shared_bias_is_corrected_for_each_layer_alone():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)
            self.b.bias = self.a.bias

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x).tanh())

    torch.manual_seed(0)
    model, x = Twice().eval(), torch.randn(64, 6)
    network = quant.quantize(model, quant.recipes.uniform_recipe(3, 3), x)
    calibrate(network, [(x,)])
    assert float((network(x) - model(x)).detach().mean(0).abs().max()) < 1e-5
    assert network.state_dict().keys() == copy.deepcopy(network).state_dict().keys()


@settings(max_examples=4, deadline=None)
@given(st.floats(0, 1), st.integers(0, 100))
def test_equalization_changes_nothing_in_floating_point(model, captured, batches, strength, seed):
    equalized, told = equalize(captured, batches, strength)
    x = torch.randn(8, 3, 9, 9, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(equalized.graph(x), model(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(captured.graph(x), model(x), atol=1e-5, rtol=1e-5)
    # What reads the attention's input and what a sum reads is left alone.
    assert [(one.makers, one.readers) for one in told] == [(("a",), ("b",)), (("m",), ("c",)), (("l",), ("q", "k"))]
    assert "aten.minimum" in equalized.graph.code
    assert "aten.relu6" not in equalized.graph.code
    network = quant.quantize(equalized, "w8a8", x)
    assert relative_error(network, model, [(x,)]) < 0.01


def test_equalization_makes_ranges_of_values_and_of_the_weights_that_read_them_equal():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    with torch.no_grad():
        model[0].weight.mul_(torch.logspace(-2, 2, 8).unsqueeze(1))
        model[0].bias.mul_(torch.logspace(-2, 2, 8)).abs_()
    x = torch.randn(100, 6)
    equalized, told = equalize(capture(model, x), [(x,)], 0.5)
    torch.testing.assert_close(equalized.graph(x), model(x), atol=1e-4, rtol=1e-4)
    values = Walk(equalized.graph, [(x,)])
    for node in values.nodes:
        values.compute(node)
        if node.name.startswith("relu"):
            (y,) = values.values(node)
            layer = {"relu": "2", "relu_1": "4"}[node.name]
            weight = equalized.graph.get_parameter(f"{layer}.weight").abs().amax(0)
            used = y.amax(0) > 0
            ratio = (y.amax(0) / weight)[used]
            torch.testing.assert_close(ratio / ratio[0], torch.ones_like(ratio), atol=0.05, rtol=0)
    assert told[0].before > 10 * told[0].after
    flat, _ = equalize(capture(model, x), [(x,)], 1.0)
    y = (x @ flat.graph.get_parameter("0.weight").T + flat.graph.get_parameter("0.bias")).relu().amax(0)
    torch.testing.assert_close(y / y[0], torch.ones_like(y), atol=1e-4, rtol=0)


def test_ranges_are_those_of_numpy_on_all_batches():
    class Identity(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.l = nn.Linear(10, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.l(x)

    x = torch.rand(300, 10, generator=torch.Generator().manual_seed(0)) ** 3
    parts = [(one,) for one in x.split(100)]
    network = quant.quantize(Identity().eval(), "w4a4", x[:10])
    (quantizer,) = [one for name, one in network.quantizers().items() if name.startswith("quantizers")]
    assert isinstance(quantizer, Uniform)
    assert (quantizer.low, quantizer.high) == (0, 255)
    values = np.sort(x.numpy().ravel())

    def top(method: str, **more: float) -> float:
        initialise(network, parts, method, **more)
        return float(quantizer.scale_) * 255

    assert top("minmax") == pytest.approx(values[-1])
    assert top("percentile", percentile=90.0) == pytest.approx(values[round(0.9 * len(values)) - 1])
    tops = {method: top(method) for method in ("mse", "histogram")}
    assert all(0.5 * values[-1] < one <= values[-1] * 1.0001 for one in tops.values())

    def error(high: float) -> float:
        step = high / 255
        return float(np.mean((np.clip(np.round(values / step), 0, 255) * step - values) ** 2))

    assert error(tops["mse"]) <= min(error(values[-1] * k / 100) for k in range(1, 101)) * 1.001


def test_both_ends_of_a_range_with_a_zero_point_are_kept():
    values = torch.cat([torch.full((1, 50), -1.0), torch.full((1, 50), 1.0), torch.rand(1, 20) - 0.5], 1)
    for method in ("minmax", "mse"):
        quantizer = Uniform(8, signed=False, affine=True)
        quantizer.initialise(values, method)
        ends = torch.tensor([-1.0, 0.0, 1.0])
        torch.testing.assert_close(quantizer(ends), ends, atol=1e-6, rtol=0)


def test_rare_extremes_do_not_count_for_many():
    x = torch.randn(1 << 21, generator=torch.Generator().manual_seed(0)).view(-1, 64)
    x[0, 0] = 40.0
    network = quant.quantize(nn.Linear(64, 2).eval(), "w4a4", x[1:5])
    (quantizer,) = [one for name, one in network.quantizers().items() if name.startswith("quantizers")]
    initialise(network, [(one,) for one in x.split(1 << 13)], "mse")
    assert float(quantizer.scale_) * 127 < 25  # covering one value of two million up to 40 is not worth it


def test_layers_see_what_quantized_layers_hand_on(w4a8, batches):
    """A range chosen while walking is that of the finished network, run anew."""
    network = copy.deepcopy(w4a8)
    calibrate(network, batches, method="minmax")
    seen: dict[str, list[Tensor]] = {}
    for name, one in network.quantizers().items():
        one.register_forward_pre_hook(lambda _, args, name=name: seen.setdefault(name, []).append(args[0]))
    for batch in batches:
        network(*batch)
    checked = 0
    for name, one in network.quantizers().items():
        if name.startswith("quantizers") and isinstance(one, Uniform) and not one.affine and one.low == 0:
            high = max(float(x.max()) for x in seen[name])
            assert float(one.scale_) * one.high == pytest.approx(high, rel=1e-4)
            checked += 1
    assert checked >= 2


def test_zeros_alone_are_warned_of():
    class Dead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.b((self.a(x) - 1e6).relu())

    x = torch.randn(8, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = quant.quantize(Dead().eval(), "w8a8", x)
    with pytest.warns(CalibrationWarning, match="zeros alone"):
        told = calibrate(network, [(x,)])
    assert "zeros alone" in told.warnings[0]


def test_refusals_are_one_sentence(w4a8, model, batches):
    network = copy.deepcopy(w4a8)

    def refused(part: str, data: object = batches, **options: object) -> None:
        with pytest.raises(InputError, match=part) as error:
            calibrate(network, data, **options)
        assert str(error.value).count(". ") <= 1

    spoilt = batches[0][0].clone()
    spoilt[3] = torch.nan
    refused("no data", [])
    refused("everywhere", [(torch.full((4, 3, 9, 9), 7.0),)])
    refused("NaN", [(spoilt,)])
    refused("no samples", [(spoilt[:0],)])
    refused("did you mean 'percentile'", method="percentil")
    refused("did you mean 'adaround'", rounding="adarund")
    refused("percentile was 3", method="percentile", percentile=3)
    with pytest.raises(InputError, match="did you mean 'gptq'"):
        post_training(model, "w4a8", batches, rounding="gtpq")
    with pytest.raises(InputError, match="strength"):
        post_training(model, "w4a8", batches, equalization=True, strength=2)
    trains = quant.quantize(model, "w4a8", batches[0][0]).train()
    with pytest.raises(InputError, match="BatchNorm in training mode"):
        calibrate(trains, batches)
    assert calibrate(trains.eval(), batches).error < 0.1
