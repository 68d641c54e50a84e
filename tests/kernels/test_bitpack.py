"""Packed spikes: hand-made bits, every implementation against the reference, and what is refused."""

from __future__ import annotations

import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hardware_models.errors import InputError
from neuro.kernels import native
from neuro.kernels.bitpack import DTYPES, cpu, exact_words, pack, pack_words, popcount, reference, unpack, unpack_words
from neuro.kernels.dispatch import using

needs_compiler = pytest.mark.skipif(bool(native.why_not()), reason="no C compiler")
IMPLEMENTATIONS = ["reference", pytest.param("native", marks=needs_compiler)]


def spikes(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.3).to(dtype)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_bits_by_hand(name: str) -> None:
    with using(name):
        s = torch.tensor([[1.0, 0], [0, 0], [1, 1]])
        assert pack(s).tolist() == [[0b101, 0b100]]
        nine = torch.zeros(9, 1)
        nine[[1, 8]] = 1
        assert pack(nine).tolist() == [[2], [1]]
        row = torch.zeros(33)
        row[[0, 31, 32]] = 1
        assert pack_words(row).tolist() == [1 - 2**31, 1]


@needs_compiler
@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(0, 70), min_size=1, max_size=3),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 99),
)
def test_native_equals_the_reference_and_returns(shape: list[int], dtype: torch.dtype, seed: int) -> None:
    s = spikes(*shape, dtype=dtype, seed=seed)
    for module in (cpu, reference):
        bits, words = module.pack(s, True)[0], module.pack_words(s, True)[0]
        assert torch.equal(bits, reference.pack(s, True)[0])
        assert torch.equal(words, reference.pack_words(s, True)[0])
        assert torch.equal(module.unpack(bits, shape[0], dtype), s)
        assert torch.equal(module.unpack_words(words, shape[-1], dtype), s)
        assert torch.equal(module.popcount(words), (s != 0).sum(-1))
    assert popcount(pack(s)) == (s != 0).sum()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("steps", [1, 2, 4, 8, 16, 32])
def test_many_blocks_of_every_dtype(dtype: torch.dtype, steps: int) -> None:
    s = spikes(steps, 3, 5001, dtype=dtype)
    assert torch.equal(unpack(pack(s), steps, dtype), s)
    assert torch.equal(unpack_words(pack_words(s), 5001, dtype), s)
    assert torch.equal(popcount(pack_words(s), per_row=True), (s != 0).sum(-1))


def test_any_layout_and_another_dtype() -> None:
    s = spikes(4, 2, 8, 6, 6).transpose(2, 4)
    assert torch.equal(unpack(pack(s), 4, torch.bfloat16), s.bfloat16())
    assert torch.equal(unpack_words(pack_words(s[..., ::2]), 4), s[..., ::2])


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [2, -1, 0.5, float("nan"), float("inf"), 1e-7])
@pytest.mark.parametrize("place", [0, 32, 4999, 5000])
def test_other_values_are_refused(name: str, dtype: torch.dtype, value: float, place: int) -> None:
    s = spikes(5001, dtype=dtype)
    s[place] = value
    with using(name):
        for packing in (pack, pack_words):
            with pytest.raises(InputError, match="other than 0 and 1"):
                packing(s)
        assert exact_words(s) is None


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_negative_zero_is_silent_but_not_exact(name: str) -> None:
    s = torch.tensor([0.0, -0.0, 1.0])
    with using(name):
        assert pack_words(s).tolist() == [4]
        assert exact_words(s) is None
        assert exact_words(s.abs()) is not None


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(InputError, match="bool, uint8"):
        pack(torch.zeros(3, dtype=torch.float64))
    with pytest.raises(InputError, match="at least one axis"):
        pack_words(torch.tensor(1.0))
    with pytest.raises(InputError, match="as the bits of 9"):
        unpack(torch.zeros(1, 5, dtype=torch.uint8), 9)
    with pytest.raises(InputError, match="asked for as"):
        unpack_words(torch.zeros(1, dtype=torch.int32), 9, torch.int64)
    with pytest.raises(InputError, match="packed spikes"):
        popcount(torch.zeros(3))


def test_registered_operators() -> None:
    s = spikes(9, 40)
    for operator, arguments in [
        (torch.ops.neuro.bitpack_pack, (s,)),
        (torch.ops.neuro.bitpack_pack_words, (s,)),
        (torch.ops.neuro.bitpack_unpack, (pack(s), 9, torch.float16)),
        (torch.ops.neuro.bitpack_unpack_words, (pack_words(s), 40, torch.float16)),
        (torch.ops.neuro.bitpack_popcount, (pack_words(s),)),
    ]:
        torch.library.opcheck(operator.default, arguments)


def test_the_choice_is_logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuro.kernels.dispatch._logged", set())
    with caplog.at_level(logging.INFO, "neuro.kernels"), using("reference"):
        pack(spikes(4, 3))
    assert "bitpack on cpu" in caplog.text
