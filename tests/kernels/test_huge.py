"""Tensors of more elements than 32 bits count: the far end has to equal the near one.

Every tensor repeats one row of 2^20 neurons, and at least 12 GB of memory have to be free.
"""

from __future__ import annotations

import psutil
import pytest
import torch
from torch import Tensor

from neuro.kernels import bitpack, native
from neuro.kernels.dispatch import using
from neuro.kernels.lif import Neuron, cpu, reference
from neuro.kernels.norm_lif import Norm, norm_lif
from neuro.neurons import FireReset

GIGABYTE = 10**9
ROWS, COLUMNS, STEPS = 65, 1 << 20, 32
"""33 * 2^26 elements: 2^31 and a good deal more."""

LIF2 = Neuron(FireReset(0.25, None), 2.0, True)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(native.why_not()), reason=native.why_not() or "-"),
    pytest.mark.skipif(psutil.virtual_memory().available < 12 * GIGABYTE, reason="needs 12 GB of free memory"),
]


def repeated(row: Tensor) -> Tensor:
    """`[T, 1, n]` as `[T, ROWS, n]`."""
    return row.expand(-1, ROWS, -1).contiguous()


def test_neurons_forward_and_backward() -> None:
    row = torch.randn(STEPS, 1, COLUMNS, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    x, expected = repeated(row), reference.multi_step(row[:, 0], None, LIF2)
    assert x.numel() > 2**31
    s, v_last = cpu.forward(x, None, None, LIF2.settings(), packed=False)
    assert torch.equal(s[:, -1], expected[0])
    assert torch.equal(v_last[-1], expected[1])
    assert 0.05 < expected[0].float().mean() < 0.95
    del s
    # The input stands in for the gradient of the spikes, so that three tensors take the memory of two.
    grad_x, _, _ = cpu.backward(x, x, None, None, LIF2.settings(), wants_v=False)
    of_row, _, _ = cpu.backward(row, row, None, None, LIF2.settings(), wants_v=False)
    assert torch.equal(grad_x[:, -1], of_row[:, 0])
    assert of_row.count_nonzero() > COLUMNS


def test_batch_norm_and_neuron() -> None:
    row = torch.randn(STEPS, 1, COLUMNS, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    x = repeated(row).view(STEPS, ROWS, 64, 128, 128)
    norm = Norm(torch.ones(64), torch.zeros(64), torch.zeros(64), torch.ones(64))
    with using("native", strict=True), torch.no_grad():
        s = norm_lif(x, norm, LIF2).s
        assert torch.equal(s[:, -1], norm_lif(x[:, :1], norm, LIF2).s[:, 0])
    assert 0.05 < s[:, 0].float().mean() < 0.95


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16], ids=str)
def test_bits(dtype: torch.dtype) -> None:
    row = (torch.rand(STEPS, 1, COLUMNS, generator=torch.Generator().manual_seed(0)) < 0.3).to(dtype)
    s, count = repeated(row), int(row.count_nonzero())
    with using("native", strict=True):
        bits = bitpack.pack(s)
        assert torch.equal(bits[:, -1], bitpack.reference.pack(row, False)[0][:, 0])
        assert bitpack.popcount(bits) == ROWS * count
        assert torch.equal(bitpack.unpack(bits, STEPS, torch.uint8)[:, -1], row[:, 0].to(torch.uint8))
        words = bitpack.pack_words(s.view(-1))
        assert bitpack.popcount(words) == ROWS * count
        flat = bitpack.unpack_words(words, s.numel(), torch.uint8)
    assert torch.equal(flat[-COLUMNS:], row[-1, 0].to(torch.uint8))
