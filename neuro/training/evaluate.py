"""Accuracy on a split."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from neuro.data.base import Split
from neuro.neurons import reset
from neuro.training.parallel import Processes


@torch.no_grad()
def accuracy(
    model: nn.Module,
    split: Split,
    timesteps: int,
    device: torch.device,
    batch_size: int = 256,
    processes: Processes | None = None,
    run: Callable[[Tensor], Tensor] | None = None,
) -> float:
    """Return the share of `split` that `model` classifies right.

    The model is left in the mode it was in, its neurons at rest (their potentials are as large as activations).
    Several processes take a part of each batch, and all return the share of the whole; `run` is how they run it.
    """
    run = run or model
    processes = processes or Processes()
    was_training = model.training
    model.eval()
    right = torch.zeros((), dtype=torch.int64, device=device)
    for images, labels in processes.part_of(split).batches(batch_size, timesteps):
        if len(labels):
            right += (run(images.to(device)).argmax(-1) == labels.to(device)).sum()
        elif processes.strategy == "sharded":  # whose tensors the others need, without samples of its own
            run(images.new_zeros(images.shape[0], 1, *images.shape[2:]).to(device))
    model.train(was_training)
    reset(model)
    return int(processes.total(right)) / len(split)
