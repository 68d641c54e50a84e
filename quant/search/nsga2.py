"""NSGA-II (Deb et al., IEEE TEVC 6(2), 2002) over whole numbers, by Optuna."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from hardware_models.errors import InputError
from quant.search.pareto import Floats

Configuration = tuple[int, ...]
"""The index of the chosen value of each variable."""


def nsga2(
    sizes: Sequence[int],
    objectives: Callable[[Configuration], Sequence[float]],
    *,
    trials: int = 960,
    population: int = 48,
    seed: int = 0,
    start: Iterable[Configuration] = (),
    limits: Sequence[float] | None = None,
) -> tuple[list[Configuration], Floats]:
    """Minimise several objectives over configurations.

    Args:
        sizes: how many values each variable has.
        objectives: of a configuration, `[D]`; asked once for each configuration.
        trials: configurations that are tried, repeated ones among them.
        population: of one generation, at least 2.
        seed: of the draws; the same seed gives the same answer.
        start: configurations that are tried first.
        limits: `[D]`; a configuration beyond one gives way to any within them all.

    Returns:
        The distinct configurations in the order in which they were tried, and their objectives `[N, D]`.

    Raises:
        InputError: Optuna is not installed, no variables, or a population of fewer than 2.
    """
    optuna = _optuna()
    if not sizes:
        raise InputError("there is no variable to search over; give layers with more than one width.")
    if population < 2 or trials < 1:
        raise InputError(f"population {population} and {trials} trials were asked for; give at least 2 and 1.")
    found: dict[Configuration, list[float]] = {}

    def asked(trial: Any) -> list[float]:
        chosen = tuple(trial.suggest_int(str(i), 0, size - 1) for i, size in enumerate(sizes))
        if chosen not in found:
            found[chosen] = [float(value) for value in objectives(chosen)]
        for i, limit in enumerate(limits or ()):
            trial.set_constraint(str(i), found[chosen][i] - limit)
        return found[chosen]

    with _quiet(optuna):
        sampler = optuna.samplers.NSGAIISampler(population_size=population, seed=seed)
        first = list(dict.fromkeys(start))
        dimensions = len(objectives(first[0] if first else (0,) * len(sizes)))
        study = optuna.create_study(directions=["minimize"] * dimensions, sampler=sampler)
        for one in first:
            study.enqueue_trial({str(i): index for i, index in enumerate(one)})
        study.optimize(asked, n_trials=max(trials, len(first)))
    return list(found), np.array(list(found.values()), dtype=np.float64).reshape(len(found), dimensions)


def _optuna() -> Any:
    try:
        return importlib.import_module("optuna")
    except ImportError as error:
        raise InputError("the search needs Optuna, which is not installed; pip install neuro[search].") from error


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Without a line for each trial, and the notes on experimental arguments."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
