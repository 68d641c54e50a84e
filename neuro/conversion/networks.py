"""The two networks of a run: the spiking variant and its floating-point parent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hardware_models.errors import InputError
from neuro.conversion.spec import BuildSpec
from neuro.data import Dataset, load_dataset
from neuro.models import architecture, create_model
from neuro.models.neurons import neuron_factory
from neuro.neurons import reset

_LEAST_SIDE = {"digits": 16, "fashion-mnist": 32}
"""Smallest presentation of the small-image data sets; photographs take the variant's own size."""


def load_data(spec: BuildSpec) -> Dataset:
    """Load the data at the side the variant is made for, or at the one that was asked for."""
    side = spec.data.image_size
    if side is None:
        made_for = architecture(spec.model.name).variant(spec.model.variant).config.get("image_size", 224)
        side = max(made_for, _LEAST_SIDE.get(spec.data.name.split(":")[0], 0))
    return load_dataset(
        spec.data.name,
        image_size=side,
        split_seed=spec.data.split_seed,
        train_limit=spec.data.train_limit,
        test_limit=spec.data.test_limit,
        augment=spec.data.augment,
    )


def build_spiking(spec: BuildSpec, dataset: Dataset) -> nn.Module:
    """Build the spiking variant, initialised from the seed."""
    m = spec.model
    make_neuron = neuron_factory(m.neuron, m.surrogate, m.surrogate_alpha, m.neuron_parameters)
    torch.manual_seed(spec.seed)
    return create_model(
        m.name,
        m.variant,
        make_neuron=make_neuron,
        timesteps=m.timesteps,
        attention=m.attention,
        overrides=_overrides(spec, dataset),
    )


def build_float_parent(spec: BuildSpec, dataset: Dataset) -> nn.Module:
    """Build the floating-point parent: the same topology with ReLU for every neuron and T = 1."""
    torch.manual_seed(spec.seed)
    return create_model(
        spec.model.name,
        spec.model.variant,
        make_neuron=neuron_factory("relu"),
        timesteps=1,
        attention=spec.model.attention,
        overrides=_overrides(spec, dataset),
    )


def _overrides(spec: BuildSpec, dataset: Dataset) -> dict[str, Any]:
    """What the data decide, then what the user decides; a head may have more outputs than the data have classes."""
    decided = {"in_channels": dataset.in_channels, "image_size": dataset.image_size}
    given = spec.model.overrides
    for key, value in decided.items():
        if given.get(key, value) != value:
            raise InputError(f"model.overrides.{key} was {given[key]!r} but {dataset.name} has {value}; leave it out.")
    if dataset.classes:
        decided["num_classes"] = count = len(dataset.classes)
        outputs = given.get("num_classes", count)
        if isinstance(outputs, int) and outputs < count:
            raise InputError(
                f"model.overrides.num_classes was {outputs} but {dataset.name} has {count} classes; leave it out."
            )
    return decided | given


@torch.no_grad()
def calibrate_batchnorm(model: nn.Module, images: Tensor, passes: int = 2) -> None:
    """Set every BatchNorm's running statistics to those of `images` `[T, B, C, H, W]`.

    An untrained network's fresh statistics (mean 0, variance 1) silence every deeper neuron, so its rates would
    say nothing; with calibrated statistics the neurons see what they would see at the start of training. Layers
    settle from the input on, since in training mode each uses the batch's own statistics.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [m.momentum for m in norms]
    was_training = model.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
    model.train()
    for _ in range(passes):
        model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train(was_training)
    reset(model)


@torch.no_grad()
def merge_error(network: nn.Module, merged: nn.Module, images: Tensor) -> float:
    """Largest difference that merging makes to a layer's output, relative to the largest output of that layer.

    Each merged convolution is given what its pieces see while `network` runs on `images`. Logits would not do:
    a potential within rounding of the threshold fires in one form and not in the other, and one spike changes
    all that follows.
    """
    inference = dict(merged.named_modules())
    errors = []

    def compare(replacement: nn.Module) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
        def hook(module: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
            difference = (output - replacement(*args)).abs().max() / output.abs().max()
            errors.append(difference.nan_to_num(0.0).item())  # 0 / 0: both give nothing

        return hook

    handles = [
        module.register_forward_hook(compare(inference[name]))
        for name, module in network.named_modules()
        if name in inference and type(module) is not type(inference[name])
    ]
    was_training = network.training
    network.eval()
    try:
        network(images)
    finally:
        for handle in handles:
            handle.remove()
        network.train(was_training)
        reset(network)
    return max(errors, default=0.0)
