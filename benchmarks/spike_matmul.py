"""Products of spikes beside the plain fp32 product of the same numbers, in one run: ratios, best of several.

    python benchmarks/spike_matmul.py [--threads 1] [--repeats 20]

One line for each shape, firing rate and algorithm, with the one that the table of `neuro.kernels.spike_linear.plan`
takes marked `*`; then spike-driven self-attention and depthwise convolutions. Integer results are compared with exact
arithmetic before they are timed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from neuro.kernels.bitpack import pack, pack_words
from neuro.kernels.sdsa import Neuron, reference, sdsa
from neuro.kernels.spike_linear import (
    binary_weight,
    cpu,
    float_weight,
    int8_weight,
    plan,
    spike_depthwise,
    spike_linear,
    ternary_weight,
)

MATRICES = [(1024, 512, 512), (64, 512, 512), (1, 512, 512), (1, 4096, 4096)]
RATES = (0.05, 0.2)
ATTENTIONS = [(4, 1, 8, 196, 32), (4, 8, 8, 196, 45)]
DEPTHWISE = [(4, 1, 64, 56, 7), (4, 1, 256, 14, 7), (4, 1, 256, 14, 3)]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {options.threads} threads, best of {options.repeats}")
    with torch.inference_mode():
        for shape in MATRICES:
            for rate in RATES:
                matrices(*shape, rate, options.repeats)
        for sizes in ATTENTIONS:
            attention(sizes, options.repeats)
        for sizes in DEPTHWISE:
            depthwise(sizes, options.repeats)


def matrices(rows: int, inputs: int, outputs: int, rate: float, repeats: int) -> None:
    """Time the algorithms on [rows, inputs] x [inputs, outputs]."""
    s = (torch.rand(rows, inputs) < rate).float()
    int8 = torch.randint(-128, 128, (outputs, inputs), dtype=torch.int8)
    ternary = torch.randint(-1, 2, (outputs, inputs), dtype=torch.int8)
    binary = ternary.where(ternary != 0, 1)
    floats, words, found = int8.float(), pack_words(s), s.to(torch.uint8)
    prepared = {"int8": (int8, int8_weight), "ternary": (ternary, ternary_weight), "binary": (binary, binary_weight)}
    runs: dict[str, Callable[[], Tensor]] = {"fp32": lambda: F.linear(s, floats)}
    for name, (weight, prepare) in prepared.items():
        ready = prepare(weight)
        if not torch.equal(spike_linear(s, ready).double(), s.double() @ weight.double().t()):
            raise SystemExit(f"{name} is not exact")
        runs[f"{name}, fp32 spikes"] = partial(spike_linear, s, ready)
        runs[f"{name}, packed spikes"] = partial(spike_linear, words, ready)
    columns = {"float": floats.t().contiguous(), "int8": int8.t().contiguous()}
    for form, input_major in columns.items():
        taken = plan.choose(form, rows, rate, inputs * outputs, True) == "gather"
        runs[f"{form}, event-driven{' *' if taken else ''}"] = partial(cpu.gather, found, input_major)
    ready_floats = float_weight(floats)
    runs["float, as the table says"] = lambda: spike_linear(s, ready_floats)
    _print(f"[{rows}, {inputs}] x [{inputs}, {outputs}], {rate:g} spikes per input", runs, repeats)


def attention(shape: tuple[int, ...], repeats: int) -> None:
    """Time SDSA-3 with its LIF neuron on [T, B, heads, N, d]."""
    *rest, tokens, width = shape
    bits = [torch.rand(*rest, width, tokens) < 0.2 for _ in range(3)]
    q, k, v = [x.float().transpose(-2, -1) for x in bits]
    qs, ks, vs = [pack(x).transpose(-2, -1) for x in bits]
    neuron = Neuron(0.5, 0.0, 2.0, True, True)
    if not torch.equal(sdsa(q, k, v, neuron, 3, 0.125)[0], reference.sdsa(q, k, v, 3, 0.125, neuron)[0]):
        raise SystemExit("sdsa is not exact")
    runs: dict[str, Callable[[], object]] = {
        "plain products and neuron": lambda: reference.sdsa(q, k, v, 3, 0.125, neuron),
        "kernel, fp32 in and out": lambda: sdsa(q, k, v, neuron, 3, 0.125),
        "kernel, packed in and out": lambda: sdsa(qs, ks, vs, neuron, 3, 0.125, timesteps=shape[0], packed=True),
    }
    _print(f"SDSA-3 on {list(shape)}", runs, repeats)


def depthwise(shape: tuple[int, ...], repeats: int) -> None:
    """Time a depthwise convolution, (T, B, C, side of the image, side of the kernel)."""
    steps, batch, channels, side, kernel = shape
    s = torch.rand(steps, batch, channels, side, side) < 0.2
    floats, int8 = torch.randn(channels, 1, kernel, kernel), torch.randint(-128, 128, (channels, 1, kernel, kernel))
    dense, bits, small = s.float().flatten(0, 1), pack(s), int8.to(torch.int8)
    runs: dict[str, Callable[[], Tensor]] = {
        "fp32": lambda: F.conv2d(dense, floats, padding=kernel // 2, groups=channels),
        "packed spikes, fp32 weights": lambda: spike_depthwise(bits, floats, steps),
        "packed spikes, int8 weights": lambda: spike_depthwise(bits, small, steps),
    }
    _print(f"depthwise {kernel}x{kernel} on {[steps, batch, channels, side, side]}", runs, repeats)


def _print(title: str, runs: Mapping[str, Callable[[], object]], repeats: int) -> None:
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(repeats + 1):  # in turn, so that a busy moment meets all alike
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    first = next(iter(best.values()))
    print(f"\n{title}")
    for name, seconds in best.items():
        print(f"  {name:28} {seconds * 1e3:9.4f} ms {first / seconds:7.2f}x")


if __name__ == "__main__":
    main()
