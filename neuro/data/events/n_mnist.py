"""`n-mnist`: MNIST's digits seen by an event camera that moves, 34x34, 60,000 to train and 10,000 to test.

Source: G. Orchard, A. Jayawant, G. K. Cohen, N. Thakor, "Converting Static Image Datasets to Spiking Neuromorphic
Datasets Using Saccades", Frontiers in Neuroscience 9:437, 2015.
"""

from __future__ import annotations

from pathlib import Path

from neuro.data.base import Dataset
from neuro.data.batching import check_image_size
from neuro.data.events import nmnist
from neuro.data.events.augment import Shift
from neuro.data.events.class_folders import class_samples, subfolder
from neuro.data.events.event_split import Binning, EventSplit, limited, words
from neuro.data.splits import SPLIT_SEED

CLASSES = tuple(str(digit) for digit in range(10))
STORED_SIZE = nmnist.SIZE[0]
AUGMENT = Shift(2)
LAYOUTS = ("", "NMNIST", "N-MNIST")


def load(
    folder: Path,
    *,
    image_size: int = STORED_SIZE,
    split_seed: int = SPLIT_SEED,
    train_limit: int | None = None,
    test_limit: int | None = None,
    binning: Binning = "count",
) -> Dataset:
    """Return N-MNIST, two channels (off, on).

    Args:
        folder: with `Train/0` .. `Train/9` and `Test/0` .. `Test/9` of `.bin` files, in it or in `NMNIST` (tonic).
        image_size: side of the frames, at most 34.
        split_seed: seed of the subset that a limit draws (the data bring their own split).
        train_limit: most training samples to keep; None keeps all.
        test_limit: most test samples to keep; None keeps all.
        binning: frames of equally many events (`count`) or of equal duration (`time`).

    Raises:
        InputError: a class folder is missing or empty, another image size, a limit below 1; a damaged file when met.
    """
    check_image_size(image_size, 1, "N-MNIST")
    root = subfolder(folder, [f"{layout}/Train".lstrip("/") for layout in LAYOUTS], "N-MNIST").parent
    train, test = (
        limited(class_samples(root / part, CLASSES, [".bin"]), limit, split_seed)
        for part, limit in (("Train", train_limit), ("Test", test_limit))
    )
    return Dataset(
        name=f"n-mnist:{folder}",
        source=f"N-MNIST from {root}; {len(train)} to train and {len(test)} to test",
        classes=CLASSES,
        in_channels=2,
        image_size=image_size,
        train=EventSplit(train, nmnist.read, image_size, binning, AUGMENT),
        test=EventSplit(test, nmnist.read, image_size, binning),
        preprocessing=words(image_size, binning, AUGMENT),
    )
