"""How good the fronts are that a search finds: hypervolume beside pymoo's NSGA-II, at equal evaluations.

    python benchmarks/study_hypervolume.py [--evaluations 5000] [--population 100] [--seeds 3]

Each row is the share of the known front's hypervolume (reference 1.1 in every objective), least and most of the seeds.
pymoo is compared with where it is installed (pip install pymoo); it is no dependency.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "hardware_models" / "studies")]

from study_problems import THREE, TWO, dtlz2, unit_cube, zdt1, zdt2  # noqa: E402

from hardware_models.studies.columns import Columns  # noqa: E402
from hardware_models.studies.document import Method  # noqa: E402
from hardware_models.studies.hypervolume import hypervolume  # noqa: E402
from hardware_models.studies.pareto import non_dominated  # noqa: E402
from hardware_models.studies.search import search  # noqa: E402
from hardware_models.studies.store import Store  # noqa: E402

PROBLEMS: dict[str, tuple[Any, int, Any, float]] = {
    "ZDT1, 30 axes": (zdt1, 30, TWO, 1.1**2 - 1 / 3),
    "ZDT2, 30 axes": (zdt2, 30, TWO, 1.1**2 - 2 / 3),
    "DTLZ2, 12 axes": (dtlz2, 12, THREE, 1.1**3 - math.pi / 6),
}


def share(values: Any, volume: float) -> float:
    return hypervolume(values[non_dominated(values)], [1.1] * values.shape[1]) / volume


def ours(kind: Any) -> Callable[..., Any]:
    def found(problem: Any, axes: int, objectives: Any, evaluations: int, population: int, seed: int) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            store = Store.create(Path(folder) / "points.study", {"name": "benchmark"}, unit_cube(axes), objectives)
            with store:
                search(store, problem, Method(kind=kind, evaluations=evaluations, population=population, seed=seed))
                done = store.read()
                return np.stack([done.objectives[name][0] for name in objectives], axis=1)

    return found


def pymoo(problem: Any, axes: int, objectives: Any, evaluations: int, population: int, seed: int) -> Any:
    base = importlib.import_module("pymoo.core.problem").Problem
    nsga2 = importlib.import_module("pymoo.algorithms.moo.nsga2").NSGA2
    minimize = importlib.import_module("pymoo.optimize").minimize
    seen: list[Any] = []

    class Same(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__(n_var=axes, n_obj=len(objectives), xl=0.0, xu=1.0)

        def _evaluate(self, x: Any, out: Any, *_: Any, **__: Any) -> None:
            found = problem(Columns({f"x{i}": x[:, i] for i in range(axes)})).objectives
            out["F"] = np.stack([found[name][0] for name in objectives], axis=1)
            seen.append(out["F"])

    minimize(Same(), nsga2(pop_size=population), ("n_eval", evaluations), seed=seed)
    return np.concatenate(seen)[:evaluations]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=5000)
    parser.add_argument("--population", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    searches = {"nsga2": ours("nsga2"), "nsga3": ours("nsga3"), "random": ours("random")}
    if importlib.util.find_spec("pymoo"):
        searches["pymoo NSGA2"] = pymoo
    print(f"{args.evaluations} evaluations, population {args.population}, {args.seeds} seeds")
    print(f"| problem | {' | '.join(searches)} |\n|---|{'---|' * len(searches)}")
    for name, (problem, axes, objectives, volume) in PROBLEMS.items():
        cells = []
        for found in searches.values():
            shares = [
                100 * share(found(problem, axes, objectives, args.evaluations, args.population, seed), volume)
                for seed in range(args.seeds)
            ]
            cells.append(f"{min(shares):.1f} to {max(shares):.1f} %")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
