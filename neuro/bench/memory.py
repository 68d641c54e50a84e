"""How much memory a training step takes: plain, with packed activations, and with SpikingJelly's neurons.

Every mode runs in a process of its own, some steps of AdamW on Meta-SpikeFormer, T = 4. On a CPU, what a process freed
is given back to the system at once (MALLOC_MMAP_THRESHOLD_), so that its peak is what is in use.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from hardware_models.errors import RunError
from neuro.bench import peers
from neuro.bench.case import Result
from neuro.bench.setting import Setting
from neuro.models import create_model
from neuro.models.neurons import neuron_factory
from neuro.training.packed_memory import packed_activations

TIMESTEPS: Final = 4
MODES: Final = ("plain", "bits only", "packed", "spikingjelly")
GOAL: Final = 0.5
_RECOMPUTE: Final = {"bits only": 0, "packed": 3}


@dataclass(frozen=True)
class Step:
    """A training step to measure.

    Attributes:
        variant: of Meta-SpikeFormer.
        batch: samples.
        size: side of the images.
        device: `cpu`, in fp32, or a GPU, under autocast to bf16.
        steps: how many, the last of which counts for time and gradients.
    """

    variant: str
    batch: int
    size: int
    device: str = "cpu"
    steps: int = 2


@dataclass(frozen=True)
class Usage:
    """What a step took.

    Attributes:
        kept: bytes that autograd keeps between forward and backward, every storage once, parameters left out.
        step: peak memory less what there was before the first step (gradients and the optimizer's state are in it).
        process: peak resident memory of the process, the interpreter and torch included.
        seconds: of the last step.
        gradients: digest of those of the last step.
    """

    kept: int
    step: int
    process: int
    seconds: float
    gradients: str


def results(setting: Setting) -> Iterator[Result]:
    """Yield the peak of a training step with packed activations against plain and against SpikingJelly's neurons."""
    steps = [Step("tiny", 256, 16, setting.device), Step("15m", 32 if setting.is_gpu else 1, 224, setting.device)]
    for step in steps:
        if step.variant != "tiny":
            setting.say(
                f"Training steps of {step.variant} come next: {'40 GB of GPU memory' if setting.is_gpu else '4 GB'}."
            )
        case = f"peak memory of a training step, packed activations, {step.variant} at batch {step.batch}"
        packed = measured("packed", step)
        for contender, mode, goal in (("plain", "plain", GOAL), ("SpikingJelly's neurons", "spikingjelly", None)):
            yield _compared(case, contender, packed, measured(mode, step), goal)


def measured(mode: str, step: Step) -> Usage | str:
    """Measure one mode in a process of its own; what it said in its last line where it failed."""
    reason = peers.missing("spikingjelly") if mode == "spikingjelly" else ""
    if reason:
        return reason
    command = [sys.executable, "-m", __name__, mode, json.dumps(asdict(step))]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"the process ended with {done.returncode}"])[-1][:200]
    return Usage(**json.loads(done.stdout.splitlines()[-1]))


def measure_here(mode: str, step: Step) -> Usage:
    """Run the training steps in this process."""
    make_neuron = peers.spikingjelly_lif if mode == "spikingjelly" else neuron_factory("lif")
    torch.manual_seed(0)
    overrides = {"initial_gain": 2.0, "drop_path": 0.1}
    model = create_model(
        "spikeformer_v2", step.variant, make_neuron=make_neuron, timesteps=TIMESTEPS, overrides=overrides
    ).to(step.device)
    model.train()
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)
    config: Any = model.config
    images = torch.randn(step.batch, config.in_channels, step.size, step.size, device=step.device)
    labels = torch.arange(step.batch, device=step.device) % config.num_classes
    before = _in_use(step.device)
    for _ in range(step.steps):
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        kept = _train(mode, model, images, labels, parameters)
        gradients = _digest(parameters)
        optimizer.step()
        seconds = time.perf_counter() - started
    return Usage(kept, _peak(step.device) - before, _peak("cpu"), seconds, gradients)


def _train(mode: str, model: nn.Module, images: Tensor, labels: Tensor, parameters: list[nn.Parameter]) -> int:
    """Run forward and backward; the bytes that were kept in between."""
    with _memory_mode(mode, parameters) as kept, _autocast(images):
        loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    return kept[0]


def _autocast(images: Tensor) -> torch.autocast:
    return torch.autocast(images.device.type, torch.bfloat16, enabled=images.is_cuda)


@contextmanager
def _memory_mode(mode: str, parameters: list[nn.Parameter]) -> Iterator[list[int]]:
    """Run a block in a mode; the list has the bytes kept when it is left."""
    kept: list[int] = []
    if mode in _RECOMPUTE:
        with packed_activations(_RECOMPUTE[mode]) as memory:
            yield kept
            gc.collect()
            kept.append(memory.kept_bytes(besides=parameters))
        return
    storages: dict[int, torch.UntypedStorage] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield kept
    weights = {parameter.untyped_storage()._cdata for parameter in parameters}
    kept.append(sum(one.nbytes() for key, one in storages.items() if key not in weights))


def _in_use(device: str) -> int:
    if device == "cpu":
        return _of_process("VmRSS")
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def _peak(device: str) -> int:
    return _of_process("VmHWM") if device == "cpu" else torch.cuda.max_memory_allocated(device)


def _of_process(key: str) -> int:
    """Bytes that Linux counts for this process under `key`."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return int(status[key].split()[0]) * 1024


def _digest(parameters: list[nn.Parameter]) -> str:
    told = hashlib.sha256()
    for parameter in parameters:
        if parameter.grad is None:
            raise RunError("a parameter got no gradient; look at the model.")
        told.update(parameter.grad.cpu().numpy().data)
    return told.hexdigest()


def _compared(case: str, contender: str, packed: Usage | str, other: Usage | str, goal: float | None) -> Result:
    if isinstance(packed, str) or isinstance(other, str):
        ours = None if isinstance(packed, str) else float(packed.step)
        reason = packed if isinstance(packed, str) else str(other)
        return Result(case, contender, ours, None, None, goal, "bytes", reason)
    equal = packed.gradients == other.gradients or contender != "plain"
    name = contender if equal else f"{contender} (gradients differ)"
    return Result(case, name, packed.step, other.step, packed.step / other.step, goal, "bytes")


if __name__ == "__main__":
    print(json.dumps(asdict(measure_here(sys.argv[1], Step(**json.loads(sys.argv[2]))))))
