"""The Triton kernels of packed spikes against the reference."""

from __future__ import annotations

import math

import pytest
import torch
from triton_here import run

from neuro.kernels.bitpack import reference
from neuro.kernels.bitpack import triton as kernel

DTYPES = [torch.bool, torch.uint8, torch.float16, torch.bfloat16, torch.float32]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 5), (4, 3, 7), (17, 33), (3, 0)])
def test_pack_and_unpack(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    s = (torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.5).to(dtype)
    bits, fine = run(kernel.pack, s, True)
    assert fine
    assert torch.equal(bits, reference.pack(s, True)[0])
    assert torch.equal(run(kernel.unpack, bits, shape[0], dtype), s)
    words, fine = run(kernel.pack_words, s, True)
    assert fine
    assert torch.equal(words, reference.pack_words(s, True)[0])
    assert torch.equal(run(kernel.unpack_words, words, shape[-1], dtype), s)
    for packed in (bits, words, words.reshape(-1)):
        assert torch.equal(run(kernel.popcount, packed), reference.popcount(packed))


@pytest.mark.parametrize("value", [0.5, -0.0, math.nan, -1.0])
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_other_values_are_seen(dtype: torch.dtype, exact: bool, value: float) -> None:
    s = torch.zeros(3, 40, dtype=dtype)
    s[2, 39] = value
    for name in ("pack", "pack_words"):
        assert run(getattr(kernel, name), s, exact)[1] == getattr(reference, name)(s, exact)[1]


def test_popcount_of_one_long_row() -> None:
    bits = torch.randint(0, 256, (1, 20000), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(run(kernel.popcount, bits), reference.popcount(bits))
