"""Early exit in time: a sample stops as soon as the network is confident, and easy samples take fewer timesteps.

With p_t the softmax of the mean logits after t timesteps, a sample stops at the first t where
`max_k p_t,k >= threshold`, and at T at the latest. Such exits: Li, Geller, Kim, Panda, "SEENN: Towards Temporal Spiking
Early-Exit Neural Networks", NeurIPS 2023, arXiv:2304.01230.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import ConfigDict
from torch import Tensor

from hardware_models.errors import InputError
from neuro.evaluation.logits import Answers


@dataclass(frozen=True)
class ExitPoint:
    """What one threshold of confidence gives.

    Attributes:
        threshold: least confidence to stop at, in (0, 1].
        accuracy: share of samples that were right when they stopped.
        mean_timesteps: mean t of the stops.
        exits: samples that stopped at t = 1..T; those at T include what never became confident.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    threshold: float
    accuracy: float
    mean_timesteps: float
    exits: tuple[int, ...]


def early_exit(answers: Answers, threshold: float) -> ExitPoint:
    """Stop every sample at its first confident timestep.

    Raises:
        InputError: `threshold` outside of (0, 1].
    """
    return exit_sweep(answers, [threshold])[0]


def exit_sweep(answers: Answers, thresholds: Sequence[float]) -> list[ExitPoint]:
    """Return one point for each threshold, in the order given.

    Raises:
        InputError: no threshold, or one outside of (0, 1].
    """
    wrong = [threshold for threshold in thresholds if not 0 < threshold <= 1]
    if wrong or not thresholds:
        given = f"the confidence to stop at was {wrong[0]}" if wrong else "no confidence to stop at was given"
        raise InputError(f"{given}; give a threshold above 0 and at most 1.")
    confidence, right = _by_timestep(answers)
    return [_point(confidence, right, threshold) for threshold in thresholds]


def _by_timestep(answers: Answers) -> tuple[Tensor, Tensor]:
    """Return the confidence, float64, and whether the answer is right, both `[T, N]`."""
    confidence, right = [], []
    for t in range(1, answers.timesteps + 1):
        mean = answers.mean_until(t)
        confidence.append(mean.double().softmax(-1).amax(-1))
        right.append(mean.argmax(-1) == answers.labels)
    return torch.stack(confidence), torch.stack(right)


def _point(confidence: Tensor, right: Tensor, threshold: float) -> ExitPoint:
    stops = confidence >= threshold
    stops[-1] = True  # time is over
    stop = stops.int().argmax(0)  # the first of equal ones
    timesteps, samples = stops.shape
    exits = torch.bincount(stop, minlength=timesteps).tolist()
    return ExitPoint(
        threshold=float(threshold),
        accuracy=int(right.gather(0, stop.unsqueeze(0)).sum()) / samples,
        mean_timesteps=sum(t * count for t, count in enumerate(exits, 1)) / samples,
        exits=tuple(exits),
    )
