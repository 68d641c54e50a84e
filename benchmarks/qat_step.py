"""Seconds of a training step of low-bit variants beside the same step in fp32, both compiled; and Brevitas, eager.

    python benchmarks/qat_step.py [--rounds 15] [--recipes w4a4,w1a1,reactnet]

A step is forward, backward and AdamW on 128 images of 28 x 28 (`benchmarks/low_bit_networks.py`), after two steps to
warm up. Medians of interleaved rounds; the ratio is to the compiled fp32 step. Brevitas runs our network in its layers
(`quant.layers.brevitas_form`), which torch.compile does not take without a break.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import nn

import quant
from benchmarks.low_bit_networks import SmallCNN, TinyViT
from quant.layers import brevitas_form

BATCH = 128


def main() -> None:
    """Print one line for each network and form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--recipes", default="w4a4,w1a1,reactnet")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    for make in (SmallCNN, TinyViT):
        torch.manual_seed(0)
        x, labels = torch.randn(BATCH, 1, 28, 28), torch.randint(0, 10, (BATCH,))
        steps = {"fp32, compiled": step_of(torch.compile(make()), x, labels), "fp32, eager": step_of(make(), x, labels)}
        for recipe in args.recipes.split(","):
            low = quant.quantize(make().eval(), recipe, x).train()
            steps[f"{recipe}, compiled"] = step_of(torch.compile(low, fullgraph=True), x, labels)
            twin = brevitas_form(quant.quantize(make().eval(), recipe, x)).train()
            steps[f"{recipe}, Brevitas' layers, eager"] = step_of(twin, x, labels)
        times: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(args.rounds):
            for name, step in steps.items():
                started = time.perf_counter()
                step()
                times[name].append(time.perf_counter() - started)
        medians = {name: statistics.median(found) for name, found in times.items()}
        for name, seconds in medians.items():
            ratio = seconds / medians["fp32, compiled"]
            print(f"{make.__name__:9} {name:32} {1e3 * seconds:7.1f} ms {ratio:5.2f}", flush=True)


def step_of(model: nn.Module, x: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    """Return a function that does one training step, after two."""
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)

    def step() -> None:
        loss = nn.functional.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    step()
    step()
    return step


if __name__ == "__main__":
    main()
