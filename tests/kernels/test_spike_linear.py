"""Products of spikes: exact against int64 for integer weights, close to the plain product for floats."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.library import opcheck
from torch.nn import functional as F

from hardware_models.errors import InputError
from neuro.kernels import native
from neuro.kernels.bitpack import pack, pack_words
from neuro.kernels.dispatch import using
from neuro.kernels.spike_linear import (
    SpikeWeight,
    binary_weight,
    cpu,
    float_weight,
    fused,
    int8_weight,
    plan,
    spike_depthwise,
    spike_linear,
    ternary_weight,
)

needs_compiler = pytest.mark.skipif(bool(native.why_not()), reason=native.why_not() or "-")
IMPLEMENTATIONS = ["reference", "fused", pytest.param("native", marks=needs_compiler)]
SHAPES = [(1, 1, 1), (3, 33, 7), (17, 64, 9), (30, 100, 65), (5, 512, 32), (0, 8, 8), (4, 0, 3), (4, 8, 0)]
FLOATS = [torch.float32, torch.float16, torch.bfloat16]
DTYPES = [*FLOATS, torch.bool, torch.uint8, torch.int8]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def weights(n, k):
    any_int8 = torch.randint(-128, 128, (n, k), dtype=torch.int8)
    ternary = torch.randint(-1, 2, (n, k), dtype=torch.int8)
    binary = 2 * torch.randint(0, 2, (n, k), dtype=torch.int8) - 1
    return {"int8": (any_int8, int8_weight), "ternary": (ternary, ternary_weight), "binary": (binary, binary_weight)}


@pytest.mark.parametrize("form", ["int8", "ternary", "binary"])
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_integers_are_exact(shape, name, form):
    m, k, n = shape
    weight, prepare = weights(n, k)[form]
    for rate in (0.0, 0.3, 1.0):
        s = torch.rand(m, k) < rate
        wanted = (s.long().unsqueeze(1) * weight.long()).sum(-1).int()
        with using(spike_linear=name, spike_linear_bits=name):
            for dtype in DTYPES:
                got = spike_linear(s.to(dtype), prepare(weight))
                assert got.dtype == torch.int32
                assert torch.equal(got, wanted)
            assert torch.equal(spike_linear(pack_words(s), prepare(weight)), wanted)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 2, 8])
def test_very_short_sums(k, n):
    """torch's int8 product returns memory that nobody wrote where the sum has one term."""
    for _ in range(20):
        s, weight = torch.rand(17, k) < 0.5, torch.randint(-128, 128, (n, k), dtype=torch.int8)
        assert torch.equal(spike_linear(s, int8_weight(weight)), (s.long() @ weight.long().t()).int())


@settings(max_examples=60, deadline=None)
@given(m=st.integers(0, 40), k=st.integers(0, 200), n=st.integers(0, 80), rate=st.floats(0, 1))
def test_any_shape(m, k, n, rate):
    s = torch.rand(m, k) < rate
    for weight, prepare in weights(n, k).values():
        wanted = (s.double() @ weight.double().t()).int()
        assert torch.equal(spike_linear(s, prepare(weight)), wanted)
        assert torch.equal(spike_linear(pack_words(s), prepare(weight)), wanted)


