"""A chip's figures as arrays: corners, Monte Carlo draws, and variants."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hardware_models.chip import Chip
from hardware_models.errors import InputError
from hardware_models.hardware import Hardware
from hardware_models.quantity import Quantity


def figure(value: float, unit: str, low: float | None = None, high: float | None = None) -> Quantity:
    return Quantity(value=value, unit=unit, low=low, high=high, source="a book", grade="assumed")


TOY = Chip(
    name="toy",
    title="a toy array",
    kind="accelerator",
    engine="systolic",
    node="1 um",
    sources=("nowhere",),
    figures={
        "array.rows": figure(4, "1"),
        "array.clock": figure(2, "MHz", 1, 4),
        "mac.energy": figure(3, "pJ", 2, 5),
        "static.power": figure(0, "W"),
    },
    settings={"dataflow": "os", "precision": {"input_bits": 8, "weight_bits": 8}},
)


def test_corners_go_the_cheap_and_the_dear_way() -> None:
    hw = Hardware(TOY)
    assert hw("mac.energy", "a test").ravel() == pytest.approx([3e-12, 2e-12, 5e-12])
    # A fast clock is cheap.
    assert hw("array.clock", "a test").ravel() == pytest.approx([2e6, 4e6, 1e6])
    assert hw("mac.energy", "a test").shape == (3, 1, 1)


def test_structure_has_no_corners() -> None:
    rows = Hardware(TOY).size("array.rows", "a test")
    assert rows.tolist() == [[[4]]]
    assert rows.dtype == np.int64


def test_draws_start_with_the_value_and_stay_in_the_band() -> None:
    drawn = Hardware(TOY, samples=2000, seed=1)("mac.energy", "a test").ravel()
    assert drawn[0] == pytest.approx(3e-12)
    assert len(drawn) == 2001
    assert 2e-12 <= drawn.min() < 2.2e-12
    assert 4.7e-12 < drawn.max() <= 5e-12
    # The mean of a triangular distribution: (2 + 3 + 5) / 3.
    assert drawn[1:].mean() == pytest.approx(10 / 3 * 1e-12, rel=0.02)


def test_draws_repeat_with_their_seed_and_differ_by_figure() -> None:
    one, same, other = (Hardware(TOY, samples=50, seed=seed)("mac.energy", "a test") for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one[1:] != other[1:]).all()
    clock = Hardware(TOY, samples=50, seed=1)("array.clock", "a test").ravel()[1:]
    shares = (clock - 1e6) / 3e6, (one.ravel()[1:] - 2e-12) / 3e-12
    assert abs(np.corrcoef(*shares)[0, 1]) < 0.5


def test_variants_replace_the_value_and_keep_the_width_of_the_band() -> None:
    hw = Hardware(TOY, {"mac.energy": [6e-12, 12e-12], "array.rows": [8, 16]})
    assert hw("mac.energy", "a test")[:, :, 0] == pytest.approx(np.array([[6, 12], [4, 8], [10, 20]]) * 1e-12)
    assert hw.size("array.rows", "a test").tolist() == [[[8], [16]]]
    assert hw.variant_count == 2
    assert hw.block(1, 2).size("array.rows", "a test").tolist() == [[[16]]]


@pytest.mark.parametrize(
    ("variants", "sentence"),
    [
        ({"mac.enrgy": [1.0]}, "unknown figure of chip toy 'mac.enrgy'; did you mean 'mac.energy'"),
        ({"mac.energy": [1.0], "array.rows": [1, 2]}, r"the variants have \[1, 2\] values"),
        ({"mac.energy": [-1.0]}, "finite numbers of at least 0"),
        ({"mac.energy": [float("inf")]}, "finite numbers"),
        ({"array.rows": [0]}, "finite numbers of at least 1"),
        ({"array.rows": [1.5]}, "whole numbers"),
    ],
)
def test_bad_variants_are_refused(variants: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Hardware(TOY, variants)


def test_a_figure_that_was_read_is_remembered() -> None:
    hw = Hardware(TOY)
    hw("mac.energy", "a test")
    assert list(hw.used) == ["mac.energy"]
    assert hw.get("dram.energy") is None
    assert "dram.energy" not in hw
    with pytest.raises(InputError, match="needed for a test"):
        hw("dram.energy", "a test")


@pytest.mark.parametrize(
    ("variants", "sentence"),
    [
        ({"array.clock": [0.0, 1e6]}, "finite numbers of more than 0"),
        ({"array.rows": [1e30]}, "whole numbers of at most"),
        ({"array.rows": []}, "one for each variant"),
        ({"array.rows": ["8"]}, "one for each variant"),
        ({"array.rows": [True]}, "one for each variant"),
    ],
)
def test_variants_that_no_chip_has_are_refused(variants: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Hardware(TOY, variants)


def test_draws_and_seeds_are_whole_numbers() -> None:
    with pytest.raises(InputError, match="samples is -1"):
        Hardware(TOY, samples=-1)
    with pytest.raises(InputError, match="seed is -1"):
        Hardware(TOY, samples=5, seed=-1)
