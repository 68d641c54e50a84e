"""Several processes that train one network, each on its part of every batch; torchrun starts them."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from hardware_models.errors import InputError, RunError
from neuro.data.base import Split
from neuro.data.sharded import sharded
from neuro.training.synchronised_norm import restore, synchronise

Strategy = Literal["replicated", "sharded"]
"""`replicated`: every process holds the network (DistributedDataParallel); `sharded`: each holds a part of every
tensor (FSDP2), for networks that do not fit."""


@dataclass(frozen=True)
class Processes:
    """The processes of a training; by default this one alone.

    Attributes:
        rank: of this one, from 0.
        count: how many there are.
        strategy: how they hold the network.
    """

    rank: int = 0
    count: int = 1
    strategy: Strategy = "replicated"

    @property
    def is_first(self) -> bool:
        """Whether this one speaks and writes for all."""
        return self.rank == 0

    def part_of(self, split: Split) -> Split:
        """Return what gives this process's part of every batch of `split`."""
        return sharded(split, self.rank, self.count) if self.count > 1 else split

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over processes."""
        if self.count > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Return when all processes are here."""
        if self.count > 1:
            dist.barrier()

    def wrap(self, run: nn.Module, model: nn.Module, device: torch.device) -> nn.Module:
        """Return the module whose passes are those of all processes together.

        Args:
            run: calls `model`, which it holds.
            model: its BatchNorms are synchronised, in place, and with `sharded` its tensors cut.
            device: of this process.
        """
        if self.count == 1:
            return run
        synchronise(model)
        if self.strategy == "replicated":
            warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
            return DistributedDataParallel(run, broadcast_buffers=False)
        # Outputs of parts may be views, which nothing here writes into.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
        for part in model.children():
            if any(one.requires_grad for one in part.parameters()):
                fully_shard(part)
        fully_shard(run)
        return run

    def unwrap(self, model: nn.Module) -> None:
        """Leave `model` as a network of one process again."""
        if self.count > 1:
            restore(model)


@contextlib.contextmanager
def processes_of_torchrun(device: torch.device, strategy: Strategy = "replicated") -> Iterator[Processes]:
    """Join the processes that torchrun started; without it, this process is alone.

    Raises:
        InputError: `sharded` for one process, one GPU for several, or fewer GPUs than processes on this machine.
        RunError: another process has stopped.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if strategy == "sharded" and count == 1:
        raise InputError("parallel: sharded needs several processes; start with torchrun --nproc-per-node N.")
    if "RANK" not in os.environ:
        yield Processes()
        return
    if device.type == "cuda":
        _choose_gpu(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), strategy)
    except RuntimeError as error:
        if "closed by peer" in str(error):
            raise RunError("another process of this training has stopped; its own message says why.") from error
        raise
    finally:
        dist.destroy_process_group()


def _choose_gpu(device: torch.device) -> None:
    """Take the GPU of this process's number on this machine; all processes of the machine refuse alike."""
    here, found = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if device.index is not None and here > 1:
        raise InputError(f"device {str(device)!r} is one GPU and {here} processes run here; give --device cuda.")
    if device.index is None and here > found:
        raise InputError(
            f"torchrun started {here} processes on a machine with {found} GPUs; give --nproc-per-node as many as there "
            "are."
        )
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) if device.index is None else device.index)


def is_first_process() -> bool:
    """Whether this is the process that speaks and writes for all that torchrun started."""
    return int(os.environ.get("RANK", "0")) == 0


def is_first_of_machine() -> bool:
    """Whether this is the first of the processes that torchrun started on this machine."""
    return int(os.environ.get("LOCAL_RANK", "0")) == 0


def was_restarted() -> bool:
    """Whether torchrun started these processes again after one had died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
