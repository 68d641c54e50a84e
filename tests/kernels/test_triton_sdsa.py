"""The Triton kernels of spike-driven attention against the reference: equal bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from triton_here import run

from neuro.kernels.sdsa import reference
from neuro.kernels.sdsa import triton as kernel
from neuro.kernels.sdsa.reference import Neuron

NEURONS = [Neuron(0.5, 0.0, 2.0, True, True), Neuron(0.6, None, 1.7, False, True), Neuron(0.5, 0.1, 1.0, False, False)]


def spikes(*shape: int, tokens_contiguous: bool = True, rate: float = 0.4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.rand(shape, generator=generator) < rate for _ in range(3)]
    return [x.mT.contiguous().mT for x in drawn] if tokens_contiguous else drawn


def packed(s: Tensor) -> Tensor:
    planes = torch.zeros((-(-len(s) // 8), *s.shape[1:]), dtype=torch.uint8)
    for t, s_t in enumerate(s):
        planes[t // 8] |= (s_t != 0).to(torch.uint8) << (t % 8)
    return planes


@pytest.mark.parametrize("neuron", NEURONS, ids=str)
@pytest.mark.parametrize("kind", [1, 3])
def test_values(kind: int, neuron: Neuron) -> None:
    q, k, v = spikes(4, 1, 2, 20, 12)
    s, last = reference.sdsa(q.float(), k.float(), v.float(), kind, 0.125, neuron)
    got, got_last = run(kernel.forward, q.float(), k.float(), v.float(), kind, 0.125, neuron, 4, False)
    assert torch.equal(got, s)
    assert torch.equal(got_last, last)
    assert 0 < s.mean() < 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.bool, torch.uint8])
@pytest.mark.parametrize("kind", [1, 3])
def test_dtypes_and_layouts(kind: int, dtype: torch.dtype) -> None:
    q, k, v = spikes(2, 2, 1, 9, 18, tokens_contiguous=False)
    s, last = reference.sdsa(q.float(), k.float(), v.float(), kind, 0.125, NEURONS[0])
    given = (q.to(dtype), k.to(dtype), v.to(dtype))
    got, got_last = run(kernel.forward, *given, kind, torch.tensor(0.125), NEURONS[0], 2, False)
    assert got.dtype == dtype
    assert torch.equal(got.float(), s)
    assert torch.equal(got_last, last)


@pytest.mark.parametrize("kind", [1, 3])
def test_packed_in_and_out(kind: int) -> None:
    q, k, v = spikes(10, 1, 1, 70, 33)
    s, last = reference.sdsa(q.float(), k.float(), v.float(), kind, 0.125, NEURONS[0])
    got, _ = run(kernel.forward, q.float(), k.float(), v.float(), kind, 0.125, NEURONS[0], 10, True)
    assert torch.equal(got, packed(s))
    got, got_last = run(kernel.forward, packed(q), packed(k), packed(v), kind, 0.125, NEURONS[0], 10, True)
    assert torch.equal(got, packed(s))
    assert torch.equal(got_last, last)
    got, _ = run(kernel.forward, packed(q), packed(k), packed(v), kind, 0.125, NEURONS[0], 10, False)
    assert torch.equal(got.float(), s)


@pytest.mark.parametrize(("tokens", "width", "rate"), [(2500, 16, 0.97), (5, 130, 0.4)])
def test_counts_past_what_fp16_holds_and_wide_heads(tokens: int, width: int, rate: float) -> None:
    q, k, v = (x.float() for x in spikes(1, 1, 1, tokens, width, rate=rate))
    neuron = Neuron(17000.0 if tokens > 100 else 4.0, 0.0, 2.0, True, True)
    s, last = reference.sdsa(q, k, v, 3, 1.0, neuron)
    got, got_last = run(kernel.forward, q, k, v, 3, 1.0, neuron, 1, False)
    assert torch.equal(got, s)
    assert torch.equal(got_last, last)


def test_empty() -> None:
    x = torch.empty(2, 0, 1, 3, 4)
    assert run(kernel.forward, x, x, x, 3, 1.0, NEURONS[0], 2, False)[0].shape == x.shape
