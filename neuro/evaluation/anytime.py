"""Accuracy as a function of time: the answer of a spiking network may be read after any timestep."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from hardware_models.errors import InputError
from neuro.data.base import Split
from neuro.evaluation.logits import Answers, step_logits


def anytime_accuracy(answers: Answers) -> dict[int, float]:
    """Return the accuracy of the mean logits after every t = 1..T, from one pass.

    Where neurons and normalisation run causally in time and the input is the same in every run (a static image),
    the accuracy after t timesteps is that of a run with T = t. Event data are binned by T: see `accuracy_at`.
    """
    return {t: answers.accuracy(t) for t in range(1, answers.timesteps + 1)}


def accuracy_at(
    model: nn.Module, split: Split, timesteps: Sequence[int], device: torch.device, batch_size: int = 256
) -> dict[int, float]:
    """Return the accuracy at each T from a run of its own, for data or models that T changes.

    Args:
        model: on `device`; see `step_logits`.
        split: labelled samples.
        timesteps: rising, such as 1, 2, 4.
        device: where to run.
        batch_size: samples at once.

    Raises:
        InputError: `timesteps` that do not rise from at least 1; what `step_logits` refuses.
    """
    check_rising(timesteps)
    return {t: step_logits(model, split, t, device, batch_size).accuracy() for t in timesteps}


def check_rising(timesteps: Sequence[int]) -> None:
    """Refuse timesteps to compare that are not rising whole numbers of at least 1."""
    given = list(timesteps)
    if not given or given[0] < 1 or sorted(set(given)) != given:
        raise InputError(f"timesteps to compare were {given}; give rising whole numbers, such as 1,2,4,8.")
