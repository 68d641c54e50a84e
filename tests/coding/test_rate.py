"""Rate coding: neurons that count, traced by hand and held to what integrate-and-fire neurons do."""

from __future__ import annotations

import functools
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neuro.coding.calibrate import CalibrationWarning, calibrate
from neuro.coding.clock import Clock
from neuro.coding.coding import CODINGS
from neuro.coding.encoder import Encoder
from neuro.coding.network import SpikingNetwork
from neuro.coding.rewrite import to_spiking
from neuro.coding.scheme import Scheme
from neuro.coding.sweep import sweep
from quant.capture import Captured, SamplePlace, capture


def spikes_of(values: Tensor, unit: float, spikes: str = "binary", levels: int = 1) -> Tensor:
    """Spikes `[T, B]` of values `[T, B]` under rate coding."""
    steps = len(values)
    clock = Clock(first=0, steps=steps, timesteps=steps, shows_spikes=True)
    encoder = Encoder(SamplePlace(0, 1, 1), clock, CODINGS["rate"], spikes, levels)
    encoder.unit = torch.tensor(unit)
    found: Tensor = encoder(values.flatten())
    return found.view(steps, -1)


def test_a_trace_by_hand() -> None:
    """x = 0.4, unit 1: r = 0.4, 0.8 fires, 0.2, 0.6 fires, 0; from then on the same."""
    expected = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0] * 2)
    assert torch.equal(spikes_of(torch.full((10, 1), 0.4), 1.0).flatten(), expected)


def test_overshoot_of_binary_spikes_waits_and_of_ternary_ones_is_taken_back() -> None:
    """The value is 1 at first and 0.2 then: E goes 1, and the target 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6 later."""
    values = torch.tensor([1.0] + [0.2] * 7).view(-1, 1)
    assert spikes_of(values, 1.0).flatten().tolist() == [1, 0, 0, 0, 0, 0, 0, 1]
    assert spikes_of(values, 1.0, "ternary").flatten().tolist() == [1, -1, 1, 0, 0, 0, 0, 1]


@settings(max_examples=100, deadline=None)
@given(
    x=st.floats(-0.5, 2.0, width=32),
    unit=st.floats(0.125, 3.0, width=32),
    steps=st.integers(1, 20),
)
def test_a_constant_value_is_sent_as_the_nearest_rate(x: float, unit: float, steps: int) -> None:
    """floor(T x / unit + 1/2) spikes in T timesteps, from 0 to T: an IF neuron that starts at half its threshold."""
    wanted = min(max(x / unit, 0.0), 1.0) * steps
    count = float((spikes_of(torch.full((steps, 1), x), unit) / unit).sum())
    assert count == pytest.approx(round(count))
    assert abs(count - wanted) <= 0.5 + 1e-3


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), steps=st.integers(1, 12))
def test_the_neuron_is_integrate_and_fire_with_soft_reset(seed: int, steps: int) -> None:
    """Written as such: the membrane starts at half the threshold and is charged by n_t x_t - n_(t-1) x_(t-1)."""
    values = torch.rand(steps, 5, generator=torch.Generator().manual_seed(seed))
    found = spikes_of(values, 0.75)
    membrane, before = torch.full((5,), 0.375), torch.zeros(5)
    for t in range(steps):
        target = (t + 1) * values[t]
        membrane, before = membrane + target - before, target
        fires = (membrane >= 0.75).float()
        near = (membrane - 0.75).abs() < 1e-5  # rounding decides
        assert torch.equal(found[t][~near], 0.75 * fires[~near])
        membrane = membrane - found[t]


@functools.cache
def pooled() -> Captured:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU6(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(32, 5),
    )  # fmt: skip
    return capture(model.eval(), torch.rand(2, 3, 14, 14))


def network_at(timesteps: int, spikes: str = "binary", **options: object) -> SpikingNetwork:
    network = to_spiking(pooled(), Scheme("rate", spikes, 1), timesteps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        calibrate(network, [(torch.rand(32, 3, 14, 14),)], **options)  # type: ignore[arg-type]
    return network


def test_a_network_of_binary_spikes_approaches_the_float_network_as_one_over_t() -> None:
    data = torch.rand(16, 3, 14, 14)
    points = sweep(network_at(64, method="max"), pooled().graph, [((data,), None)], [4, 16, 64, 256])
    errors = [point.output_error for point in points]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 16
    assert errors[-1] < 0.02


def test_every_spike_is_one_unit_or_none() -> None:
    network = network_at(8, per_channel=True)
    seen: list[Tensor] = []
    for encoder in network.encoders().values():
        assert encoder.spikes == "binary", "after ReLU, ReLU6 and pooling values are not negative"
        encoder.register_forward_hook(lambda module, inputs, found: seen.append(found / module.unit))
    with torch.no_grad():
        network(torch.rand(4, 3, 14, 14))
    assert len(seen) == 3
    for found in seen:
        assert set(found.unique().tolist()) == {0.0, 1.0}


def test_the_firing_rate_is_that_of_the_values() -> None:
    """Mean spikes per neuron and timestep: the mean of value over unit, where nothing saturates."""
    network, data = network_at(64, method="max"), torch.rand(16, 3, 14, 14)
    given_to: dict[str, Tensor] = {}
    with torch.no_grad():
        float_network = to_spiking(pooled(), Scheme("differential", "ideal", 1), 1)
        for name, encoder in float_network.encoders().items():
            encoder.register_forward_hook(lambda m, inputs, found, name=name: given_to.update({name: inputs[0]}))
        float_network(data)
    wanted = sum(float((given_to[name] / one.unit).sum()) for name, one in network.encoders().items())
    wanted /= sum(value.numel() for value in given_to.values())
    (point,) = sweep(network, pooled().graph, [((data,), None)], [64])
    assert point.firing_rate == pytest.approx(wanted, rel=0.05)
    assert point.spikes == pytest.approx(point.firing_rate * 64 * sum(v[0].numel() for v in given_to.values()))


def test_binary_and_ternary_are_one_where_nothing_overshoots() -> None:
    data = torch.rand(8, 3, 14, 14)
    binary, ternary = network_at(256, "binary", method="max"), network_at(256, "ternary", method="max")
    with torch.no_grad():
        torch.testing.assert_close(binary(data), ternary(data), rtol=0.05, atol=0.02)
