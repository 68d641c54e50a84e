"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

import torch
from pydantic import ConfigDict

from hardware_models.errors import InputError
from neuro.evaluation.logits import Answers
from neuro.evaluation.markdown import escaped, grid, percent

MOST_COLUMNS: Final = 20
"""Classes up to which the matrix is shown as a table; a wider one cannot be read."""


class Mistake(NamedTuple):
    """`samples` of class `true` were taken for `predicted`: `share` of the class."""

    true: str
    predicted: str
    samples: int
    share: float


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix.

    Attributes:
        counts: K rows of K; `counts[i][j]` samples of class i were taken for class j.
        classes: their K names.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    counts: tuple[tuple[int, ...], ...]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        size = len(self.classes)
        if len(self.counts) != size or any(len(row) != size for row in self.counts):
            shape = f"{len(self.counts)} rows of {sorted({len(row) for row in self.counts})}"
            raise InputError(f"a confusion matrix of {size} classes has {shape} counts; give {size} rows of {size}.")

    @property
    def samples(self) -> int:
        """Samples in all."""
        return sum(map(sum, self.counts))

    @property
    def accuracy(self) -> float:
        """Share of samples on the diagonal."""
        return sum(row[i] for i, row in enumerate(self.counts)) / self.samples

    @property
    def recall(self) -> tuple[float | None, ...]:
        """Share of each class that was found, `n_ii / sum_j n_ij`; None for a class without samples."""
        return tuple(row[i] / sum(row) if any(row) else None for i, row in enumerate(self.counts))

    @property
    def precision(self) -> tuple[float | None, ...]:
        """Share of what was taken for each class that is of it, `n_ii / sum_j n_ji`; None where nothing was."""
        columns = list(zip(*self.counts, strict=True))
        return tuple(column[i] / sum(column) if any(column) else None for i, column in enumerate(columns))

    def top(self, count: int = 10) -> list[Mistake]:
        """Return the `count` most frequent mistakes, the most frequent first; ties in the order of classes."""
        found = [
            Mistake(self.classes[i], self.classes[j], n, n / sum(row))
            for i, row in enumerate(self.counts)
            for j, n in enumerate(row)
            if i != j and n
        ]
        return sorted(found, key=lambda mistake: -mistake.samples)[:count]

    def to_markdown(self, top: int = 10) -> str:
        """Return recall and precision of each class, the matrix and the `top` mistakes."""
        return "\n\n".join([self._by_class(), self._matrix(), self._mistakes(top)])

    def _by_class(self) -> str:
        samples = [str(sum(row)) for row in self.counts]
        names, recall, precision = map(escaped, self.classes), map(percent, self.recall), map(percent, self.precision)
        rows = zip(names, samples, recall, precision, strict=True)
        return grid(["Class", "Samples", "Recall", "Precision"], rows)

    def _matrix(self) -> str:
        if len(self.classes) > MOST_COLUMNS:
            return f"The matrix of {len(self.classes)} classes is too wide to show; it stands in the record."
        names = [escaped(name) for name in self.classes]
        rows = ([name, *map(str, row)] for name, row in zip(names, self.counts, strict=True))
        return grid(["True, predicted:", *names], rows)

    def _mistakes(self, top: int) -> str:
        mistakes = self.top(top)
        if not mistakes:
            return "No sample was taken for another class."
        rows = ([escaped(m.true), escaped(m.predicted), str(m.samples), percent(m.share)] for m in mistakes)
        return grid(["True", "Taken for", "Samples", "Share of the class"], rows, text_columns=2)


def confusion(answers: Answers, classes: Sequence[str] = (), timesteps: int | None = None) -> Confusion:
    """Count the answers after `timesteps` (None: all) by true and predicted class.

    Args:
        answers: of a model.
        classes: names of the K classes; none numbers them.
        timesteps: after how many timesteps to read the answer.

    Raises:
        InputError: names of another number of classes, or `timesteps` beyond T.
    """
    size = answers.logits.shape[2]
    if classes and len(classes) != size:
        raise InputError(f"{len(classes)} names were given for {size} classes; give one for each, or none.")
    pairs = answers.labels * size + answers.predictions(timesteps)
    counts = torch.bincount(pairs, minlength=size * size).view(size, size).tolist()
    return Confusion(tuple(map(tuple, counts)), tuple(classes) or tuple(map(str, range(size))))
