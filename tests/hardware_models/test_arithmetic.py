import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_models.arithmetic import Number, ac_energy, mac_energy, multiply_energy, wider
from hardware_models.errors import InputError
from hardware_models.technology import Technology, technology

HOROWITZ = technology("horowitz45")
FP16, FP32 = Number(16, floating=True), Number(32, floating=True)
widths = st.integers(1, 32)


def toy(**figures: float) -> Technology:
    entries = {
        name: {"value": value, "unit": "pJ", "source": "a test", "grade": "assumed"} for name, value in figures.items()
    }
    return Technology(name="toy", title="a toy", node="1 um", source="a test", figures=entries)


# The constants that papers print, in pJ: multiplication + addition of the table.
@pytest.mark.parametrize(
    ("number", "mac", "ac"), [(FP32, 3.7 + 0.9, 0.9), (FP16, 1.1 + 0.4, 0.4), (Number(8), 0.2 + 0.03, 0.03)]
)
def test_constants_of_the_literature(number, mac, ac):
    for energy, expected in ((mac_energy(HOROWITZ, number, number), mac), (ac_energy(HOROWITZ, number), ac)):
        assert energy.si == pytest.approx(expected * 1e-12, rel=1e-12)
        assert energy.si_band == (energy.si, energy.si)


def test_table_entries_are_used_as_they_stand():
    assert ac_energy(HOROWITZ, Number(16)) is HOROWITZ["int16_add"]
    assert multiply_energy(HOROWITZ, Number(32), Number(32)) is HOROWITZ["int32_mul"]


def test_four_bits_by_hand():
    # Multiplication: 16 of 64 partial-product bits of the 8-bit entry: 0.2 * 16/64 = 0.05.
    # Other readings: 3.1 * 16/1024 = 0.0484375; the line through both, 0.2 - 48 * 2.9/960 = 0.055.
    product = multiply_energy(HOROWITZ, Number(4), Number(4))
    assert (product.value, *product.band) == pytest.approx((0.05, 0.0484375, 0.055))
    # Addition: 0.03 / 2 = 0.015. Others: 0.05 * 4/16 = 0.0125; line through (8, 0.03), (16, 0.05): 0.02.
    addition = ac_energy(HOROWITZ, Number(4))
    assert (addition.value, *addition.band) == pytest.approx((0.015, 0.0125, 0.02))
    both = mac_energy(HOROWITZ, Number(4), Number(4))
    assert (both.value, *both.band) == pytest.approx((0.065, 0.0609375, 0.075))


def test_widths_between_entries_are_interpolated_by_hand():
    # 16 x 16 = 256 of the line from (64, 0.2) to (1024, 3.1): 0.2 + 192 * 2.9/960 = 0.78.
    product = multiply_energy(HOROWITZ, Number(16), Number(16))
    assert product.value == pytest.approx(0.78)
    # The proportions of the two entries bracket it: 3.1/4 = 0.775 and 0.2 * 4 = 0.8.
    assert product.band == pytest.approx((0.775, 0.8))
    # 24 bits: half way from 0.05 to 0.1; proportions 0.05 * 24/16 = 0.075 and 0.03 * 3 = 0.09.
    addition = ac_energy(HOROWITZ, Number(24))
    assert (addition.value, *addition.band) == pytest.approx((0.075, 0.075, 0.09))


def test_the_rule_misses_the_table_by_three_percent():
    # What the 8-bit entry alone would predict for 32 bits: 0.2 * 16 = 3.2 against 3.1.
    only_8 = toy(int8_mul=0.2, int8_add=0.03)
    predicted = multiply_energy(only_8, Number(32), Number(32)).value
    assert predicted == pytest.approx(3.2)
    assert predicted / HOROWITZ["int32_mul"].value == pytest.approx(1.032, abs=0.001)


def test_derived_figures_say_so():
    energy = multiply_energy(HOROWITZ, Number(3), Number(5))
    assert energy.grade == "derived"
    assert "3- by 5-bit" in energy.conditions
    assert "0.2 pJ" in energy.source
    assert "Horowitz" in energy.source


def test_a_product_of_unequal_widths_is_symmetric():
    assert multiply_energy(HOROWITZ, Number(2), Number(8)).si == multiply_energy(HOROWITZ, Number(8), Number(2)).si
    # 2 x 8 = 16 = 4 x 4.
    assert multiply_energy(HOROWITZ, Number(2), Number(8)).si == multiply_energy(HOROWITZ, Number(4), Number(4)).si


def test_an_integer_times_a_float_is_a_float_product():
    assert multiply_energy(HOROWITZ, Number(4), FP16) is HOROWITZ["fp16_mul"]
    assert wider(Number(32), FP16) == FP16
    assert wider(FP32, FP16) == FP32


@given(widths, widths)
def test_more_bits_never_cost_less(narrow, wide):
    narrow, wide = sorted((narrow, wide))
    for energy in (
        lambda b: ac_energy(HOROWITZ, Number(b)),
        lambda b: mac_energy(HOROWITZ, Number(b), Number(b)),
    ):
        assert energy(narrow).si <= energy(wide).si * (1 + 1e-12)


@given(widths, widths)
def test_bands_hold_their_values(left, right):
    energy = mac_energy(HOROWITZ, Number(left), Number(right))
    assert 0 < energy.si_band[0] <= energy.si <= energy.si_band[1]


@pytest.mark.parametrize("bits", [8, 4, 64, 19])
def test_float_widths_are_never_derived(bits):
    with pytest.raises(InputError, match=f"fp{bits}_mul"):
        mac_energy(HOROWITZ, Number(bits, floating=True), Number(bits, floating=True))
    with pytest.raises(InputError, match=f"{bits}-bit floating-point"):
        ac_energy(HOROWITZ, Number(bits, floating=True))


@pytest.mark.parametrize("bits", [0, -1, 33, 64])
def test_integer_widths_outside_the_rule_are_refused(bits):
    with pytest.raises(InputError, match=f"{bits} bits"):
        ac_energy(HOROWITZ, Number(bits))


def test_a_technology_without_integers_is_refused():
    with pytest.raises(InputError, match="no integer 'mul' figure"):
        multiply_energy(toy(fp32_mul=3.7), Number(8), Number(8))


def test_bands_of_the_table_widen_derived_bands():
    entry = {"value": 0.8, "low": 0.4, "high": 1.6, "unit": "pJ", "source": "a", "grade": "assumed"}
    one = Technology(name="toy", title="a toy", node="1 um", source="a test", figures={"int8_add": entry})
    addition = ac_energy(one, Number(16))
    assert (addition.value, *addition.band) == pytest.approx((1.6, 0.8, 3.2))


def test_units_of_multiplication_and_addition_may_differ():
    mixed = Technology.model_validate(
        {
            "name": "toy",
            "title": "a toy",
            "node": "1 um",
            "source": "a test",
            "figures": {
                "int8_mul": {"value": 0.2, "unit": "pJ", "source": "a", "grade": "assumed"},
                "int8_add": {"value": 30, "unit": "fJ", "source": "b", "grade": "assumed"},
            },
        }
    )
    assert mac_energy(mixed, Number(8), Number(8)).si == pytest.approx(0.23e-12)
