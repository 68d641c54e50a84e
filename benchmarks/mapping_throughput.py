"""Measure how many mappings a second the spatial engine evaluates and searches.

    OMP_NUM_THREADS=1 python benchmarks/mapping_throughput.py

`counted`: given mappings of a ResNet layer on ZigZag's TPU-like accelerator, each counted by itself and priced for 16
sets of energies: (layer x mapping x hardware) evaluations. `searched`: candidates among which the search finds the best
one exactly; it does not count each by itself.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from hardware_models.spatial.loop_nest import Loops, Shapes, Words, count
from hardware_models.spatial.mapping import Settings
from hardware_models.spatial.mapping_search import search, unroll
from hardware_models.spatial.tiling import Memories
from hardware_models.validation.zigzag import accelerator

SIZES = np.array([[1, 1, 128, 128, 28, 28, 3, 3]])
BLOCK, HARDWARE = 4096, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--blocks", type=int, default=100)
    options = parser.parse_args()
    chip = accelerator("tpu_like")
    settings = Settings.model_validate(chip.settings)
    structure, axes, choice = settings.structure, np.array([[32, 32]]), settings.unroll[0]
    shapes = Shapes(SIZES, np.ones((1, 2)), SIZES[:, 4:6], np.full((1, 3), 8), np.full(1, 16))
    figures = {kind: [chip.figures[f"memory.{one.name}.{kind}"] for one in settings.levels] for kind in KINDS}
    words = Words(*(np.array([[quantity.si for quantity in figures[kind]]]) for kind in ("word", "granule")))
    capacity = np.array([[quantity.si * 8 for quantity in figures["capacity"]]])
    read, write = (np.array([[quantity.si for quantity in figures[f"{kind}_energy"]]]) for kind in ("read", "write"))
    scale = np.linspace(0.5, 2, HARDWARE)[:, None]

    rng = np.random.default_rng(0)
    unrolled, left = unroll(SIZES, axes, structure.axes, choice)
    dims = np.flatnonzero(left[0] > 1)
    order = np.argsort(rng.random((BLOCK, len(dims))), axis=1)
    loops = Loops(dims[order], left[0][dims][order].astype(float))
    cuts = np.sort(rng.integers(0, len(dims) + 1, (BLOCK, 3, len(structure.levels))), axis=-1)
    cuts[..., -1] = len(dims)

    def block(_: int) -> float:
        found = count(loops, cuts, unrolled, shapes, structure, words)
        fits = (found.held <= capacity).all(axis=1)
        joules = found.reads.sum(axis=-1) @ (scale * read).T + found.writes.sum(axis=-1) @ (scale * write).T
        return float(np.where(fits[:, None], joules, np.inf).min())

    block(0)
    start = time.perf_counter()
    with ThreadPoolExecutor(options.threads) as pool:
        list(pool.map(block, range(options.blocks)))
    rate = options.blocks * BLOCK / (time.perf_counter() - start)
    print(f"counted: {rate:,.0f} mappings/s, {rate * HARDWARE:,.0f} evaluations/s on {options.threads} threads")

    memories = Memories(words, capacity, read, write)
    search(shapes, structure, memories, axes, [choice])
    start = time.perf_counter()
    found = search(shapes, structure, memories, axes, [choice])
    print(f"searched: {found.candidates.sum() / (time.perf_counter() - start):,.0f} mappings/s on one thread")


KINDS = ("word", "granule", "capacity", "read_energy", "write_energy")

if __name__ == "__main__":
    main()
