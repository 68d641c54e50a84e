"""The losses against loops over samples and timesteps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from neuro.training.losses import cross_entropy, tet


def one_cross_entropy(logits: list[float], label: int, smoothing: float = 0.0) -> float:
    """-sum_k q_k log softmax(logits)_k with q the smoothed target, of one sample."""
    log_sum = math.log(sum(math.exp(value) for value in logits))
    share = smoothing / len(logits)
    target = [share + (1 - smoothing) * (k == label) for k in range(len(logits))]
    return -sum(q * (value - log_sum) for q, value in zip(target, logits, strict=True))


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


LABELS = [0, 4, 2, 2]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_of_the_mean_over_time(logits: Tensor, smoothing: float) -> None:
    mean = logits.mean(0).tolist()
    expected = sum(one_cross_entropy(mean[b], LABELS[b], smoothing) for b in range(4)) / 4
    assert cross_entropy(logits, torch.tensor(LABELS), smoothing).item() == pytest.approx(expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("tet_lambda", [0.0, 0.05, 1.0])
def test_tet_is_a_loop_over_timesteps(logits: Tensor, tet_lambda: float, smoothing: float) -> None:
    steps = logits.tolist()
    entropy = sum(one_cross_entropy(steps[t][b], LABELS[b], smoothing) for t in range(3) for b in range(4)) / 12
    square = sum((value - 1) ** 2 for t in steps for b in t for value in b) / 60
    expected = (1 - tet_lambda) * entropy + tet_lambda * square
    assert tet(logits, torch.tensor(LABELS), tet_lambda, smoothing).item() == pytest.approx(expected)


def test_at_one_timestep_tet_without_its_second_term_is_cross_entropy(logits: Tensor) -> None:
    first, labels = logits[:1], torch.tensor(LABELS)
    assert tet(first, labels, 0.0).item() == pytest.approx(cross_entropy(first, labels).item())


def test_tet_is_no_smaller_than_cross_entropy_of_the_mean(logits: Tensor) -> None:
    # Cross-entropy is convex in the logits (Jensen).
    labels = torch.tensor(LABELS)
    assert tet(logits, labels, 0.0) >= cross_entropy(logits, labels)
