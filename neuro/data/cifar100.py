"""`cifar100`: 60,000 colour pictures of 100 classes, 32x32, 50,000 to train and 10,000 to test.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. Read are the binary version
(`train.bin`, `test.bin`: a coarse and a fine label, then the pixels) and the version for Python (`train`, `test`;
pickles, which are not unpickled), both also as their archives. The classes are the fine ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hardware_models.errors import InputError
from neuro.data import cifar
from neuro.data.augment import CropFlip
from neuro.data.augment_settings import chosen_augment, in_training
from neuro.data.base import Dataset
from neuro.data.batching import Normalise, TensorSplit
from neuro.data.cifar import STORED_SIZE
from neuro.data.splits import SPLIT_SEED, balanced_subset

CLASSES = 100
# Mean and standard deviation of each channel over the 50,000 training images.
NORMALISE = Normalise((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762), scale=1 / 255)
AUGMENT = CropFlip(padding=4)
BINARY = cifar.Version(
    names=("train.bin", "test.bin"),
    more=("fine_label_names.txt",),
    folder="cifar-100-binary",
    archive="cifar-100-binary.tar.gz",
    md5="03b5dce01913d631647c71ecec9e9cb8",
)
PYTHON = cifar.Version(
    names=("train", "test"),
    more=("meta",),
    folder="cifar-100-python",
    archive="cifar-100-python.tar.gz",
    md5="eb9058c3a382ffc7106e4002c42a8d85",
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
    """Return CIFAR-100 with its fine classes, three channels.

    Args:
        place: a folder with the files of the binary version or of that for Python, with the folder that they unpack to
            or with their archive; or the archive itself.
        image_size: side of the images; only 32.
        split_seed: seed of the subset that a limit draws (the data bring their own split).
        train_limit: most training samples to keep; None keeps all.
        test_limit: most test samples to keep; None keeps all.
        augment: changes of training images, see `build_augment`; None takes the data set's own, {} none.

    Raises:
        InputError: a file is missing or damaged, an archive is not the published one, `image_size` is not 32, a limit
            below 1, or an unknown augmentation.
    """
    cifar.check_size(image_size, "CIFAR-100")
    changes = chosen_augment(augment, AUGMENT)
    (train_images, train_labels), (test_images, test_labels), classes, where = _read(place)
    train = balanced_subset(train_labels, train_limit, split_seed)
    test = balanced_subset(test_labels, test_limit, split_seed)
    return Dataset(
        name=f"cifar100:{place}",
        source=f"CIFAR-100 from {where}; {len(train)} to train and {len(test)} to test",
        classes=classes,
        in_channels=3,
        image_size=STORED_SIZE,
        train=TensorSplit(train_images[train], train_labels[train], NORMALISE, augment=changes),
        test=TensorSplit(test_images[test], test_labels[test], NORMALISE),
        preprocessing=f"{NORMALISE}; {in_training(changes)}",
    )


def _read(place: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], tuple[str, ...], Path]:
    """Return images `[N, 3, 32, 32]` uint8 and labels `[N]` int64 of both parts, the class names, and the place."""
    found = cifar.find(place, (BINARY, PYTHON))
    if found is None:
        forms = {"the binary version of CIFAR-100": BINARY.names, "CIFAR-100 for Python": PYTHON.names}
        raise cifar.incomplete(place, forms, (BINARY, PYTHON))
    version, files, where = found
    train, test = (_part(version, files[name], where / name) for name in version.names)
    name = version.more[0]
    return train, test, _class_names(version, files.get(name), where / name), where


def _part(version: cifar.Version, content: bytes, where: Path) -> tuple[Tensor, Tensor]:
    if version is BINARY:
        parsed = cifar.parse_binary(content, where, label_bytes=2)
    else:
        parsed = cifar.parse_pickle(content, where, "fine_labels")
    return cifar.joined([parsed], where, "CIFAR-100", CLASSES)


def _class_names(version: cifar.Version, content: bytes | None, where: Path) -> tuple[str, ...]:
    """Return the names of the fine classes, or their numbers where the file of the names is not there."""
    if content is None:
        return tuple(map(str, range(CLASSES)))
    if version is BINARY:
        names = content.decode("latin-1").split()
    else:
        listed = cifar.parse_dict(content, where).get("fine_label_names")
        names = [n.decode("latin-1") if isinstance(n, bytes) else str(n) for n in listed or ()]
    if len(names) != CLASSES:
        raise InputError(f"{where} names {len(names)} classes, not {CLASSES}; fetch it again, or take it away.")
    return tuple(names)
