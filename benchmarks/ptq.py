"""Accuracy of post-training quantization on whole test sets, for real pretrained networks.

    python benchmarks/ptq.py cifar10 --weights cnn_model.h5 --data CIFAR10_FOLDER
    python benchmarks/ptq.py cifar10 --weights cnn_model.h5 --data CIFAR10_FOLDER --table
    python benchmarks/ptq.py photos --weights efficientnet-lite0-57934424.pth --data PHOTOS_FOLDER

The networks, and where their weights and data are: see `benchmarks/conversion_accuracy.py`. Ranges, roundings and
biases are chosen from training images (cifar10), or from pictures other than those that are compared (photos: every
third of the folder calibrates, the others are compared; they carry no labels, so only the agreement with the float
network counts).

One line for each way: accuracy where there are labels, how often the first class is that of the float network, the
error of the output on the calibration data (|y' - y|^2 / |y|^2), and the seconds that calibration took. `--table`
compares the parts of calibration at 4-bit weights.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from conversion_accuracy import Case
from conversion_accuracy import cifar10 as labelled_cifar10
from torch import Tensor, nn

from neuro.data import load_dataset
from neuro.sources import load_source
from quant.calibrate import post_training
from quant.observe import CalibrationWarning


def cifar10(weights: Path, data: str, samples: int) -> Case:
    """The VGG-like CNN on raw pixels."""
    case = labelled_cifar10(weights, data)
    return Case(case.model, case.calibration[:samples], case.images, case.labels, 500)


def photos(weights: Path, data: str, samples: int) -> Case:
    """EfficientNet-Lite0 on the pictures' centre squares at 224x224."""
    source = load_source("timm:tf_efficientnet_lite0", weights=weights, weights_by_order=True)
    model, normalise = source.model, source.normalise
    assert isinstance(model, nn.Module)
    assert normalise is not None
    test = load_dataset(f"folder:{data}").test
    (images, _) = next(iter(test.batches(len(test), 1)))
    pictures = normalise(test.normalise.undo(images[0]))
    calibrates = torch.arange(len(pictures)) % 3 == 0
    return Case(model, pictures[calibrates][:samples], pictures[~calibrates], None, 16)


CASES: dict[str, Callable[[Path, str, int], Case]] = {"cifar10": cifar10, "photos": photos}

_PLAIN: dict[str, Any] = {"recipe": "w4a8", "rounding": "nearest", "bias_correction": False}
TABLE: dict[str, dict[str, Any]] = {
    "w4a8 nearest": _PLAIN,
    "w4a8 nearest + equalization": {**_PLAIN, "equalization": True},
    "w4a8 nearest + bias correction": {**_PLAIN, "bias_correction": True},
    "w4a8 gptq": {**_PLAIN, "rounding": "gptq"},
    "w4a8 gptq + bias correction": {"recipe": "w4a8"},
    "w4a8 adaround": {**_PLAIN, "rounding": "adaround"},
    "w4a8 adaround + bias correction": {"recipe": "w4a8", "rounding": "adaround"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", required=True, help="folder")
    parser.add_argument("--ways", default="w8a8,w4a8,w4a4", help="recipes, separated by commas")
    parser.add_argument("--table", action="store_true", help="compare the parts of calibration instead")
    parser.add_argument("--samples", type=int, default=512, help="images to calibrate with, at most")
    parser.add_argument("--limit", type=int, help="judge by the first so many test images only")
    parser.add_argument("--method", default="mse", help="how ranges are chosen")
    arguments = parser.parse_args()
    case = CASES[arguments.case](arguments.weights, arguments.data, arguments.samples)
    case.model.eval()
    images = case.images[: arguments.limit]
    labels = None if case.labels is None else case.labels[: arguments.limit]
    exact = _classes(case.model, images, case.batch)
    print(f"{arguments.case}: {len(case.calibration)} images to calibrate with, {len(images)} to judge by")
    _print("float", exact, exact, labels)
    ways = TABLE if arguments.table else {name: {"recipe": name} for name in arguments.ways.split(",")}
    for name, way in ways.items():
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CalibrationWarning)
            batches = [(x,) for x in case.calibration.split(64)]
            network, told = post_training(case.model, way["recipe"], batches, method=arguments.method, **_options(way))
        seconds = time.perf_counter() - began
        found = _classes(network, images, case.batch)
        _print(name, found, exact, labels, f"output error {told.error:.5f}   {seconds:.0f} s")


def _options(way: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in way.items() if key != "recipe"}


@torch.no_grad()
def _classes(model: nn.Module, images: Tensor, batch: int) -> Tensor:
    return torch.cat([model(x.float()).argmax(1) for x in images.split(batch)])


def _print(name: str, found: Tensor, exact: Tensor, labels: Tensor | None, more: str = "") -> None:
    accuracy = "" if labels is None else f"accuracy {100 * (found == labels).float().mean():6.2f} %   "
    same = int((found == exact).sum())
    print(
        f"{name:34s} {accuracy}as float {100 * same / len(exact):6.2f} % ({same} of {len(exact)})   {more}", flush=True
    )


if __name__ == "__main__":
    main()
