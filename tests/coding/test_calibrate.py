"""Units chosen from what the float network's values are, and what is told about data that cannot be right."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hardware_models.errors import InputError
from neuro.coding.calibrate import Calibration, CalibrationWarning, InputRange, calibrate
from neuro.coding.network import SpikingNetwork
from neuro.coding.rewrite import to_spiking
from neuro.coding.scheme import Scheme
from quant.capture import Captured, capture

POWER = Scheme("differential", "power-of-two", 12)
BINARY = Scheme("rate", "binary", 1)


@functools.cache
def convolution() -> Captured:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 5)).eval()
    return capture(model, torch.rand(2, 3, 6, 6))


@functools.cache
def linear(*shape: int) -> Captured:
    torch.manual_seed(0)
    return capture(nn.Linear(shape[-1], 2).eval(), torch.rand(2, *shape))


def spiking(captured: Captured, scheme: Scheme = POWER, timesteps: int = 16) -> SpikingNetwork:
    return to_spiking(captured, scheme, timesteps)


def quiet(network: SpikingNetwork, data: Tensor, **options: object) -> Calibration:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        return calibrate(network, [(part,) for part in data.split(4)], **options)  # type: ignore[arg-type]


def first(network: SpikingNetwork) -> str:
    return next(iter(network.encoders()))


def test_the_largest_value_of_all_batches_is_the_unit_of_max() -> None:
    data = torch.rand(8, 3, 6, 6)
    data[7, 1, 2, 3] = 5.0
    network = spiking(convolution(), BINARY)
    record = quiet(network, data, method="max")
    assert network.encoders()[first(network)].unit == 5.0
    assert record.neurons[first(network)].largest == 5.0
    assert record.samples == 8


def test_a_percentile_leaves_out_the_rare_value() -> None:
    data = torch.rand(8, 3, 6, 6)
    data[7, 1, 2, 3] = 500.0
    network = spiking(convolution(), BINARY)
    quiet(network, data, percentile=99)
    assert 0.9 < float(network.encoders()[first(network)].unit) <= 1.0


def test_units_of_power_of_two_spikes_are_powers_of_two() -> None:
    data = torch.randn(8, 3, 6, 6)
    for method in ("percentile", "max", "search"):
        network = spiking(convolution())
        quiet(network, data, method=method, per_channel=True)
        for encoder in network.encoders().values():
            exponents = torch.log2(encoder.unit)
            assert torch.equal(exponents, exponents.round())


def test_channels_are_those_of_the_operator_that_reads() -> None:
    """A convolution's operand has them in axis 1, a linear operator's in the last."""
    gains = torch.tensor([1.0, 4.0, 16.0])
    images = torch.rand(8, 3, 6, 6) * gains.view(3, 1, 1)
    images[0] = gains.view(3, 1, 1)
    network = spiking(convolution(), BINARY)
    quiet(network, images, method="max", per_channel=True)
    assert torch.equal(network.encoders()[first(network)].unit, gains.view(3, 1, 1))

    tokens = torch.rand(8, 7, 3) * gains
    tokens[0] = gains
    network = spiking(linear(7, 3), BINARY)
    quiet(network, tokens, method="max", per_channel=True)
    assert torch.equal(network.encoders()[first(network)].unit, gains)


def test_products_have_one_unit() -> None:
    class Scores(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x @ x.exp().transpose(1, 2)

    data = torch.rand(8, 5, 3)
    network = spiking(capture(Scores().eval(), data[:2]))
    quiet(network, data, per_channel=True)
    assert [encoder.unit.shape for encoder in network.encoders().values()] == [(), ()]


def test_outlier_channels_get_units_of_their_own_and_the_others_share_one() -> None:
    tokens = torch.rand(64, 7, 6)
    tokens[..., 4] *= 64
    network = spiking(linear(7, 6))
    quiet(network, tokens, percentile=80, outlier_channels=2)
    unit = network.encoders()[first(network)].unit
    assert unit.shape == (6,)
    assert unit.argmax() == 4
    assert unit[4] == 64
    assert len(unit.unique()) == 2, "a channel that the common unit covers needs none of its own"

    network = spiking(linear(7, 6))
    quiet(network, tokens, percentile=80)
    assert network.encoders()[first(network)].unit.shape == ()


def test_a_channel_that_is_always_zero_takes_the_largest_of_the_others() -> None:
    tokens = torch.rand(8, 7, 3)
    tokens[..., 1] = 0
    tokens[0, 0, 2] = 3.0
    network = spiking(linear(7, 3), BINARY)
    quiet(network, tokens, method="max", per_channel=True)
    assert network.encoders()[first(network)].unit[1] == 3.0


@pytest.mark.parametrize(
    ("scheme", "timesteps"),
    [
        (BINARY, 8),
        (Scheme("rate", "ternary", 1), 4),
        (Scheme("rate", "integer", 4), 4),
        (Scheme("differential", "ternary", 1), 8),
        (Scheme("differential", "integer", 3), 4),
        (Scheme("differential", "power-of-two", 4), 4),
    ],
)
def test_the_search_sends_values_at_least_as_well_as_the_maximum(scheme: Scheme, timesteps: int) -> None:
    """One large value among many small ones: to cover it is not best."""
    data = torch.rand(64, 40, generator=torch.Generator().manual_seed(1)) ** 3
    data[3, 4] = 4.0
    errors = {}
    for method in ("max", "search"):
        network = spiking(linear(40), scheme, timesteps)
        record = quiet(network, data, method=method)
        name = first(network)
        sent = torch.zeros(64, 40)

        def add(module: nn.Module, inputs: tuple[Tensor], spikes: Tensor, sent: Tensor = sent) -> None:
            sent += spikes.view(-1, 64, 40).sum(0)

        handle = network.encoders()[name].register_forward_hook(add)
        network(data)
        handle.remove()
        value = sent / timesteps if scheme.coding == "rate" else sent
        errors[method] = float((value - data).norm() / data.norm())
        assert record.neurons[name].expected_error == pytest.approx(errors[method], rel=0.1, abs=1e-6)
    assert errors["search"] <= errors["max"] + 0.01
    if scheme.spikes == "binary":
        assert errors["search"] < 0.9 * errors["max"]


@settings(max_examples=15, deadline=None)
@given(scale=st.floats(-20, 20), seed=st.integers(0, 99))
def test_units_scale_with_the_data(scale: float, seed: int) -> None:
    """Rate coding has no scale of its own: data 2^k times as large have units 2^k times as large."""
    data = torch.rand(8, 10, generator=torch.Generator().manual_seed(seed))
    units = []
    for factor in (1.0, 2.0 ** round(scale)):
        network = spiking(linear(10), BINARY)
        quiet(network, data * factor, method="search")
        units.append(float(network.encoders()[first(network)].unit) / factor)
    assert units[0] == pytest.approx(units[1], rel=1e-6)


def test_neurons_of_signed_values_become_ternary_and_say_so() -> None:
    data = torch.randn(8, 3, 6, 6)
    network = spiking(convolution(), BINARY)
    record = quiet(network, data)
    signed, rectified = record.neurons.values()
    assert (signed.spikes, rectified.spikes) == ("ternary", "binary")
    assert "ternary, not binary" in signed.note
    assert "-" in signed.note
    assert rectified.note == ""
    assert [encoder.spikes for encoder in network.encoders().values()] == ["ternary", "binary"]


def test_differential_coding_is_never_binary() -> None:
    """It has to take back what was too much."""
    data = torch.rand(8, 3, 6, 6)
    network = spiking(convolution(), Scheme("differential", "binary", 1))
    record = quiet(network, data)
    assert all(one.spikes == "ternary" and "takes back" in one.note for one in record.neurons.values())


def test_the_sample_is_of_all_batches_alike() -> None:
    """Two batches of other values, 1 to 3 in size: the median is the 50th percentile of all of them."""
    low, high = torch.full((2, 1000), 0.5), torch.full((6, 1000), 1.5)
    low += torch.rand(2, 1000) / 1000
    network = spiking(linear(1000), Scheme("rate", "ternary", 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        calibrate(network, [(high,), (low,)], percentile=24)
        below = float(network.encoders()[first(network)].unit)
        calibrate(network, [(high,), (low,)], percentile=26)
        above = float(network.encoders()[first(network)].unit)
    assert below == pytest.approx(0.5, abs=0.01)
    assert above == pytest.approx(1.5, abs=0.01)


def test_no_activation_is_kept() -> None:
    """A network of many layers is observed in the memory of two of its activations, not of all."""
    model = nn.Sequential(*[nn.Conv2d(4, 4, 1) for _ in range(24)]).eval()
    data = torch.randn(2, 4, 64, 64)
    network = spiking(capture(model, data))
    alive: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        states = [getattr(one, name, None) for one in network.graph.modules() for name in ("sent", "arrived")]
        alive.append(sum(state.numel() for state in states if isinstance(state, Tensor)))

    for encoder in network.encoders().values():
        encoder.register_forward_hook(count)
    quiet(network, data)
    assert len(alive) == 24
    assert max(alive) == 0


def test_calibration_leaves_the_kind_of_spikes_also_when_it_fails() -> None:
    data = torch.rand(4, 3, 6, 6)
    network = spiking(convolution())
    with pytest.raises(InputError):
        calibrate(network, [(data,), (torch.full_like(data, math.nan),)])
    assert {encoder.spikes for encoder in network.encoders().values()} == {"power-of-two"}
    assert not any(encoder._forward_pre_hooks for encoder in network.encoders().values())


def no_batches() -> Iterator[tuple[Tensor, ...]]:
    yield from ()


@pytest.mark.parametrize(
    ("batches", "options", "words"),
    [
        (no_batches(), {}, "no calibration data"),
        ([(torch.full((4, 3, 6, 6), 0.25),)], {}, "constant: every value is 0.25"),
        ([(torch.full((4, 3, 6, 6), math.nan),)], {}, "not finite"),
        ([(torch.full((4, 3, 6, 6), math.inf),)], {}, "not finite"),
        ([(torch.rand(4, 3, 8, 8),)], {}, "samples of 3x8x8, but the network was captured with 3x6x6"),
        ([(torch.rand(4, 1, 6, 6),)], {}, "samples of 1x6x6"),
        ([(torch.rand(0, 3, 6, 6),)], {}, "is empty"),
        ([(torch.rand(4, 3, 6, 6),) * 2], {}, "takes 1 inputs, but the calibration data have 2"),
        ([(torch.rand(4, 3, 6, 6),)], {"percentile": 0}, "percentile was 0"),
        ([(torch.rand(4, 3, 6, 6),)], {"percentile": 101}, "percentile was 101"),
        ([(torch.rand(4, 3, 6, 6),)], {"method": "mean"}, "unknown method"),
        ([(torch.rand(4, 3, 6, 6),)], {"outlier_channels": -1}, "outlier_channels was -1"),
    ],
)
def test_what_cannot_be_calibrated_with_is_refused(batches: object, options: dict[str, object], words: str) -> None:
    network = spiking(convolution())
    with pytest.raises(InputError, match=words) as caught:
        calibrate(network, batches, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_values_that_overflow_are_named() -> None:
    wide = nn.Linear(4, 4)
    nn.init.constant_(wide.weight, 10.0)
    network = spiking(capture(nn.Sequential(wide, nn.ReLU(), nn.Linear(4, 2)).eval(), torch.rand(2, 4)))
    with pytest.raises(InputError, match=r"neuron encoders\.\w+ saw values that are not finite"):
        calibrate(network, [(torch.rand(4, 4) + torch.tensor(1e38),)])


IMAGENET = InputRange.normalised((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def normalised(pixels: Tensor) -> Tensor:
    mean, std = torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1), torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1)
    return (pixels - mean) / std


@pytest.mark.parametrize(
    ("wrong", "numbers"),
    [
        (lambda pixels: pixels, "standard deviation 0.2"),  # not normalised
        (lambda pixels: pixels * 255, "254|255"),
        (lambda pixels: normalised(pixels * 255), r"-2\.118 \.\.\. 2\.64"),
        (lambda pixels: normalised(pixels / 255), r"mean -1\.98"),
        (lambda pixels: normalised(normalised(pixels)), "-2.118"),
    ],
)
def test_data_of_the_wrong_range_are_warned_of_with_the_numbers(wrong: object, numbers: str) -> None:
    pixels = (torch.randn(16, 3, 6, 6, generator=torch.Generator().manual_seed(0)) * 0.22 + 0.45).clamp(0, 1)
    network = spiking(convolution())
    with pytest.warns(CalibrationWarning, match=numbers):
        record = calibrate(network, [(wrong(pixels),)], expects=IMAGENET)  # type: ignore[operator]
    assert "normalise them as in its training" in record.warnings[0]


def test_data_as_in_training_are_not_warned_of() -> None:
    pixels = (torch.randn(16, 3, 6, 6, generator=torch.Generator().manual_seed(0)) * 0.22 + 0.45).clamp(0, 1)
    network = spiking(convolution())
    with warnings.catch_warnings():
        warnings.simplefilter("error", CalibrationWarning)
        record = calibrate(network, [(normalised(pixels),)], expects=IMAGENET)
    assert record.warnings == ()


def test_too_few_timesteps_are_told_with_the_expected_error() -> None:
    data = torch.rand(16, 3, 6, 6)
    network = spiking(convolution(), BINARY, timesteps=1)
    with pytest.warns(
        CalibrationWarning, match=r"with T = 1, rate coding sends a value with an expected error of \d+%"
    ):
        calibrate(network, [(data,)])
    enough = spiking(convolution(), BINARY, timesteps=64)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CalibrationWarning)
        calibrate(enough, [(data,)])
