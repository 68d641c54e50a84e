"""Which images a folder holds and which class each belongs to. Looks at names only and opens nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hardware_models.errors import InputError
from neuro.data.images import suffixes

TRAIN_NAMES = ("train", "training")
# A test part comes last: that of public challenges often has no labels.
HELD_OUT_NAMES = ("val", "valid", "validation", "test", "testing")
UNLABELLED = -1


@dataclass(frozen=True)
class Samples:
    """Images and their classes.

    Attributes:
        paths: one file each.
        labels: index of each one's class, or -1.
    """

    paths: tuple[Path, ...]
    labels: tuple[int, ...]

    def pick(self, indices: Sequence[int]) -> Samples:
        """Return the samples at `indices`, in that order."""
        return Samples(tuple(self.paths[i] for i in indices), tuple(self.labels[i] for i in indices))


@dataclass(frozen=True)
class Layout:
    """What a folder holds.

    Attributes:
        root: the folder.
        classes: names of the class folders in alphabetical order; empty for unlabelled images.
        samples: the training images, or all of them when nothing says which to hold out.
        held_out: the images that the folder sets apart, or None.
        held_out_name: name of the folder that sets images apart, empty when there is none. With `held_out`
            None, that folder is all there is and `samples` are its images.
    """

    root: Path
    classes: tuple[str, ...]
    samples: Samples
    held_out: Samples | None = None
    held_out_name: str = ""


def scan(root: Path) -> Layout:
    """Return what the folder holds.

    Raises:
        InputError: no folder, no images, images beside class folders, fewer than two classes, a class without
            images, parts whose classes differ, or a folder that may not be read.
    """
    try:
        return _scan(root)
    except OSError as error:
        where = error.filename or root
        raise InputError(f"cannot look into {where} ({error.strerror}); permit it or give another folder.") from error


def _scan(root: Path) -> Layout:
    if not root.exists():
        raise InputError(f"there is no folder {root}; give a folder of images as folder:PATH.")
    if not root.is_dir():
        raise InputError(f"{root} is a file; give the folder that holds it as folder:{root.parent}.")
    folders = _folders(root)
    train, held_out = _named(folders, TRAIN_NAMES), _named(folders, HELD_OUT_NAMES)
    if train is not None and held_out is not None:
        return _both_parts(root, train, held_out)
    if train is not None and len(folders) == 1:
        return _one_part(root, train)
    if held_out is not None and len(folders) == 1:
        return _one_part(root, held_out, held_out.name)
    if not folders or not any(_images_below(folder) for folder in folders):
        return _unlabelled(root)
    classes, samples = _classes(root)
    return Layout(root, classes, samples)


def _both_parts(root: Path, train: Path, held_out: Path) -> Layout:
    classes, samples = _classes(train)
    held_out_classes, held_out_samples = _classes(held_out)
    if held_out_classes != classes:
        differing = sorted(set(classes) ^ set(held_out_classes))
        raise InputError(
            f"{train} and {held_out} do not have the same classes: {_some(differing)} "
            f"{'is' if len(differing) == 1 else 'are'} in one only; make the class folders agree."
        )
    return Layout(root, classes, samples, held_out_samples, held_out.name)


def _one_part(root: Path, part: Path, held_out_name: str = "") -> Layout:
    if not any(_images_below(folder) for folder in _folders(part)):
        return _unlabelled(part)
    classes, samples = _classes(part)
    return Layout(root, classes, samples, held_out_name=held_out_name)


def _unlabelled(root: Path) -> Layout:
    paths = _images_in(root)
    if not paths:
        raise InputError(
            f"{root} holds no image ({_contents(root)}); give a folder with images such as "
            ".png or .jpg, directly or in one subfolder for each class."
        )
    return Layout(root, (), Samples(paths, (UNLABELLED,) * len(paths)))


def _classes(root: Path) -> tuple[tuple[str, ...], Samples]:
    """Return the classes, one for each subfolder, and their images."""
    folders = _folders(root)
    loose = _images_in(root)
    if loose and folders:
        raise InputError(
            f"{root} holds both images ({_some([path.name for path in loose])}) and class folders "
            f"({_some([folder.name for folder in folders])}); move the images into a class or elsewhere."
        )
    if not folders:
        raise InputError(
            f"{root} has no class folders; put the images of each class into a folder of its own, "
            "or take this folder away."
        )
    images = {folder: _images_below(folder) for folder in folders}
    if empty := [folder.name for folder, paths in images.items() if not paths]:
        raise InputError(f"no image for the class {_some(empty)} in {root}; add images or remove the folder.")
    if len(folders) == 1:
        raise InputError(
            f"{root} holds only one class, {folders[0].name!r}; add a second class folder, or give "
            f"folder:{folders[0]} to use its images unlabelled."
        )
    samples = [(path, label) for label, folder in enumerate(folders) for path in images[folder]]
    paths, labels = zip(*samples, strict=True)
    return tuple(folder.name for folder in folders), Samples(paths, labels)


def _named(folders: Sequence[Path], names: Sequence[str]) -> Path | None:
    """Return the folder with the first of `names`, in whatever case, or None."""
    by_name = {folder.name.lower(): folder for folder in folders}
    return next((by_name[name] for name in names if name in by_name), None)


def _folders(root: Path) -> list[Path]:
    """Return the subfolders in alphabetical order, without hidden ones and the leavings of archives."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def _images_in(root: Path) -> tuple[Path, ...]:
    """Return the images directly in a folder, in alphabetical order."""
    return tuple(sorted(path for path in root.iterdir() if _is_image(path) and path.is_file()))


def _images_below(root: Path) -> tuple[Path, ...]:
    """Return the images of a class folder and all its subfolders, in alphabetical order."""
    found = (Path(folder) / name for folder, _, names in os.walk(root, onerror=_raise) for name in names)
    return tuple(sorted(path for path in found if _is_image(path)))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in suffixes() and not path.name.startswith(".")


def _raise(error: OSError) -> None:
    raise error


def _contents(root: Path) -> str:
    names = sorted(path.name for path in root.iterdir())
    return f"only {_some(names)}" if names else "it is empty"


def _some(names: Sequence[str], most: int = 3) -> str:
    """Return the first names in quotes, and how many more there are."""
    shown = ", ".join(map(repr, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
