"""`fashion-mnist`: 70,000 grey pictures of clothes, 28x28, ten classes, 60,000 to train and 10,000 to test.

Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms", arXiv:1708.07747, 2017; licence MIT, copyright Zalando SE.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from neuro.data import fashion_files, idx
from neuro.data.augment import CropFlip
from neuro.data.augment_settings import chosen_augment, in_training
from neuro.data.base import Dataset
from neuro.data.batching import Normalise, TensorSplit, check_image_size
from neuro.data.splits import SPLIT_SEED, balanced_subset

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
STORED_SIZE = 28
DEFAULT_SIZE = 32
# Mean and standard deviation of the 60,000 published training images before padding.
NORMALISE = Normalise((0.2860,), (0.3530,), scale=1 / 255)
SHIFT = 2  # largest random shift, in stored pixels


def load(
    folder: Path | None = None,
    *,
    image_size: int = DEFAULT_SIZE,
    split_seed: int = SPLIT_SEED,
    train_limit: int | None = None,
    test_limit: int | None = None,
    augment: Mapping[str, Any] | None = None,
) -> Dataset:
    """Return Fashion-MNIST, one channel, padded with black to `image_size`.

    Args:
        folder: where the four files are; None looks for them and else downloads them.
        image_size: side of the images in pixels, at least 28.
        split_seed: seed of the subset that a limit draws (the data bring their own split).
        train_limit: most training samples to keep; None keeps all.
        test_limit: most test samples to keep; None keeps all.
        augment: changes of training images, see `build_augment`; None takes the data set's own, {} none.

    Raises:
        InputError: not to be had, incomplete or damaged files, `image_size` below 28, a limit below 1.
        RunError: the download cannot be written.
    """
    enlarge = Enlarge(check_image_size(image_size, STORED_SIZE, "Fashion-MNIST"))
    files = fashion_files.find_or_download() if folder is None else fashion_files.find_in(folder)
    train_images, train_labels, train_published = _read(files, "train")
    test_images, test_labels, test_published = _read(files, "t10k")
    train = balanced_subset(train_labels, train_limit, split_seed)
    test = balanced_subset(test_labels, test_limit, split_seed)
    changes = chosen_augment(augment, CropFlip(padding=SHIFT * enlarge.factor))
    published = train_published and test_published
    return Dataset(
        name="fashion-mnist" if folder is None else f"fashion-mnist:{folder}",
        source=(
            f"Fashion-MNIST (MIT, Zalando SE) from {next(iter(files.values())).parent}, "
            f"{'the published files by SHA-256' if published else 'NOT the published files'}; "
            f"{len(train)} to train and {len(test)} to test"
        ),
        classes=CLASSES,
        in_channels=1,
        image_size=image_size,
        train=TensorSplit(train_images[train], train_labels[train], NORMALISE, enlarge, changes),
        test=TensorSplit(test_images[test], test_labels[test], NORMALISE, enlarge),
        preprocessing=f"{enlarge}; {NORMALISE}; {in_training(changes)}",
    )


@dataclass(frozen=True)
class Enlarge:
    """From 28x28 to a larger side without blur: each pixel repeated as often as it fits, then a black border.

    Attributes:
        image_size: side of the result in pixels.
    """

    image_size: int

    @property
    def factor(self) -> int:
        """How often a stored pixel is repeated along each side."""
        return self.image_size // STORED_SIZE

    def __call__(self, images: Tensor) -> Tensor:
        """Return images `[B, 1, 28, 28]` as `[B, 1, image_size, image_size]`; an odd border falls after."""
        if self.factor > 1:
            images = images.repeat_interleave(self.factor, -1).repeat_interleave(self.factor, -2)
        border = self.image_size - images.shape[-1]
        before, after = border // 2, border - border // 2
        return functional.pad(images, [before, after, before, after])

    def __str__(self) -> str:
        repeated = f"each pixel repeated {self.factor}x{self.factor}, " if self.factor > 1 else ""
        return f"{STORED_SIZE}x{STORED_SIZE}, {repeated}padded with black to {self.image_size}x{self.image_size}"


def _read(files: fashion_files.Files, part: str) -> tuple[Tensor, Tensor, bool]:
    """Return images `[N, 1, 28, 28]` uint8, labels `[N]` int64, and whether both are the published ones."""
    images_name, labels_name = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
    contents = {name: idx.read_bytes(files[name]) for name in (images_name, labels_name)}
    images = idx.parse(contents[images_name], 3, files[images_name])
    labels = idx.parse(contents[labels_name], 1, files[labels_name])
    paths = files[images_name], files[labels_name]
    idx.check_labelled(images, labels, paths, "Fashion-MNIST", STORED_SIZE, len(CLASSES))
    published = all(fashion_files.is_published(name, content) for name, content in contents.items())
    # The parsed arrays are read-only views of the file; torch wants memory of its own.
    return torch.from_numpy(images.copy()).unsqueeze(1), torch.from_numpy(labels.astype(np.int64)), published
