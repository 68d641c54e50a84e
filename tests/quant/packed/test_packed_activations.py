"""Packing of activations, against the plain torch expressions that define the codes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hardware_models.errors import InputError
from quant.packed import (
    SIGNS,
    Layout,
    PackedActivation,
    activations,
    levels,
    library,
    pack_levels,
    pack_signs,
    pack_spikes,
)

LAYOUTS = st.builds(Layout, st.sampled_from(["bits", "codes"]), st.sampled_from([1, 2, 3]))
SHAPES = st.tuples(
    st.lists(st.sampled_from([0, 1, 3, 5, 65]), min_size=1, max_size=3).filter(lambda s: torch.Size(s).numel() < 1000),
    st.sampled_from([1, 5, 31, 64, 65, 130]),
)


def numbers(shape: tuple[list[int], int], groups: int, channel_first: bool, seed: int) -> Tensor:
    """Normal numbers with some that are extreme or on an edge."""
    torch.manual_seed(seed)
    x = torch.randn(*shape[0], shape[1] * groups) * 2
    edges = torch.tensor([0.0, -0.0, 0.5, 1.5, 2.5, -0.5, torch.inf, -torch.inf, 3.4e38, 1e-45])
    x = torch.where(torch.rand(x.shape) < 0.3, edges[torch.randint(0, len(edges), x.shape)], x)
    return x.movedim(-1, 1).contiguous().movedim(1, -1) if channel_first and x.dim() > 2 else x


def padding_is_silent(packed: PackedActivation) -> bool:
    """Bits past the last channel of a group are 0, so that products may count them."""
    if packed.layout.form == "codes":
        return True
    channels = packed.shape[-1] // packed.layout.groups
    words = packed.data.unflatten(-1, (packed.layout.groups, -1))
    left = channels % 64
    return left == 0 or not bool((words[..., -1] >> left & (2 ** (64 - left) - 1)).any())


@settings(max_examples=60, deadline=None)
@given(SHAPES, LAYOUTS, st.booleans(), st.booleans(), st.integers(0, 2**31))
def test_signs(shape: tuple[list[int], int], layout: Layout, channel_first: bool, one: bool, seed: int) -> None:
    x = numbers(shape, layout.groups, channel_first, seed)
    threshold = torch.tensor(0.5) if one else torch.randn(x.shape[-1])
    packed = pack_signs(x, threshold, layout)
    assert torch.equal(packed.integers(), torch.where(x >= threshold, 1, -1).int())
    assert padding_is_silent(packed)


@settings(max_examples=120, deadline=None)
@given(
    SHAPES, LAYOUTS, st.booleans(), st.integers(1, 8), st.booleans(), st.floats(0, 1),
    st.sampled_from([0.1, 0.3, 1.0, 1e-3, 1e3]), st.integers(0, 2**31),
)  # fmt: skip
def test_levels(
    shape: tuple[list[int], int], layout: Layout, channel_first: bool, bits: int, signed: bool, where: float,
    scale: float, seed: int,
) -> None:  # fmt: skip
    x = numbers(shape, layout.groups, channel_first, seed)
    low = -(2 ** (bits - 1)) if signed else 0
    high = low + 2**bits - 1
    zero = low + round(where * (2**bits - 1))
    packed = pack_levels(x, scale, levels(bits, zero, signed), layout)
    simulated = torch.round(torch.clamp(x / torch.tensor(scale) + zero, low, high)) - zero
    assert torch.equal(packed.integers(), simulated.int())
    assert padding_is_silent(packed)


@settings(max_examples=30, deadline=None)
@given(
    SHAPES, LAYOUTS, st.booleans(), st.sampled_from([torch.float32, torch.bool, torch.uint8, torch.int8]),
    st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 2**31),
)  # fmt: skip
def test_spikes(
    shape: tuple[list[int], int], layout: Layout, channel_first: bool, dtype: torch.dtype, rate: float, seed: int
) -> None:
    s = (numbers(shape, layout.groups, channel_first, seed).sigmoid() < rate).to(dtype)
    packed = pack_spikes(s, layout)
    assert torch.equal(packed.integers(), s.int())
    assert padding_is_silent(packed)


@pytest.mark.parametrize("form", ["bits", "codes"])
@pytest.mark.parametrize("channel_first", [False, True])
def test_two_threads_find_the_same(form: str, channel_first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "PARALLEL_NUMBERS", 0)  # small ones too
    x, layout = numbers(([3, 9, 11], 70), 1, channel_first, 0), Layout(form)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert torch.equal(pack_signs(x, 0.5, layout).integers(), torch.where(x >= 0.5, 1, -1).int())
        x[1, 2, 3, 4] = x[2, 8, 10, 69] = float("nan")
        with pytest.raises(InputError, match="2 of 20790"):
            pack_levels(x, 1.0, levels(4), layout)
    finally:
        torch.set_num_threads(before)


def test_a_bit_plane_by_hand() -> None:
    x = torch.tensor([[1.0, -1.0, 0.0, 2.0]])
    assert pack_signs(x).data.tolist() == [[[0b1101]]]
    assert pack_levels(x, 1.0, levels(2)).data.tolist() == [[[0b0001]], [[0b1000]]]
    assert pack_signs(x, layout=Layout("bits", 2)).data.tolist() == [[[0b01, 0b11]]]


def test_nan_is_below_every_threshold_and_no_level() -> None:
    x = torch.tensor([[float("nan"), 1.0]])
    assert pack_signs(x).integers().tolist() == [[-1, 1]]
    with pytest.raises(InputError, match="1 of 2 activations are NaN"):
        pack_levels(x, 1.0, levels(4))


def test_wrong_activations_are_refused() -> None:
    x = torch.ones(2, 6)
    with pytest.raises(InputError, match="2 of 3 activations are neither 0 nor 1"):
        pack_spikes(torch.tensor([[1.0, 0.5, -1.0]]))
    with pytest.raises(InputError, match="1 of 3 activations are neither"):
        pack_spikes(torch.tensor([[1, 0, 2]], dtype=torch.uint8))
    with pytest.raises(InputError, match=r"spikes were given as .*float64"):
        pack_spikes(x.double())
    with pytest.raises(InputError, match="give float32"):
        pack_signs(x.half())
    with pytest.raises(InputError, match="give float32"):
        pack_levels(x.half(), 1.0, levels(2))
    with pytest.raises(InputError, match=r"threshold of shape \[3\]"):
        pack_signs(x, torch.ones(3))
    with pytest.raises(InputError, match="bits or codes"):
        pack_signs(x, layout=Layout("bits", 4))
    with pytest.raises(InputError, match="no gradient"):
        pack_signs(x.clone().requires_grad_())
    with pytest.raises(InputError, match=r"give \[\.\.\., C\]"):
        pack_signs(torch.ones(()))
    with pytest.raises(InputError, match="format of signs"):
        pack_levels(x, 1.0, SIGNS)
    for scale in (0.0, -1.0, float("nan"), float("inf"), 1e-60):
        with pytest.raises(InputError, match="give a positive number"):
            pack_levels(x, scale, levels(2))
    for bits in (0, 9, 2.5):
        with pytest.raises(InputError, match="give 1 to 8 bits"):
            levels(bits)  # type: ignore[arg-type]
    for zero in (-1, 4, 0.5):
        with pytest.raises(InputError, match=r"0\.\.3"):
            levels(2, zero)  # type: ignore[arg-type]


def test_no_gradient_is_needed_without_grad_mode() -> None:
    x = torch.ones(2, 6, requires_grad=True)
    with torch.no_grad():
        assert pack_signs(x).integers().eq(1).all()


@pytest.mark.parametrize("form", ["bits", "codes"])
@pytest.mark.parametrize("groups", [1, 2])
def test_without_a_compiler_the_same(form: str, groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(form, groups)
    x = torch.randn(3, 4, 70)
    threshold = torch.randn(70)
    s = (x > 0).to(torch.int8)

    def all_of_them() -> list[PackedActivation]:
        return [
            pack_signs(x, threshold, layout),
            pack_levels(x, 0.1, levels(8, 3), layout),
            pack_levels(x, 0.3, levels(3, -1, signed=True), layout),
            pack_spikes(s, layout),
        ]

    native = all_of_them()
    monkeypatch.setattr(library, "available", lambda: False)
    for ours, theirs in zip(native, all_of_them(), strict=True):
        assert torch.equal(ours.data, theirs.data)
