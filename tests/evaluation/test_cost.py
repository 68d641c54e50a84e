"""The cost of the first timesteps of one run, against runs of their own and counted spikes."""

from __future__ import annotations

import pytest
import torch
from evaluated import noise_images, spikeformer
from torch import Tensor, nn

from hardware_models.conventions import convention
from hardware_models.errors import InputError
from neuro.evaluation import costs
from neuro.neurons import LIF, SpikingNeuron
from neuro.profiling import profile

RULES = convention("horowitz45")
IMAGES = (noise_images(3) - 0.5) / 0.25


def counted(model: nn.Module, images: Tensor, timesteps: int) -> tuple[float, float]:
    """Spikes of one inference and spikes per neuron and timestep, by hooks."""
    fired: list[Tensor] = []
    handles = [
        module.register_forward_hook(lambda module, inputs, spikes: fired.append(spikes.flatten()))
        for module in model.modules()
        if isinstance(module, SpikingNeuron)
    ]
    with torch.no_grad():
        model(images.expand(timesteps, -1, -1, -1, -1))
    for handle in handles:
        handle.remove()
    spikes = torch.cat(fired)
    return float(spikes.sum()) / images.shape[0], float(spikes.mean())


class TwoLayers(nn.Module):
    """Linear, neurons, linear, neurons, linear: 64, 12, 5 and 3 wide."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Linear(64, 12), LIF(v_threshold=0.3), nn.Linear(12, 5), LIF(v_threshold=0.1), nn.Linear(5, 3)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images.flatten(2)).mean(0)


def test_synaptic_operations_and_energy_by_hand() -> None:
    model = TwoLayers()
    with torch.no_grad():
        first = model.layers[:2](IMAGES.flatten(1).expand(4, -1, -1))
        second = model.layers[2:4](first)
    assert 0 < int(first[0].sum()) < int(first[1].sum())  # the first timestep is another one
    for t, cost in costs(model, IMAGES, [1, 2, 4], RULES).items():
        spikes, more = float(first[:t].sum()) / 3, float(second[:t].sum()) / 3
        assert cost.spikes == pytest.approx(spikes + more)
        assert cost.firing_rate == pytest.approx((spikes + more) / (17 * t))
        assert cost.sops == pytest.approx(5 * spikes + 3 * more)
        # FP32: 0.9 pJ an addition, 3.7 pJ a multiplication (Horowitz, ISSCC 2014).
        assert cost.energy_j == pytest.approx((0.9 * cost.sops + 4.6 * 64 * 12 * t) * 1e-12)
        assert cost.energy_low_j <= cost.energy_j <= cost.energy_high_j


def test_one_run_tells_the_cost_of_shorter_ones() -> None:
    model = spikeformer().eval()
    found = costs(model, IMAGES, [1, 2, 4], RULES)
    assert list(found) == [1, 2, 4]
    for t, cost in found.items():
        spikes, rate = counted(model, IMAGES, t)
        assert cost.spikes == pytest.approx(spikes)
        assert cost.firing_rate == pytest.approx(rate)
        # In a product of spikes with spikes a shorter run may choose the other operand to drive it.
        shorter = profile(model, IMAGES.expand(t, -1, -1, -1, -1))
        assert cost.sops == pytest.approx(shorter.synaptic_operations, rel=1e-3)
        assert cost.energy_j == pytest.approx(RULES.estimate(shorter).energy_j, rel=1e-3)
    assert 0 < found[1].energy_j < found[2].energy_j < found[4].energy_j


def test_images_may_bring_their_own_time() -> None:
    model = spikeformer().eval()
    still = costs(model, IMAGES, [1, 2], RULES)
    assert costs(model, IMAGES.expand(2, -1, -1, -1, -1), [1, 2], RULES) == still


def test_a_network_without_neurons_has_no_firing_rate() -> None:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(64, 3)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(images.flatten(2)).mean(0)

    (cost,) = costs(Dense(), IMAGES, [1], RULES).values()
    assert (cost.spikes, cost.firing_rate, cost.sops) == (0, None, 0)
    assert cost.energy_j == pytest.approx(64 * 3 * (3.7 + 0.9) * 1e-12)  # of an FP32 MAC: Horowitz, ISSCC 2014


@pytest.mark.parametrize("timesteps", [[], [0], [2, 1]])
def test_timesteps_that_cannot_be_compared_are_refused(timesteps: list[int]) -> None:
    with pytest.raises(InputError, match="give rising whole numbers"):
        costs(spikeformer(), IMAGES, timesteps, RULES)


@pytest.mark.parametrize("shape", [(3, 3, 1, 8, 8), (64,)])
def test_images_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="largest T, 2"):
        costs(spikeformer(), torch.zeros(shape), [1, 2], RULES)
