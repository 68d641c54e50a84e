"""The data sets by name: what there is, what is on this machine, and loading one.

A data set is named by `NAME` or `NAME:PATH`. Each one's module is imported only when it is loaded, so that
listing them waits neither for torch nor for scikit-learn.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hardware_models.errors import InputError, unknown_name
from neuro.data import catalogue
from neuro.data.base import Dataset
from neuro.data.catalogue import DatasetInfo


@dataclass(frozen=True)
class _Entry:
    """A data set's module, whether it takes a path or another augmentation than its own, and its description."""

    module: str
    takes_path: bool
    needs_path: bool
    describe: Callable[[], DatasetInfo]
    takes_augment: bool = False


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
    augment: Mapping[str, Any] | None = None,
) -> Dataset:
    """Return the data set that `spec` names.

    Args:
        spec: a name of `dataset_names`, with the path that it needs or takes: `digits`, `folder:PATH`.
        image_size: side of the square images in pixels; None takes the data set's own default.
        split_seed: seed of a held-out split that the data do not bring, and of limited subsets. It is not the
            seed of a run: leave it alone, and runs of different seeds are judged on the same samples.
        train_limit: most training samples to keep, the classes as even as possible; None keeps all.
        test_limit: most test samples to keep, in the same way; None keeps all.
        augment: random changes of training images, by name in the order of their use, such as `{"crop_flip": 4}` (see
            `neuro.data.augment_settings.build_augment`); None takes the data set's own, {} none.

    Raises:
        InputError: an unknown name, a path that is missing or not taken, an augmentation that is unknown or not taken,
            or data that cannot be used.
        RunError: a download that cannot be written.
    """
    name, colon, path = spec.partition(":")
    _check_spec(spec, name, bool(colon), path)
    options: dict[str, Any] = {"split_seed": split_seed, "train_limit": train_limit, "test_limit": test_limit}
    if image_size is not None:
        options["image_size"] = image_size
    if augment is not None:
        if not _ENTRIES[name].takes_augment:
            raise InputError(f"the data set {name} takes no other augmentation than its own; leave augment out (null).")
        options["augment"] = augment
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


def _of_a_path(module: str, describe: Callable[[], DatasetInfo], takes_augment: bool = False) -> _Entry:
    return _Entry(
        f"neuro.data.{module}", takes_path=True, needs_path=True, describe=describe, takes_augment=takes_augment
    )


_ENTRIES = {
    "digits": _Entry(
        "neuro.data.digits", takes_path=False, needs_path=False, describe=catalogue.describe_digits, takes_augment=True
    ),
    "fashion-mnist": _Entry(
        "neuro.data.fashion_mnist",
        takes_path=True,
        needs_path=False,
        describe=catalogue.describe_fashion_mnist,
        takes_augment=True,
    ),
    "photos": _Entry("neuro.data.photos", takes_path=False, needs_path=False, describe=catalogue.describe_photos),
    "mnist": _of_a_path("mnist", catalogue.describe_mnist, takes_augment=True),
    "cifar10": _of_a_path("cifar10", catalogue.describe_cifar10, takes_augment=True),
    "cifar100": _of_a_path("cifar100", catalogue.describe_cifar100, takes_augment=True),
    "folder": _of_a_path("folder", catalogue.describe_folder, takes_augment=True),
    "shards": _of_a_path("shards", catalogue.describe_shards, takes_augment=True),
    "dvs-gesture": _of_a_path("events.dvs_gesture", catalogue.describe_dvs_gesture),
    "cifar10-dvs": _of_a_path("events.cifar10_dvs", catalogue.describe_cifar10_dvs),
    "n-mnist": _of_a_path("events.n_mnist", catalogue.describe_n_mnist),
    "events": _of_a_path("events.event_folder", catalogue.describe_events),
    "speech-commands": _of_a_path("speech.speech_commands", catalogue.describe_speech_commands),
    "speech-commands-12": _of_a_path("speech.speech_commands_12", catalogue.describe_speech_commands_12),
}
