"""Search: batches of points, each chosen by what became of those before, each evaluated at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from hardware_models.studies.answers import Answers, Evaluate
from hardware_models.studies.document import Method
from hardware_models.studies.history import History, trials_of
from hardware_models.studies.optuna_module import quiet
from hardware_models.studies.store import Store
from hardware_models.studies.strategies import strategy
from hardware_models.studies.suggestions import Suggestions


def search(
    store: Store,
    evaluate: Evaluate,
    method: Method,
    storage: Path | None = None,
    report: Callable[[int], object] = lambda done: None,
) -> int:
    """Ask for `method.evaluations` points of the store's space, and return how many were new.

    Points that the store holds are answered from it, those that break a constraint are infeasible, and the others of
    a batch of `method.population` are evaluated at once. A batch is in the store before it is reported. A search that
    was interrupted goes on from its last whole batch; the same seed and the same answers give the same points.

    Args:
        store: of the study.
        evaluate: returns what becomes of points.
        method: what to ask, and how much.
        storage: the file of Optuna's journal; None for none, where a search that goes on asks anew from the start.
        report: told how many points have been asked for.

    Raises:
        InputError: Optuna is not installed; constraints that hardly any point keeps; a journal of another search.
        RunError: a file that cannot be written.
    """
    before = sum(store.counts().values())
    settings = method.model_dump(mode="json", exclude={"evaluations"})
    document = {"space": store.space.to_document(), "objectives": dict(store.objectives), "method": settings}
    with quiet(), contextlib.closing(History(storage, document, store.objectives)) as history:
        distributions = Suggestions(store.space).distributions
        chosen = strategy(method, store.space, store.objectives)
        answers = Answers(store, evaluate)
        for batch, start in enumerate(range(0, method.evaluations, method.population)):
            stop = min(start + method.population, method.evaluations)
            trials = history.trials[start:stop]
            if start + len(trials) < stop:
                points = chosen.ask(batch, stop - start)
                asked = trials_of(points, answers(points), distributions, store.objectives, start)
                history.add(asked[len(trials) :])
                trials = asked
            chosen.tell(batch, trials)
            report(stop)
    return sum(store.counts().values()) - before
