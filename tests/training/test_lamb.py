"""LAMB against its equations, written out for one tensor."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from neuro.training.lamb import Lamb


def by_hand(weights: list[float], gradients: list[list[float]], rate: float, decay: float) -> list[float]:
    w, m, v = list(weights), [0.0] * len(weights), [0.0] * len(weights)
    for t, gradient in enumerate(gradients, 1):
        m = [0.9 * a + 0.1 * g for a, g in zip(m, gradient, strict=True)]
        v = [0.999 * a + 0.001 * g * g for a, g in zip(v, gradient, strict=True)]
        u = [
            (a / (1 - 0.9**t)) / (math.sqrt(b / (1 - 0.999**t)) + 1e-6) + decay * x
            for a, b, x in zip(m, v, w, strict=True)
        ]
        norm_w, norm_u = (math.sqrt(sum(one * one for one in values)) for values in (w, u))
        ratio = norm_w / norm_u if norm_w and norm_u else 1.0
        w = [x - rate * ratio * one for x, one in zip(w, u, strict=True)]
    return w


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("start", [[0.5, -2.0, 1.0], [0.0, 0.0, 0.0]])
def test_three_steps_are_those_by_hand(start: list[float], decay: float) -> None:
    gradients = [[0.3, -0.1, 0.0], [0.2, 0.4, -0.5], [-0.1, 0.1, 0.1]]
    weight = nn.Parameter(torch.tensor(start))
    optimizer = Lamb([weight], lr=0.05, weight_decay=decay)
    for gradient in gradients:
        weight.grad = torch.tensor(gradient)
        optimizer.step()
    assert weight.tolist() == pytest.approx(by_hand(start, gradients, 0.05, decay), rel=1e-5)


def test_its_state_goes_on_where_it_stopped() -> None:
    def after(steps: list[float], optimizer: Lamb, weight: nn.Parameter) -> None:
        for step in steps:
            weight.grad = torch.full((2,), step)
            optimizer.step()

    whole, parts = (nn.Parameter(torch.ones(2)) for _ in range(2))
    after([0.1, 0.5, -0.2], Lamb([whole]), whole)
    first = Lamb([parts])
    after([0.1], first, parts)
    second = Lamb([parts])
    second.load_state_dict(first.state_dict())
    after([0.5, -0.2], second, parts)
    assert torch.equal(whole, parts)
