"""Packed linear layers and convolutions against float64 arithmetic on the integers: equal, not close."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from hardware_models.errors import InputError
from quant.packed import (
    SIGNS,
    SPIKES,
    ActivationFormat,
    Epilogue,
    Layout,
    Operand,
    PackedActivation,
    PackedWeight,
    conv,
    levels,
    library,
    linear,
    pack_levels,
    pack_signs,
    plan,
    prepare,
    products,
    reference,
    scale_shift,
)

WEIGHTS = [("binary", 1), ("ternary", 2), ("integer", 1), ("integer", 2), ("integer", 4), ("integer", 8)]
FORMATS = [
    SIGNS,
    SPIKES,
    levels(2),
    levels(2, 1),
    levels(4, 7),
    levels(8, 100),
    levels(8, 0, True),
    levels(3, -2, True),
]
SIZES = st.fixed_dictionaries(
    {
        "groups": st.sampled_from([1, 1, 2, 3]),
        "inputs": st.sampled_from([1, 5, 64, 65, 130]),
        "outputs": st.sampled_from([1, 3, 16, 17, 33]),
        "batch": st.sampled_from([0, 1, 3]),
        "image": st.tuples(st.integers(7, 10), st.integers(7, 10)),
        "kernel": st.sampled_from([(1, 1), (3, 3), (2, 3), (1, 4)]),
        "stride": st.sampled_from([1, 2, (1, 2)]),
        "padding": st.sampled_from([0, 1, (2, 0), 3]),
        "dilation": st.sampled_from([1, 2]),
        "seed": st.integers(0, 2**31),
    }
)


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with threads(1):
        yield


def some_weight(form: str, bits: int, shape: tuple[int, ...]) -> PackedWeight:
    if form == "binary":
        codes = torch.randint(0, 2, shape) * 2 - 1
    elif form == "ternary":
        codes = torch.randint(-1, 2, shape)
    else:
        codes = torch.randint(-(2 ** (bits - 1)), 2 ** (bits - 1), shape)
    return PackedWeight.from_codes(codes, torch.ones(1), form, bits)


def some_codes(
    form: ActivationFormat, shape: tuple[int, ...], operand: Operand, u: int | None = None
) -> PackedActivation:
    """Random codes (or all u), packed independently of the packing kernels."""
    codes = torch.randint(0, 2**form.bits, shape) if u is None else torch.full(shape, u)
    if operand.layout.form == "bits":
        data = reference.to_planes(codes, form.bits, operand.layout.groups)
    elif form.factor == 2:
        data = (2 * codes - 1).to(torch.int8)
    else:
        data = (codes - (128 if form.bits == 8 else 0)).to(torch.int8)
    packed = PackedActivation(data, shape, form, operand.layout)
    assert torch.equal(packed.integers(), (codes * form.factor - form.zero_point).int())
    return packed


def exact(x: PackedActivation, w: PackedWeight, groups: int, *places: object) -> Tensor:
    q = x.integers().movedim(-1, 1).double()
    run = F.conv2d if len(w.shape) == 4 else F.conv1d
    return run(q, w.codes().double(), None, *places, groups).movedim(1, -1)  # type: ignore[operator]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(WEIGHTS), st.sampled_from(FORMATS), st.sampled_from(["bits", "lookup", "int8", None]), SIZES)
def test_convolutions_are_exact(
    form: tuple[str, int], activation: ActivationFormat, algorithm: str | None, sizes: dict[str, object]
) -> None:
    torch.manual_seed(sizes["seed"])  # type: ignore[arg-type]
    groups, inputs, kernel = sizes["groups"], sizes["inputs"], sizes["kernel"]
    weight = some_weight(*form, (sizes["outputs"] * groups, inputs, *kernel))  # type: ignore[operator, misc]
    operand = prepare(weight, activation, groups, algorithm=algorithm)  # type: ignore[arg-type]
    x = some_codes(activation, (sizes["batch"], *sizes["image"], inputs * groups), operand)  # type: ignore[operator, misc, arg-type]
    places = [sizes["stride"], sizes["padding"], sizes["dilation"]]
    y = conv(x, operand, *places)  # type: ignore[arg-type]
    assert y.dtype == torch.int32
    assert torch.equal(y.double(), exact(x, weight, groups, *places))  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(WEIGHTS), st.sampled_from(FORMATS), st.sampled_from(["bits", "lookup", "int8", None]),
    st.sampled_from([(0,), (1,), (9,), (300,), (2, 3)]), st.sampled_from([1, 5, 64, 200]), st.sampled_from([1, 16, 50]),
    st.integers(0, 2**31),
)  # fmt: skip
def test_linear_layers_are_exact(
    form: tuple[str, int], activation: ActivationFormat, algorithm: str | None, rows: tuple[int, ...], inputs: int,
    outputs: int, seed: int,
) -> None:  # fmt: skip
    torch.manual_seed(seed)
    weight = some_weight(*form, (outputs, inputs))
    operand = prepare(weight, activation, algorithm=algorithm)
    x = some_codes(activation, (*rows, inputs), operand)
    y = linear(x, operand)
    assert y.shape == (*rows, outputs)
    assert torch.equal(y.double(), F.linear(x.integers().double(), weight.codes().double()))


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(WEIGHTS), st.sampled_from(FORMATS), st.sampled_from([2, 16, 37]), st.sampled_from([1, 2]),
    st.sampled_from([0, 1, 2]), st.integers(0, 2**31),
)  # fmt: skip
def test_depthwise_convolutions_are_exact(
    form: tuple[str, int], activation: ActivationFormat, channels: int, stride: int, padding: int, seed: int
) -> None:
    torch.manual_seed(seed)
    weight = some_weight(*form, (channels, 1, 3, 3))
    operand = prepare(weight, activation, channels)
    assert operand.algorithm == "depthwise"
    x = some_codes(activation, (2, 7, 6, channels), operand)
    assert torch.equal(conv(x, operand, stride, padding).double(), exact(x, weight, channels, stride, padding, 1))


@pytest.mark.parametrize("algorithm", ["bits", "lookup", "int8"])
@pytest.mark.parametrize("activation", FORMATS)
def test_one_dimension(activation: ActivationFormat, algorithm: str) -> None:
    weight = some_weight("ternary", 2, (5, 70, 3))
    operand = prepare(weight, activation, algorithm=algorithm)
    x = some_codes(activation, (2, 11, 70), operand)
    assert torch.equal(conv(x, operand, 2, 1, 2).double(), exact(x, weight, 1, 2, 1, 2))


@pytest.mark.parametrize("algorithm", ["bits", "lookup", "int8"])
@pytest.mark.parametrize("extreme", [0, -1])
@pytest.mark.parametrize("code", [-128, 127])
def test_extremes_do_not_overflow(algorithm: str, extreme: int, code: int) -> None:
    """All codes and weights at their ends: 16-bit partial sums are the ones that could run over."""
    codes = torch.full((17, 200, 3, 3), code)
    weight = PackedWeight.from_codes(codes, torch.ones(1), "integer", 8)
    for form in FORMATS:
        operand = prepare(weight, form, algorithm=algorithm)
        x = some_codes(form, (1, 4, 4, 200), operand, extreme % 2**form.bits)
        assert torch.equal(conv(x, operand, padding=1).double(), exact(x, weight, 1, 1, 1, 1))


@pytest.mark.parametrize("algorithm", ["bits", "lookup", "int8"])
def test_many_positions(algorithm: str) -> None:
    """More positions than one chunk of lookups has."""
    weight = some_weight("integer", 4, (20, 33))
    operand = prepare(weight, levels(2, 1), algorithm=algorithm)
    x = some_codes(levels(2, 1), (5000, 33), operand)
    assert torch.equal(linear(x, operand).double(), F.linear(x.integers().double(), weight.codes().double()))


@pytest.mark.parametrize("algorithm", ["bits", "lookup", "int8", "depthwise"])
def test_two_threads_find_the_same(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "PARALLEL_WORK", 0)  # small layers too
    groups = 70 if algorithm == "depthwise" else 2
    weight = some_weight("ternary", 2, (70, 70 // groups if groups > 2 else 35, 3, 3))
    for activation in FORMATS:
        operand = prepare(weight, activation, groups, algorithm=algorithm)
        x = some_codes(activation, (2, 9, 11, 70), operand)
        with threads(2):
            assert torch.equal(conv(x, operand, 1, 1).double(), exact(x, weight, groups, 1, 1, 1))


def test_the_padding_of_signs_is_zero() -> None:
    """By hand: a 3x3 kernel of ones over one pixel of 1 sees one product, not nine."""
    weight = PackedWeight.from_codes(torch.ones(1, 1, 3, 3, dtype=torch.int8), torch.ones(1), "binary")
    operand = prepare(weight, SIGNS)
    x = pack_signs(torch.ones(1, 1, 1, 1), layout=operand.layout)
    assert conv(x, operand, padding=1).tolist() == [[[[1]]]]


EPILOGUES = ["", "shift", "shift residual", "slope", "shift residual slope after"]


@pytest.mark.parametrize("parts", EPILOGUES)
@pytest.mark.parametrize("algorithm", ["bits", "lookup", "int8", "depthwise"])
@pytest.mark.parametrize("outputs", [16, 21])
def test_epilogues(parts: str, algorithm: str, outputs: int) -> None:
    groups = outputs if algorithm == "depthwise" else 1
    weight = some_weight("integer", 4, (outputs, 1 if groups > 1 else 40, 3, 3))
    operand = prepare(weight, SPIKES, groups, algorithm=algorithm)
    x = some_codes(SPIKES, (2, 5, 5, operand.inputs), operand)
    sums = conv(x, operand, padding=1)
    more = {name: torch.randn(outputs) for name in parts.split() if name != "residual"}
    residual = torch.randn(2, 5, 5, outputs) if "residual" in parts else None
    epilogue = Epilogue(torch.randn(outputs), **more)
    y = sums.float() * epilogue.scale + more.get("shift", 0)
    y = y if residual is None else y + residual
    y = F.prelu(y.movedim(-1, 1), more["slope"]).movedim(1, -1) if "slope" in more else y
    y = y + more.get("after", 0)
    assert torch.equal(conv(x, operand, padding=1, epilogue=epilogue, residual=residual), y)
    assert torch.equal(scale_shift(sums, epilogue, residual), y)


def test_without_a_compiler_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "available", lambda: False)
    for form, activation in zip(WEIGHTS, FORMATS, strict=False):
        weight = some_weight(*form, (6, 10, 3, 3))
        operand = prepare(weight, activation, 2)
        assert operand.algorithm == "reference"
        x = some_codes(activation, (2, 5, 6, 20), operand)
        y = exact(x, weight, 2, 2, 1, 1)
        assert torch.equal(conv(x, operand, 2, 1).double(), y)
        epilogue = Epilogue(torch.randn(6), torch.randn(6), torch.randn(6), torch.randn(6))
        found = conv(x, operand, 2, 1, epilogue=epilogue, residual=torch.ones(2, 3, 3, 6))
        expected = F.prelu((y.float() * epilogue.scale + epilogue.shift + 1).movedim(-1, 1), epilogue.slope)  # type: ignore[arg-type, operator]
        assert torch.equal(found, expected.movedim(1, -1) + epilogue.after)  # type: ignore[operator]
        assert torch.equal(scale_shift(conv(x, operand, 2, 1), epilogue, torch.ones(2, 3, 3, 6)), found)
        row = prepare(some_weight(*form, (4, 10)), activation)
        assert linear(some_codes(activation, (3, 10), row), row).shape == (3, 4)


def test_where_int8_products_saturate_they_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_int_mm_is_exact", lambda: False)
    monkeypatch.setattr(torch, "_int_mm", None)
    weight = some_weight("integer", 8, (6, 10))
    operand = prepare(weight, levels(8), algorithm="int8")
    x = some_codes(levels(8), (3, 10), operand)
    assert torch.equal(linear(x, operand).double(), F.linear(x.integers().double(), weight.codes().double()))


def test_the_plan_is_total() -> None:
    for weight in range(1, 9):
        for activation in range(1, 9):
            for positions in (0, 1, 200, 10**6):
                for fast in (True, False):
                    chosen = plan.choose(weight, activation, positions, fast)
                    assert chosen in plan.ALGORITHMS
                    assert fast or chosen != "lookup"


def test_what_does_not_fit_is_refused() -> None:
    weight = some_weight("binary", 1, (4, 8, 3, 3))
    operand, row = prepare(weight, SIGNS), prepare(some_weight("binary", 1, (4, 8)), SIGNS)
    image, ones = pack_signs(torch.ones(1, 5, 5, 8)), torch.ones(4)
    with pytest.raises(InputError, match="groups that divide O"):
        prepare(weight, SIGNS, 3)
    with pytest.raises(InputError, match="unknown algorithm 'bit'; did you mean 'bits'"):
        prepare(weight, SIGNS, algorithm="bit")
    with pytest.raises(InputError, match="depthwise was asked"):
        prepare(weight, SIGNS, algorithm="depthwise")
    with pytest.raises(InputError, match="do not fit in 32 bits"):
        prepare(PackedWeight.from_codes(torch.full((1, 70000), -128), torch.ones(1), "integer", 8), levels(8))
    with pytest.raises(InputError, match="call conv"):
        linear(pack_signs(torch.ones(2, 8)), operand)
    with pytest.raises(InputError, match="as many axes"):
        conv(pack_signs(torch.ones(2, 5, 8)), operand)
    with pytest.raises(InputError, match="as many axes"):
        conv(image, row)
    with pytest.raises(InputError, match="does not fit"):
        conv(pack_signs(torch.ones(1, 2, 5, 8)), operand)
    with pytest.raises(InputError, match="whole numbers from 1"):
        conv(image, operand, stride=0)
    with pytest.raises(InputError, match="whole numbers from 0"):
        conv(image, operand, padding=(1, 1, 1))
    with pytest.raises(InputError, match="prepared for"):
        conv(pack_levels(torch.ones(1, 5, 5, 8), 1.0, levels(2)), operand)
    with pytest.raises(InputError, match="prepared for"):
        conv(pack_signs(torch.ones(1, 5, 5, 9)), operand)
    with pytest.raises(InputError, match="prepared for"):
        conv(pack_signs(torch.ones(1, 5, 5, 8), layout=Layout("codes")), operand)
    with pytest.raises(InputError, match="without an epilogue"):
        conv(image, operand, residual=torch.ones(1, 3, 3, 4))
    with pytest.raises(InputError, match="a residual"):
        conv(image, operand, epilogue=Epilogue(ones), residual=torch.ones(1, 3, 3, 5))
    with pytest.raises(InputError, match=r"scale was given .* \[4\]"):
        conv(image, operand, epilogue=Epilogue(torch.ones(5)))
    with pytest.raises(InputError, match="slope was given"):
        conv(image, operand, epilogue=Epilogue(ones, slope=ones.double()))
    with pytest.raises(InputError, match="give int32"):
        scale_shift(torch.ones(2, 4), Epilogue(ones))
