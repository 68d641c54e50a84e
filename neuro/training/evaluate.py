"""Accuracy on a split."""

from __future__ import annotations

import torch
from torch import nn

from neuro.data.base import Split
from neuro.neurons import reset


@torch.no_grad()
def accuracy(model: nn.Module, split: Split, timesteps: int, device: torch.device, batch_size: int = 256) -> float:
    """Return the share of `split` that `model` classifies right.

    The model is left in the mode it was in, its neurons at rest (their potentials are as large as activations).
    """
    was_training = model.training
    model.eval()
    right = 0
    for images, labels in split.batches(batch_size, timesteps):
        right += int((model(images.to(device)).argmax(-1) == labels.to(device)).sum())
    model.train(was_training)
    reset(model)
    return right / len(split)
