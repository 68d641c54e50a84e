"""What a search costs beside the evaluations: asking, Optuna's trials, the study's file.

    python benchmarks/study_search.py [--points 10000] [--axes 8] [--population 50] [--kinds nsga2,nsga3,random]

The objective costs next to nothing, so that all the rest is seen: milliseconds a point, of the processor and of the
clock (which has the waits for the disk), and as a share of an evaluation of 10 ms. The last rows write the same trials
to Optuna's own storages, one by one as Optuna does and in batches as the search does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "hardware_models" / "studies")]

from study_problems import TWO, unit_cube, zdt1  # noqa: E402

from hardware_models.studies.answers import Answers  # noqa: E402
from hardware_models.studies.document import Method  # noqa: E402
from hardware_models.studies.history import History, trials_of  # noqa: E402
from hardware_models.studies.optuna_module import quiet  # noqa: E402
from hardware_models.studies.search import search  # noqa: E402
from hardware_models.studies.store import Store  # noqa: E402
from hardware_models.studies.suggestions import Suggestions  # noqa: E402

EVALUATION_MS = 10.0


def timed(name: str, count: int, work: Callable[[], Any]) -> None:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    shares = (1e3 * seconds / count for seconds in (cpu, wall))
    cells = " | ".join(f"{each:.3f} ms ({each / EVALUATION_MS:.1%})" for each in shares)
    print(f"| {name} | {count} | {cells} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--axes", type=int, default=8)
    parser.add_argument("--population", type=int, default=50)
    parser.add_argument("--kinds", default="nsga2,nsga3,random")
    parser.add_argument("--sqlite-trials", type=int, default=200)
    args = parser.parse_args()
    space = unit_cube(args.axes)
    print("| what | points | processor, a point | clock, a point |\n|---|---|---|---|")
    points = space.sample(args.points)
    timed("evaluation alone", args.points, lambda: zdt1(points))
    for kind in args.kinds.split(","):
        method: Any = Method(kind=kind, evaluations=args.points, population=args.population)
        for journal in ("points.optuna.log", None):
            with (
                tempfile.TemporaryDirectory() as folder,
                Store.create(Path(folder) / "points.study", {"name": "benchmark"}, space, TWO) as store,
            ):
                storage = Path(folder) / journal if journal else None
                name = f"{kind}, {'with' if journal else 'without'} a journal"
                timed(name, args.points, lambda store=store, m=method, s=storage: search(store, zdt1, m, s))
    _storages(space, args)


def _storages(space: Any, args: argparse.Namespace) -> None:
    count = args.sqlite_trials
    points = space.sample(count)
    with tempfile.TemporaryDirectory() as name, quiet():
        folder = Path(name)
        with Store.create(folder / "points.study", {"name": "benchmark"}, space, TWO) as store:
            answers = Answers(store, zdt1)(points)
        trials = trials_of(points, answers, Suggestions(space).distributions, TWO)
        storages = optuna.storages
        journal = storages.JournalStorage(storages.journal.JournalFileBackend(str(folder / "one-by-one.log")))
        for kind, storage in (("SQLite", f"sqlite:///{folder / 'optuna.db'}"), ("journal, one by one", journal)):
            study = optuna.create_study(directions=["minimize"] * 2, storage=storage)
            timed(f"Optuna's {kind}", count, lambda study=study: study.add_trials(trials))
        history = History(folder / "batches.log", {}, TWO)
        batches = [trials[start : start + args.population] for start in range(0, count, args.population)]
        timed("Optuna's journal, in batches", count, lambda: [history.add(batch) for batch in batches])


if __name__ == "__main__":
    main()
