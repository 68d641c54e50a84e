"""What is counted of a low-bit network: operations and widths worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import quant
from hardware_models.arithmetic import Number, ac_energy, mac_energy
from hardware_models.conventions import convention
from hardware_models.layer_table import layer_table
from hardware_models.workload import Layer, Workload
from neuro.profiling.low_bit import profile_low_bit


class Chain(nn.Module):
    """8-bit ends around a layer of 6 x 6 positions, 4 to 5 channels, kernel 1, then attention of 36 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.middle(torch.relu(self.first(x)))).flatten(2)
        scores = x.transpose(1, 2) @ x
        return self.last((scores.softmax(-1) @ x.transpose(1, 2)).mean(1))


def measured(recipe: str, timesteps: int = 2) -> tuple[Workload, quant.QuantizedNetwork, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(3, 3, 6, 6)
    network = quant.quantize(Chain().eval(), recipe, x, timesteps=timesteps)
    return profile_low_bit(network, x), network, x


def layer(workload: Workload, name: str) -> Layer:
    return next(one for one in workload.layers if one.name.startswith(name))


@pytest.mark.parametrize(
    ("recipe", "weight", "value"), [("w4a4", 4, 4), ("w8a8", 8, 8), ("w4a8", 4, 8), ("w2a2", 2, 2)]
)
def test_integers_are_multiplied_at_their_widths(recipe: str, weight: int, value: int) -> None:
    workload, _, _ = measured(recipe)
    middle = layer(workload, "middle")
    assert (middle.macs, middle.acs, middle.driven_by) == (3 * 36 * 4 * 5, 0, None)
    assert [(one.name, one.bits) for one in middle.operands] == [("input", value), ("weight", weight)]
    scores = layer(workload, "matmul")
    assert scores.macs == 3 * 36 * 36 * 5
    assert [one.bits for one in scores.operands] == [value, value]


def test_the_energy_is_that_of_the_widths() -> None:
    workload, _, _ = measured("w4a8")
    rules = convention("horowitz45")
    found = {one.name: one.energy_j for one in rules.estimate(workload).layers}
    assert found["middle.conv2d_1"] == pytest.approx(
        36 * 20 * mac_energy(rules.technology, Number(8), Number(4)).value * 1e-12,
        rel=1e-9,  # pJ
    )


def test_zeros_and_ones_select_what_is_added() -> None:
    """Binary activations behind a ReLU are 0 or s: as many additions as there are ones, each to 5 outputs."""
    workload, network, x = measured("w1a1")
    seen: list[Tensor] = []
    quantizer = network.quantizers()["quantizers.relu"]
    handle = quantizer.register_forward_hook(lambda m, i, o: seen.append(o))
    network(x)
    handle.remove()
    middle = layer(workload, "middle")
    assert (middle.macs, middle.acs, middle.driven_by) == (0, int(seen[0].count_nonzero()) * 5, "input")
    assert middle.operand("weight").bits == 1
    rules = convention("horowitz45")
    estimate = next(one for one in rules.estimate(workload).layers if one.name.startswith("middle"))
    expected = middle.acs / 3 * ac_energy(rules.technology, Number(1)).value * 1e-12  # pJ
    assert estimate.energy_j == pytest.approx(expected, rel=1e-9)


def test_signs_times_signs_are_one_bit_products() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 6)
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)).eval()
    workload = profile_low_bit(quant.quantize(model, "w1a1", x), x)
    middle = layer(workload, "1")
    assert (middle.macs, middle.acs) == (2 * 8 * 8, 0)
    assert [one.bits for one in middle.operands] == [1, 1]


def test_a_spiking_variant_is_counted_over_its_timesteps() -> None:
    workload, _, _ = measured("spike-w1", timesteps=3)
    assert workload.timesteps == 3
    middle = layer(workload, "middle")
    neurons = list(workload.neuron_layers())
    assert middle.timesteps == 3
    assert middle.driven_by == "input"
    assert middle.acs == sum(middle.operand("input").nonzero) * 5
    assert len(neurons) >= 2
    assert all(one.output and one.output.form == "binary" for one in neurons)
    assert layer_table(workload).spike_driven.any()


@pytest.mark.parametrize("recipe", ["w4a4", "w1a1", "spike-w4"])
def test_what_only_simulates_is_not_there_and_edges_go_through_it(recipe: str) -> None:
    workload, _, _ = measured(recipe)
    names = {one.name for one in workload.layers}
    inside = [one for one in workload.layers if "quantizers." in one.name and one.operator != "neuron"]
    assert inside == []
    assert all(set(one.consumers) <= names for one in workload.layers)
    reached, todo = set(), [layer(workload, "first")]
    while todo:
        one = todo.pop()
        reached.add(one.name)
        todo += [layer(workload, name) for name in one.consumers if name not in reached]
    assert layer(workload, "last").name in reached


def test_a_layer_that_was_kept_stays_in_floating_point() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 3, 6, 6)
    workload = profile_low_bit(quant.quantize(Chain().eval(), "w4a4", x, keep=["middle"]), x)
    assert [one.bits for one in layer(workload, "middle").operands] == [32, 32]
