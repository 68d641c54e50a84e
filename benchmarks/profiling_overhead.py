"""How much longer a network takes to profile than to run: medians of interleaved runs.

    python benchmarks/profiling_overhead.py

Networks are untrained Meta-SpikeFormers whose BatchNorm statistics were taken from random input and whose
offsets were raised until about a quarter of the neurons fire, so that the spikes are as dense as they get.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from neuro.models import create_model, merge_model
from neuro.models.neurons import neuron_factory
from neuro.profiling import profile

CASES = [("tiny", 64, 16, 7), ("15m", 1, 224, 3)]
"""Variant, batch, image size, repetitions."""


def network(variant: str, batch: int, size: int) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = create_model("spikeformer_v2", variant, make_neuron=neuron_factory("lif"), timesteps=4)
    images = torch.randn(batch, model.config.in_channels, size, size)
    model.train()
    with torch.no_grad():
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.momentum = 1.0
            if norm.bias is not None:
                norm.bias += 0.6
        model(images)
    return model.eval(), images


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(model: nn.Module, images: Tensor, repetitions: int) -> tuple[float, float]:
    """Median seconds of a forward pass and of a profile."""

    def forward() -> None:
        with torch.no_grad():
            model(images)

    forward()
    pairs = [(seconds(forward), seconds(lambda: profile(model, images))) for _ in range(repetitions)]
    plain, profiled = zip(*pairs, strict=True)
    return statistics.median(plain), statistics.median(profiled)


def main() -> None:
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'case':28}{'forward ms':>12}{'profile ms':>12}{'ratio':>8}")
    for variant, batch, size, repetitions in CASES:
        model, images = network(variant, batch, size)
        for form, net in (("as trained", model), ("merged", merge_model("spikeformer_v2", model))):
            plain, profiled = compare(net, images, repetitions)
            case = f"{variant} {form}, batch {batch}"
            print(f"{case:28}{1e3 * plain:12.0f}{1e3 * profiled:12.0f}{profiled / plain:8.2f}", flush=True)


if __name__ == "__main__":
    main()
