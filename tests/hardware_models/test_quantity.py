import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hardware_models.errors import InputError
from hardware_models.quantity import Quantity, unit_factor, with_prefix


def quantity(value: float, unit: str = "pJ", **extra: object) -> Quantity:
    return Quantity(value=value, unit=unit, source="a test", grade="assumed", **extra)


@pytest.mark.parametrize(
    ("unit", "factor", "base"),
    [
        ("pJ", 1e-12, "J"),
        ("nJ", 1e-9, "J"),
        ("J", 1.0, "J"),
        ("MHz", 1e6, "Hz"),
        ("ms", 1e-3, "s"),
        ("mm2", 1e-6, "m2"),  # (1e-3 m)^2
        ("um2", 1e-12, "m2"),
        ("kB", 1e3, "B"),
        ("mm", 1e-3, "m"),
        ("1", 1.0, "1"),
    ],
)
def test_units_by_hand(unit, factor, base):
    found, found_base = unit_factor(unit)
    assert found_base == base
    assert found == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize("unit", ["", "pj", "calorie", "xJ", "ppJ", "dB"])
def test_unknown_unit_names_itself(unit):
    with pytest.raises(InputError, match="unknown") as error:
        unit_factor(unit)
    assert repr(unit) in str(error.value)


@given(st.floats(1e-6, 1e6), st.sampled_from(["fJ", "pJ", "nJ", "uJ", "mJ", "J", "kJ"]))
def test_units_make_a_round_trip(value, unit):
    there = quantity(value, unit)
    factor, base = unit_factor(unit)
    back = quantity(there.si, base)
    assert back.si / factor == pytest.approx(value, rel=1e-12)
    assert Quantity.model_validate_json(there.model_dump_json()) == there


@given(st.floats(0.1, 10), st.floats(0, 1), st.floats(0, 1))
def test_band_holds_the_value(value, below, above):
    figure = quantity(value, low=value - below, high=value + above)
    low, high = figure.si_band
    assert low <= figure.si <= high


def test_no_band_is_the_value_itself():
    assert quantity(3.0).si_band == (quantity(3.0).si,) * 2


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"value": 3.0, "low": 4.0}, "outside its band"),
        ({"value": 3.0, "high": 2.0}, "outside its band"),
        ({"value": math.nan}, "not finite"),
        ({"value": math.inf}, "not finite"),
        ({"value": 1.0, "unit": "parsec"}, "unknown"),
    ],
)
def test_impossible_figures_are_refused(fields, reason):
    with pytest.raises((ValidationError, InputError), match=reason):
        quantity(**fields)


def test_a_figure_without_source_is_refused():
    with pytest.raises(ValidationError, match="source"):
        Quantity(value=1.0, unit="pJ", grade="assumed")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.00746351, "7.464 mJ"),
        (4.6e-12, "4.600 pJ"),
        (999.96, "1.000 kJ"),
        (0.0, "0 J"),
        (12.0, "12 J"),
        (1e-5, "10.00 µJ"),
        (99.9996, "100.0 J"),
        (3e-17, "0.03000 fJ"),
        (2.5e19, "25000 PJ"),
        (-2e-3, "-2.000 mJ"),
    ],
)
def test_prefixes_for_people(value, text):
    assert with_prefix(value, "J") == text


def test_counts_have_a_prefix_and_no_unit():
    assert with_prefix(346816512) == "346.8 M"
    assert with_prefix(7) == "7"
