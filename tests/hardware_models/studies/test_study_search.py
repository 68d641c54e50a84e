"""Searches: known fronts are found, limits are kept, nothing is evaluated twice, and a search goes on as it was."""

from __future__ import annotations

import errno
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("optuna")

import optuna
from study_problems import THREE, TWO, dtlz2, results, unit_cube, zdt1, zdt2

from hardware_models.errors import InputError, RunError
from hardware_models.studies.columns import Columns
from hardware_models.studies.document import Method
from hardware_models.studies.filters import Filter
from hardware_models.studies.hypervolume import hypervolume
from hardware_models.studies.results import STATES, Results
from hardware_models.studies.search import search
from hardware_models.studies.space import Space
from hardware_models.studies.store import Store

CONDITIONAL = Space.from_document(
    {
        "axes": {
            "chip": {"choices": ["small", "large"]},
            "rows": {"integer": [4, 32], "step": 4},
            "banks": {"integer": [1, 64], "log": True, "when": "chip == 'large'"},
            "clock": {"real": [1e8, 1e9], "log": True, "when": "banks >= 8"},
        },
        "constraints": [{"rule": "rows <= 24", "because": "more were never built"}],
    }
)


def conditional(points: Columns) -> Results:
    rows, large = points.values["rows"], points.values["chip"] == "large"
    banks = np.where(points.is_active("banks"), points.values["banks"], 1)
    clock = np.where(points.is_active("clock"), points.values["clock"] / 1e9, 0.1)
    return results(points, {"f1": rows * banks * (1 + large), "f2": 1 / (rows * banks * clock)})


def store_of(folder: Path, space: Space, objectives: Any = TWO) -> Store:
    folder.mkdir(exist_ok=True)
    return Store.create(folder / "points.study", {"name": "test"}, space, objectives)


def values(store: Store) -> Any:
    found = store.read()
    return np.stack([found.objectives[name][0] for name in store.objectives], axis=1)


def method(kind: Any, evaluations: int, population: int = 40, seed: int = 1) -> Method:
    return Method(kind=kind, evaluations=evaluations, population=population, seed=seed)


def turned(points: Columns) -> Results:
    """ZDT1 to be maximised."""
    one = zdt1(points)
    return results(one.points, {name: -each[0] for name, each in one.objectives.items()})


@pytest.mark.parametrize(
    ("problem", "axes", "objectives", "kind", "population", "volume"),
    [
        (zdt1, 5, TWO, "nsga2", 50, 1.1**2 - 1 / 3),
        (zdt1, 5, TWO, "nsga3", 50, 1.1**2 - 1 / 3),
        (turned, 5, dict.fromkeys(TWO, "maximise"), "nsga2", 50, 1.1**2 - 1 / 3),
        (zdt2, 3, TWO, "nsga2", 50, 1.1**2 - 2 / 3),
        (dtlz2, 4, THREE, "nsga2", 100, 1.1**3 - math.pi / 6),
    ],
)
def test_known_fronts_are_found(
    tmp_path: Path, problem: Any, axes: int, objectives: Any, kind: str, population: int, volume: float
) -> None:
    """`volume` is that of the box from the ideal point to 1.1 in every objective, less what lies below the front."""
    senses = list(objectives.values())
    reference = [-1.1 if sense == "maximise" else 1.1 for sense in senses]
    evaluations = 25 * population if problem is dtlz2 else 32 * population
    with store_of(tmp_path, unit_cube(axes), objectives) as store:
        assert search(store, problem, method(kind, evaluations, population)) == evaluations
        found = hypervolume(values(store), reference, senses)
    assert 0.95 * volume <= found <= volume


@pytest.mark.parametrize("kind", ["random", "nsga2", "nsga3", "tpe"])
def test_only_active_axes_are_asked_and_limits_are_told(tmp_path: Path, kind: str) -> None:
    evaluated: list[Columns] = []

    def watched(points: Columns) -> Results:
        evaluated.append(points)
        return conditional(points)

    journal = tmp_path / "points.optuna.log"
    with store_of(tmp_path, CONDITIONAL) as store:
        new = search(store, watched, method(kind, 60, 15), journal)
        assert new == sum(store.counts().values())
        infeasible = store.read(Filter(("infeasible",)))
        assert all(
            reason == "breaks the constraint 'rows <= 24': more were never built" for reason in infeasible.reason
        )
        assert (infeasible.points.values["rows"] > 24).all()
        keys = [key for points in evaluated for key in points.keys()]  # noqa: SIM118
        assert len(keys) == len(set(keys)) == store.counts()["done"]
        assert (CONDITIONAL.broken(store.read().points) == -1).all()
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    trials = optuna.load_study(study_name=None, storage=storage).trials
    assert len(trials) == 60
    for trial in trials:
        assert trial.state.name == "COMPLETE"
        assert ("banks" in trial.params) == (trial.params["chip"] == "large")
        assert ("clock" in trial.params) == (trial.params.get("banks", 0) >= 8)
        assert trial.constraints == {"limits": float(trial.params["rows"] > 24)}


def test_what_the_store_holds_is_not_evaluated(tmp_path: Path) -> None:
    def never(points: Columns) -> Results:
        raise AssertionError("evaluated again")

    with store_of(tmp_path, unit_cube(2)) as store:
        assert search(store, zdt1, method("nsga2", 40, 10)) == 40
        assert search(store, never, method("nsga2", 40, 10)) == 0


def test_a_small_space_is_asked_for_as_often_as_was_said(tmp_path: Path) -> None:
    space = Space.from_document({"axes": {"x0": {"integer": [0, 1]}, "x1": {"integer": [0, 1]}}})
    told: list[int] = []
    with store_of(tmp_path, space) as store:
        assert search(store, zdt1, method("nsga2", 37, 8), report=told.append) == 4
    assert told == [8, 16, 24, 32, 37]


