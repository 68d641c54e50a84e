"""The learning rate against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from neuro.training.schedule import warmup_cosine


def test_linear_warm_up_reaches_the_peak_on_its_last_step() -> None:
    rates = [warmup_cosine(step, total_steps=12, warmup_steps=4, peak=0.8, end=0.0) for step in range(4)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8])


def test_half_a_cosine_from_peak_to_end() -> None:
    # w = 4, total = 12: step 4 is the peak, 6 a quarter (45 degrees), 8 the middle, 10 three quarters.
    def rate(step: int) -> float:
        return warmup_cosine(step, total_steps=12, warmup_steps=4, peak=1.0, end=0.2)

    assert rate(4) == pytest.approx(1.0)
    assert rate(6) == pytest.approx(0.2 + 0.8 * (1 + math.sqrt(0.5)) / 2)
    assert rate(8) == pytest.approx(0.6)
    assert rate(10) == pytest.approx(0.2 + 0.8 * (1 - math.sqrt(0.5)) / 2)
    assert rate(12) == pytest.approx(0.2)


def test_without_warm_up_the_first_step_has_the_peak() -> None:
    assert warmup_cosine(0, total_steps=5, warmup_steps=0, peak=0.3, end=0.0) == 0.3


def test_never_below_the_end_or_above_the_peak() -> None:
    for total, warmup in ((1, 0), (1, 1), (3, 5), (10, 10)):
        for step in range(total + 5):
            assert 0.1 <= warmup_cosine(step, total, warmup, peak=0.5, end=0.1) <= 0.5 or step < warmup


def test_a_warm_up_longer_than_the_training_only_rises() -> None:
    rates = [warmup_cosine(step, total_steps=3, warmup_steps=6, peak=0.6, end=0.0) for step in range(3)]
    assert rates == pytest.approx([0.1, 0.2, 0.3])
