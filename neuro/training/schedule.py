"""The learning rate and the number of timesteps over the steps of a training."""

from __future__ import annotations

import math
from dataclasses import dataclass

from neuro.training.settings import Phase, TrainingSettings


def warmup_cosine(step: int, total_steps: int, warmup_steps: int, peak: float, end: float) -> float:
    """Return the learning rate of `step` (from 0): linear to `peak`, then half a cosine down to `end`.

    step < w:   peak (step + 1) / w
    otherwise:  end + (peak - end) (1 + cos(pi (step - w) / (total - w))) / 2
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return end + (peak - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


@dataclass(frozen=True)
class Schedule:
    """What holds at each step of a training.

    Attributes:
        settings: of the training.
        steps_per_epoch: steps in an epoch.
        timesteps: the network's own T, for a training without phases.
    """

    settings: TrainingSettings
    steps_per_epoch: int
    timesteps: int

    def timesteps_at(self, epoch: int) -> int:
        """Return T in `epoch` (from 0)."""
        return self._phase(epoch)[1].timesteps

    def learning_rate(self, epoch: int, step: int) -> float:
        """Return the rate of a step of an epoch, both from 0."""
        s = self.settings
        first, phase = self._phase(epoch)
        peak = s.learning_rate if phase.learning_rate is None else phase.learning_rate
        warmup = s.warmup_epochs if phase.warmup_epochs is None else phase.warmup_epochs
        within, total = ((one * self.steps_per_epoch) for one in (epoch - first, phase.epochs))
        warmup_steps = round(warmup * self.steps_per_epoch)
        return warmup_cosine(within + step, total, warmup_steps, peak, s.min_learning_rate)

    def _phase(self, epoch: int) -> tuple[int, Phase]:
        """The first epoch of the phase that `epoch` is in, and the phase."""
        first = 0
        for phase in self.settings.phases:
            if epoch < first + phase.epochs:
                return first, phase
            first += phase.epochs
        return 0, Phase(timesteps=self.timesteps, epochs=max(1, self.settings.epochs))
