"""Time and memory of converting and profiling a full-size variant on a real photograph.

    python benchmarks/photo_profile.py [--variant 15m]

`neuro convert --variant 15m --data folder:PHOTO --epochs 0` at 224x224, T = 4, batch 1, in a process of its own:
the network built, three forms measured, every document written. The photo is scikit-learn's china.jpg.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import sklearn.datasets


def main() -> None:
    """Print wall seconds and the largest resident memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="15m")
    variant = parser.parse_args().variant
    photo = Path(sklearn.datasets.__file__).parent / "images" / "china.jpg"
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        shutil.copy(photo, photos)
        command = ["convert", "--variant", variant, "--data", f"folder:{photos}", "--epochs", "0"]
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "neuro", *command, "--out", str(Path(folder) / "run")],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        seconds = time.perf_counter() - started
    gigabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
    print(f"{variant} at 224x224, T=4, batch 1: {seconds:.1f} s, {gigabytes:.2f} GB resident")


if __name__ == "__main__":
    main()
