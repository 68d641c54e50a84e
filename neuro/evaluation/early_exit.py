"""Early exit in time: a sample stops as soon as the network is confident, and easy samples take fewer timesteps.

With p_t the softmax of the mean logits after t timesteps, a sample stops at the first t where
`max_k p_t,k >= threshold`, and at T at the latest. Such exits: Li, Geller, Kim, Panda, "SEENN: Towards Temporal Spiking
Early-Exit Neural Networks", NeurIPS 2023, arXiv:2304.01230.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from pydantic import ConfigDict
from torch import Tensor

from hardware_models.errors import InputError
from neuro.evaluation.cost import Cost
from neuro.evaluation.logits import Answers


@dataclass(frozen=True)
class ExitPoint:
    """What one threshold of confidence gives.

    Attributes:
        threshold: least confidence to stop at, in (0, 1].
        accuracy: share of samples that were right when they stopped.
        mean_timesteps: mean t of the stops.
        exits: samples that stopped at t = 1..T; those at T include what never became confident.
        energy_j: of one inference, mean over the samples; None where it was not measured.
        energy_low_j: and `energy_high_j`, its band.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    threshold: float
    accuracy: float
    mean_timesteps: float
    exits: tuple[int, ...]
    energy_j: float | None = None
    energy_low_j: float | None = None
    energy_high_j: float | None = None


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
    check_thresholds(thresholds)
    confidence, right = _by_timestep(answers)
    return [_point(confidence, right, threshold) for threshold in thresholds]


def check_thresholds(thresholds: Sequence[float]) -> None:
    """Refuse thresholds that are no confidence; see `exit_sweep`."""
    wrong = [threshold for threshold in thresholds if not 0 < threshold <= 1]
    if wrong or not thresholds:
        given = f"the confidence to stop at was {wrong[0]}" if wrong else "no confidence to stop at was given"
        raise InputError(f"{given}; give a threshold above 0 and at most 1.")


def with_energy(point: ExitPoint, costs: Mapping[int, Cost]) -> ExitPoint:
    """Return the point with its energy, `sum_t n_t E_t / sum_t n_t`, n_t samples that stop after t at an energy E_t.

    Raises:
        InputError: no cost for one of t = 1..T.
    """
    lacking = [t for t in range(1, len(point.exits) + 1) if t not in costs]
    if lacking:
        raise InputError(f"no cost was given for t = {lacking}, after which samples may stop; measure every timestep.")

    def mean(energy: Callable[[Cost], float]) -> float:
        return sum(count * energy(costs[t]) for t, count in enumerate(point.exits, 1)) / sum(point.exits)

    return replace(
        point,
        energy_j=mean(lambda cost: cost.energy_j),
        energy_low_j=mean(lambda cost: cost.energy_low_j),
        energy_high_j=mean(lambda cost: cost.energy_high_j),
    )


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
