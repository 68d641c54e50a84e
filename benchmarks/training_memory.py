"""How much memory a training step takes: plain, with packed activations, and with SpikingJelly's neurons.

    python benchmarks/training_memory.py                                 # the cases below
    python benchmarks/training_memory.py --variant 15m --batch 6 --size 224

Every mode runs in a process of its own, two steps of AdamW. Columns:

- kept: bytes that autograd keeps between forward and backward, every storage once, parameters left out (exact);
- step: peak resident memory of the process less what it had before the first step (weights are in both, gradients
  and the optimizer's state only in the peak);
- process: peak resident memory, the interpreter and torch included;
- time: of the second step;
- gradients: whether those of the second step equal plain's, bit for bit.

Freed memory is given back to the system at once (MALLOC_MMAP_THRESHOLD_), so that the peak is what is in use.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CASES = [("tiny", 256, 16), ("15m", 1, 224), ("15m", 6, 224)]
"""Variant, batch and image size."""

TIMESTEPS = 4
MODES = ["plain", "bits only", "packed", "spikingjelly"]
RECOMPUTE = {"bits only": 0, "packed": 3}


def neuron_factory(mode: str) -> Any:
    from neuro.models.neurons import neuron_factory as ours

    if mode != "spikingjelly":
        return ours("lif")
    from spikingjelly.activation_based import neuron, surrogate

    return lambda threshold: neuron.LIFNode(
        tau=2.0,
        decay_input=True,
        v_threshold=threshold,
        v_reset=0.0,
        surrogate_function=surrogate.Sigmoid(alpha=4.0),
        detach_reset=True,
        step_mode="m",
    )


@contextmanager
def memory_mode(mode: str, parameters: list[Any]) -> Iterator[list[int]]:
    """Run a block in a mode; the list has the bytes kept when it is left."""
    import torch

    from neuro.training.packed_memory import packed_activations

    kept: list[int] = []
    if mode in RECOMPUTE:
        with packed_activations(RECOMPUTE[mode]) as memory:
            yield kept
            gc.collect()
            kept.append(memory.kept_bytes(besides=parameters))
        return
    storages: dict[int, Any] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield kept
    weights = {parameter.untyped_storage()._cdata for parameter in parameters}
    kept.append(sum(one.nbytes() for key, one in storages.items() if key not in weights))


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize()


def digest(parameters: list[Any]) -> str:
    told = hashlib.sha256()
    for parameter in parameters:
        told.update(parameter.grad.numpy().data)
    return told.hexdigest()


def measure(mode: str, variant: str, batch: int, size: int, steps: int) -> dict[str, Any]:
    """Run training steps in this process."""
    import torch

    from neuro.models import create_model

    torch.manual_seed(0)
    overrides = {"initial_gain": 2.0, "drop_path": 0.1}
    model = create_model(
        "spikeformer_v2", variant, make_neuron=neuron_factory(mode), timesteps=TIMESTEPS, overrides=overrides
    )
    model.train()
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)
    images = torch.randn(batch, model.config.in_channels, size, size)
    labels = torch.arange(batch) % model.config.num_classes
    before = resident()
    for _ in range(steps):
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with memory_mode(mode, parameters) as kept:
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        gradients = digest(parameters)
        optimizer.step()
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"kept": kept[0], "step": peak - before, "process": peak, "seconds": seconds, "gradients": gradients}


def in_own_process(mode: str, case: tuple[str, int, int], steps: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--measure", json.dumps([mode, *case, steps])]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{mode}: {done.stderr.strip()[-500:] or f'ended with {done.returncode}'}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def show(case: tuple[str, int, int], steps: int) -> None:
    variant, batch, size = case
    print(
        f"\nMeta-SpikeFormer {variant}, batch {batch}, {size}x{size}, T={TIMESTEPS}, fp32, AdamW; MB (ratio to plain)"
    )
    print(f"{'':14}{'kept':>16}{'step':>16}{'process':>16}{'time, s':>16}  gradients")
    plain: dict[str, Any] = {}
    for mode in MODES:
        got = in_own_process(mode, case, steps)
        plain = plain or got
        cells = [f"{got[key] / 1e6:.0f} ({got[key] / plain[key]:.2f})" for key in ("kept", "step", "process")]
        cells.append(f"{got['seconds']:.2f} ({got['seconds'] / plain['seconds']:.2f})")
        equal = "equal" if got["gradients"] == plain["gradients"] else "differ"
        print(f"{mode:14}" + "".join(f"{cell:>16}" for cell in cells) + f"  {equal}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", choices=["tiny", "8m", "15m", "31m", "55m"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(*json.loads(given.measure))))
        return
    import torch

    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    cases = [(given.variant, given.batch, given.size)] if given.variant else CASES
    for case in cases:
        show(case, given.steps)


if __name__ == "__main__":
    main()