@needs_compiler
@pytest.mark.parametrize("columns", [1, 31, 512, 513, 1100])
def test_gathered_rows_are_exact(columns):
    s = torch.rand(6, 70) < 0.3
    weight = torch.randint(-128, 128, (columns, 70), dtype=torch.int8)
    wanted = (s.double() @ weight.double().t()).int()
    assert torch.equal(cpu.gather(s.to(torch.uint8), weight.t().contiguous()), wanted)
    floats = torch.randn(columns, 70)
    close = cpu.gather(s.to(torch.uint8), floats.t().contiguous())
    torch.testing.assert_close(close.double(), s.double() @ floats.double().t(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_floats_are_the_plain_product(dtype):
    s, weight, bias = (torch.rand(2, 5, 33) < 0.3), torch.randn(7, 33, dtype=dtype), torch.randn(7, dtype=dtype)
    wanted = F.linear(s.to(dtype), weight, bias)
    for held in (s.to(dtype), s, pack_words(s)):
        assert torch.equal(spike_linear(held, weight, bias), wanted)
        close = {} if dtype == torch.float32 else {"rtol": 0, "atol": 0.1}  # the bias is added after rounding
        torch.testing.assert_close(spike_linear(held, float_weight(weight), bias), wanted, **close)


@pytest.mark.parametrize("rate", [0.02, 0.25, 0.9])
def test_event_driven_floats(rate):
    s, weight = (torch.rand(3, 200) < rate).float(), torch.randn(50, 200)
    wanted = (s.double() @ weight.double().t()).float()
    torch.testing.assert_close(spike_linear(s, float_weight(weight)), wanted, rtol=1e-5, atol=1e-5)
    s[0, 0] = 0.5  # floats are multiplied, whatever they are
    wanted = (s.double() @ weight.double().t()).float()
    torch.testing.assert_close(spike_linear(s, float_weight(weight)), wanted, rtol=1e-5, atol=1e-5)


def test_gradient_through_plain_weights():
    s, weight = (torch.rand(4, 9) < 0.5).float().requires_grad_(), torch.randn(5, 9, requires_grad=True)
    spike_linear(s, weight).sum().backward()
    assert torch.allclose(s.grad, weight.sum(0).expand(4, 9))
    assert torch.allclose(weight.grad, s.sum(0).expand(5, 9))
    with pytest.raises(InputError, match="train with plain weights"):
        spike_linear(s, int8_weight(torch.ones(5, 9, dtype=torch.int8)))


def test_scale_bias_and_leading_axes():
    s = torch.rand(4, 2, 3, 40) < 0.3
    weight, scale, bias = torch.randint(-128, 128, (6, 40), dtype=torch.int8), torch.rand(6), torch.randn(6)
    sums = (s.double() @ weight.double().t()).float()
    assert torch.equal(spike_linear(s, int8_weight(weight, scale), bias), sums * scale + bias)
    assert torch.equal(spike_linear(s, int8_weight(weight)).float(), sums)
    assert torch.equal(spike_linear(s[0, 0, 0], weight).float(), sums[0, 0, 0])
    assert torch.equal(spike_linear(s.transpose(0, 2), weight).float(), sums.transpose(0, 2))


@pytest.mark.parametrize("form", ["int8", "ternary", "binary"])
def test_dense_gives_the_weights_back(form):
    weight, prepare = weights(7, 45)[form]
    assert torch.equal(prepare(weight).dense(), weight)
    assert isinstance(prepare(weight.float() if form != "int8" else weight), SpikeWeight)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("value", [0.5, 2.0, -1.0, float("nan")])
@pytest.mark.parametrize("form", ["int8", "ternary", "binary"])
def test_other_values_are_refused(name, value, form):
    s = torch.zeros(3, 40)
    s[1, 7] = value
    weight, prepare = weights(5, 40)[form]
    with using(spike_linear=name, spike_linear_bits=name), pytest.raises(InputError, match=r"0 (n|and )"):
        spike_linear(s, prepare(weight))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: int8_weight(torch.ones(2, 3)), "int8"),
        (lambda: ternary_weight(torch.full((2, 3), 2)), "-1, 0 or 1"),
        (lambda: binary_weight(torch.zeros(2, 3)), "-1 or 1"),
        (lambda: float_weight(torch.ones(3)), "floating-point"),
        (lambda: int8_weight(torch.ones(2, 3, dtype=torch.int8), torch.ones(3)), "one each"),
        (lambda: spike_linear(torch.ones(2, 4), torch.ones(2, 3)), "last axis"),
        (lambda: spike_linear(torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 3)), "int64"),
        (lambda: spike_linear(torch.tensor(1.0), torch.ones(2, 1)), "last axis"),
    ],
)
def test_bad_input(make, said):
    with pytest.raises(InputError, match=said):
        make()


def test_the_plan_is_a_table():
    assert plan.choose("int8", 1024, 0.2, 512 * 512, False) == "int_mm"
    assert plan.choose("float", 1, 0.05, 512 * 512, True) == "gather"
    assert plan.choose("float", 1, 0.05, 512 * 512, False) == "matmul"
    assert plan.choose("binary", 1, 1.0, 1, False) == plan.choose("ternary", 9, 0.1, 1, False) == "popcount"
    assert {form for form, _, _ in plan.explain()} == {"float", "int8", "ternary", "binary"}


