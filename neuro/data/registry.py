"""The data sets by name: what there is, what is on this machine, and loading one.

A data set is named by `NAME` or `NAME:PATH`. Each one's module is imported only when it is loaded, so that
listing them waits neither for torch nor for scikit-learn.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hardware_models.errors import InputError, unknown_name
from neuro.data import fashion_files
from neuro.data.base import Dataset


@dataclass(frozen=True)
class DatasetInfo:
    """What a user is told about a data set.

    Attributes:
        name: what to give on the command line.
        spec: how to write it, with its path if it takes one.
        what: what the images show.
        size: how many there are, of what shape, and at what size they are presented unless told otherwise.
        origin: where they come from, and the licence.
        found: whether they can be loaded now, without a download.
        where: where they were found; empty when they were not.
        how_to_get: what to do to have them; empty when nothing need be done.
    """

    name: str
    spec: str
    what: str
    size: str
    origin: str
    found: bool
    where: str
    how_to_get: str


@dataclass(frozen=True)
class _Entry:
    """A data set's module, whether it takes a path, and its description."""

    module: str
    takes_path: bool
    needs_path: bool
    describe: Callable[[], DatasetInfo]


def dataset_names() -> tuple[str, ...]:
    """Return the names of the data sets, the embedded one first."""
    return tuple(_ENTRIES)


def describe() -> tuple[DatasetInfo, ...]:
    """Return what is known about each data set, and whether it is on this machine. Downloads nothing."""
    return tuple(entry.describe() for entry in _ENTRIES.values())


def load_dataset(
    spec: str,
    *,
    image_size: int | None = None,
    split_seed: int = 0,
    train_limit: int | None = None,
    test_limit: int | None = None,
) -> Dataset:
    """Return the data set that `spec` names.

    Args:
        spec: `digits`, `fashion-mnist`, `fashion-mnist:PATH`, `photos` or `folder:PATH`.
        image_size: side of the square images in pixels; None takes the data set's own default.
        split_seed: seed of a held-out split that the data do not bring, and of limited subsets. It is not the
            seed of a run: leave it alone, and runs of different seeds are judged on the same samples.
        train_limit: most training samples to keep, the classes as even as possible; None keeps all.
        test_limit: most test samples to keep, in the same way; None keeps all.

    Raises:
        InputError: an unknown name, a path that is missing or not taken, or data that cannot be used.
        RunError: a download that cannot be written.
    """
    name, colon, path = spec.partition(":")
    _check_spec(spec, name, bool(colon), path)
    options: dict[str, Any] = {"split_seed": split_seed, "train_limit": train_limit, "test_limit": test_limit}
    if image_size is not None:
        options["image_size"] = image_size
    load: Callable[..., Dataset] = importlib.import_module(_ENTRIES[name].module).load
    dataset = load(_expanded(path), **options) if path else load(**options)
    return replace(dataset, name=spec)


def _check_spec(spec: str, name: str, has_path: bool, path: str) -> None:
    """Refuse an unknown name, and a path that is missing or one too many."""
    if name not in _ENTRIES:
        if has_path or "/" in spec:
            raise InputError(
                f"unknown data set {spec!r}; for a folder of images write folder:PATH. "
                f"Known: {', '.join(sorted(_ENTRIES))}."
            )
        raise unknown_name("data set", spec, _ENTRIES)
    entry = _ENTRIES[name]
    if has_path and not entry.takes_path:
        raise InputError(f"the data set {name} takes no path; write {name} alone.")
    if (has_path or entry.needs_path) and not path:
        raise InputError(f"{spec!r} lacks the path of its folder; write {name}:PATH.")


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{path!r} names an unknown home directory; write the path in full.") from error


def _describe_digits() -> DatasetInfo:
    found = importlib.util.find_spec("sklearn") is not None
    return DatasetInfo(
        name="digits",
        spec="digits",
        what="handwritten digits, 10 classes",
        size="1,797 images of 8x8, grey; 1,438 to train, 359 held out; presented at 16x16",
        origin="UCI Optical Recognition of Handwritten Digits (CC BY 4.0), inside scikit-learn",
        found=found,
        where="scikit-learn" if found else "",
        how_to_get="" if found else "pip install scikit-learn",
    )


def _describe_fashion_mnist() -> DatasetInfo:
    files = fashion_files.find()
    return DatasetInfo(
        name="fashion-mnist",
        spec="fashion-mnist or fashion-mnist:PATH",
        what="pictures of clothes, 10 classes",
        size="70,000 images of 28x28, grey; 60,000 to train, 10,000 to test; presented at 32x32",
        origin="Zalando Research, github.com/zalandoresearch/fashion-mnist (MIT)",
        found=files is not None,
        where=str(next(iter(files.values())).parent) if files else "",
        how_to_get="" if files else f"downloaded when first used (31 MB); or {fashion_files.HOW_TO_GET}",
    )


def _describe_photos() -> DatasetInfo:
    found = importlib.util.find_spec("sklearn") is not None
    return DatasetInfo(
        name="photos",
        spec="photos",
        what="crops of two photographs, unlabelled",
        size="64 crops to calibrate and 64 to compare; presented at 224x224, 3 channels",
        origin="china.jpg and flower.jpg (CC BY), inside scikit-learn",
        found=found,
        where="scikit-learn" if found else "",
        how_to_get="" if found else "pip install scikit-learn",
    )


def _describe_mnist() -> DatasetInfo:
    return DatasetInfo(
        name="mnist",
        spec="mnist:PATH",
        what="handwritten digits, 10 classes",
        size="70,000 images of 28x28, grey; 60,000 to train, 10,000 to test",
        origin="Y. LeCun, C. Cortes, C. Burges, 1998",
        found=True,
        where="the folder that you give, with the four idx files",
        how_to_get="",
    )


def _describe_cifar10() -> DatasetInfo:
    return DatasetInfo(
        name="cifar10",
        spec="cifar10:PATH",
        what="pictures of things and animals, 10 classes",
        size="60,000 images of 32x32, 3 channels; 50,000 to train, 10,000 to test",
        origin="A. Krizhevsky, 2009",
        found=True,
        where="the folder that you give, with the files of the binary version, or PNG sheets and labels",
        how_to_get="",
    )


def _describe_folder() -> DatasetInfo:
    return DatasetInfo(
        name="folder",
        spec="folder:PATH",
        what="your own images",
        size="as many as the folder holds, of any format that Pillow reads; presented at 224x224, 3 channels",
        origin="PATH/CLASS/*, or PATH/train/CLASS/* and PATH/val/CLASS/*, or unlabelled PATH/*",
        found=True,
        where="the folder that you give",
        how_to_get="",
    )


_ENTRIES = {
    "digits": _Entry("neuro.data.digits", takes_path=False, needs_path=False, describe=_describe_digits),
    "fashion-mnist": _Entry(
        "neuro.data.fashion_mnist", takes_path=True, needs_path=False, describe=_describe_fashion_mnist
    ),
    "photos": _Entry("neuro.data.photos", takes_path=False, needs_path=False, describe=_describe_photos),
    "mnist": _Entry("neuro.data.mnist", takes_path=True, needs_path=True, describe=_describe_mnist),
    "cifar10": _Entry("neuro.data.cifar10", takes_path=True, needs_path=True, describe=_describe_cifar10),
    "folder": _Entry("neuro.data.folder", takes_path=True, needs_path=True, describe=_describe_folder),
}
