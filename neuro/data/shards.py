"""`shards:PATH`: images in tar files, read one by one where they lie: `train*.tar` beside `val*.tar` or `test*.tar`.

The layouts are those of `shard_layout`; pictures are prepared as those of `folder:PATH`. A list of all members is made
at the start, so that a shuffled epoch is a full permutation, as of any other data set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hardware_models.errors import InputError
from neuro.data.augment import Augment
from neuro.data.augment_settings import chosen_augment, in_training
from neuro.data.base import Dataset
from neuro.data.batching import check_image_size
from neuro.data.file_split import FileSplit
from neuro.data.folder import AUGMENT, DEFAULT_SIZE, NORMALISE, preprocessing
from neuro.data.shard_layout import ShardSamples, read_part
from neuro.data.splits import HELD_OUT, SPLIT_SEED, balanced_subset, held_out_split
from neuro.data.tar_index import TarImages

TRAIN = "train"
HELD_OUT_NAMES = ("val", "test")  # the first that is there; a test part of a challenge often has no labels


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
    """Return the images of a folder of tar files, three channels.

    Args:
        folder: with the tar files. Without training ones there is nothing to train on; without others a part of each
            class is held out.
        image_size: side of the images in pixels.
        split_seed: seed of the held-out split, where the folder brings none, and of limited subsets.
        train_limit: most training samples to keep; None keeps all.
        test_limit: most test samples to keep; None keeps all.
        augment: changes of training images, see `build_augment`; None takes the data set's own, {} none.
        workers: threads that decode; None takes the processors that there are, up to 8.

    Raises:
        InputError: no such files, a damaged or cut off one, an image without a class or the reverse, a class of the
            test part that the training part lacks (an image that is damaged is met in `batches`), a limit below 1, an
            unknown augmentation.
    """
    check_image_size(image_size, 1, "images")
    changes = chosen_augment(augment, AUGMENT)
    train, test, split = _parts(folder, split_seed)
    classes = _classes(train, test, folder)
    unread = frozenset().union(*(part.unread for part in (train, test) if part is not None))

    def part(samples: ShardSamples, limit: int | None, change: Augment | None) -> FileSplit:
        labels = _labels(samples, classes)
        kept = balanced_subset(labels, limit, split_seed)
        images = TarImages([samples.images[index] for index in kept.tolist()])
        return FileSplit(images, labels[kept], image_size, NORMALISE, augment=change, workers=workers)

    trained = None if train is None else part(train, train_limit, changes)
    tested = part(test, test_limit, None)
    counts = f"{len(tested)} to test" if trained is None else f"{len(trained)} to train and {len(tested)} to test"
    ignored = f"; not read: members ending in {', '.join(sorted(unread))}" if unread else ""
    return Dataset(
        name=f"shards:{folder}",
        source=f"the tar files in {folder}, licence not stated; {split}; {counts}{ignored}",
        classes=classes,
        in_channels=3,
        image_size=image_size,
        train=trained,
        test=tested,
        preprocessing=f"{preprocessing(image_size)}; {in_training(changes)}",
    )


def _parts(folder: Path, seed: int) -> tuple[ShardSamples | None, ShardSamples, str]:
    """Return the training samples, the test samples, and in words how they were parted."""
    train_paths = _tars(folder, TRAIN)
    held_out_name = next((name for name in HELD_OUT_NAMES if _tars(folder, name)), None)
    train = read_part(train_paths) if train_paths else None
    if held_out_name is not None:
        held_out = read_part(_tars(folder, held_out_name))
        words = f"held-out images from {held_out_name}*.tar"
        return train, held_out, words if train else f"only {held_out_name}*.tar, nothing to train on"
    if train is None:
        raise InputError(
            f"{folder} holds neither train*.tar nor val*.tar nor test*.tar; give the folder of the shards."
        )
    labels = _labels(train, _classes(train, train, folder))
    kept, tested = held_out_split(labels, seed)
    return _pick(train, kept), _pick(train, tested), f"{HELD_OUT:.0%} of each class held out (split seed {seed})"


def _tars(folder: Path, prefix: str) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; give the folder of the tar files as shards:PATH.")
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".tar" and path.name.startswith(prefix))
    except OSError as error:
        raise InputError(f"cannot look into {folder} ({error.strerror}); permit it.") from error


def _classes(train: ShardSamples | None, test: ShardSamples, folder: Path) -> tuple[str, ...]:
    """Return the class names: the folders' in alphabetical order, or the numbers from 0 to the largest."""
    first = train or test
    if first.numbered != test.numbered:
        raise InputError(f"one part of {folder} numbers its classes and the other names them; pack both alike.")
    if strange := sorted(set(test.labels) - set(first.labels)):
        raise InputError(
            f"the test part in {folder} has the {'class' if len(strange) == 1 else 'classes'} "
            f"{', '.join(map(repr, strange[:3]))}{' ...' if len(strange) > 3 else ''}, of which the training part has "
            "no image; make the parts agree."
        )
    known = sorted(set(first.labels))
    if len(known) < 2:
        raise InputError(f"the shards in {folder} hold only one class, {known[0]!r}; add images of another.")
    return tuple(map(str, range(max(map(int, known)) + 1))) if first.numbered else tuple(known)


def _labels(samples: ShardSamples, classes: tuple[str, ...]) -> Tensor:
    number_of = {name: number for number, name in enumerate(classes)}
    return torch.tensor([number_of[label] for label in samples.labels], dtype=torch.int64)


def _pick(samples: ShardSamples, indices: Tensor) -> ShardSamples:
    chosen: Sequence[int] = indices.tolist()
    labels = tuple(samples.labels[index] for index in chosen)
    return replace(samples, images=tuple(samples.images[index] for index in chosen), labels=labels)
