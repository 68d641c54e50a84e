"""What a network answers to a split, timestep by timestep: the one pass that the other measures read."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hardware_models.errors import InputError, RunError
from neuro.data.base import Split
from neuro.neurons import reset
from neuro.profiling.peers import evaluated_at_rest


class Answers(NamedTuple):
    """What a network answered.

    Attributes:
        logits: of every timestep, `[T, N, K]` float32 on the CPU; T = 1 of a model that only gives their mean.
        labels: class of each sample, `[N]` int64.
    """

    logits: Tensor
    labels: Tensor

    @property
    def timesteps(self) -> int:
        """T of the logits."""
        return self.logits.shape[0]

    def mean_until(self, timesteps: int) -> Tensor:
        """Return the answer after the first t timesteps, `mean_(s <= t) logits_s`, `[N, K]`.

        It is the mean that a model itself takes, not a running sum: equal logits stay equal, and ties fall alike.

        Raises:
            InputError: `timesteps` is not between 1 and T.
        """
        if not 1 <= timesteps <= self.timesteps:
            raise InputError(f"the logits are of {self.timesteps} timesteps; give 1 to that, not {timesteps}.")
        return self.logits[:timesteps].mean(0)

    def predictions(self, timesteps: int | None = None) -> Tensor:
        """Return the class with the largest mean logit after `timesteps` (None: all), `[N]` int64."""
        return self.mean_until(self.timesteps if timesteps is None else timesteps).argmax(-1)

    def accuracy(self, timesteps: int | None = None) -> float:
        """Return the share of samples that are right after `timesteps` (None: all)."""
        return int((self.predictions(timesteps) == self.labels).sum()) / len(self.labels)


class TimeFirst(nn.Module):
    """A network of single images `[B, C, H, W]`, or with its own timesteps inside, on time-first batches of T = 1."""

    timesteps = 1

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `[B, K]` of images `[1, B, C, H, W]`.

        Raises:
            InputError: images of several timesteps, of which the network would see one.
        """
        if images.shape[0] != 1:
            raise InputError(
                f"{type(self.network).__name__} reads single images and was given {images.shape[0]} timesteps; "
                "evaluate it with 1 timestep."
            )
        logits: Tensor = self.network(images[0])
        return logits


@torch.no_grad()
def step_logits(model: nn.Module, split: Split, timesteps: int, device: torch.device, batch_size: int = 256) -> Answers:
    """Run `model` over `split` once and return its logits.

    A model with `forward_steps` (`[T, B, ...]` to `[T, B, K]`) gives those of every timestep, any other one its
    answer `[B, K]`. It runs in evaluation mode from resting neurons; modes and state are given back afterwards.

    Args:
        model: on `device`; takes time-first batches (see `TimeFirst`).
        split: labelled samples, in stored order.
        timesteps: T.
        device: where to run.
        batch_size: samples at once.

    Raises:
        InputError: an empty or unlabelled split, answers of another shape, labels beyond the model's classes.
        RunError: the model answered with NaN or infinity.
    """
    logits, labels = [], []
    with evaluated_at_rest(model):
        for images, batch_labels in split.batches(batch_size, timesteps):
            logits.append(_answer(model, images.to(device)).float().cpu())
            labels.append(batch_labels)
            reset(model)
    if not labels:
        raise InputError("the split to evaluate on holds no sample; give at least one.")
    answers = Answers(torch.cat(logits, 1), torch.cat(labels))
    _check(model, answers)
    return answers


def _answer(model: nn.Module, images: Tensor) -> Tensor:
    by_step = hasattr(model, "forward_steps")
    logits: Tensor = model.forward_steps(images) if by_step else model(images).unsqueeze(0)  # type: ignore[operator]
    if logits.dim() != 3 or logits.shape[1] != images.shape[1]:
        shape = tuple(logits.shape if by_step else logits.shape[1:])
        wanted = f"{'[T, B, K]' if by_step else '[B, K]'} with B = {images.shape[1]}"
        raise InputError(
            f"{type(model).__name__} answered with the shape {shape}, expected {wanted}; give a classifier."
        )
    return logits


def _check(model: nn.Module, answers: Answers) -> None:
    classes = answers.logits.shape[2]
    lowest, highest = int(answers.labels.min()), int(answers.labels.max())
    if lowest < 0:
        raise InputError("the split to evaluate on holds samples without a label (-1); give labelled samples.")
    if highest >= classes:
        raise InputError(
            f"{type(model).__name__} tells {classes} classes apart and the split holds the label {highest}; give a "
            "model of this data set."
        )
    if not bool(answers.logits.isfinite().all()):
        raise RunError(f"{type(model).__name__} answered with NaN or infinity; check its weights.")
