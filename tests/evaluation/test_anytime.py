"""Accuracy over time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from evaluated import CPU, Given, labelled, numbered, spikeformer
from torch import Tensor

from hardware_models.errors import InputError
from neuro.data.batching import Normalise
from neuro.evaluation import Answers, accuracy_at, anytime_accuracy, step_logits
from neuro.training import accuracy


def test_the_running_mean_decides() -> None:
    # Sample 0 of class 0 is right from t = 2 on, sample 1 of class 1 only at t = 1.
    logits = torch.tensor([[[0.0, 1.0], [0.0, 1.0]], [[3.0, 0.0], [4.0, 0.0]], [[0.0, 1.0], [0.0, 2.0]]])
    assert anytime_accuracy(Answers(logits, torch.tensor([0, 1]))) == {1: 0.5, 2: 0.5, 3: 0.5}
    assert anytime_accuracy(Answers(logits[:, :1], torch.tensor([0]))) == {1: 0.0, 2: 1.0, 3: 1.0}
    assert anytime_accuracy(Answers(logits[:, 1:], torch.tensor([1]))) == {1: 1.0, 2: 0.0, 3: 0.0}


def test_one_pass_tells_what_shorter_runs_would() -> None:
    model, split = spikeformer(), labelled(40)
    answers = step_logits(model, split, 4, CPU, 16)
    for t in (1, 2, 3, 4):
        shorter = step_logits(model, split, t, CPU, 16)
        torch.testing.assert_close(shorter.mean_until(t), answers.mean_until(t))
    assert len({tuple(answers.predictions(t).tolist()) for t in (1, 2, 3, 4)}) > 1  # the answers do change
    assert anytime_accuracy(answers) == accuracy_at(model, split, [1, 2, 3, 4], CPU, 16)


def test_the_last_is_the_accuracy_of_training() -> None:
    model, split = spikeformer(seed=1), labelled(40, seed=1)
    assert anytime_accuracy(step_logits(model, split, 3, CPU, 16))[3] == accuracy(model, split, 3, CPU, 16)


class Binned:
    """Data that T changes: the number of a sample shows only in runs of an even T."""

    normalise = Normalise((0.0,), (1.0,))

    def __len__(self) -> int:
        return 2

    def batches(
        self, batch_size: int, timesteps: int, shuffle_seed: int | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        shown = torch.tensor([0.0, 1.0]) * (timesteps % 2 == 0)
        yield shown.view(1, 2, 1, 1, 1).expand(timesteps, -1, -1, -1, -1), torch.tensor([0, 1])


def test_runs_of_their_own_for_data_that_T_changes() -> None:
    model = Given(torch.eye(2).expand(4, 2, 2))
    assert accuracy_at(model, Binned(), [1, 2, 3, 4], CPU) == {1: 0.5, 2: 1.0, 3: 0.5, 4: 1.0}


@pytest.mark.parametrize("timesteps", [[], [0, 1], [2, 1], [1, 1]])
def test_timesteps_that_do_not_rise_are_refused(timesteps: list[int]) -> None:
    with pytest.raises(InputError, match="give rising whole numbers"):
        accuracy_at(Given(torch.eye(2).expand(4, 2, 2)), numbered([0, 1]), timesteps, CPU)
