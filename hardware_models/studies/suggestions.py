"""Points of a space that Optuna suggests."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hardware_models.studies.axes import Choices, Integers, Reals
from hardware_models.studies.axis import Axis
from hardware_models.studies.columns import Array, Columns
from hardware_models.studies.optuna_module import optuna
from hardware_models.studies.rule_reader import read_rule
from hardware_models.studies.space import Space


class Suggestions:
    """Suggests points of `space` by Optuna's trials.

    Attributes:
        distributions: Optuna's, by axis.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self.distributions = {name: _distribution(axis) for name, axis in space.axes.items()}

    def ask(self, trials: Sequence[Any]) -> Columns:
        """Return the points of `trials`, running ones: an axis is suggested where it is active, and nowhere else."""
        axes = self._space.axes
        values: dict[str, Array] = {
            name: np.full(len(trials), axis.first(), dtype=axis.dtype) for name, axis in axes.items()
        }
        for names in self._order:
            active = self._space.active(Columns(values))
            for name in names:
                for row in np.flatnonzero(active[name]).tolist():
                    values[name][row] = _suggested(trials[row], name, self.distributions[name])
        return self._space.masked(Columns(values))

    def points(self, genes: Sequence[Mapping[str, Any]], random: np.random.Generator) -> Columns:
        """Return the points that have `genes`, values by axis; a missing one is drawn."""
        axes = self._space.axes
        values = {name: axis.draw(random, len(genes)) for name, axis in axes.items()}
        for row, given in enumerate(genes):
            for name, value in given.items():
                values[name][row] = value
        return self._space.masked(Columns(values))

    @functools.cached_property
    def _order(self) -> list[list[str]]:
        """Names of axes in groups, each after the groups that its conditions read."""
        axes = self._space.axes
        terms = {name: axis.term for name, axis in axes.items()}
        reads = {name: set(read_rule(axis.when, terms).names) if axis.when else set() for name, axis in axes.items()}
        order: list[list[str]] = []
        known: set[str] = set()
        while len(known) < len(axes):  # the space has no circles
            order.append([name for name in axes if name not in known and reads[name] <= known])
            known.update(order[-1])
        return order


def active_values(points: Columns) -> Iterator[dict[str, Any]]:
    """Yield the values of each point on its active axes."""
    names = list(points.values)
    columns = [array.tolist() for array in points.values.values()]
    masks = [points.is_active(name).tolist() for name in names]
    for values, active in zip(zip(*columns, strict=True), zip(*masks, strict=True), strict=True):
        yield {name: value for name, value, here in zip(names, values, active, strict=True) if here}


def _distribution(axis: Axis) -> Any:
    of = optuna().distributions
    match axis:
        case Choices():
            return of.CategoricalDistribution(axis.choices)
        case Integers(log=True):  # a doubling has no distribution of whole numbers
            return of.CategoricalDistribution(axis.at(np.arange(axis.grid_size)).tolist())
        case Integers():
            return of.IntDistribution(*axis.integer, step=axis.step)
        case Reals():
            return of.FloatDistribution(*axis.real, log=axis.log)
    raise TypeError(f"no distribution for {type(axis).__name__}")


def _suggested(trial: Any, name: str, distribution: Any) -> Any:
    match type(distribution).__name__:
        case "CategoricalDistribution":
            return trial.suggest_categorical(name, distribution.choices)
        case "IntDistribution":
            return trial.suggest_int(name, distribution.low, distribution.high, step=distribution.step)
    return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
