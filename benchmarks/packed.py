"""Packed products beside torch's fp32 ones, in one run: medians of interleaved rounds, and ratios.

    python benchmarks/packed.py [--threads 2] [--rounds 31]
    python benchmarks/packed.py --crossover     # all algorithms for each width: what quant.packed.plan was made from

Integer results are compared with exact arithmetic before they are timed. With one thread its processor time is taken
and not the clock's, so that other work on the machine matters less.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from quant.packed import (
    SIGNS,
    SPIKES,
    ActivationFormat,
    Epilogue,
    Operand,
    PackedActivation,
    PackedWeight,
    conv,
    levels,
    linear,
    pack_levels,
    pack_signs,
    pack_spikes,
    prepare,
)

CONVOLUTIONS = [(64, 56), (128, 28), (256, 14), (512, 7)]
"""Channels and side of the image: the 3x3 layers of ResNet-18 at 224."""
LINEARS = [(1568, 768, 768), (784, 512, 2048)]
"""Rows, inputs and outputs: a Spikformer at T=4 of batch 2 and of batch 1."""
FORMS = {"int8": ("integer", 8), "int4": ("integer", 4), "ternary": ("ternary", 2), "binary": ("binary", 1)}
CROSSOVER_ROWS = (1, 16, 64, 128, 256, 1024)
CROSSOVER_WIDTHS = [
    ("binary", 1, 1), ("ternary", 2, 1), ("integer", 4, 1), ("integer", 8, 1), ("binary", 1, 2), ("ternary", 2, 2),
    ("integer", 3, 2), ("integer", 8, 2), ("binary", 1, 4), ("integer", 4, 4), ("binary", 1, 8), ("ternary", 2, 8),
]  # fmt: skip


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--crossover", action="store_true", help="every algorithm for every width, to choose among")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {options.threads} threads, medians of {options.rounds} interleaved rounds")
    with torch.inference_mode():
        if options.crossover:
            for widths in CROSSOVER_WIDTHS:
                crossover(*widths, options.rounds)
            return
        for sizes in CONVOLUTIONS:
            binary_convolution(*sizes, options.rounds)
        integer_convolution(256, 14, options.rounds)
        for shape in LINEARS:
            spike_linear(*shape, options.rounds)


def weight_of(form: str, bits: int, shape: tuple[int, ...]) -> PackedWeight:
    """Draw a weight."""
    low, high = {"binary": (0, 2), "ternary": (-1, 2), "integer": (-(2 ** (bits - 1)), 2 ** (bits - 1))}[form]
    codes = torch.randint(low, high, shape)
    return PackedWeight.from_codes(2 * codes - 1 if form == "binary" else codes, torch.ones(1), form, bits)


def binary_convolution(channels: int, side: int, rounds: int) -> None:
    """Time weights and activations of one bit, 3x3, batch 1."""
    first = torch.randn(1, channels, side, side)
    last, filters = first.to(memory_format=torch.channels_last), torch.randn(channels, channels, 3, 3)
    operand = prepare(weight_of("binary", 1, (channels, channels, 3, 3)), SIGNS)
    packed = pack_signs(first.movedim(1, -1), 0.0, operand.layout)
    check(conv(packed, operand, padding=1), packed, operand)
    ones = torch.ones(channels)
    after = Epilogue(ones, ones, ones)
    rows = last.movedim(1, -1)
    signs = partial(pack_signs, threshold=0.0, layout=operand.layout)
    runs: dict[str, Callable[[], object]] = {
        "fp32": lambda: F.conv2d(first, filters, padding=1),
        "fp32, channels last": lambda: F.conv2d(last, filters, padding=1),
        "w1a1, packed to int32": lambda: conv(packed, operand, padding=1),
        "w1a1, float NCHW to int32": lambda: conv(signs(first.movedim(1, -1)), operand, padding=1),
        "w1a1, float NHWC to int32": lambda: conv(signs(rows), operand, padding=1),
        "w1a1, NHWC to float + residual, PReLU": lambda: conv(signs(rows), operand, 1, 1, 1, after, rows),
    }
    table(f"convolution {channels} -> {channels}, 3x3, {side}x{side}, batch 1", runs, rounds)


def integer_convolution(channels: int, side: int, rounds: int) -> None:
    """Time wider codes, 3x3, batch 1, activations given as floats."""
    x, filters = torch.randn(1, channels, side, side), torch.randn(channels, channels, 3, 3)
    rows = x.to(memory_format=torch.channels_last).movedim(1, -1)
    runs: dict[str, Callable[[], object]] = {"fp32": lambda: F.conv2d(x, filters, padding=1)}
    for form, bits, wide in [*CROSSOVER_WIDTHS[3:], ("integer", 8, 8)]:
        operand = prepare(weight_of(form, bits, (channels, channels, 3, 3)), levels(wide), positions=side**2)
        packed = pack_levels(rows, 0.1, operand.format, operand.layout)
        check(conv(packed, operand, padding=1), packed, operand)
        runs[f"{form} w{bits} a{wide}, {operand.algorithm}"] = partial(_quantize_and_convolve, rows, operand)
    table(f"convolution {channels} -> {channels}, 3x3, {side}x{side}, batch 1, float to int32", runs, rounds)


def _quantize_and_convolve(x: Tensor, operand: Operand) -> Tensor:
    return conv(pack_levels(x, 0.1, operand.format, operand.layout), operand, padding=1)


def spike_linear(rows: int, inputs: int, outputs: int, rounds: int) -> None:
    """Time spikes at 0.2 per input with weights of each form, and int8 codes with int8 weights."""
    spikes, floats = (torch.rand(rows, inputs) < 0.2).float(), torch.randn(outputs, inputs)
    runs: dict[str, Callable[[], object]] = {"fp32": lambda: F.linear(spikes, floats)}
    for name, (form, bits) in FORMS.items():
        operand = prepare(weight_of(form, bits, (outputs, inputs)), SPIKES, positions=rows)
        packed = pack_spikes(spikes, operand.layout)
        check(linear(packed, operand), packed, operand)
        runs[f"{name} x packed spikes, {operand.algorithm}"] = partial(linear, packed, operand)
        for kind, given in (("fp32", spikes), ("uint8", spikes.byte())):
            runs[f"{name} x {kind} spikes, {operand.algorithm}"] = partial(_pack_and_multiply, given, operand)
    wide = prepare(weight_of("integer", 8, (outputs, inputs)), levels(8, 10))
    codes = pack_levels(spikes, 0.01, wide.format, wide.layout)
    check(linear(codes, wide), codes, wide)
    runs[f"int8 x int8 codes, {wide.algorithm}"] = partial(linear, codes, wide)
    runs[f"int8 x fp32 to int8, {wide.algorithm}"] = lambda: linear(
        pack_levels(spikes, 0.01, wide.format, wide.layout), wide
    )
    table(f"linear [{rows}, {inputs}] x [{inputs}, {outputs}]", runs, rounds)


def _pack_and_multiply(spikes: Tensor, operand: Operand) -> Tensor:
    return linear(pack_spikes(spikes, operand.layout), operand)


def crossover(form: str, bits: int, activation_bits: int, rounds: int) -> None:
    """Time every algorithm, floats to int32 sums, over rows of a linear layer."""
    form_of_activation = levels(activation_bits)
    for rows in CROSSOVER_ROWS:
        x, weight = torch.rand(rows, 1024), weight_of(form, bits, (1024, 1024))
        runs: dict[str, Callable[[], object]] = {}
        for algorithm in ("bits", "lookup", "int8"):
            operand = prepare(weight, form_of_activation, algorithm=algorithm)
            runs[algorithm] = partial(_levels_and_multiply, x, form_of_activation, operand)
        table(f"{form} w{bits} a{activation_bits}, {rows} rows, 1024 -> 1024", runs, rounds)


def _levels_and_multiply(x: Tensor, form: ActivationFormat, operand: Operand) -> Tensor:
    return linear(pack_levels(x, 0.1, form, operand.layout), operand)


def check(sums: Tensor, x: PackedActivation, operand: Operand) -> None:
    """Stop unless the sums are those of exact arithmetic."""
    q, w = x.integers().double(), operand.weight.codes().double()
    exact = F.conv2d(q.movedim(-1, 1), w, padding=1).movedim(1, -1) if operand.kernel else F.linear(q, w)
    if not torch.equal(sums.double(), exact):
        raise SystemExit(f"{operand.algorithm} is not exact")


def table(title: str, runs: Mapping[str, Callable[[], object]], rounds: int) -> None:
    """Time the runs in turn, so that a busy moment meets all alike, and print ratios to the first."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 3):
        for name, run in runs.items():
            start = clock()
            run()
            taken[name].append(clock() - start)
    medians = {name: statistics.median(seconds[3:]) for name, seconds in taken.items()}
    first = next(iter(medians.values()))
    print(f"\n{title}")
    for name, seconds in medians.items():
        print(f"  {name:40} {seconds * 1e6:10.1f} us {first / seconds:7.2f}x")


if __name__ == "__main__":
    main()
