"""What an evaluation is asked to measure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hardware_models.conventions import DEFAULT_CONVENTION, convention
from hardware_models.errors import InputError
from neuro.evaluation.anytime import check_rising
from neuro.evaluation.corruptions import check_corruption
from neuro.evaluation.early_exit import check_thresholds


@dataclass(frozen=True)
class EvaluationRequest:
    """What to measure besides the accuracy; all but the rows by T is at the T of the training.

    Attributes:
        timesteps: T of the rows, rising; none for all up to the training's, or for the training's alone where every T
            needs a run of its own.
        early_exit: confidences to stop at, above 0 and at most 1.
        corruptions: keys of `CORRUPTIONS`.
        severities: of the corruptions, from 1 to 5.
        confusion: whether to count which classes are taken for which.
        profile_samples: samples to run while measuring spikes and energy; 0 for neither.
        convention: the rules of the energy.
        seed: of the corruptions' random numbers.

    Raises:
        InputError: any of them that does not exist.
    """

    timesteps: tuple[int, ...] = ()
    early_exit: tuple[float, ...] = ()
    corruptions: tuple[str, ...] = ()
    severities: tuple[int, ...] = (1, 3, 5)
    confusion: bool = False
    profile_samples: int = 16
    convention: str = DEFAULT_CONVENTION
    seed: int = 0

    def __post_init__(self) -> None:
        convention(self.convention)
        if self.timesteps:
            check_rising(self.timesteps)
        if self.early_exit:
            check_thresholds(self.early_exit)
        if self.profile_samples < 0:
            raise InputError(f"the samples to profile were {self.profile_samples}; give at least 1, or 0 for none.")
        self._check_corruptions()

    def _check_corruptions(self) -> None:
        for what, given in (("corruption", self.corruptions), ("severity", self.severities)):
            twice = [name for name, count in Counter(given).items() if count > 1]
            if twice:
                raise InputError(f"the {what} {twice[0]} was given twice; give each once.")
        if not self.severities:
            raise InputError("no severity of the corruptions was given; give one or more, from 1 to 5.")
        for name in self.corruptions:
            for severity in self.severities:
                check_corruption(name, severity, self.seed)
