"""Values as spikes and back: hand-worked traces, every implementation against the reference, gradients, compilation."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hardware_models.errors import InputError
from neuro.kernels import native
from neuro.kernels.dispatch import explain, using
from neuro.kernels.encode import SPIKES, decode, encode, reference

needs_compiler = pytest.mark.skipif(bool(native.why_not()), reason="no C compiler")
NATIVE = pytest.param("native", marks=needs_compiler)
ONE = torch.tensor(1.0)


def same(got: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    """Equal to the bit, but for the sign of zero."""
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


# --- what is sent, worked by hand ---

TRACES = {
    # values, unit, levels, presentations, spikes
    "power-of-two": ([2.75, 2.75, 2.75, 2.75], 2.0, 4, None, [2.0, 1.0, -0.25, 0.0]),
    "ternary": ([1.25, 1.25, -0.5, -0.5], 0.5, 1, None, [0.5, 0.5, -0.5, -0.5]),
    "binary": ([0.75, 0.75, 0.0, 1.0], 0.5, 1, None, [0.5, 0.5, 0.0, 0.0]),
    "integer": ([5.0, 5.0, -1.0, -1.0], 1.0, 3, None, [3.0, 2.0, -3.0, -3.0]),
    "ideal": ([0.3, 0.3, 1.0, -1.0], 1.0, 1, None, [0.3, 0.0, 0.7, -2.0]),
    "binary by rate": ([0.4, 0.4, 0.4, 0.4, 0.4], 1.0, 1, [1, 2, 3, 4, 5], [0.0, 1.0, 0.0, 1.0, 0.0]),
}


@pytest.mark.parametrize("implementation", ["reference", NATIVE])
@pytest.mark.parametrize("name", TRACES)
def test_spikes_worked_by_hand(name: str, implementation: str) -> None:
    values, unit, levels, presentations, expected = TRACES[name]
    presented = None if presentations is None else torch.tensor(presentations, dtype=torch.float32)
    kind = name.removesuffix(" by rate")
    with using(implementation):
        spikes, sent = encode(torch.tensor(values), None, torch.tensor(unit), presented, kind, levels)
        summed, again = encode(torch.tensor(values), None, torch.tensor(unit), presented, kind, levels, summed=True)
    torch.testing.assert_close(spikes, torch.tensor(expected))
    torch.testing.assert_close(sent, torch.tensor(expected).sum())
    stands_for = torch.tensor(expected).cumsum(0) / (1 if presented is None else presented)
    torch.testing.assert_close(summed, stands_for)
    assert torch.equal(again, sent)


@pytest.mark.parametrize("implementation", ["reference", NATIVE])
def test_values_worked_by_hand(implementation: str) -> None:
    currents = torch.tensor([[1.0, 2.0], [3.0, 4.0], [-1.0, 0.0]])
    with using(implementation):
        values, arrived = decode(currents, torch.tensor([10.0, 0.0]), torch.tensor([1.0, 4.0, 9.0]), torch.tensor(0.5))
    torch.testing.assert_close(values, torch.tensor([[11.5, 2.5], [4.0, 2.0], [13 / 9 + 0.5, 6 / 9 + 0.5]]))
    assert arrived.tolist() == [13.0, 6.0]


@pytest.mark.parametrize("implementation", ["reference", NATIVE])
@pytest.mark.parametrize("kind", SPIKES)
def test_values_that_are_no_numbers(kind: str, implementation: str) -> None:
    x = torch.tensor([[math.nan, math.inf, -math.inf]])
    with using(implementation):
        spikes = encode(x, None, torch.tensor(0.5), None, kind, 2)[0][0]
    most = {"integer": 1.0, "ideal": math.inf}.get(kind, 0.5)
    assert spikes[0].isnan()
    assert spikes[1:].tolist() == [most, 0.0 if kind == "binary" else -most]


# --- invariants ---


@given(
    x=st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=8),
    exponent=st.integers(-3, 3),
    levels=st.integers(1, 12),
    kind=st.sampled_from(list(SPIKES)),
)
@settings(max_examples=60, deadline=None)
def test_a_still_value_is_approached(x: list[float], exponent: int, levels: int, kind: str) -> None:
    """What is left of a constant value never grows, and every spike is one that its kind allows."""
    value, unit = torch.tensor(x), 2.0**exponent
    value = value.clamp_min(0) if kind == "binary" else value
    spikes, sent = encode(value.expand(40, -1), None, torch.tensor(unit), None, kind, levels)
    left = (value - spikes.cumsum(0)).abs()
    assert (left[1:] <= left[:-1].maximum(torch.tensor(unit / 2)) + 1e-6).all()
    assert torch.allclose(spikes.sum(0), sent, atol=1e-5)
    sizes = (spikes.abs() / unit).unique()
    if kind == "power-of-two":
        assert set(sizes.tolist()) <= {0.0, *(2.0**-k for k in range(levels))}
    elif kind == "integer":
        assert set(sizes.tolist()) <= set(map(float, range(levels + 1)))
    elif kind != "ideal":
        assert set(sizes.tolist()) <= {0.0, 1.0}


def test_pieces_continue_each_other() -> None:
    x, presentations = torch.randn(9, 4, 5), torch.arange(1.0, 10)
    for summed in (False, True):
        whole = encode(x, None, ONE, presentations, "ternary", 1, summed)
        first, sent = encode(x[:4], None, ONE, presentations[:4], "ternary", 1, summed)
        then, last = encode(x[4:], sent, ONE, presentations[4:], "ternary", 1, summed)
        same((torch.cat([first, then]), last), whole)
    before, arrived = decode(x[:4], None)
    after, total = decode(x[4:], arrived)
    same((torch.cat([before, after]), total), decode(x, None))


# --- the compiled kernel is the reference ---


def layouts(steps: int) -> Iterator[Tensor]:
    """Values `[T, 2, 3, 5, 110]` in several orders of memory, with more than one block of neurons."""
    x = torch.randn(steps, 2, 3, 5, 110, generator=torch.Generator().manual_seed(steps))
    yield x
    yield x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)  # channels last
    yield x.transpose(0, 2).contiguous().transpose(0, 2)  # time between other axes
    yield x.permute(4, 3, 1, 2, 0).contiguous().permute(4, 2, 3, 1, 0)  # time innermost
    yield torch.cat([x, x], 3)[:, :, :, ::2]  # gaps
    yield x[:, :1].expand_as(x)


UNITS = {
    "one": torch.tensor(0.5),
    "channels": torch.tensor([0.25, 0.5, 1.0]).view(-1, 1, 1),
    "last axis": 2.0 ** torch.randint(-2, 2, (110,), generator=torch.Generator().manual_seed(0)),
    "each": torch.rand(3, 5, 110, generator=torch.Generator().manual_seed(0)) + 0.1,
}


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("kind", SPIKES)
def test_native_equals_reference(kind: str, unit: str, dtype: torch.dtype) -> None:
    for number, x in enumerate(layouts(4)):
        x = x.to(dtype)
        sent = torch.randn(x.shape[1:]) if number % 2 else None
        presentations = torch.arange(3.0, 7.0) if number % 3 else None
        with using("native", strict=True):
            got = encode(x, sent, UNITS[unit], presentations, kind, 5, number % 2 == 0)
            values = decode(x, sent, presentations, UNITS[unit])
        same(got, reference.encode(x, sent, UNITS[unit], presentations, kind, 5, number % 2 == 0))
        same(values, reference.decode(x, sent, presentations, UNITS[unit]))
        assert got[0].dtype == values[0].dtype == dtype
        assert got[1].dtype == values[1].dtype == torch.float32


@needs_compiler
@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("kind", SPIKES)
def test_gradients_equal_those_of_the_plain_loop(kind: str, summed: bool) -> None:
    numbers = torch.Generator().manual_seed(0)
    for x in layouts(6):
        for presentations in (None, torch.arange(2.0, 8.0)):
            x = x.detach().requires_grad_()
            sent = torch.randn(x.shape[1:], generator=numbers).requires_grad_()
            arguments = x, sent, UNITS["channels"], presentations, kind, 5, summed
            with using("native", strict=True):
                found = encode(*arguments)
            expected = reference.encode(*arguments)
            grads = [torch.randn(one.shape, generator=numbers) for one in found]
            for one, other in zip(
                torch.autograd.grad(found, [x, sent], grads),
                torch.autograd.grad(expected, [x, sent], grads),
                strict=True,
            ):
                torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_gradients_of_values() -> None:
    x = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    arrived, bias = torch.randn(2, 3, dtype=torch.float64, requires_grad=True), torch.randn(3, requires_grad=True)
    divisors = torch.tensor([1.0, 4.0, 9.0, 16.0])
    assert torch.autograd.gradcheck(lambda c, a: reference.decode(c, a, divisors, bias), (x, arrived))
    leaves = [x.detach().float().requires_grad_(), arrived.detach().float().requires_grad_(), bias]
    grads = [torch.randn(4, 2, 3), torch.randn(2, 3)]
    found = torch.autograd.grad(decode(leaves[0], leaves[1], divisors, bias), leaves, grads)
    expected = torch.autograd.grad(reference.decode(leaves[0], leaves[1], divisors, bias), leaves, grads)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_the_ideal_neuron_passes_every_gradient() -> None:
    """Without quantization E_t = x_t whatever x was before, so d sum E_t / dx_t is 1."""
    x = (100 * torch.randn(5, 7)).requires_grad_()
    encode(x, None, ONE, None, "ideal", 1, summed=True)[0].sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.ones(5, 7))


def test_double_precision_runs_by_the_reference() -> None:
    """Every power-of-two spike leaves at most a third of what there was, down to the last threshold."""
    x = torch.randn(6, dtype=torch.float64)
    spikes, sent = encode(x.expand(20, 6), None, 2 * ONE, None, "power-of-two", 50)
    assert spikes.dtype == sent.dtype == torch.float64
    assert ((x - sent).abs() <= x.abs() / 3.0**19).all()
    assert set(torch.frexp(spikes[spikes != 0].abs()).mantissa.tolist()) == {0.5}


# --- torch.library, refusals, dispatch ---


@needs_compiler
def test_library_registration() -> None:
    x = torch.randn(3, 2, 4, 5).to(memory_format=torch.channels_last).requires_grad_()
    sent = torch.randn(2, 4, 5, requires_grad=True)
    tests = "test_schema", "test_autograd_registration", "test_faketensor"
    for presentations in (None, torch.arange(1.0, 4.0)):
        arguments = x, sent, UNITS["one"], presentations, "ternary", 1, False
        torch.library.opcheck(torch.ops.neuro.encode.default, arguments, test_utils=tests)
        torch.library.opcheck(torch.ops.neuro.decode.default, (x, sent, presentations, sent[0, 0]), test_utils=tests)


def test_what_is_refused() -> None:
    x = torch.zeros(2, 3)
    with pytest.raises(InputError, match=r"ternry.*ternary"):
        encode(x, None, ONE, None, "ternry", 1)
    with pytest.raises(InputError, match="0 levels"):
        encode(x, None, ONE, None, "ternary", 0)
    with pytest.raises(InputError, match="T at least 1"):
        encode(x[:0], None, ONE, None, "ternary", 1)
    with pytest.raises(InputError, match=r"\(3,\) numbers were given for 2 timesteps"):
        decode(x, None, torch.ones(3))


def test_explained() -> None:
    assert {"encode", "decode"} <= {operator for operator, _, _, _ in explain()}


def test_no_neurons() -> None:
    spikes, sent = encode(torch.zeros(3, 0, 4), None, ONE, None, "ternary", 1)
    assert (spikes.shape, sent.shape) == ((3, 0, 4), (0, 4))
    assert decode(torch.zeros(3, 0, 4), None, None, torch.ones(4))[0].shape == (3, 0, 4)
