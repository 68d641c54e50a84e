"""The network of a training: built from its document, started from weights, taken back from a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hardware_models.errors import InputError
from neuro.conversion.networks import build_float_parent, build_spiking, load_data
from neuro.conversion.spec import read_settings, read_trained
from neuro.data import Dataset
from neuro.evaluation import TimeFirst
from neuro.experiments.spec import TrainSpec, resolve_train_spec
from neuro.hub import SPEC, WEIGHTS, is_folder, network_folder, weights_file
from neuro.weights import load_weights
from quant import quantize
from quant.export import load_quantized
from quant.network import QuantizedNetwork
from quant.observe import initialise

_CALIBRATION_SAMPLES = 128


class SingleImages(nn.Module):
    """An architecture at T = 1, which wants time first, for images `[B, C, H, W]`, as a quantizer wants it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `[B, K]`."""
        logits: Tensor = self.network(images.unsqueeze(0))
        return logits


@dataclass
class Trained:
    """A network that was trained.

    Attributes:
        folder: where it was found.
        spec: how it was made.
        model: with its weights, in evaluation mode.
    """

    folder: Path
    spec: TrainSpec
    model: nn.Module


def build(spec: TrainSpec, dataset: Dataset) -> nn.Module:
    """Build the network of a training, with the weights it starts from.

    Raises:
        InputError: weights that do not fit, or a form that they cannot take.
    """
    weights = None if spec.model.weights is None else _starting_weights(spec)
    if spec.is_low_bit:
        assert weights is not None  # checked where the document was read
        return _quantized(spec, dataset, weights)
    model = build_float_parent(spec, dataset) if spec.form == "float" else build_spiking(spec, dataset)
    if weights is not None:
        load_weights(weights, model)
    return model


def _starting_weights(spec: TrainSpec) -> Path:
    """The file of `model.weights`; those of a whole network have to be of the form that is started from."""
    name, wanted = str(spec.model.weights), "float" if spec.is_low_bit else spec.form
    if is_folder(name):
        found = read_trained(network_folder(name)).form
        if found != wanted:
            raise InputError(f"{name} is of form {found!r}; a {spec.form} network starts from one of form {wanted!r}.")
    return weights_file(name)


def _quantized(spec: TrainSpec, dataset: Dataset, weights: Path) -> nn.Module:
    """The trained parent, quantized by the recipe, its ranges from training images."""
    parent = build_float_parent(spec, dataset)
    load_weights(weights, parent)
    split = dataset.train or dataset.test
    images, _ = next(split.batches(min(_CALIBRATION_SAMPLES, len(split)), 1, shuffle_seed=spec.seed))
    network = quantize(SingleImages(parent).eval(), spec.form, images[0], timesteps=spec.model.timesteps)
    initialise(network, [(images[0],)])
    return TimeFirst(network)


def load_trained(name: str, dataset: Dataset | None = None) -> Trained:
    """Return the network of a run directory, or of a folder of the hub.

    Args:
        name: a run directory of `neuro train`, or `hub:NAME`.
        dataset: to build it for; None loads the one it was trained on.

    Raises:
        InputError: no such network, or weights of another one.
    """
    folder = network_folder(name)
    spec = resolve_train_spec(read_settings(folder / SPEC), str(folder / SPEC))
    spec = spec.model_copy(update={"model": spec.model.model_copy(update={"weights": None})})
    data = dataset or load_data(spec)
    if spec.is_low_bit:
        parent = SingleImages(build_float_parent(spec, data)).eval()
        model: nn.Module = TimeFirst(load_quantized(folder / WEIGHTS, parent))
    else:
        model = build(spec, data)
        load_weights(folder / WEIGHTS, model)
    return Trained(folder, spec, model.eval())


def quantized_network(model: nn.Module) -> QuantizedNetwork | None:
    """Return the quantized network inside a model of a training; None of another form."""
    inner = model.network if isinstance(model, TimeFirst) else model
    return inner if isinstance(inner, QuantizedNetwork) else None


def teacher_of(spec: TrainSpec, dataset: Dataset) -> nn.Module | None:
    """Return the network that teaches, with no gradient; None where there is none.

    Raises:
        InputError: it answers for other classes.
    """
    if spec.teacher is None:
        return None
    teacher = load_trained(spec.teacher, dataset).model.requires_grad_(False)
    with torch.no_grad():
        shape = dataset.in_channels, dataset.image_size, dataset.image_size
        answers = teacher(torch.zeros(int(getattr(teacher, "timesteps", 1)), 1, *shape))
    if answers.shape[-1] != len(dataset.classes):
        raise InputError(
            f"teacher {spec.teacher} tells {answers.shape[-1]} classes apart, {dataset.name} has "
            f"{len(dataset.classes)}; give one that was trained on these data."
        )
    return teacher