def test_saturating_processors_are_told_apart(monkeypatch):
    monkeypatch.setattr(torch, "_int_mm", lambda a, b: (a.int() @ b.int()).clamp(-100, 100))
    fused._inexact.cache_clear()
    try:
        assert "not exact" in fused._inexact()
        s, weight = torch.ones(20, 64, dtype=torch.int8), torch.full((8, 64), 127, dtype=torch.int8)
        assert (fused.int_product(s, weight) == 127 * 64).all()
    finally:
        fused._inexact.cache_clear()


def test_opcheck():
    s, weight = (torch.rand(20, 40) < 0.3).float(), torch.randint(-128, 128, (8, 40), dtype=torch.int8)
    opcheck(torch.ops.neuro.spike_dense.default, (s, weight, None))
    opcheck(torch.ops.neuro.spike_dense.default, (s, torch.randn(8, 40), torch.randn(40, 8)))
    plus, minus = pack_words(weight > 60), pack_words(weight < -60)
    opcheck(torch.ops.neuro.spike_bits.default, (pack_words(s), plus, minus, 40))
    opcheck(torch.ops.neuro.spike_bits.default, (pack_words(s), plus, None, 40))
    bits = pack(torch.rand(4, 2, 3, 6, 5) < 0.3)
    opcheck(torch.ops.neuro.spike_depthwise.default, (bits, torch.randn(3, 3, 3), 4, 1))


def test_compiles_into_one_graph():
    prepared = ternary_weight(torch.randint(-1, 2, (8, 40)), torch.rand(8))

    class Layer(nn.Module):
        def forward(self, x):
            return spike_linear(x, prepared).relu()

    s = (torch.rand(20, 40) < 0.3).float()
    with torch.no_grad():
        assert torch.equal(torch.compile(Layer(), fullgraph=True, backend="aot_eager")(s), Layer()(s))


# Depthwise convolution.


@pytest.mark.parametrize("name", ["reference", pytest.param("native", marks=needs_compiler)])
@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1, 5, 5, 3), (4, 2, 3, 14, 14, 7), (9, 1, 2, 7, 9, 3), (4, 1, 2, 8, 8, 4), (3, 1, 2, 40, 23, 16)],
    ids=str,
)
def test_depthwise(shape, name):
    steps, batch, channels, height, width, side = shape
    s = torch.rand(steps, batch, channels, height, width) < 0.5
    integers = torch.randint(-128, 128, (channels, 1, side, side), dtype=torch.int8)
    extreme = torch.full_like(integers, -128)
    for padding in (None, 0, side) if side < 16 else (None, side):
        rim = side // 2 if padding is None else padding
        for weight in (integers, extreme, torch.randn(channels, 1, side, side)):
            with using(spike_linear=name, spike_linear_bits=name):
                got = spike_depthwise(pack(s), weight, steps, padding)
            wanted = F.conv2d(s.double().flatten(0, 1), weight.double(), padding=rim, groups=channels)
            wanted = wanted.unflatten(0, (steps, batch))
            if weight.dtype == torch.int8:
                assert got.dtype == torch.int32
                assert torch.equal(got.double(), wanted)
            else:
                torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("bits", "weight", "steps", "padding", "said"),
    [
        (torch.zeros(1, 1, 2, 4, 4), torch.ones(2, 1, 3, 3), 4, None, "time-packed"),
        (torch.zeros(1, 1, 2, 4, 4, dtype=torch.uint8), torch.ones(2, 1, 3, 3), 9, None, "time-packed"),
        (torch.zeros(1, 1, 2, 4, 4, dtype=torch.uint8), torch.ones(3, 1, 3, 3), 4, None, "2 channels"),
        (torch.zeros(1, 1, 2, 4, 4, dtype=torch.uint8), torch.ones(2, 1, 3, 3).half(), 4, None, "fp32 or int8"),
        (torch.zeros(1, 1, 2, 4, 4, dtype=torch.uint8), torch.ones(2, 1, 7, 7), 4, 0, "must fit"),
    ],
)
def test_bad_depthwise_input(bits, weight, steps, padding, said):
    with pytest.raises(InputError, match=said):
        spike_depthwise(bits, weight, steps, padding)


def test_empty_depthwise():
    assert spike_depthwise(torch.zeros(1, 0, 2, 4, 4, dtype=torch.uint8), torch.ones(2, 1, 3, 3), 4).shape[1] == 0