def test_failed_points_are_no_parents(tmp_path: Path) -> None:
    journal = tmp_path / "log"

    def half(points: Columns) -> Results:
        found = zdt1(points)
        bad = points.values["x0"] > 0.5
        found.state[bad], found.reason[bad] = "failed", "out of memory"
        for each in found.objectives.values():
            each[:, bad] = np.nan
        return found

    with store_of(tmp_path, unit_cube(3)) as store:
        search(store, half, method("nsga2", 80, 20), journal)
        counts = store.counts()
        assert sum(counts.values()) == 80
        first = store.read(Filter(STATES)).state[:20]
        assert (first == "failed").mean() > counts["failed"] / 80  # children come of parents that are done
        assert counts["failed"] > 0


class StoppedError(Exception):
    """The end of a process, where there is no other one to end."""


def stops_after(calls: int, evaluate: Callable[[Columns], Results] = zdt1) -> Callable[[Columns], Results]:
    left = [calls]

    def stopping(points: Columns) -> Results:
        left[0] -= 1
        if left[0] < 0:
            raise StoppedError
        return evaluate(points)

    return stopping


@pytest.mark.parametrize("kind", ["random", "nsga2", "nsga3", "tpe"])
@pytest.mark.parametrize("torn", [False, True], ids=["between batches", "while the trials were written"])
def test_a_search_that_stopped_goes_on_as_if_it_had_not(tmp_path: Path, kind: str, torn: bool) -> None:
    wanted = method(kind, 56, 8)
    with store_of(tmp_path / "whole", CONDITIONAL) as whole:
        search(whole, conditional, wanted, tmp_path / "whole" / "log")
        expected = whole.read(Filter(STATES))
    with store_of(tmp_path / "parts", CONDITIONAL) as parts:
        journal = tmp_path / "parts" / "log"
        with pytest.raises(StoppedError):
            search(parts, stops_after(4, conditional), wanted, journal)
        if torn:
            journal.write_bytes(journal.read_bytes()[:-100])
        search(parts, conditional, wanted, journal)
        found = parts.read(Filter(STATES))
    assert found.points.keys() == expected.points.keys()
    lines = [
        [json.loads(line) for line in (tmp_path / folder / "log").read_text().splitlines()]
        for folder in ("whole", "parts")
    ]
    assert [line.get("params") for line in lines[0]] == [line.get("params") for line in lines[1]]


def test_without_its_journal_a_search_is_made_again_from_the_store(tmp_path: Path) -> None:
    with store_of(tmp_path, unit_cube(3)) as store:
        search(store, zdt1, method("nsga2", 40, 8), tmp_path / "log")
        before = (tmp_path / "log").read_text().splitlines()
        (tmp_path / "log").unlink()
        assert search(store, stops_after(0), method("nsga2", 40, 8), tmp_path / "log") == 0
    after = (tmp_path / "log").read_text().splitlines()
    assert [json.loads(line).get("params") for line in before] == [json.loads(line).get("params") for line in after]


def test_a_longer_search_goes_on_from_a_shorter_one(tmp_path: Path) -> None:
    with store_of(tmp_path, unit_cube(3)) as store:
        search(store, zdt1, method("nsga2", 40, 8), tmp_path / "log")
        assert search(store, zdt1, method("nsga2", 80, 8), tmp_path / "log") == 40


def test_a_journal_of_another_search_is_refused(tmp_path: Path) -> None:
    with store_of(tmp_path, unit_cube(2)) as store:
        search(store, zdt1, method("nsga2", 16, 8), tmp_path / "log")
        with pytest.raises(InputError, match="trials of another search; take it away"):
            search(store, zdt1, method("nsga2", 16, 8, seed=2), tmp_path / "log")
        (tmp_path / "log").write_text('{"op_code": 77}\n')
        with pytest.raises(InputError, match="no journal of Optuna's, or damaged"):
            search(store, zdt1, method("nsga2", 16, 8), tmp_path / "log")


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = optuna.storages.journal.JournalFileBackend
    append = backend.append_logs

    def full(self: Any, logs: list[dict[str, Any]]) -> None:
        if any(log["op_code"] == 4 for log in logs):  # a trial
            raise OSError(errno.ENOSPC, "No space left on device")
        append(self, logs)

    with store_of(tmp_path, unit_cube(2)) as store:
        with monkeypatch.context() as patched:
            patched.setattr(backend, "append_logs", full)
            with pytest.raises(RunError, match="No space left on device; free space, then resume"):
                search(store, zdt1, method("nsga2", 32, 8), tmp_path / "log")
        kept = store.counts()["done"]
        assert search(store, zdt1, method("nsga2", 32, 8), tmp_path / "log") == 32 - kept
        assert len((tmp_path / "log").read_text().splitlines()) >= 32
        store._connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(RunError, match="full"):
            search(store, zdt1, method("nsga2", 4000, 400, seed=3))
        assert len(store.read()) >= 32


def test_without_optuna_the_search_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with (
        store_of(tmp_path, unit_cube(2)) as store,
        pytest.raises(InputError, match=r"needs Optuna.*pip install neuro\[search\]"),
    ):
        search(store, zdt1, method("nsga2", 4, 2))


def test_a_space_that_hardly_any_point_keeps_is_refused(tmp_path: Path) -> None:
    axes = {f"x{i}": {"real": [0.0, 1.0]} for i in range(4)}
    space = Space.from_document({"axes": axes, "constraints": ["x0 + x1 + x2 + x3 < 0.01"]})
    with store_of(tmp_path, space) as store, pytest.raises(InputError, match="loosen these or widen the axes"):
        search(store, zdt1, method("nsga2", 16, 8))
