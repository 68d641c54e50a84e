"""All measures of one network on one split, from as few runs as they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from hardware_models.conventions import Convention, convention
from neuro.data.base import Split
from neuro.evaluation.anytime import accuracy_at, anytime_accuracy
from neuro.evaluation.confusion import Confusion, confusion
from neuro.evaluation.corrupted import corrupted, is_still
from neuro.evaluation.cost import Cost, cost_of, costs
from neuro.evaluation.early_exit import ExitPoint, exit_sweep, with_energy
from neuro.evaluation.logits import Answers, step_logits
from neuro.evaluation.record import TimestepRow, timestep_rows
from neuro.evaluation.request import EvaluationRequest
from neuro.evaluation.robustness import Robustness, robustness
from neuro.evaluation.watched import WatchedSplit
from neuro.profiling.low_bit import profile_low_bit
from quant.network import QuantizedNetwork


class Measured(NamedTuple):
    """What was found; see `EvaluationRecord`."""

    rows: list[TimestepRow]
    early_exit: list[ExitPoint]
    corruptions: Robustness | None
    confusion: Confusion | None
    profiled_samples: int
    notes: list[str]


def measure(
    model: nn.Module,
    split: Split,
    timesteps: int,
    request: EvaluationRequest,
    device: torch.device,
    classes: Sequence[str] = (),
    quantized: QuantizedNetwork | None = None,
    progress: bool = False,
) -> Measured:
    """Measure what is asked for.

    Where one run answers after every timestep and the images stand still, it tells the accuracy of every T up to its
    own. Any other T is a run of its own: beyond the training, of data that T cuts into frames, of a network that
    answers once.

    Args:
        model: on `device`; takes time-first batches (see `TimeFirst`).
        split: labelled samples.
        timesteps: T of the training.
        request: what to measure.
        device: where to run.
        classes: names of the split's classes.
        quantized: the network inside of `model` where that is one of low bits, which holds its timesteps itself.
        progress: show a bar on stderr, if that is a terminal.

    Raises:
        InputError: what a measure refuses; see `check_corruptions`.
        RunError: the model answered with NaN or infinity.
    """
    return _Measuring(model, split, timesteps, request, device, tuple(classes), quantized).all(progress)


def check_corruptions(split: Split, timesteps: int, request: EvaluationRequest) -> None:
    """Refuse data that the corruptions cannot take, by the first sample.

    Raises:
        InputError: the first corruption that refuses it.
    """
    for name in request.corruptions:
        next(corrupted(split, name, request.severities[0], request.seed).batches(1, timesteps))


@dataclass
class _Measuring:
    """One evaluation under way."""

    model: nn.Module
    split: Split
    timesteps: int
    request: EvaluationRequest
    device: torch.device
    classes: tuple[str, ...]
    quantized: QuantizedNetwork | None

    def all(self, progress: bool) -> Measured:
        asked = self._asked()
        own = self._own_costs()
        runs = len(self._apart(asked)) + 1 + self._corrupted_runs()
        samples = runs * len(self.split)
        with tqdm(total=samples, desc="eval", unit="sample", disable=None if progress else True) as bar:
            self.split = WatchedSplit(self.split, bar.update)
            answers = step_logits(self.model, self.split, self.presented, self.device)
            return Measured(
                self._rows(asked, answers, own),
                self._exits(answers, own),
                self._corruptions(),
                confusion(answers, self._names(answers)) if self.request.confusion else None,
                min(self.request.profile_samples, len(self.split)),
                self._notes(asked),
            )

    @property
    def presented(self) -> int:
        """Timesteps of the batches at the T of the training."""
        return 1 if self.quantized is not None else self.timesteps

    @property
    def rules(self) -> Convention:
        return convention(self.request.convention)

    @cached_property
    def still(self) -> bool:
        """Whether the images are the same in every timestep."""
        return is_still(self._few(self.presented))

    @property
    def one_run(self) -> bool:
        """Whether the run at the T of the training tells the answers of every shorter one."""
        return self.still and hasattr(self.model, "forward_steps")

    def _asked(self) -> tuple[int, ...]:
        every = tuple(range(1, self.timesteps + 1)) if self.one_run else (self.timesteps,)
        return self.request.timesteps or every

    def _apart(self, asked: Sequence[int]) -> list[int]:
        """The T that need runs of their own."""
        return [t for t in asked if t != self.timesteps and not (self.one_run and t < self.timesteps)]

    def _corrupted_runs(self) -> int:
        names, severities = self.request.corruptions, self.request.severities
        return len(names) * len(severities) + 1 if names else 0

    def _few(self, timesteps: int) -> Tensor:
        """The samples to profile, time-first."""
        count = min(max(self.request.profile_samples, 1), len(self.split))
        return next(self.split.batches(count, timesteps))[0].to(self.device)

    def _own_costs(self) -> dict[int, Cost]:
        """What the run at the T of the training costs until every timestep; nothing where it is not to be measured."""
        if not self.request.profile_samples:
            return {}
        images = self._few(self.presented)
        if self.quantized is not None:
            return {self.timesteps: cost_of(profile_low_bit(self.quantized, images[0]), self.rules)}
        return costs(self.model, images, range(1, self.timesteps + 1), self.rules)

    def _rows(self, asked: Sequence[int], answers: Answers, own: dict[int, Cost]) -> list[TimestepRow]:
        shares = anytime_accuracy(answers) if self.one_run else {self.timesteps: answers.accuracy()}
        paid = {t: own[t] for t in shares if t in own}
        for t in self._apart(asked):
            shares |= accuracy_at(self.model, self.split, [t], self.device)
            if own:
                paid |= costs(self.model, self._few(t), [t], self.rules)
        rows = timestep_rows(shares, len(self.split), paid)
        return [row for row in rows if row.timesteps in asked]

    def _exits(self, answers: Answers, own: dict[int, Cost]) -> list[ExitPoint]:
        if not self.request.early_exit:
            return []
        points = exit_sweep(answers, self.request.early_exit)
        return [with_energy(point, own) for point in points] if own else points

    def _corruptions(self) -> Robustness | None:
        asked = self.request
        if not asked.corruptions:
            return None
        given = asked.corruptions, asked.severities, asked.seed
        return robustness(self.model, self.split, self.presented, self.device, *given)

    def _names(self, answers: Answers) -> list[str]:
        """A name for every answer; a network may have more answers than the data have classes."""
        return [*self.classes, *map(str, range(len(self.classes), answers.logits.shape[2]))]

    def _notes(self, asked: Sequence[int]) -> list[str]:
        notes = []
        beyond = ", ".join(str(t) for t in asked if t > self.timesteps)
        if beyond:
            notes.append(f"T = {beyond}: beyond the training, which was at T = {self.timesteps}.")
        if not self.still:
            notes.append("These data are cut into T frames, so every T is a run of its own.")
        if self.quantized is not None and self.timesteps > 1:
            notes.append(f"The network runs its {self.timesteps} timesteps inside and answers once.")
        return notes
