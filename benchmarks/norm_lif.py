"""BatchNorm, shortcut and LIF in one operator against the same three layers, eager and under torch.compile.

    python benchmarks/norm_lif.py [--shape 4 32 256 14 14] [--threads 2] [--repeats 5] [--channels-last]

The ways take turns, so that a busy machine is as busy for all of them; what is printed is the best time of each, and
its ratio to that of norm_lif; and the same of processor time, which other processes disturb less. A training step is
forward and backward for the gradients of x, shortcut, weight and bias, with the sum kept for the next shortcut.
`--model` times Meta-SpikeFormers instead, with and without the operator.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import time
from collections.abc import Callable
from unittest import mock

import torch
from torch import Tensor, nn

from neuro.kernels.lif import Neuron
from neuro.kernels.norm_lif import Norm, norm_lif, update_running
from neuro.models import create_model, norm_neuron, spikeformer_v2
from neuro.models.neurons import neuron_factory
from neuro.neurons.functional import FireReset, lif_step

Way = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
NEURON = Neuron(FireReset(1.0, 0.0), tau=2.0, decay_input=True)


class Unfused(nn.Module):
    """The layers, the neuron stepped by its equations."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        h = self.bn(x.flatten(0, 1)).unflatten(0, x.shape[:2]) + residual
        v, spikes = torch.zeros_like(h[0]), []
        for h_t in h.unbind(0):
            s, v = lif_step(h_t, v, NEURON.fire_reset, 2.0, True)
            spikes.append(s)
        return torch.stack(spikes), h


class Fused(Unfused):
    """The same by norm_lif."""

    def forward(self, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        bn = self.bn
        given = (None, None) if self.training else (bn.running_mean, bn.running_var)
        found = norm_lif(x, Norm(bn.weight, bn.bias, *given, bn.eps), NEURON, residual, keep_sum=True)
        if self.training:
            update_running(bn.running_mean, bn.running_var, found, x.numel() // x.shape[2], 0.1)
        return found.s, found.h


def step_of(way: Way, x: Tensor, residual: Tensor, grads: tuple[Tensor, Tensor], train: bool) -> Callable[[], object]:
    """Return one step: forward, and backward if `train`."""

    def step() -> object:
        if not train:
            with torch.no_grad():
                return way(x, residual)
        leaves = [x.detach().requires_grad_(), residual.detach().requires_grad_()]
        torch.autograd.backward(list(way(*leaves)), list(grads))
        return leaves

    return step


def keep_memory() -> None:
    """Let the process keep what it frees: fresh pages would cost more than any of the ways, and by luck."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-4, 0)  # M_MMAP_MAX
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def best_times(steps: dict[str, Callable[[], object]], repeats: int) -> dict[str, tuple[float, float]]:
    """Best wall time and processor time of each step, in seconds."""
    for step in steps.values():
        step()
        step()
    best = dict.fromkeys(steps, (float("inf"), float("inf")))
    for _ in range(repeats):
        for name, step in steps.items():
            for _ in range(3):
                start, used = time.perf_counter(), time.process_time()
                kept = step()
                now = time.perf_counter() - start, time.process_time() - used
                best[name] = min(best[name][0], now[0]), min(best[name][1], now[1])
                del kept
    return best


def show(title: str, best: dict[str, tuple[float, float]], unit: str) -> None:
    print(title)
    for name, (wall, used) in best.items():
        ratios = wall / best[unit][0], used / best[unit][1]
        print(
            f"  {name:24s}{wall * 1e3:9.2f} ms {ratios[0]:5.2f} x   processor {used * 1e3:9.2f} ms {ratios[1]:5.2f} x"
        )


def plainly(step: Callable[[], object]) -> Callable[[], object]:
    """The step with modules one by one, as if something watched them."""

    def run() -> object:
        with (
            mock.patch.object(norm_neuron, "is_watched", return_value=True),
            mock.patch.object(spikeformer_v2, "is_watched", return_value=True),
        ):
            return step()

    return run


def compare_models(repeats: int) -> None:
    """Meta-SpikeFormer 15m inference (batch 1, 224x224) and a training step of tiny (batch 32, 32x32), T = 4."""
    for variant, batch, size, train in (("15m", 1, 224, False), ("tiny", 32, 32, True)):
        torch.manual_seed(0)
        model = create_model("spikeformer_v2", variant, make_neuron=neuron_factory("lif"), timesteps=4)
        images = torch.randn(batch, model.config.in_channels, size, size)
        with torch.no_grad():
            model.train()(images)
        model.train(train)

        def step(model: nn.Module = model, images: Tensor = images, train: bool = train) -> object:
            with torch.set_grad_enabled(train):
                logits = model(images)
            if train:
                logits.square().sum().backward()
            return logits

        best = best_times({"one by one": plainly(step), "norm_lif": step}, repeats)
        show(f"{variant}, batch {batch}, {size}x{size}, {'training step' if train else 'inference'}", best, "norm_lif")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=5, default=[4, 32, 256, 14, 14], metavar=("T", "B", "C", "H", "W"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--model", action="store_true")
    given = parser.parse_args()
    keep_memory()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    if given.model:
        compare_models(given.repeats)
        return

    def tensor() -> Tensor:
        flat = torch.randn(given.shape, dtype=getattr(torch, given.dtype)).flatten(0, 1)
        form = torch.channels_last if given.channels_last else torch.contiguous_format
        return flat.contiguous(memory_format=form).unflatten(0, given.shape[:2])

    x, residual, grads = tensor(), tensor(), (tensor(), tensor())
    for train in (True, False):
        unfused = Unfused(given.shape[2]).train(train)
        ways = {
            "layers, eager": unfused,
            "layers, torch.compile": torch.compile(unfused),
            "norm_lif": Fused(given.shape[2]).train(train),
        }
        best = best_times({k: step_of(way, x, residual, grads, train) for k, way in ways.items()}, given.repeats)
        show("training step" if train else "inference", best, "norm_lif")


if __name__ == "__main__":
    main()
