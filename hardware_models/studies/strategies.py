"""Which points a search asks for next, given what became of those before: random draws, or Optuna's samplers.

Every batch is asked of a sampler of its own, whose seed is made of the study's seed and the batch's number, and which
sees only the trials it needs. So the next batch depends on nothing but the study and the trials so far: a search that
was interrupted goes on as if it had not been, and an evolution does not slow down as its history grows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np

from hardware_models.studies.columns import Columns, concat
from hardware_models.studies.document import Method
from hardware_models.studies.optuna_module import optuna
from hardware_models.studies.pareto import Sense
from hardware_models.studies.space import Space
from hardware_models.studies.suggestions import Suggestions, active_values

Trial = Any
"""Optuna's `FrozenTrial`."""

ATTEMPTS: Final = 5
"""How often children are made to find new ones, before points are drawn."""


def directions(objectives: Mapping[str, Sense]) -> list[str]:
    """Return the senses of `objectives` as Optuna spells them."""
    return [{"minimise": "minimize", "maximise": "maximize"}[sense] for sense in objectives.values()]


class Strategy(Protocol):
    """Chooses points."""

    def ask(self, batch: int, count: int) -> Columns:
        """Return `count` points for the batch of that number."""
        ...

    def tell(self, batch: int, trials: Sequence[Trial]) -> None:
        """Take note of what became of a batch; every batch is told once, in order."""
        ...


def strategy(method: Method, space: Space, objectives: Mapping[str, Sense]) -> Strategy:
    """Return the strategy that `method` names."""
    kinds: Mapping[str, type[Random | Genetic | Tpe]] = {"nsga2": Genetic, "nsga3": Genetic, "tpe": Tpe}
    return kinds.get(method.kind, Random)(method, space, objectives)


class Random:
    """Independent draws that keep the constraints."""

    def __init__(self, method: Method, space: Space, objectives: Mapping[str, Sense]) -> None:
        self._population = method.population
        self._points = space.sample(method.evaluations, method.seed)

    def ask(self, batch: int, count: int) -> Columns:
        start = batch * self._population
        return self._points.take(np.arange(start, start + count))

    def tell(self, batch: int, trials: Sequence[Trial]) -> None:
        pass


class _Sampled:
    """The first batch is drawn among points that keep the constraints; the others a sampler of Optuna's suggests."""

    def __init__(self, method: Method, space: Space, objectives: Mapping[str, Sense]) -> None:
        self._method, self._space = method, space
        self._directions = directions(objectives)
        self._suggestions = Suggestions(space)
        self._trials: list[Trial] = []

    def ask(self, batch: int, count: int) -> Columns:
        known = [trial for trial in self._trials if trial.state.name == "COMPLETE"]
        if len(known) < 2:  # no two parents
            return self._space.sample(count, self._seed(batch))
        return self._suggested(batch, count)

    def _suggested(self, batch: int, count: int) -> Columns:
        raise NotImplementedError

    def _study(self, sampler: Any) -> Any:
        return optuna().create_study(directions=self._directions, sampler=sampler)

    def _seed(self, batch: int) -> int:
        return int(np.random.SeedSequence([self._method.seed, batch]).generate_state(1)[0])


class Tpe(_Sampled):
    """Tree-structured Parzen estimators (Ozaki et al., GECCO 2020): for few and dear evaluations.

    Asking grows with the history: about 10 ms a point at 200 of them, 300 ms at 10 000, of eight axes.
    """

    def tell(self, batch: int, trials: Sequence[Trial]) -> None:
        self._trials += trials

    def _suggested(self, batch: int, count: int) -> Columns:
        study = self._study(optuna().samplers.TPESampler(seed=self._seed(batch), n_startup_trials=0))
        study.add_trials(self._trials)
        return self._suggestions.ask([study.ask() for _ in range(count)])


