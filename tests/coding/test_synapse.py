"""Synapses and products against what their operators compute on whole values."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from neuro.coding.clock import Clock
from neuro.coding.coding import CODINGS
from neuro.coding.synapse import Current, Product, Synapse
from quant.capture import SamplePlace

STEPS, BATCH = 5, 2
by_coding = pytest.mark.parametrize("coding", CODINGS)
pieces = pytest.mark.parametrize("piece", [1, 2, 5])


def spikes(*shape: int, seed: int = 0) -> Tensor:
    """Ternary spikes `[T, B, ...]`."""
    return torch.randint(-1, 2, (STEPS, BATCH, *shape), generator=torch.Generator().manual_seed(seed)).float()


def presented(coding: str, x: Tensor) -> Tensor:
    numbers = CODINGS[coding].presentations(0, STEPS)
    return (
        torch.ones(STEPS).view(-1, *[1] * (x.dim() - 1)) if numbers is None else numbers.view(-1, *[1] * (x.dim() - 1))
    )


def in_pieces(module: torch.nn.Module, clock: Clock, piece: int, *operands: Tensor) -> Tensor:
    """Run `[T, B, ...]` as a network would, and return `[T, B, ...]`."""
    clock.timesteps, found = STEPS, []
    for clock.first in range(0, STEPS, piece):
        clock.steps = min(piece, STEPS - clock.first)
        parts = [one[clock.first : clock.first + clock.steps].flatten(0, 1) for one in operands]
        found.append(module(*parts).unflatten(0, (clock.steps, -1)))
    return torch.cat(found)


def test_a_current_worked_by_hand() -> None:
    current = Current(SamplePlace(0, 1, 1), Clock(0, 3, 3), CODINGS["rate"], 2)
    values = current(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0.5]))
    torch.testing.assert_close(values, torch.tensor([1 / 1, 4 / 4, 9 / 9]) + 0.5)
    assert current.arrived is None


@by_coding
@pieces
def test_a_convolution_of_what_was_sent(coding: str, piece: int) -> None:
    """y_t = W (s_1 + ... + s_t) / n_t + b, from spikes and from what they stand for."""
    numbers = torch.Generator().manual_seed(1)
    weight, bias = torch.randn(4, 3, 3, 3, generator=numbers), torch.randn(4, 1, 1, generator=numbers)
    clock = Clock()
    synapse = Synapse(F.conv2d, weight, bias, Current(SamplePlace(0, 1, 4), clock, CODINGS[coding], 1))
    s = spikes(3, 6, 6)
    stands_for = s.cumsum(0) / presented(coding, s)
    expected = torch.stack([F.conv2d(one, weight, bias.flatten()) for one in stands_for])
    torch.testing.assert_close(in_pieces(synapse, clock, piece, s), expected, rtol=1e-4, atol=1e-5)
    clock.shows_spikes = False
    torch.testing.assert_close(in_pieces(synapse, clock, piece, stands_for), expected, rtol=1e-4, atol=1e-5)


@by_coding
@pieces
def test_a_product_by_two_terms(coding: str, piece: int) -> None:
    """(A_t / n_t) (B_t / n_t), though every operator that runs has an operand of spikes."""
    place, clock, seen = SamplePlace(0, 1, 3), Clock(), []

    def multiply(a: Tensor, b: Tensor) -> Tensor:
        seen.append((a, b))
        return a @ b

    product = Product(multiply, place, place, Current(place, clock, CODINGS[coding], 2))
    a, b = spikes(3, 4, seed=1), spikes(4, 2, seed=2)
    left, right = (one.cumsum(0) / presented(coding, one) for one in (a, b))
    torch.testing.assert_close(in_pieces(product, clock, piece, a, b), left @ right)
    assert len(seen) == 2 * -(-STEPS // piece)
    assert all(any(set(one.unique().tolist()) <= {-1.0, 0.0, 1.0} for one in operands) for operands in seen)
    clock.shows_spikes = False
    torch.testing.assert_close(in_pieces(product, clock, piece, left, right), left @ right)
    assert product.sums is None


def test_the_batch_of_one_operand_may_stand_elsewhere() -> None:
    """A sequence-first operand `[N, B, C]` times a batch-first one, by elements after a permutation."""
    clock = Clock(0, STEPS, STEPS)
    inner, first = SamplePlace(1, 1, 3), SamplePlace(0, 1, 3)
    product = Product(
        lambda a, b: a.transpose(0, 1) * b, inner, first, Current(first, clock, CODINGS["differential"], 2)
    )
    a, b = spikes(7, 3, seed=1), spikes(7, 3, seed=2)
    sequence_first = a.permute(2, 0, 1, 3).flatten(1, 2)
    found = product(sequence_first, b.flatten(0, 1)).unflatten(0, (STEPS, BATCH))
    torch.testing.assert_close(found, a.cumsum(0) * b.cumsum(0))


def test_parameters_stay_parameters() -> None:
    """Also a bias that is a view of one: it is trained, and copies with its module."""
    bias = torch.nn.Parameter(torch.ones(4))
    current = Current(SamplePlace(0, 1, 4), Clock(), CODINGS["differential"], 1)
    synapse = Synapse(F.conv2d, torch.nn.Parameter(torch.ones(4, 3, 1, 1)), bias.view(4, 1, 1), current)
    assert {name for name, _ in synapse.named_parameters()} == {"weight", "bias"}
    synapse(torch.ones(1, 3, 2, 2)).sum().backward()
    assert synapse.bias is not None
    assert synapse.bias.grad is not None
    assert synapse.bias.grad.flatten().tolist() == [4.0] * 4
