"""Exits in time, against hand-worked confidences and what must hold of any."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hardware_models.errors import InputError
from neuro.evaluation import Answers, early_exit, exit_sweep


def logit(confidence: float) -> float:
    """The logit of class 0, against 0 of class 1, of a confidence in it."""
    return math.log(confidence / (1 - confidence))


def two_classes(running: list[list[float]], labels: list[int]) -> Answers:
    """Answers whose confidence in class 0 after t timesteps is `running[t][sample]`."""
    means = torch.tensor([[logit(c) for c in row] for row in running], dtype=torch.float64)
    sums = means * torch.arange(1, len(running) + 1).view(-1, 1)
    steps = sums.diff(dim=0, prepend=torch.zeros_like(sums[:1])).float()
    return Answers(torch.stack([steps, torch.zeros_like(steps)], -1), torch.tensor(labels))


def random_answers(seed: int, timesteps: int = 5, samples: int = 30, classes: int = 4) -> Answers:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(timesteps, samples, classes, generator=generator)
    return Answers(logits, torch.randint(classes, (samples,), generator=generator))


def test_samples_stop_when_they_are_confident() -> None:
    # Confident at 1; at 2; at 3 and meanwhile of another mind; never.
    running = [[0.95, 0.7, 0.6, 0.5], [0.5, 0.92, 0.3, 0.6], [0.5, 0.5, 0.05, 0.7]]
    answers = two_classes(running, [0, 1, 1, 0])
    point = early_exit(answers, 0.9)
    assert point.exits == (1, 1, 2)
    assert point.mean_timesteps == pytest.approx((1 + 2 + 3 + 3) / 4)
    assert point.accuracy == 3 / 4  # sample 1 stops as class 0
    assert early_exit(answers, 0.96).exits == (0, 0, 4)
    assert early_exit(answers, 0.75).exits == (1, 1, 2)


def test_a_threshold_below_every_confidence_stops_at_once() -> None:
    answers = random_answers(0)
    point = early_exit(answers, 1e-9)
    assert point.exits == (30, 0, 0, 0, 0)
    assert (point.accuracy, point.mean_timesteps) == (answers.accuracy(1), 1.0)


def test_a_threshold_above_every_confidence_waits_to_the_end() -> None:
    answers = random_answers(1)
    point = early_exit(answers, 1.0)
    assert point.exits == (0, 0, 0, 0, 30)
    assert (point.accuracy, point.mean_timesteps) == (answers.accuracy(), 5.0)


@given(
    st.integers(0, 100),
    st.lists(st.floats(0, 1, exclude_min=True), min_size=1, max_size=8).map(sorted),
)
def test_more_confidence_takes_more_time(seed: int, thresholds: list[float]) -> None:
    answers = random_answers(seed)
    points = exit_sweep(answers, thresholds)
    assert [point.threshold for point in points] == thresholds
    means = [point.mean_timesteps for point in points]
    assert means == sorted(means)
    assert all(sum(point.exits) == 30 and len(point.exits) == 5 for point in points)
    assert points == [early_exit(answers, threshold) for threshold in thresholds]


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.0001, math.nan, math.inf])
def test_thresholds_that_are_no_confidence_are_refused(threshold: float) -> None:
    with pytest.raises(InputError, match="give a threshold above 0 and at most 1"):
        exit_sweep(random_answers(0), [0.5, threshold])


def test_no_threshold_is_refused() -> None:
    with pytest.raises(InputError, match="no confidence to stop at"):
        exit_sweep(random_answers(0), [])
