"""Train a spiking network further: with labels by the project's loop, or layer by layer after its float parent.

A converted network is an ordinary module. Its neurons let the gradient through where their remainder is within reach
(straight-through estimator, `neuro.kernels.encode`), so backward through the T timesteps is backward through the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hardware_models.errors import InputError, RunError
from neuro.coding.fidelity import Recorder
from neuro.coding.network import SpikingNetwork
from neuro.coding.synapse import Product, Synapse
from neuro.data.base import Dataset
from neuro.records import EpochRecord
from neuro.training.loop import train
from neuro.training.settings import TrainingSettings
from quant.capture import Captured


def fine_tune(
    network: SpikingNetwork, dataset: Dataset, settings: TrainingSettings | None = None, *, seed: int = 0
) -> list[EpochRecord]:
    """Train a calibrated network on labels in place, by the output after T timesteps (`neuro.training.train`).

    Args:
        network: classifies images `[B, C, H, W]`, as those of the data set.
        dataset: labelled data.
        settings: of the training loop; a converted network wants a lower rate than one from scratch, such as 1e-4.
        seed: of the order of samples and augmentation.

    Raises:
        InputError: unlabelled data.
        RunError: the loss or its gradient became NaN or infinite.
    """
    settings = settings or TrainingSettings(epochs=1, learning_rate=1e-4, weight_decay=0.0)
    device = next(network.parameters()).device
    return train(_Presented(network), dataset, settings, seed=seed, device=device, progress="fine-tuning")


class _Presented(nn.Module):
    """The network as the training loop calls one: it presents its input at every timestep by itself."""

    timesteps = 1

    def __init__(self, network: SpikingNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `[B, K]` of images `[1, B, C, H, W]`."""
        found: Tensor = self.network(images[0])
        return found


def distil(
    network: SpikingNetwork,
    captured: Captured,
    batches: Sequence[tuple[Tensor, ...]],
    *,
    epochs: int = 1,
    learning_rate: float = 1e-4,
) -> list[float]:
    """Pull the value of every product at T towards the float network's, in place; no labels are needed.

    The loss of a batch is the mean over the layers of |y_T - y|^2 / |y|^2, y the float operator's result. Adam.

    Args:
        network: made of `captured`, calibrated.
        captured: the float parent, left as it is.
        batches: inputs, each `[B, ...]`.
        epochs: passes over them.
        learning_rate: of every weight and bias.

    Returns:
        The mean loss of each epoch.

    Raises:
        InputError: no batches, or nothing in the network to train.
        RunError: the loss became NaN or infinite.
    """
    if not batches or epochs < 1:
        raise InputError(f"{len(batches)} batches were given for {epochs} epochs; give at least one of each.")
    weights = [one for one in network.parameters() if one.requires_grad]
    if not weights:
        raise InputError("the network has no weight that requires a gradient; capture a module whose parameters do.")
    optimizer = torch.optim.Adam(weights, lr=learning_rate)
    modules = dict(network.graph.named_modules())
    layers = {one.node: modules[one.module] for one in network.operators if one.is_driven}
    losses = []
    for _ in range(epochs):
        total = 0.0
        for batch in batches:
            with torch.no_grad():
                wanted = Recorder(captured.graph, set(layers)).record(batch)
            with _last_values(layers) as found:
                network(*batch)
                loss = torch.stack([_relative_error(found[name], wanted[name]) for name in layers]).mean()
            if not loss.isfinite():
                raise RunError(f"the distillation loss became {loss.item()}; start again with a lower learning_rate.")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        losses.append(total / len(batches))
    return losses


def _relative_error(found: Tensor, wanted: Tensor) -> Tensor:
    error: Tensor = (found - wanted).square().sum() / wanted.square().sum().clamp_min(1e-12)
    return error


@contextmanager
def _last_values(layers: dict[str, Any]) -> Iterator[dict[str, Tensor]]:
    """Keep what each layer gives at the last timestep, with its gradient."""
    found: dict[str, Tensor] = {}

    def keep(name: str, layer: Synapse | Product) -> Any:
        def hook(_: nn.Module, inputs: Any, output: Tensor) -> None:
            place, clock = layer.current.place, layer.current.clock
            found[name] = place.split(output, clock.steps)[-1]

        return hook

    handles = [layer.register_forward_hook(keep(name, layer)) for name, layer in layers.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
