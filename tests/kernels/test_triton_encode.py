"""The Triton kernels of encoders against the reference."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from triton_here import DEVICE, run

from neuro.kernels.encode import SPIKES, reference
from neuro.kernels.encode import triton as kernel

STEPS, SHAPE = 5, (3, 4, 9, 11)
DTYPES = [torch.float32, torch.float16] + [torch.bfloat16] * (DEVICE == "cuda")
"""Triton's interpreter cuts bf16 off where a GPU rounds it."""


def values(dtype: torch.dtype, steps: int = STEPS) -> Tensor:
    """More than one block of neurons, with values that are no numbers among them."""
    x = torch.randn(steps, *SHAPE, generator=torch.Generator().manual_seed(0))
    x[:, 0, 0, 0, :3] = torch.tensor([math.nan, math.inf, -math.inf])
    return x.to(dtype)


def same(got: Tensor, expected: Tensor) -> None:
    assert got.dtype == expected.dtype
    torch.testing.assert_close(got, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("presented", [False, True])
@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("kind", SPIKES)
def test_encode(kind: str, summed: bool, presented: bool) -> None:
    unit = torch.tensor([0.25, 0.5, 1.0, 2.0]).view(-1, 1, 1) if presented else torch.tensor(0.5)
    presentations = torch.arange(3.0, 3 + STEPS) if presented else None
    sent = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)) if presented else None
    for dtype in DTYPES:
        arguments = values(dtype), sent, unit, presentations, kind, 4, summed
        for got, expected in zip(run(kernel.encode, *arguments), reference.encode(*arguments), strict=True):
            same(got, expected)


def test_time_may_lie_inside() -> None:
    x = values(torch.float32).permute(1, 2, 0, 3, 4).contiguous().permute(2, 0, 1, 3, 4)
    arguments = x, None, torch.tensor(0.5), None, "ternary", 1, False
    for got, expected in zip(run(kernel.encode, *arguments), reference.encode(*arguments), strict=True):
        same(got, expected)


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("kind", SPIKES)
def test_backward(kind: str, summed: bool) -> None:
    numbers = torch.Generator().manual_seed(2)
    x = torch.randn(STEPS, *SHAPE, generator=numbers).requires_grad_()
    sent = torch.randn(SHAPE, generator=numbers).requires_grad_()
    neuron = torch.tensor(0.25), torch.arange(1.0, 1 + STEPS), kind, 4, summed
    found = reference.encode(x, sent, *neuron)
    grads = [torch.randn(one.shape, generator=numbers) for one in found]
    expected = torch.autograd.grad(found, [x, sent], grads)
    got = run(kernel.encode_backward, *grads, x.detach(), sent.detach(), *neuron)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_decode(dtype: torch.dtype) -> None:
    arrived = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    for arguments in (
        (values(dtype), None, None, None),
        (values(dtype), arrived, torch.arange(1.0, 1 + STEPS) ** 2, torch.randn(4, 1, 1)),
    ):
        for got, expected in zip(run(kernel.decode, *arguments), reference.decode(*arguments), strict=True):
            same(got, expected)
