"""Recordings in one folder for each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hardware_models.errors import InputError
from neuro.data.events.event_split import Sample


def subfolder(root: Path, names: Sequence[str], what: str) -> Path:
    """Return the first of the folders `root/name` that there is; the name "" stands for `root` itself.

    Raises:
        InputError: there is none of them; `what` names the data set.
    """
    for name in names:
        if (root / name).is_dir():
            return root / name
    wanted = ", ".join(str(root / name) for name in names)
    raise InputError(f"{what} is not in {root}: there is no folder {wanted}; give the folder that holds it.")


def class_names(root: Path) -> tuple[str, ...]:
    """Return the names of the subfolders in alphabetical order, without hidden ones.

    Raises:
        InputError: there is no such folder, it may not be read, or it has fewer than two.
    """
    names = sorted(path.name for path in _entries(root) if path.is_dir() and not path.name.startswith((".", "__")))
    if len(names) < 2:
        raise InputError(f"{root} has {len(names)} class folders; make one for each class, at least two.")
    return tuple(names)


def class_samples(root: Path, classes: Sequence[str], endings: Sequence[str]) -> list[Sample]:
    """Return the recordings `root/CLASS/*` with one of the endings, by class and in alphabetical order.

    Raises:
        InputError: a class has no folder or no recording, or a folder may not be read.
    """
    missing = [name for name in classes if not (root / name).is_dir()]
    if missing:
        raise InputError(f"{root} lacks the class folders {', '.join(missing)}; fetch the data again.")
    samples = []
    for label, name in enumerate(classes):
        found = sorted(path for path in _entries(root / name) if _is_recording(path, endings))
        if not found:
            raise InputError(f"{root / name} holds no recording ({', '.join(endings)}); fetch the data again.")
        samples += [Sample(path, label) for path in found]
    return samples


def _is_recording(path: Path, endings: Sequence[str]) -> bool:
    return path.suffix.lower() in endings and not path.name.startswith(".")


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise InputError(f"cannot look into {folder} ({error.strerror}); give a folder that is there.") from error
