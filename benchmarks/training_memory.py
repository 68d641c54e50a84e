"""Every figure of the memory that a training step takes; `neuro bench memory` has the ratio that counts.

    python benchmarks/training_memory.py                                 # the cases below
    python benchmarks/training_memory.py --variant 15m --batch 6 --size 224

Columns, each with its ratio to plain: the fields of `neuro.bench.memory.Usage`, and whether the gradients of the last
step equal plain's, bit for bit.
"""

from __future__ import annotations

import argparse

import torch

from neuro.bench.memory import MODES, TIMESTEPS, Step, Usage, measured

STEPS = [Step("tiny", 256, 16), Step("15m", 1, 224), Step("15m", 6, 224)]


def show(step: Step) -> None:
    side = f"{step.size}x{step.size}"
    print(f"\nMeta-SpikeFormer {step.variant}, batch {step.batch}, {side}, T={TIMESTEPS}, AdamW; MB (ratio to plain)")
    print(f"{'':14}{'kept':>16}{'step':>16}{'process':>16}{'time, s':>16}  gradients")
    plain: Usage | None = None
    for mode in MODES:
        got = measured(mode, step)
        if isinstance(got, str):
            print(f"{mode:14}  not measured: {got}")
            continue
        plain = plain or got
        pairs = ((got.kept, plain.kept), (got.step, plain.step), (got.process, plain.process))
        cells = [f"{ours / 1e6:.0f} ({ours / theirs:.2f})" for ours, theirs in pairs]
        cells.append(f"{got.seconds:.2f} ({got.seconds / plain.seconds:.2f})")
        equal = "equal" if got.gradients == plain.gradients else "differ"
        print(f"{mode:14}" + "".join(f"{cell:>16}" for cell in cells) + f"  {equal}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", choices=["tiny", "8m", "15m", "31m", "55m"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=2)
    given = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    asked = Step(given.variant, given.batch, given.size, steps=given.steps) if given.variant else None
    for step in [asked] if asked else STEPS:
        show(step)


if __name__ == "__main__":
    main()
