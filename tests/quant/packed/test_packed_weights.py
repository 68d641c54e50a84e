"""Packed weights: what goes in comes out, at the size that the bits say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from hardware_models.errors import InputError
from quant.packed import PackedWeight

FORMS = [("binary", None), ("ternary", None), *[("integer", bits) for bits in range(1, 9)]]


def some_codes(form: str, bits: int | None, shape: tuple[int, ...]) -> torch.Tensor:
    if form == "binary":
        return torch.randint(0, 2, shape) * 2 - 1
    if form == "ternary":
        return torch.randint(-1, 2, shape)
    assert bits is not None
    return torch.randint(-(2 ** (bits - 1)), 2 ** (bits - 1), shape)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(FORMS),
    st.lists(st.integers(1, 70), min_size=2, max_size=2),
    st.lists(st.integers(1, 3), max_size=2),
    st.sampled_from([torch.int8, torch.int16, torch.int64]),
    st.integers(0, 2**31),
)
def test_codes_return(
    form: tuple[str, int | None], sizes: list[int], kernel: list[int], dtype: torch.dtype, seed: int
) -> None:
    torch.manual_seed(seed)
    codes = some_codes(*form, (*sizes, *kernel))
    weight = PackedWeight.from_codes(codes.to(dtype), torch.rand(sizes[0]) + 0.1, *form)
    assert torch.equal(weight.codes(), codes.to(torch.int8))
    per_row = codes[0].numel()
    bits = {"binary": 1, "ternary": 2}.get(form[0], form[1] or 0)
    assert weight.nbytes == bits * sizes[0] * -(-per_row // 8) + 4 * sizes[0]
    again = PackedWeight.read(json.loads(json.dumps(weight.header())), weight.tensors())
    assert torch.equal(again.codes(), weight.codes())
    assert torch.equal(again.scale, weight.scale)


def test_bits_by_hand() -> None:
    """Weight 8 b + i is bit i of byte b: 1, -1, 1, 1 and then five of -1 is 0b00001101, 0."""
    codes = torch.tensor([[1, -1, 1, 1, -1, -1, -1, -1, -1]])
    assert PackedWeight.from_codes(codes, torch.ones(1), "binary").planes.tolist() == [[[0b1101, 0]]]
    ternary = PackedWeight.from_codes(torch.tensor([[1, -1, 0]]), torch.ones(1), "ternary")
    assert ternary.planes.tolist() == [[[0b001]], [[0b010]]]
    integer = PackedWeight.from_codes(torch.tensor([[-3, 2]]), torch.ones(1), "integer", 3)
    assert integer.planes.tolist() == [[[0b01]], [[0b10]], [[0b01]]]  # -3 = 101, 2 = 010


def test_a_file_holds_one_bit_per_weight(tmp_path: Path) -> None:
    weight = PackedWeight.from_codes(some_codes("binary", None, (256, 256, 3, 3)), torch.rand(256) + 1, "binary")
    save_file(weight.tensors(), tmp_path / "w.safetensors")
    assert (tmp_path / "w.safetensors").stat().st_size < 256 * 256 * 9 / 8 + 256 * 4 + 300
    read = PackedWeight.read(weight.header(), load_file(tmp_path / "w.safetensors"))
    assert torch.equal(read.codes(), weight.codes())


@pytest.mark.parametrize(
    "codes", [torch.tensor([[1, -1], [1, 1]]).t(), torch.ones(2, 2, dtype=torch.int64).expand(2, 2)]
)
def test_views_are_taken(codes: torch.Tensor) -> None:
    assert torch.equal(PackedWeight.from_codes(codes, torch.ones(2), "binary").codes(), codes.to(torch.int8))


@pytest.mark.parametrize(
    ("codes", "scale", "form", "bits", "said"),
    [
        (torch.ones(2, 2), torch.ones(1), "binary", None, r"float32.*give integers"),
        (torch.ones(2, dtype=torch.int8), torch.ones(1), "binary", None, r"\[2\]; give integers"),
        (torch.ones(0, 2, dtype=torch.int8), torch.ones(1), "binary", None, "give integers"),
        (torch.zeros(2, 2, dtype=torch.int8), torch.ones(1), "binary", None, "codes of 0 .* -1 and 1"),
        (torch.full((2, 2), 2), torch.ones(1), "ternary", None, r"2\.\.2 .* -1\.\.1"),
        (torch.full((2, 2), 8), torch.ones(1), "integer", 4, r"8\.\.8 .* -8\.\.7"),
        (torch.full((2, 2), 2**40), torch.ones(1), "integer", 8, r"-128\.\.127"),
        (torch.ones(2, 2, dtype=torch.int8), torch.ones(1), "integer", 9, "9 bits .* give 1 to 8"),
        (torch.ones(2, 2, dtype=torch.int8), torch.ones(1), "integer", 0, "give 1 to 8"),
        (torch.ones(2, 2, dtype=torch.int8), torch.ones(1), "integer", None, "give 1 to 8"),
        (torch.ones(2, 2, dtype=torch.int8), torch.ones(1), "binary", 2, "they have 1"),
        (torch.ones(2, 2, dtype=torch.int8), torch.ones(1), "binry", None, "did you mean 'binary'"),
        (torch.ones(2, 2, dtype=torch.int8), torch.zeros(1), "binary", None, "1 of 1 scales are 0"),
        (torch.ones(2, 2, dtype=torch.int8), torch.tensor([1.0, float("nan")]), "binary", None, "1 of 2 scales"),
        (torch.ones(2, 2, dtype=torch.int8), torch.ones(3), "binary", None, r"\[3\]; give one number"),
        (torch.ones(2, 2, dtype=torch.int8), torch.ones(1, dtype=torch.int8), "binary", None, "as floats"),
    ],
)
def test_wrong_weights_are_refused(
    codes: torch.Tensor, scale: torch.Tensor, form: str, bits: int | None, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        PackedWeight.from_codes(codes, scale, form, bits)


@pytest.mark.parametrize(
    ("header", "drop", "said"),
    [
        ({"form": "integer"}, "", r"uint8 \[1, 3, 2\]"),
        ({"shape": [3, 20]}, "", r"uint8 \[1, 3, 3\] was expected"),
        ({"shape": [3]}, "", "was expected"),
        ({"form": "float"}, "", "unknown form"),
        ({}, "scale", "without scale"),
    ],
)
def test_files_that_do_not_fit_are_refused(header: dict[str, object], drop: str, said: str) -> None:
    weight = PackedWeight.from_codes(torch.ones(3, 10, dtype=torch.int8), torch.ones(3), "binary")
    tensors = {name: tensor for name, tensor in weight.tensors().items() if name != drop}
    given_header = weight.header() | header
    if header.get("form") == "integer":
        tensors["planes"] = tensors["planes"][:, :2]
    with pytest.raises(InputError, match=said):
        PackedWeight.read(given_header, tensors)
