"""`search`: predict, search on the prediction, measure what looks best, learn from it, and again."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from hardware_models.errors import InputError, unknown_name
from quant.search.cost import Cost
from quant.search.evaluation import Evaluate
from quant.search.nsga2 import Configuration, nsga2
from quant.search.pareto import Floats, most_gain, on_front, ranks
from quant.search.predictor import FEWEST, Predictor, rank_correlation
from quant.search.result import Point, SearchResult
from quant.search.space import Space
from quant.search.store import Measurements

ERROR: Final = "error"
SIZE: Final = "size_bits"

_OFFERED: Final = 4
"""Candidates among which one is chosen to be measured."""


@dataclass(frozen=True)
class SearchSettings:
    """How much is tried.

    Attributes:
        initial: configurations that are measured before the first prediction, uniform ones among them.
        rounds: of prediction, search and measurement.
        per_round: configurations that are measured in each.
        population: of NSGA-II.
        generations: of NSGA-II, in each round.
        seed: of every draw.
    """

    initial: int = 32
    rounds: int = 5
    per_round: int = 12
    population: int = 48
    generations: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"initial": FEWEST, "rounds": 0, "per_round": 1, "population": 2, "generations": 1, "seed": 0}
        for name, lowest in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise InputError(f"{name} was {value!r}; give a whole number of at least {lowest}.")


def search(
    space: Space,
    evaluate: Evaluate,
    cost: Cost | None = None,
    objectives: Sequence[str] = (ERROR, SIZE),
    *,
    limits: Mapping[str, float] | None = None,
    start: Sequence[Configuration] = (),
    settings: SearchSettings | None = None,
    storage: str | Path | None = None,
    report: Callable[[str], None] | None = None,
) -> SearchResult:
    """Search for the recipes that no other beats in all objectives, as SimQ-NAS does (DyNAS-T's LINAS with bits).

    Some configurations are measured. Then, in rounds: a predictor learns the error of a configuration from all that
    were measured; NSGA-II searches with predicted errors and computed costs; of what it finds, the configurations that
    enlarge the measured front most, by their prediction, are measured.

    Args:
        space: the configurations (`search_space`).
        evaluate: measures the error of one (`QuickEvaluation`, or a short training of your own).
        cost: computes figures of one (`ChipCost`); `size_bits` is known without.
        objectives: what is minimised: `error` and figures of `cost`.
        limits: largest figures of interest, by objective: beyond them nothing is searched for.
        start: configurations that are measured first, such as `space.uniform(4, 4)`.
        settings: how much is tried.
        storage: a file of measurements; those that it holds are not made again.
        report: is told of each round in a sentence.

    Returns:
        The measured front, what the predictor expects beyond it, and all that was measured. The same settings give the
        same result, also where the search was interrupted.

    Raises:
        InputError: no objectives or an unknown one, a file of another search, no Optuna, or an error that is negative
            or no finite number.
        RunError: the file cannot be written.
    """
    chosen = settings or SearchSettings()
    described = getattr(evaluate, "description", None) or {"evaluate": type(evaluate).__name__}
    store = Measurements(space, described, None if storage is None else Path(storage))
    one = _Search(space, evaluate, cost, tuple(objectives), dict(limits or {}), chosen, store, report or _silent)
    return one.run(start)


def starts(space: Space, count: int, seed: int) -> list[Configuration]:
    """Return up to `count` different configurations: a width throughout in up to half of them, then draws.

    Every draw prefers some of the values to others (from a Dirichlet distribution), so that draws spread from nearly
    all narrow to nearly all wide instead of crowding in the middle.
    """
    random = np.random.default_rng(seed)
    if math.prod(space.sizes) <= count:
        return list(dict.fromkeys(map(space.canonical, itertools.product(*map(range, space.sizes)))))
    found = dict.fromkeys(_uniform(space)[: max(2, count // 2)])
    for _ in range(100 * count):
        if len(found) >= count:
            break
        found[space.canonical(_draw(space.sizes, random))] = None
    return list(found)[:count]


def _uniform(space: Space) -> list[Configuration]:
    """All layers at one pair of widths each, in the largest network; like widths first, then unlike ones."""
    roles = [one.role for one in space.variables]
    most = max((size for size, role in zip(space.sizes, roles, strict=True) if role != "architecture"), default=1)
    pairs = sorted(
        ((w, a) for w in range(most) for a in range(most)), key=lambda pair: (abs(pair[0] - pair[1]), -sum(pair))
    )
    places = [{"weights": w, "activations": a, "products": a, "architecture": most} for w, a in pairs]
    return [
        tuple(min(place[role], size - 1) for role, size in zip(roles, space.sizes, strict=True)) for place in places
    ]


def _draw(sizes: Sequence[int], random: np.random.Generator) -> Configuration:
    shares = {size: random.dirichlet(np.ones(size)) for size in sorted(set(sizes))}
    return tuple(int(random.choice(size, p=shares[size])) for size in sizes)


class _Search:
    """One search and what it has learned so far."""

    def __init__(
        self,
        space: Space,
        evaluate: Evaluate,
        cost: Cost | None,
        objectives: tuple[str, ...],
        limits: dict[str, float],
        settings: SearchSettings,
        store: Measurements,
        report: Callable[[str], None],
    ) -> None:
        self.space, self.evaluate, self.cost, self.objectives = space, evaluate, cost, objectives
        self.settings, self.store, self.report = settings, store, report
        self.costs: dict[Configuration, dict[str, float]] = {}
        self.errors: dict[Configuration, float] = {}
        self.expected: dict[Configuration, float] = {}
        self._check(limits)
        self.limits = [limits.get(name, math.inf) for name in objectives] if limits else None

    def run(self, start: Sequence[Configuration]) -> SearchResult:
        """Search; return what was found."""
        settings, agreement = self.settings, []
        first = dict.fromkeys([*map(self.space.canonical, start), *starts(self.space, settings.initial, settings.seed)])
        for one in list(first)[: max(settings.initial, len(start))]:
            self._measure(one)
        self._say(f"{len(self.errors)} configurations to start from")
        for number in range(settings.rounds):
            chosen = self._promising(number)
            if not chosen:
                break
            for one, expected in chosen.items():
                self.expected[one] = expected
                self._measure(one)
            agreement.append(rank_correlation(list(chosen.values()), [self.errors[one] for one in chosen]))
            self._say(f"round {number + 1}: {len(chosen)} more, rank correlation {agreement[-1]:.2f}")
        return self._result(agreement)

    def _check(self, limits: Mapping[str, float]) -> None:
        if not self.objectives:
            raise InputError(f"there are no objectives; give some of {ERROR}, {SIZE} and the figures of the cost.")
        known = [ERROR, *self._cost(self.space.canonical((0,) * len(self.space.variables)))]
        for name in self.objectives:
            if name not in known:
                raise unknown_name("objective", name, known)
        if ERROR not in self.objectives:
            raise InputError(f"the objectives lack {ERROR!r}, and without it the narrowest widths are best; add it.")
        for name in limits:
            if name not in self.objectives:
                raise unknown_name("limit", name, self.objectives)

    def _cost(self, one: Configuration) -> dict[str, float]:
        if one not in self.costs:
            figures: dict[str, float] = {SIZE: float(self.space.size_bits(one))}
            if self.cost is not None:
                figures |= self.cost(self.space.recipe(one), self.space.choice(one))
            self.costs[one] = figures
        return self.costs[one]

    def _measure(self, one: Configuration) -> None:
        if one not in self.store:
            error = float(self.evaluate(self.space.recipe(one), self.space.choice(one)))
            if not math.isfinite(error) or error < 0:
                raise InputError(f"the error of {self.space.values(one)} was {error}; measure one that is at least 0.")
            self.store.add(one, error)
        self.errors[one] = self.store[one]

    def _values(self, one: Configuration, error: float) -> list[float]:
        figures = {**self._cost(one), ERROR: error}
        return [figures[name] for name in self.objectives]

    def _measured(self) -> Floats:
        return np.array([self._values(one, error) for one, error in self.errors.items()])

    def _promising(self, number: int) -> dict[Configuration, float]:
        """Return what is worth measuring next, with its expected errors; nothing where all was measured."""
        if len(self.errors) < FEWEST or len(self.errors) >= math.prod(self.space.sizes):
            return {}
        return self._best(*self._proposed(number), self.settings.per_round)

    def _proposed(self, number: int) -> tuple[list[Configuration], Floats]:
        """Search on a prediction from all that was measured; return what was tried, and its expected objectives."""
        settings = self.settings
        predictor = Predictor(self.space.sizes, settings.seed).fit(list(self.errors), list(self.errors.values()))

        def expected(one: Configuration) -> list[float]:
            real = self.space.canonical(one)
            return self._values(real, float(predictor([real])[0]))

        front = on_front(self._measured())
        found, values = nsga2(
            self.space.sizes,
            expected,
            trials=settings.population * settings.generations,
            population=settings.population,
            seed=settings.seed + number,
            start=[one for one, kept in zip(self.errors, front, strict=True) if kept],
            limits=self.limits,
        )
        real = [self.space.canonical(one) for one in found]
        places = list({one: i for i, one in enumerate(real) if one not in self.errors}.values())
        return [real[i] for i in places], values[places]

    def _best(self, found: list[Configuration], values: Floats, count: int) -> dict[Configuration, float]:
        """Return the configurations whose expected objectives enlarge the front most, with their expected errors."""
        measured = self._measured()
        reference = self._reference(measured)
        inside = np.flatnonzero((values <= reference).all(axis=1)) if len(values) else np.zeros(0, dtype=np.int64)
        offered = [int(inside[i]) for i in ranks(values[inside], _OFFERED * count)]
        low = np.minimum(measured.min(axis=0), values[offered].min(axis=0)) if offered else measured.min(axis=0)
        scale = np.where(reference > low, reference - low, 1.0)
        scaled = partial(_scaled, low=low, scale=scale)
        front = scaled(measured[on_front(measured)])
        picked = most_gain(front, scaled(values[offered]), scaled(reference), count)
        chosen = [offered[i] for i in picked]
        error = self.objectives.index(ERROR)
        return {found[i]: float(values[i, error]) for i in chosen}

    def _reference(self, measured: Floats) -> Floats:
        """The corner of interest: limits, and the worst that was measured where there are none."""
        worst: Floats = measured.max(axis=0)
        if self.limits is None:
            return worst
        return np.where(np.isfinite(self.limits), self.limits, worst)

    def _result(self, agreement: list[float]) -> SearchResult:
        measured = self._measured()
        points = {one: self._point(one) for one in self.errors}
        front = [one for one, kept in zip(points, on_front(measured), strict=True) if kept]
        beyond = self._promising(self.settings.rounds) if self.settings.rounds else {}
        hoped = [self._point(one, error) for one, error in beyond.items()]
        order = self.objectives[0]
        return SearchResult(
            objectives=self.objectives,
            front=tuple(sorted((points[one] for one in front), key=lambda point: point.figures[order])),
            hoped=tuple(sorted(hoped, key=lambda point: point.figures[order])),
            measured=tuple(points.values()),
            agreement=tuple(agreement),
        )

    def _point(self, one: Configuration, expected: float | None = None) -> Point:
        measured = self.errors.get(one)
        predicted = self.expected.get(one, expected)
        error = measured if measured is not None else predicted
        figures: dict[str, Any] = {**self._cost(one), ERROR: error}
        return Point(
            configuration=one,
            recipe=self.space.recipe(one),
            choice=self.space.choice(one),
            figures=figures,
            measured_error=measured,
            predicted_error=predicted,
        )

    def _say(self, what: str) -> None:
        if self.report is not _silent:
            best = ", ".join(
                f"{name} from {low:.4g}" for name, low in zip(self.objectives, self._measured().min(0), strict=True)
            )
            self.report(f"{what}; {best}.")


def _scaled(values: Floats, low: Floats, scale: Floats) -> Floats:
    made: Floats = (values - low) / scale
    return made


def _silent(_: str) -> None:
    return None