class Genetic(_Sampled):
    """NSGA-II (Deb et al., IEEE TEVC 6(2), 2002) or NSGA-III (Deb, Jain, IEEE TEVC 18(4), 2014).

    Numbers are crossed by simulated binary crossover and mutated polynomially, as there; choices are taken from one
    parent or the other, or drawn anew. Infeasible points give way to feasible ones. A point has a gene for each axis;
    those of its inactive axes are drawn, and do nothing until a child has the axis active.
    """

    def __init__(self, method: Method, space: Space, objectives: Mapping[str, Sense]) -> None:
        super().__init__(method, space, objectives)
        self._asked: set[frozenset[tuple[str, Any]]] = set()

    def tell(self, batch: int, trials: Sequence[Trial]) -> None:
        """Keep the parents of this batch, and the batch: the next parents are chosen among them."""
        random = np.random.default_rng([self._method.seed, batch])
        known = [self._whole(trial, random) for trial in trials if trial.state.name == "COMPLETE"]
        parents = self._sampler(batch)[0].parents if len(self._trials) > self._method.population else self._trials
        self._trials = [*parents, *known]
        self._asked.update(frozenset(trial.params.items()) for trial in trials)

    def _suggested(self, batch: int, count: int) -> Columns:
        """Return children that nobody has asked for; where they cannot be had, draws."""
        sampler, study = self._sampler(batch)
        genes = {name: one for name, one in self._suggestions.distributions.items() if not one.single()}
        random = np.random.default_rng(self._seed(batch))
        found: list[Columns] = []
        asked = set(self._asked)
        for _ in range(ATTEMPTS):
            children = [sampler.sample_relative(study, None, genes) for _ in range(count)]
            points = self._suggestions.points(children, random)
            new = np.zeros(count, dtype=bool)
            for row, values in enumerate(active_values(points)):
                point = frozenset(values.items())
                new[row] = point not in asked
                asked.add(point)
            found.append(points.take(new))
            count -= int(new.sum())
            if not count:
                return concat(found)
        return concat([*found, self._space.sample(count, self._seed(batch))])

    def _sampler(self, batch: int) -> tuple[Any, Any]:
        """Return the sampler of a batch, its parents chosen, and Optuna's study for it."""
        samplers = optuna().samplers
        base = {"nsga2": samplers.NSGAIISampler, "nsga3": samplers.NSGAIIISampler}[self._method.kind]
        sampler = _of_one_generation(base, self._trials)(
            population_size=self._method.population,
            crossover=samplers.nsgaii.SBXCrossover(),
            mutation=samplers.nsgaii.PolynomialMutation(),
            seed=self._seed(batch),
        )
        study = self._study(sampler)
        sampler.parents = sampler.select_parent(study, 1)
        return sampler, study

    def _whole(self, trial: Trial, random: np.random.Generator) -> Trial:
        """Return a trial with values on its inactive axes too: Optuna crosses only what all parents have."""
        lacking = [name for name in self._space.axes if name not in trial.params]
        if not lacking:
            return trial
        whole = optuna().trial.create_trial(
            params=trial.params | {name: self._space.axes[name].draw(random, 1).tolist()[0] for name in lacking},
            distributions=self._suggestions.distributions,
            values=trial.values,
            constraints=trial.constraints,
        )
        whole.number = trial.number
        return whole


def _of_one_generation(base: Any, candidates: list[Trial]) -> Any:
    """Return the class of samplers `base` for one generation, whose parents are chosen among `candidates`.

    Optuna's own bookkeeping reads all trials for every new one; this one knows what it would find.
    """

    class OneGeneration(base):
        parents: list[Trial] = []  # noqa: RUF012 (replaced, never changed)

        def get_trial_generation(self, study: Any, trial: Trial) -> int:
            return 1

        def get_population(self, study: Any, generation: int) -> list[Trial]:
            return candidates

        def get_parent_population(self, study: Any, generation: int) -> list[Trial]:
            return self.parents

    return OneGeneration
