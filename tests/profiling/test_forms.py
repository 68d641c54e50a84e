import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro.profiling.forms import MAX_INTEGER_SPIKE, recognise

FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def form_and_scale(values, dtype=torch.float32):
    found = recognise(torch.tensor(values, dtype=dtype))
    return found.form, found.scale


@pytest.mark.parametrize("dtype", [*FLOATS, torch.int8, torch.int32, torch.int64])
class TestExactForms:
    def test_binary(self, dtype):
        found = recognise(torch.tensor([0, 1, 1, 0], dtype=dtype))
        assert found[:4] == ("binary", 1.0, False, 1)

    def test_negative_binary(self, dtype):
        found = recognise(torch.tensor([0, -1, -1, 0], dtype=dtype))
        assert found[:4] == ("binary", -1.0, True, 1)

    def test_ternary(self, dtype):
        found = recognise(torch.tensor([0, 1, -1, 0], dtype=dtype))
        assert found[:4] == ("ternary", 1.0, True, 2)

    def test_counts(self, dtype):
        found = recognise(torch.tensor([0, 1, 2, 3, 4], dtype=dtype))
        assert found[:4] == ("integer", 1.0, False, 3)  # 0..4 takes three bits

    def test_signed_counts(self, dtype):
        found = recognise(torch.tensor([-3, 0, 2, 1], dtype=dtype))
        assert found[:4] == ("integer", 1.0, True, 3)  # a sign and two bits

    def test_common_scale_of_integers(self, dtype):
        assert form_and_scale([0, 6, 9, 3], dtype) == ("integer", 3.0)

    def test_more_than_fifteen_levels(self, dtype):
        assert form_and_scale([0, 1, MAX_INTEGER_SPIKE], dtype) == ("integer", 1.0)
        assert form_and_scale([0, 3, MAX_INTEGER_SPIKE + 1], dtype)[0] == "float"

    def test_silence(self, dtype):
        assert form_and_scale([0, 0, 0], dtype) == ("binary", 1.0)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("scale", [0.5, 0.125, 1 / 3, 0.1, 7.3])
class TestScaled:
    def test_binary(self, dtype, scale):
        form, found = form_and_scale([0, scale, scale], dtype)
        assert (form, found) == ("binary", torch.tensor(scale, dtype=dtype).item())

    def test_ternary(self, dtype, scale):
        form, found = form_and_scale([0, scale, -scale], dtype)
        assert (form, found) == ("ternary", torch.tensor(scale, dtype=dtype).item())

    def test_quarters(self, dtype, scale):
        # counts 0..4 over 4, as a normalised integer neuron emits them, times any factor
        form, found = form_and_scale([n * scale / 4 for n in range(5)], dtype)
        assert form == "integer"
        assert found == pytest.approx(scale / 4, rel=torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("scale", [1.0, 0.25, 1 / 3, 7.3])
class TestPowersOfTwo:
    """Values +-scale 2^k; the scale is rounded to the dtype once, for a product with a power of two is exact."""

    def tensor(self, exponents, dtype, scale):
        unit = torch.tensor(scale, dtype=dtype)
        return torch.tensor([0.0, *(2.0**k for k in exponents)], dtype=dtype) * unit, unit.item()

    def test_signed(self, dtype, scale):
        x, unit = self.tensor([0, 4, 7], dtype, scale)
        found = recognise(torch.cat([x, -x]))
        assert found[:4] == ("power-of-two", unit, True, 5)  # 8 levels of either sign and 0: 17 states
        assert (found.low, found.high, found.levels) == (-128, 128, 8)

    def test_without_sign(self, dtype, scale):
        x, unit = self.tensor([0, 4, 7], dtype, scale)
        assert recognise(x)[:4] == ("power-of-two", unit, False, 4)  # 9 states

    def test_negative_only(self, dtype, scale):
        x, unit = self.tensor([0, 4], dtype, scale)
        found = recognise(-x)
        assert (found.form, found.scale, found.signed, found.low, found.high) == ("power-of-two", unit, True, -16, 0)

    def test_at_most_sixteen_levels(self, dtype, scale):
        assert recognise(self.tensor([0, 7], dtype, scale)[0]).form == "power-of-two"
        if dtype != torch.float16:  # whose normal numbers span 30 levels in all
            assert recognise(self.tensor([-8, 7], dtype, scale)[0]).levels == 16
            assert recognise(self.tensor([-8, 8], dtype, scale)[0]).form == "float"

    def test_up_to_eight_they_are_integers(self, dtype, scale):
        assert recognise(self.tensor([0, 1, 3], dtype, scale)[0])[:2] == (
            "integer",
            torch.tensor(scale, dtype=dtype).item(),
        )

    def test_the_next_number_beside_a_power_is_none(self, dtype, scale):
        x, _ = self.tensor([0, 4, 7], dtype, scale)
        x[2] *= 1 + torch.finfo(dtype).eps
        assert recognise(x).form == "float"


def test_subnormal_halves_are_powers_too():
    x = torch.tensor([2.0**-24, -(2.0**-17), 0, 2.0**-10], dtype=torch.float16)
    assert recognise(x)[:4] == ("power-of-two", 2.0**-24, True, 5)


def test_powers_among_integers():
    assert recognise(torch.tensor([0, 1, -32, 4]))[:4] == ("power-of-two", 1.0, True, 4)
    assert recognise(torch.tensor([0, 1, 33])).form == "float"


@pytest.mark.parametrize("wrong", [0.7, 1e-30, -(2.0**-13), 2.0**3, math.nan, math.inf])
@pytest.mark.parametrize("where", [0, 131_072, 777_777, 999_999])
def test_one_element_in_a_million_that_is_no_such_power_is_found(wrong, where):
    generator = torch.Generator().manual_seed(3)
    x = 2.0 ** -torch.randint(12, (1_000_000,), generator=generator).float()
    x *= torch.randint(-1, 2, x.shape, generator=generator)
    x[1::2] = 0
    assert (recognise(x).form, recognise(x).levels) == ("power-of-two", 12)
    x[where] = wrong
    found = recognise(x)
    levels = {-(2.0**-13): 14, 8.0: 15}.get(wrong, 0)  # powers further away add levels
    assert (found.form, found.levels) == ("power-of-two" if levels else "float", levels)


@pytest.mark.parametrize("where", [0, 131_073, 199_999])
def test_a_plain_power_among_those_of_another_mantissa_is_found(where):
    x = torch.zeros(200_000)
    x[5::3] = 2.0 ** -torch.arange(len(x[5::3])).remainder(9).float() / 3
    assert recognise(x).form == "power-of-two"
    x[where] = 0.25
    assert recognise(x).form == "float"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.integers(0, 15)), min_size=1, max_size=40),
    st.floats(1e-3, 1e3),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_powers_times_a_scale_are_recovered(spikes, scale, dtype):
    unit = torch.tensor(scale, dtype=dtype)
    found = recognise(torch.tensor([sign * 2.0**k for sign, k in spikes], dtype=dtype) * unit)
    exponents = [k for sign, k in spikes if sign]
    if not exponents:
        assert found[:2] == ("binary", 1.0)
        return
    smallest, largest = min(exponents), max(exponents)
    assert found.powers
    assert abs(found.scale) == unit.item() * 2.0**smallest
    assert found.signed == any(sign < 0 for sign, _ in spikes)
    assert found.form == "power-of-two" or largest - smallest < 4
    assert found.levels == (largest - smallest + 1 if found.form == "power-of-two" else 0)


