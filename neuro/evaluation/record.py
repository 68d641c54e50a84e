"""What an evaluation found, as one plain document."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hardware_models.errors import InputError
from hardware_models.quantity import with_prefix
from neuro.evaluation.confusion import Confusion
from neuro.evaluation.cost import Cost
from neuro.evaluation.early_exit import ExitPoint
from neuro.evaluation.markdown import escaped, grid, percent
from neuro.evaluation.robustness import Robustness

SCHEMA: Final = "neuro.evaluation/1"

Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True, allow_inf_nan=False)


class TimestepRow(_Document):
    """The network at one T; counts and joules are of one inference, None where they were not measured.

    Attributes:
        timesteps: T.
        accuracy: share of samples that are right.
        standard_error: of the accuracy, `sqrt(p (1 - p) / N)`.
        spikes: of all neurons.
        firing_rate: spikes per neuron and timestep; None without neurons, too.
        sops: synaptic operations.
        energy_j: under the record's convention, with its band.
    """

    timesteps: Annotated[int, Field(ge=1)]
    accuracy: Share
    standard_error: Amount
    spikes: Amount | None = None
    firing_rate: Amount | None = None
    sops: Amount | None = None
    energy_j: Amount | None = None
    energy_low_j: Amount | None = None
    energy_high_j: Amount | None = None


class EvaluationRecord(_Document):
    """An evaluation.

    Attributes:
        model: what was evaluated.
        dataset: name of the data set; `dataset_source` says where it came from and how it was prepared.
        samples: N, behind the accuracies.
        seed: of the corruptions' random numbers.
        profiled_samples: samples behind spikes and energy; 0 where they were not measured.
        convention: of the energy; empty where it was not measured.
        trained_timesteps: T of the training, at which all but the rows is measured; rows beyond it are marked. None
            where it is not known.
        rows: by T, rising.
        early_exit: by threshold of confidence.
        corruptions: accuracy on corrupted images; None where it was not measured.
        confusion: by class; None where it was not counted.
        notes: what the reader has to know, one sentence each.
    """

    schema_version: Literal["neuro.evaluation/1"] = Field(default=SCHEMA, alias="schema")
    model: str
    dataset: str
    dataset_source: str
    samples: Annotated[int, Field(ge=1)]
    seed: int
    profiled_samples: Annotated[int, Field(ge=0)] = 0
    convention: str = ""
    trained_timesteps: Annotated[int, Field(ge=1)] | None = None
    rows: Annotated[list[TimestepRow], Field(min_length=1)]
    early_exit: list[ExitPoint] = Field(default_factory=list)
    corruptions: Robustness | None = None
    confusion: Confusion | None = None
    notes: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _is_of_the_same_samples(self) -> Self:
        steps = [row.timesteps for row in self.rows]
        if sorted(set(steps)) != steps:
            raise ValueError(f"the rows are of the timesteps {steps}, which do not rise")
        counted = {f"early exit at {point.threshold}": sum(point.exits) for point in self.early_exit}
        if self.confusion is not None:
            counted["the confusion matrix"] = self.confusion.samples
        for what, samples in counted.items():
            if samples != self.samples:
                raise ValueError(f"{what} counts {samples} samples of {self.samples}")
        return self

    def is_beyond_training(self, row: TimestepRow) -> bool:
        """Whether the network was trained with fewer timesteps."""
        return self.trained_timesteps is not None and row.timesteps > self.trained_timesteps

    def to_markdown(self) -> str:
        """Return all of it as tables."""
        facts = [f"{self.samples} samples", f"seed {self.seed}"]
        if self.profiled_samples:
            facts.append(f"{self.profiled_samples} profiled")
        if self.convention:
            facts.append(f"energy under {self.convention}")
        parts = [f"# {escaped(self.model)} on {escaped(self.dataset)}", escaped(f"{', '.join(facts)}.")]
        parts += [escaped(self.dataset_source), "## By timesteps", self._rows()]
        if self.early_exit:
            parts += ["## Early exit", self._exits()]
        if self.corruptions:
            parts += ["## Corrupted images", self.corruptions.to_markdown()]
        if self.confusion:
            parts += ["## By class", self.confusion.to_markdown()]
        if self.notes:
            parts += ["## Notes", "\n".join(f"- {escaped(note)}" for note in self.notes)]
        return "\n\n".join(parts) + "\n"

    def _rows(self) -> str:
        heads = ["T", "Accuracy", "Standard error", "Spikes", "Spikes / neuron / step", "SOPs", "Energy", "Band"]
        rows = [
            [
                f"{row.timesteps}{' (beyond training)' if self.is_beyond_training(row) else ''}",
                percent(row.accuracy),
                percent(row.standard_error),
                _with_prefix(row.spikes),
                "-" if row.firing_rate is None else f"{row.firing_rate:.4f}",
                _with_prefix(row.sops),
                _with_prefix(row.energy_j, "J"),
                _band(row.energy_low_j, row.energy_high_j),
            ]
            for row in self.rows
        ]
        return grid(heads, rows, text_columns=0)

    def _exits(self) -> str:
        longest = max(len(point.exits) for point in self.early_exit)
        heads = ["Confidence", "Accuracy", "Mean T", *(f"stop at {t}" for t in range(1, longest + 1))]
        costed = any(point.energy_j is not None for point in self.early_exit)
        rows = [
            [
                f"{point.threshold:g}",
                percent(point.accuracy),
                f"{point.mean_timesteps:.3f}",
                *(str(point.exits[t]) if t < len(point.exits) else "-" for t in range(longest)),
                *([_with_prefix(point.energy_j, "J")] if costed else []),
                *([_band(point.energy_low_j, point.energy_high_j)] if costed else []),
            ]
            for point in self.early_exit
        ]
        return grid([*heads, *(["Energy", "Band"] if costed else [])], rows, text_columns=0)


def standard_error(accuracy: float, samples: int) -> float:
    """Return the standard error of a share p of N independent samples, `sqrt(p (1 - p) / N)`.

    Raises:
        InputError: a share outside of 0..1, or no sample.
    """
    if not 0 <= accuracy <= 1 or samples < 1:
        raise InputError(f"an accuracy of {accuracy} on {samples} samples is none; give a share in 0..1 of at least 1.")
    return math.sqrt(accuracy * (1 - accuracy) / samples)


def timestep_rows(
    accuracies: Mapping[int, float], samples: int, costs: Mapping[int, Cost] | None = None
) -> list[TimestepRow]:
    """Put accuracies and costs of the same T beside each other, T rising.

    Args:
        accuracies: by T.
        samples: N, behind each accuracy.
        costs: by T; a T without one has no spikes and no energy in its row.

    Raises:
        InputError: a cost at a T without accuracy.
    """
    costs = costs or {}
    alone = sorted(set(costs) - set(accuracies))
    if alone:
        raise InputError(f"costs were given at T = {alone} without an accuracy; measure both at the same T.")
    return [
        TimestepRow(
            timesteps=t,
            accuracy=accuracies[t],
            standard_error=standard_error(accuracies[t], samples),
            **(dataclasses.asdict(costs[t]) if t in costs else {}),
        )
        for t in sorted(accuracies)
    ]


def _with_prefix(value: float | None, unit: str = "") -> str:
    return "-" if value is None else with_prefix(value, unit, digits=3)


def _band(low: float | None, high: float | None) -> str:
    return (
        "-"
        if low is None or high is None
        else f"{with_prefix(low, 'J', digits=3)} to {with_prefix(high, 'J', digits=3)}"
    )
