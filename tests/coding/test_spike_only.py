"""Networks without floating-point functions: what they are made of, and how near they come."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hardware_models.errors import InputError
from neuro.coding.calibrate import calibrate
from neuro.coding.fine_tune import distil
from neuro.coding.ladder import Ladder
from neuro.coding.network import SpikingNetwork
from neuro.coding.rewrite import to_spiking
from neuro.coding.scheme import Scheme
from neuro.coding.spike_only import SPIKE_ONLY, out_of_reach
from quant.capture import capture

STRICT = Scheme(strictness="spike-only")


def strict(model: nn.Module, x: torch.Tensor, timesteps: int = 16) -> SpikingNetwork:
    network = to_spiking(capture(model.eval(), x, SPIKE_ONLY), STRICT, timesteps)
    calibrate(network, [(x,)])
    return network


def error(model: nn.Module, network: SpikingNetwork, x: torch.Tensor) -> float:
    with torch.no_grad():
        expected = model(x)
        return float((network(x) - expected).norm() / expected.norm())


@pytest.mark.parametrize(
    "activation",
    [
        nn.GELU(),
        nn.GELU("tanh"),
        nn.SiLU(),
        nn.Sigmoid(),
        nn.Tanh(),
        nn.Hardswish(),
        nn.Softplus(),
        nn.ReLU6(),
        nn.ELU(),
    ],
    ids=lambda one: f"{type(one).__name__}{getattr(one, 'approximate', '')}",
)
def test_activations(activation: nn.Module) -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 8)
    model = nn.Sequential(nn.Linear(8, 32), activation, nn.Linear(32, 4))
    network = strict(model, x)
    assert all(one.kind != "nonlinear" for one in network.operators)
    assert error(model, network, x) < 0.02


@pytest.mark.parametrize(
    "norm", [nn.LayerNorm(16), nn.GroupNorm(4, 16), nn.RMSNorm(16), nn.Softmax(-1), nn.LogSoftmax(-1)]
)
def test_norms_and_softmax(norm: nn.Module) -> None:
    torch.manual_seed(0)
    x = torch.randn(32, 8)
    model = nn.Sequential(nn.Linear(8, 16), norm, nn.Linear(16, 4))
    network = strict(model, x)
    kinds = {one.kind for one in network.operators}
    assert "nonlinear" not in kinds
    assert "ladder" in kinds
    assert error(model, network, x) < 0.02


def test_a_function_without_thresholds_is_refused_by_its_path() -> None:
    class Sine(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sin(x)

    model = nn.Sequential(nn.Linear(4, 4), Sine())
    with pytest.raises(InputError, match=r"1 computes sin.*--strict"):
        strict(model, torch.randn(4, 4))


def test_values_outside_of_an_interval_are_found() -> None:
    class Root(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sqrt(x.square().sum(-1, keepdim=True))

    model, x = nn.Sequential(nn.Linear(4, 4, bias=False), Root(), nn.Linear(1, 2)), torch.randn(8, 4)
    network = strict(model, x)
    (ladder,) = [name for name, one in network.graph.named_modules() if isinstance(one, Ladder)]
    assert out_of_reach(network, (x,)) == []
    assert out_of_reach(network, (x * 0,)) == [ladder]


def test_such_a_network_is_distilled_layer_by_layer() -> None:
    torch.manual_seed(0)
    x = torch.randn(32, 8)
    model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4)).eval()
    captured = capture(model, x, SPIKE_ONLY)
    network = to_spiking(captured, STRICT, 2)
    calibrate(network, [(x,)])
    losses = distil(network, captured, [(x,)], epochs=20, learning_rate=1e-3)
    assert losses[-1] < losses[0]
