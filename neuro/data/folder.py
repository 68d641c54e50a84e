"""`folder:PATH`: your own images, by class or unlabelled.

Three layouts:

    PATH/cat/1.jpg, PATH/dog/2.png              classes; a part of each is held out
    PATH/train/cat/1.jpg, PATH/val/cat/2.jpg    classes with held-out images of their own (val or test)
    PATH/1.jpg                                  unlabelled: to convert and to profile

Preprocessing is that of networks trained on ImageNet (O. Russakovsky et al., arXiv:1409.0575, 2014), with the
usual channel means and standard deviations of its training images.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hardware_models.errors import InputError
from neuro.data.augment import Augment
from neuro.data.augment_settings import chosen_augment, in_training
from neuro.data.base import Dataset
from neuro.data.batching import Normalise, check_image_size
from neuro.data.file_split import FileSplit, ImageFiles
from neuro.data.folder_layout import Layout, Samples, scan
from neuro.data.resized_crop import ResizedCropFlip
from neuro.data.splits import HELD_OUT, SPLIT_SEED, balanced_subset, held_out_split

DEFAULT_SIZE = 224
NORMALISE = Normalise((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), scale=1 / 255)
AUGMENT = ResizedCropFlip()


def load(
    folder: Path,
    *,
    image_size: int = DEFAULT_SIZE,
    split_seed: int = SPLIT_SEED,
    train_limit: int | None = None,
    test_limit: int | None = None,
    augment: Mapping[str, Any] | None = None,
    workers: int | None = None,
) -> Dataset:
    """Return the images of a folder, three channels.

    Args:
        folder: the images, in one of the three layouts.
        image_size: side of the images in pixels.
        split_seed: seed of the held-out split, where the folder brings none, and of limited subsets.
        train_limit: most training samples to keep; None keeps all.
        test_limit: most test samples to keep; None keeps all.
        augment: changes of training images, see `build_augment`; None takes the data set's own, {} none.
        workers: threads that decode; None takes the processors that there are, up to 8.

    Raises:
        InputError: no folder, no images, a mixed layout, fewer than two classes, a class without images, an
            image that is none (one that is damaged further on is met in `batches`), a limit below 1, an unknown
            augmentation.
    """
    check_image_size(image_size, 1, "images")
    changes = chosen_augment(augment, AUGMENT)
    layout = scan(folder)
    train, test, split = _parts(layout, split_seed)
    train = None if train is None else _limited(train, train_limit, split_seed)
    test = _limited(test, test_limit, split_seed)
    return Dataset(
        name=f"folder:{folder}",
        source=f"the images in {folder}, licence not stated; {split}; {_counts(train, test)}",
        classes=layout.classes,
        in_channels=3,
        image_size=image_size,
        train=None if train is None else _split(train, image_size, changes, workers),
        test=_split(test, image_size, None, workers),
        preprocessing=f"{preprocessing(image_size)}; {in_training(changes)}",
    )


def preprocessing(image_size: int) -> str:
    """Return in words what is done to images that are not augmented."""
    return (
        f"upright 8-bit RGB, transparency on white; shorter side to {image_size} * 256/224, centre crop "
        f"{image_size}x{image_size}, bicubic; {NORMALISE}"
    )


def _parts(layout: Layout, seed: int) -> tuple[Samples | None, Samples, str]:
    """Return the training samples, the test samples, and in words how they were parted."""
    if not layout.classes:
        return None, layout.samples, "unlabelled"
    if layout.held_out is not None:
        return layout.samples, layout.held_out, f"held-out images from its folder {layout.held_out_name}"
    if layout.held_out_name:
        return None, layout.samples, f"only its folder {layout.held_out_name}, nothing to train on"
    labels = torch.tensor(layout.samples.labels)
    _check_divisible(layout, labels)
    train, test = held_out_split(labels, seed)
    words = f"{HELD_OUT:.0%} of each class held out (split seed {seed})"
    return layout.samples.pick(train.tolist()), layout.samples.pick(test.tolist()), words


def _check_divisible(layout: Layout, labels: Tensor) -> None:
    """Refuse a class with one image where a part of each class must be held out."""
    for name, count in zip(layout.classes, labels.bincount().tolist(), strict=True):
        if count < 2:
            raise InputError(
                f"the class {name!r} in {layout.root} has one image, too few to hold one out; "
                "add images, or part them yourself into train/ and val/."
            )


def _limited(samples: Samples, limit: int | None, seed: int) -> Samples:
    return samples.pick(balanced_subset(torch.tensor(samples.labels), limit, seed).tolist())


def _split(samples: Samples, image_size: int, augment: Augment | None, workers: int | None) -> FileSplit:
    labels: Tensor = torch.tensor(samples.labels, dtype=torch.int64)
    images = ImageFiles(samples.paths)
    images.check_headers()
    return FileSplit(images, labels, image_size, NORMALISE, augment=augment, workers=workers)


def _counts(train: Samples | None, test: Samples) -> str:
    trained = "" if train is None else f"{len(train.paths)} to train and "
    return f"{trained}{len(test.paths)} to test"
