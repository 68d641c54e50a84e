"""Power-of-two spikes: one shifted accumulate for each spike and output, whatever runs at once."""

import pytest
import torch
from counting import conv_accumulates, only, transposed_accumulates
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from neuro.profiling import profile
from neuro.report.audit import audit


def powers(*shape, levels=12, density=0.4, seed=0):
    """+-2^-k, k < levels, or 0; both ends among them."""
    generator = torch.Generator().manual_seed(seed)
    x = 2.0 ** -torch.randint(levels, shape, generator=generator).float()
    x *= torch.randint(0, 2, shape, generator=generator) * 2 - 1
    x *= torch.rand(shape, generator=generator) < density
    x.view(-1)[:2] = torch.tensor([1.0, 2.0 ** (1 - levels)])
    return x


class Over(nn.Module):
    """Runs a layer on pieces of `[T, B, ...]`."""

    def __init__(self, layer, pieces):
        super().__init__()
        self.layer, self.pieces = layer, pieces

    def forward(self, x):
        return torch.cat([self.layer(part.flatten(0, 1)).unflatten(0, part.shape[:2]) for part in x.split(self.pieces)])


def test_worked_by_hand():
    """The worked example of docs/audit.md."""
    network = nn.Sequential(nn.Flatten(0, 1), nn.Conv2d(1, 2, 3, padding=1))
    x = torch.zeros(2, 1, 1, 3, 3)
    x[0, 0, 0, 0, 0], x[1, 0, 0, 0, 1], x[1, 0, 0, 1, 1] = 0.5, -0.25, 1 / 64
    found = only(profile(network, x), "conv")
    assert (found.acs, found.acs_by_timestep, found.macs) == (38, (8, 30), 0)
    operand = found.operand("input")
    assert (operand.form, operand.bits, operand.levels, operand.scale) == ("power-of-two", 4, 6, 1 / 64)
    assert operand.nonzero == operand.magnitude == (1, 2)
    x[1, 0, 0, 1, 1] = 1 / 8
    found = only(profile(network, x), "conv")
    assert (found.operand("input").form, found.acs) == ("integer", 74)


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
        nn.Conv2d(4, 3, 3, dilation=2),
        nn.Conv1d(4, 5, 4, padding=2),
        nn.Conv2d(4, 3, 1),
    ],
)
def test_convolutions(module):
    x = powers(2, 4, *([9] * (module.weight.dim() - 2)))
    found = only(profile(module, x), "conv")
    assert found.driven_by == "input"
    assert found.acs == conv_accumulates(module, x.sign())


def test_transposed_convolution():
    module, x = nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1), powers(2, 4, 5, 5)
    assert only(profile(module, x), "conv").acs == transposed_accumulates(module, x.sign())


def test_linear():
    x = powers(3, 7, 10)
    found = only(profile(nn.Linear(10, 4), x), "linear")
    assert (found.acs, found.driven_by, found.macs) == (4 * int(x.count_nonzero()), "input", 0)


class Two(nn.Module):
    """A product of two halves of the input, `[B, M, K]` and `[B, K, N]`."""

    def __init__(self, right):
        super().__init__()
        self.right = right

    def forward(self, x):
        left, right = x[:, :5], x[:, 5:].transpose(1, 2)
        return left @ (right if self.right == "spikes" else right.cumsum(1)) if self.right else left.exp() @ right


@pytest.mark.parametrize(("right", "driver"), [("spikes", "left"), ("sums", "left"), (None, "right")])
def test_either_operand_of_a_product_drives_it(right, driver):
    x = powers(2, 8, 6, density=0.9)  # 5 x 6 on the left, 6 x 3 on the right
    x[:, :5] *= (torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(1)) < 0.3).float()
    x[0, 0, :2] = torch.tensor([1.0, 2.0**-11])
    found = only(profile(Two(right), x), "matmul")
    spikes = {"left": 3 * int(x[:, :5].count_nonzero()), "right": 5 * int(x[:, 5:].count_nonzero())}
    assert (found.driven_by, found.acs) == (driver, spikes[driver])
    assert spikes["left"] < spikes["right"]


def test_weights_that_are_powers_of_two_are_multiplied_at_their_width():
    layer = nn.Linear(8, 4)
    layer.weight.data = powers(4, 8, levels=6)
    found = only(profile(layer, torch.randn(3, 8)), "linear")
    assert (found.macs, found.acs) == (3 * 32, 0)
    assert (found.operand("weight").form, found.operand("weight").bits) == ("power-of-two", 4)


def test_the_audit_says_that_accumulates_are_shifted():
    (row,) = [row for row in audit(profile(nn.Linear(10, 4), powers(3, 10, levels=8) / 2)) if row.operator == "linear"]
    assert row.verdict == "accumulate-only"
    assert row.reason == "input is spikes: {0, ±2^-k} × 0.5, shifted accumulates"
    assert row.operands[0].words == "input: {0, ±2^-k} × 0.5, 5 bit, signed"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 14), max_size=3), min_size=2, max_size=5), st.integers(1, 4), st.booleans())
def test_timesteps_are_judged_together(exponents, pieces, odd):
    """A timestep alone may look binary ({0, 2^-9}) or integer ({1, 8}); what runs one after the other gives the
    figures of what runs at once."""
    x = torch.zeros(len(exponents), 1, 2, 3, 3)
    for t, found in enumerate(exponents):
        for place, k in enumerate(found):
            x[t, 0, place % 2, place, (t + place) % 3] = (-1.0) ** place * 2.0**-k
    x[0, 0, 1, 2, 2] = 3.0 if odd else 0.0
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, 3, padding=1)
    together = only(profile(Over(layer, len(exponents)), x), "conv")
    assert only(profile(Over(layer, pieces), x), "conv") == together


@pytest.mark.parametrize("steps", [2, 5])
def test_a_network_that_repeats_its_input_in_pieces(steps):
    class Repeats(nn.Module):
        timesteps = 5

        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 4)

        def forward(self, x):
            pieces = [min(steps, 5 - first) for first in range(0, 5, steps)]
            return sum(self.layer(torch.cat([x] * n)).unflatten(0, (n, -1)).sum(0) for n in pieces)

    x = powers(3, 6)
    found = only(profile(Repeats(), x), "linear")
    spikes = int(x.count_nonzero())
    assert (found.timesteps, found.acs_by_timestep) == (5, (4 * spikes,) * 5)
    assert found.operand("input").nonzero == (spikes,) * 5


def test_products_by_elements_with_spikes_are_masks():
    class Gate(nn.Module):
        def forward(self, x):
            return x.cumsum(1) * x

    (found,) = [layer for layer in profile(Gate(), powers(3, 6)).layers if layer.operator == "mask"]
    assert {operand.form for operand in found.operands} == {"float", "power-of-two"}
