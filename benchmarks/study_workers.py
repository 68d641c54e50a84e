"""How much sooner several processes evaluate the points of a study than one.

    python benchmarks/study_workers.py [--workers 2] [--points 64] [--ms 50] [--repeats 3]

Each point is a network of its own and takes `--ms` of one core. The start of the processes, once a run, is told apart.
Run it on a machine with as many idle cores as workers.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "hardware_models" / "studies")]

from study_problems import TWO, unit_cube, zdt1  # noqa: E402

from hardware_models.studies.chunks import InChunks  # noqa: E402
from hardware_models.studies.workers import workers  # noqa: E402


@dataclass
class Busy:
    """Evaluates `zdt1` after `seconds` of the processor for each point."""

    seconds: float

    def __call__(self, points: Any) -> Any:
        end = time.process_time() + self.seconds * len(points)
        while time.process_time() < end:
            np.linalg.norm(np.ones(64))
        return zdt1(points)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--points", type=int, default=64)
    parser.add_argument("--ms", type=float, default=50.0)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    points = unit_cube(3, "software.x").sample(args.points)
    best = {}
    for count in (1, args.workers):
        started = time.perf_counter()
        with workers(count, Busy(args.ms / 1e3)) as crew:
            start = time.perf_counter() - started
            evaluate = InChunks(crew, list(TWO), lambda found: None)
            seconds = []
            for _ in range(args.repeats):
                before = time.perf_counter()
                evaluate(points)
                seconds.append(time.perf_counter() - before)
        best[count] = min(seconds)
        print(
            f"{count} workers: {best[count]:.2f} s for {args.points} points of {args.ms:g} ms, started in {start:.2f} s"
        )
    print(f"{best[1] / best[args.workers]:.2f} times as fast")


if __name__ == "__main__":
    main()
