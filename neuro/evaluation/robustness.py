"""Accuracy on corrupted images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import ConfigDict
from torch import nn

from hardware_models.errors import InputError
from neuro.data.base import Split
from neuro.evaluation.corrupted import corrupted
from neuro.evaluation.corruptions import CORRUPTIONS, SEVERITIES
from neuro.evaluation.logits import step_logits
from neuro.evaluation.markdown import escaped, grid, percent


@dataclass(frozen=True)
class Robustness:
    """Accuracy by corruption and severity.

    Attributes:
        clean: accuracy on the images as they are.
        severities: of the columns.
        accuracies: by corruption, one for each severity.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    clean: float
    severities: tuple[int, ...]
    accuracies: dict[str, tuple[float, ...]]

    def __post_init__(self) -> None:
        for name, row in self.accuracies.items():
            if len(row) != len(self.severities):
                raise InputError(
                    f"{name} has {len(row)} accuracies for {len(self.severities)} severities; give one for each."
                )

    @property
    def mean(self) -> float:
        """Mean accuracy over all corruptions and severities."""
        return sum(map(sum, self.accuracies.values())) / (len(self.accuracies) * len(self.severities))

    def mean_of(self, name: str) -> float:
        """Return the mean accuracy of one corruption over its severities."""
        return sum(self.accuracies[name]) / len(self.severities)

    def to_markdown(self) -> str:
        """Return a table of one corruption a line, and the means."""
        heads = ["Corruption", *(f"severity {s}" for s in self.severities), "mean"]
        rows = [
            [escaped(name), *map(percent, row), percent(self.mean_of(name))] for name, row in self.accuracies.items()
        ]
        said = f"Clean {percent(self.clean)}, mean over corruptions and severities {percent(self.mean)}."
        return f"{grid(heads, rows)}\n\n{said}"


def robustness(
    model: nn.Module,
    split: Split,
    timesteps: int,
    device: torch.device,
    names: Sequence[str] = tuple(CORRUPTIONS),
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
    batch_size: int = 256,
) -> Robustness:
    """Run `model` over `split` as it is, and with every corruption at every severity.

    Args:
        model: on `device`; see `step_logits`.
        split: static, labelled images.
        timesteps: T.
        device: where to run.
        names: keys of `CORRUPTIONS`.
        severities: rising, from 1 to 5.
        seed: of the random numbers.
        batch_size: samples at once.

    Raises:
        InputError: no corruption or severity, one of them twice, and what `corrupted` and `step_logits` refuse.
    """
    for what, given in (("corruptions", names), ("severities", severities)):
        if not given or len(set(given)) != len(given):
            raise InputError(f"the {what} to evaluate were {list(given)}; give at least one, each once.")

    splits = {name: [corrupted(split, name, severity, seed) for severity in severities] for name in names}

    def accuracy(part: Split) -> float:
        return step_logits(model, part, timesteps, device, batch_size).accuracy()

    return Robustness(
        clean=accuracy(split),
        severities=tuple(severities),
        accuracies={name: tuple(accuracy(part) for part in parts) for name, parts in splits.items()},
    )
