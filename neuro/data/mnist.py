"""`mnist`: 70,000 grey pictures of handwritten digits, 28x28, 60,000 to train and 10,000 to test.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", 1998.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hardware_models.errors import InputError
from neuro.data import idx
from neuro.data.augment import AffineJitter
from neuro.data.augment_settings import chosen_augment, in_training
from neuro.data.base import Dataset
from neuro.data.batching import Normalise, TensorSplit, check_image_size
from neuro.data.fashion_files import PARTS
from neuro.data.fashion_mnist import STORED_SIZE, Enlarge
from neuro.data.splits import SPLIT_SEED, balanced_subset

CLASSES = tuple("0123456789")
DEFAULT_SIZE = 28
# Mean and standard deviation of the 60,000 training images.
NORMALISE = Normalise((0.1307,), (0.3081,), scale=1 / 255)
AUGMENT = AffineJitter(degrees=10, scaling=0.1, shift=0.08)
LAYOUTS = ("", "MNIST/raw", "mnist")


def load(
    folder: Path,
    *,
    image_size: int = DEFAULT_SIZE,
    split_seed: int = SPLIT_SEED,
    train_limit: int | None = None,
    test_limit: int | None = None,
    augment: Mapping[str, Any] | None = None,
) -> Dataset:
    """Return MNIST, one channel, padded with black to `image_size`.

    Args:
        folder: with the four idx files, compressed or not, in it or in torchvision's `MNIST/raw`.
        image_size: side of the images in pixels, at least 28.
        split_seed: seed of the subset that a limit draws (the data bring their own split).
        train_limit: most training samples to keep; None keeps all.
        test_limit: most test samples to keep; None keeps all.
        augment: changes of training images, see `build_augment`; None takes the data set's own, {} none.

    Raises:
        InputError: a file is missing or damaged, `image_size` below 28, a limit below 1.
    """
    enlarge = Enlarge(check_image_size(image_size, STORED_SIZE, "MNIST"))
    changes = chosen_augment(augment, AUGMENT)
    files = _find(folder)
    train_images, train_labels = _read(files, "train")
    test_images, test_labels = _read(files, "t10k")
    train = balanced_subset(train_labels, train_limit, split_seed)
    test = balanced_subset(test_labels, test_limit, split_seed)
    return Dataset(
        name=f"mnist:{folder}",
        source=f"MNIST from {next(iter(files.values())).parent}; {len(train)} to train and {len(test)} to test",
        classes=CLASSES,
        in_channels=1,
        image_size=image_size,
        train=TensorSplit(train_images[train], train_labels[train], NORMALISE, enlarge, changes),
        test=TensorSplit(test_images[test], test_labels[test], NORMALISE, enlarge),
        preprocessing=f"{enlarge}; {NORMALISE}; {in_training(changes)}",
    )


def _find(folder: Path) -> dict[str, Path]:
    """Return the path of each part in the first layout that has all four."""
    for layout in LAYOUTS:
        paths = [path for part in PARTS for path in (folder / layout / f"{part}.gz", folder / layout / part)]
        found = {path.name.removesuffix(".gz"): path for path in paths if path.is_file()}
        if len(found) == len(PARTS):
            return found
    raise InputError(f"{folder} does not hold the four files of MNIST ({', '.join(PARTS)}); give the folder that does.")


def _read(files: dict[str, Path], part: str) -> tuple[Tensor, Tensor]:
    """Return images `[N, 1, 28, 28]` uint8 and labels `[N]` int64."""
    paths = files[f"{part}-images-idx3-ubyte"], files[f"{part}-labels-idx1-ubyte"]
    images, labels = (idx.parse(idx.read_bytes(path), axes, path) for path, axes in zip(paths, (3, 1), strict=True))
    idx.check_labelled(images, labels, paths, "MNIST", STORED_SIZE, len(CLASSES))
    return torch.from_numpy(images.copy()).unsqueeze(1), torch.from_numpy(labels.astype(np.int64))
