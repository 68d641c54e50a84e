"""Mixed precision against uniform widths and against random search, on the small CNN of `low_bit_networks`.

    python -m benchmarks.quant_search WEIGHTS [--chip sram_cim_jia2020] [--seeds 2] [--storage FILE]

WEIGHTS is a state dict of SmallCNN, trained on Fashion-MNIST. Networks are quantized without training and measured on
the first images of the test set; what the front promises is checked on other images of it. Random search measures as
many configurations: `spread` draws as the search's own start does, `plain` draws each width alone; all begin with the
same uniform recipes. Hypervolumes are those of the objectives as shares of w8a8's, up to the limit on the error and to
1.05 of w8a8's costs. FILE keeps measurements, so that a second run makes none twice.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.low_bit_networks import SmallCNN
from neuro.data import fashion_mnist
from neuro.profiling.low_bit import profile_low_bit
from quant.capture import capture
from quant.quantize import quantize
from quant.search import (
    ChipCost,
    Point,
    QuickEvaluation,
    SearchResult,
    SearchSettings,
    Space,
    hypervolume,
    search,
    search_space,
    starts,
)
from quant.search.nsga2 import Configuration
from quant.search.store import Measurements

UNIFORM = ((8, 8), (4, 8), (4, 4), (8, 4), (2, 8), (8, 2), (2, 4), (4, 2), (2, 2))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--data", type=Path, help="folder of Fashion-MNIST's four files")
    parser.add_argument("--chip", default="sram_cim_jia2020")
    parser.add_argument("--objectives", default="error,energy_j,size_bits")
    parser.add_argument("--limit", type=float, default=0.3, help="largest error of interest")
    parser.add_argument("--bits", default="2,4,8", help="of weights and of inputs; 2, 4 and 8 among them")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--unseen", type=int, default=4000, help="other images that the front is checked on")
    parser.add_argument("--storage", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        Bench(args, args.storage or Path(folder) / "measured.jsonl").run()


class Bench:
    """The network, its space, and all measurements in one file."""

    def __init__(self, args: argparse.Namespace, storage: Path) -> None:
        self.args, self.storage, self.objectives = args, storage, args.objectives.split(",")
        model = SmallCNN().eval()
        model.load_state_dict(torch.load(args.weights, weights_only=True, map_location="cpu"))
        data = fashion_mnist.load(args.data, image_size=28)
        assert data.train is not None
        images, labels = _take(data.test.batches(1000, 1), args.images + args.unseen)
        example, _ = _take(data.train.batches(64, 1), 64)
        captured = capture(model, example[:4])
        bits = [int(one) for one in args.bits.split(",")]
        self.space = search_space(captured, example, weight_bits=bits, activation_bits=bits)
        self.evaluate = QuickEvaluation(captured, example, images[: args.images], labels[: args.images])
        self.unseen = QuickEvaluation(captured, example, images[args.images :], labels[args.images :])
        base = profile_low_bit(quantize(captured, "w8a8", example, trainable=False), example[:8])
        self.cost = ChipCost(base, args.chip, self.space.paths)

    def run(self) -> None:
        """Print the tables."""
        args, space = self.args, self.space
        print(f"{len(space.variables)} variables, {np.prod([*map(float, space.sizes)]):.3g} recipes; {args.chip}")
        print(
            f"float error {self.evaluate.float_error:.4f} on {args.images} images, {self.unseen.float_error:.4f} unseen"
        )
        uniform = self.values([space.uniform(*bits) for bits in UNIFORM])
        self.base = uniform[0]
        print("\n| seed | measured | search | random, spread | random, plain | uniform alone | rank correlation | s |")
        print("|---|---:|---:|---:|---:|---:|---|---:|", flush=True)
        found = [self.compared(seed, uniform) for seed in range(args.seeds)]
        self.front(found[0], dict(zip(UNIFORM, uniform, strict=True)))

    def values(self, configurations: Iterable[Configuration]) -> np.ndarray:
        """Return the objectives `[N, D]` of configurations, each measured once."""
        store = Measurements(self.space, self.evaluate.description, self.storage)
        rows = []
        for one in configurations:
            recipe = self.space.recipe(one)
            if one not in store:
                store.add(one, self.evaluate(recipe, {}))
            figures = {"error": store[one], "size_bits": self.space.size_bits(one), **self.cost(recipe, {})}
            rows.append([figures[name] for name in self.objectives])
        return np.array(rows)

    def volume(self, values: np.ndarray) -> float:
        """Return the hypervolume of objectives as shares of w8a8's."""
        corner = np.full(len(self.objectives), 1.05)
        if "error" in self.objectives:
            place = self.objectives.index("error")
            corner[place] = self.args.limit / self.base[place]
        return hypervolume(values / self.base, corner)

    def compared(self, seed: int, uniform: np.ndarray) -> SearchResult:
        """Search, draw as many at random, print the volumes."""
        start = time.perf_counter()
        found = search(
            self.space,
            self.evaluate,
            self.cost,
            self.objectives,
            limits={"error": self.args.limit} if "error" in self.objectives else None,
            start=[self.space.uniform(*bits) for bits in UNIFORM],
            settings=SearchSettings(rounds=self.args.rounds, seed=seed),
            storage=self.storage,
        )
        seconds = time.perf_counter() - start
        count = len(found.measured)
        spread = self.values(starts(self.space, count, seed + 100))
        random = np.random.default_rng(seed)
        drawn = random.integers(0, self.space.sizes, (count - len(UNIFORM), len(self.space.sizes)))
        plain = np.concatenate([uniform, self.values(tuple(one) for one in drawn.tolist())])
        volumes = [self.volume(one) for one in (found.values(), spread, plain, uniform)]
        taus = ", ".join(f"{one:.2f}" for one in found.agreement)
        print(
            f"| {seed} | {count} | {' | '.join(f'{one:.3f}' for one in volumes)} | {taus} | {seconds:.0f} |", flush=True
        )
        return found

    def front(self, found: SearchResult, uniform: dict[tuple[int, int], np.ndarray]) -> None:
        """Print the points of the front and of uniform recipes."""
        others = " | ".join(name for name in self.objectives if name != "error")
        print(f"\n| recipe, weights / activations by layer | error | predicted | error unseen | {others} |")
        print("|---|---:|---:|---:|" + "---:|" * others.count("|") + "---:|")
        for point in found.front:
            if point.figures["error"] <= self.args.limit:
                print(self.row(point, _label(self.space, point.configuration)), flush=True)
        everything = {point.configuration: point for point in found.measured}
        for bits in UNIFORM[:4]:
            print(self.row(everything[self.space.uniform(*bits)], f"w{bits[0]}a{bits[1]}"), flush=True)
        for bits in UNIFORM[:4]:
            beaten = [one for one in found.front if (one.values(self.objectives) <= uniform[bits]).all()]
            least = [one for one in beaten if (np.array(one.values(self.objectives)) < uniform[bits]).any()]
            print(f"w{bits[0]}a{bits[1]}: {len(least)} points of the front dominate it, {len(beaten)} do or equal it")

    def row(self, point: Point, label: str) -> str:
        """Return a row of the table; costs as shares of w8a8's."""
        unseen = self.unseen(point.recipe, {})
        shares = np.array(point.values(self.objectives)) / self.base
        costs = " | ".join(
            f"{share:.3f}" for name, share in zip(self.objectives, shares, strict=True) if name != "error"
        )
        expected = "-" if point.predicted_error is None else f"{point.predicted_error:.4f}"
        return f"| {label} | {point.figures['error']:.4f} | {expected} | {unseen:.4f} | {costs} |"


def _label(space: Space, one: Configuration) -> str:
    values = dict(zip(((v.role, v.name) for v in space.variables), space.values(one), strict=True))
    return " / ".join("".join(str(values[role, path]) for path in space.paths) for role in ("weights", "activations"))


def _take(batches: Iterable[tuple[Tensor, Tensor]], count: int) -> tuple[Tensor, Tensor]:
    """Return the first images `[count, 1, 28, 28]` and labels."""
    images, labels = [], []
    for one, classes in batches:
        images.append(one[0])
        labels.append(classes)
        if sum(map(len, labels)) >= count:
            break
    return torch.cat(images)[:count], torch.cat(labels)[:count]


if __name__ == "__main__":
    main()