def test_bool():
    assert recognise(torch.tensor([True, False]))[:4] == ("binary", 1.0, False, 1)


def test_constant_is_spikes_that_all_fired():
    assert form_and_scale([0.7] * 5) == ("binary", pytest.approx(0.7))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("size", [2, 10_000])
def test_nan_and_infinity_are_float(bad, size):
    x = torch.zeros(size)
    x[::2] = 1
    x[-1] = bad
    assert recognise(x).form == "float"


def test_empty_and_complex_are_float():
    assert recognise(torch.empty(0)).form == "float"
    assert recognise(torch.ones(3, dtype=torch.complex64)).form == "float"


def test_pixels_are_float():
    pixels = torch.arange(256, dtype=torch.uint8)
    assert recognise(pixels)[:4] == ("float", 1.0, False, 8)
    assert recognise(pixels.float() / 255)[:4] == ("float", 1.0, True, 32)


@pytest.mark.parametrize("levels", [[0, 1], [0, 0.3], [-1, 0, 1], [0, 0.25, 0.5, 1]])
@pytest.mark.parametrize("wrong", [0.9999, 1e-30, 1e-7, -0.37])
@pytest.mark.parametrize("where", [0, 131_072, 777_777, 999_999])
def test_one_deviating_element_in_a_million_is_found(levels, wrong, where):
    generator = torch.Generator().manual_seed(3)
    x = torch.tensor(levels, dtype=torch.float32)[torch.randint(len(levels), (1_000_000,), generator=generator)]
    assert recognise(x).form != "float"
    x[where] = wrong
    assert recognise(x).form == "float"


def test_one_larger_spike_in_a_million_widens_the_form():
    x = torch.zeros(1_000_000)
    x[5::7] = 1
    x[123_456] = 2
    assert recognise(x)[:4] == ("integer", 1.0, False, 2)
    x[123_457] = -1
    assert recognise(x)[:4] == ("integer", 1.0, True, 3)


def test_few_spikes_that_no_sample_meets():
    x = torch.zeros(1_000_000)
    x[500_001] = 0.25
    assert recognise(x)[:2] == ("binary", 0.25)
    x[700_001] = 0.75
    assert recognise(x)[:2] == ("integer", 0.25)
    x[700_003] = 0.31
    assert recognise(x)[0] == "float"


def test_order_of_the_axes_does_not_matter():
    x = (torch.rand(3, 5, 7, 2) < 0.5).float()
    for seen in (
        x.permute(2, 0, 3, 1),
        x[:, ::2],
        x[:, :1].expand(3, 5, 7, 2),
        x.to(memory_format=torch.channels_last),
    ):
        assert recognise(seen) == recognise(seen.contiguous())
    x[0, 1] = 0.123
    assert recognise(x[:, ::2]).form == "binary"  # the other elements of the memory are not looked at
    assert recognise(x[:, 1:]).form == "float"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([torch.float32, torch.float64]), st.integers(4, 400))
def test_random_floats_are_never_recognised(seed, dtype, size):
    x = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    assert recognise(x).form == "float"
    assert recognise(x.relu() + (x > 0) * 1e-3).form == "float" or int((x > 0).sum()) < 4


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(-15, 15), min_size=1, max_size=40),
    st.floats(1e-3, 1e3),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_integers_times_a_scale_are_recovered(counts, scale, dtype):
    found = recognise(torch.tensor(counts, dtype=dtype) * scale)
    divisor = math.gcd(*counts)
    if divisor == 0:
        assert found[:2] == ("binary", 1.0)
        return
    assert found.form != "float"
    assert abs(found.scale) == pytest.approx(scale * divisor, rel=1e-5)
    units = [n // divisor for n in counts]
    expected = "integer" if max(map(abs, units)) > 1 else "ternary" if {-1, 1} <= set(units) else "binary"
    assert found.form == expected
    assert found.signed == (min(counts) < 0)
