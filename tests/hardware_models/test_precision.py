"""Widths of operands on a unit built for one width; figures worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hardware_models.precision import Precision


def applied(unit: Precision, input_bits: int, weight_bits: int) -> tuple[int, int, float]:
    widths = unit.apply(np.array([input_bits]), np.array([weight_bits]))
    return int(widths.input_bits[0]), int(widths.weight_bits[0]), float(widths.operations[0])


@pytest.mark.parametrize(
    ("narrower", "given", "expected"),
    [
        ("fixed", (8, 8), (8, 8, 1.0)),
        ("fixed", (1, 2), (1, 2, 1.0)),  # a spike on an 8 x 8 multiplier costs a whole multiplication
        ("scaled", (1, 2), (1, 2, 2 / 64)),
        ("scaled", (4, 8), (4, 8, 0.5)),
    ],
)
def test_narrow_operands(narrower: str, given: tuple[int, int], expected: tuple[int, int, float]) -> None:
    unit = Precision.model_validate({"input_bits": 8, "weight_bits": 8, "narrower": narrower})
    assert applied(unit, *given) == expected


def test_wide_operands_take_several_passes() -> None:
    # 16 x 12 bits on 8 x 8: two parts by two parts.
    unit = Precision(input_bits=8, weight_bits=8, wider="passes")
    assert applied(unit, 16, 12) == (16, 12, 4.0)


def test_wide_operands_are_quantized() -> None:
    widths = Precision(input_bits=8, weight_bits=8).apply(np.array([32, 8, 1]), np.array([32, 8, 8]))
    assert widths.input_bits.tolist() == [8, 8, 1]
    assert widths.weight_bits.tolist() == [8, 8, 8]
    assert widths.operations.tolist() == [1.0, 1.0, 1.0]


def test_results_are_no_wider_than_a_unit_that_quantizes_reads_them() -> None:
    bits = np.array([32, 4])
    assert Precision(input_bits=8, weight_bits=4).results(bits).tolist() == [8, 4]
    assert Precision(input_bits=8, weight_bits=4, wider="passes").results(bits).tolist() == [32, 4]
