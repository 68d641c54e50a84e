"""Time and accuracy of the default command over seeds.

    python benchmarks/default_command.py [--seeds 0 1 2] [--split-seeds 0]

Each run is `neuro convert --model spikeformer_v2 --timesteps 4` in a process of its own, both networks trained.
The settings in configs/convert/digits.yaml were chosen while looking at split 0; `--split-seeds` trains on
other held-out parts, which were not looked at.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def run_once(seed: int, split_seed: int, out: Path) -> tuple[float, float, float]:
    """Return (seconds, accuracy of the spiking variant, accuracy of the float parent)."""
    command = [sys.executable, "-m", "neuro", "convert", "--model", "spikeformer_v2", "--timesteps", "4"]
    command += ["--seed", str(seed), "--set", f"data.split_seed={split_seed}", "--out", str(out)]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    rows = {row["key"]: row for row in json.loads((out / "conversion.json").read_text())["rows"]}
    return seconds, rows["spiking-merged"]["accuracy"], rows["float"]["accuracy"]


def main() -> None:
    """Run every seed on every split and print each run and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--split-seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    print(f"{'split':>5} {'seed':>4} {'seconds':>8} {'spiking, merged':>16} {'float parent':>13}")
    results = []
    for split in args.split_seeds:
        for seed in args.seeds:
            with tempfile.TemporaryDirectory() as folder:
                result = run_once(seed, split, Path(folder) / "run")
            results.append(result)
            print(f"{split:5} {seed:4} {result[0]:8.1f} {result[1]:16.2%} {result[2]:13.2%}", flush=True)
    seconds, spiking, parent = zip(*results, strict=True)
    spread = f"{min(spiking):.2%}..{max(spiking):.2%}"
    print(f"mean of {len(results)}: {statistics.mean(spiking):.2%} ({spread}), parent {statistics.mean(parent):.2%}")
    print(f"seconds: median {statistics.median(seconds):.1f}, most {max(seconds):.1f}")


if __name__ == "__main__":
    main()
