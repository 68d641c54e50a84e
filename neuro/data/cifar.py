"""What CIFAR-10 and CIFAR-100 share: their published versions, in folders or archives, and the records in them.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, and the page of the data sets,
which publishes each as binary records and as pickles for Python, with the MD5 of both archives.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hardware_models.errors import InputError
from neuro.data.archives import read_members
from neuro.data.batching import check_image_size
from neuro.data.pickled_arrays import loads

STORED_SIZE = 32
PIXELS = 3 * STORED_SIZE**2
Files = dict[str, bytes]


@dataclass(frozen=True)
class Version:
    """One published version of the data.

    Attributes:
        names: its files with images, all of which must be there.
        more: files that are read where they are there.
        folder: what its archive unpacks to.
        archive: name of its archive.
        md5: published checksum of the archive.
    """

    names: tuple[str, ...]
    more: tuple[str, ...]
    folder: str
    archive: str
    md5: str


def check_size(image_size: int, what: str) -> None:
    """Refuse images of another size than 32."""
    if check_image_size(image_size, STORED_SIZE, what) != STORED_SIZE:
        raise InputError(f"{what} has images of 32x32, not of {image_size}x{image_size}; give an image size of 32.")


def find(place: Path, versions: Sequence[Version]) -> tuple[Version, Files, Path] | None:
    """Return the first version found, the content of its files, and where they are; None where a folder has none.

    Args:
        place: a folder with the files of a version, with the folder that its archive unpacks to, or with its archive;
            or the archive itself.
        versions: those to look for, in this order, files before archives.

    Raises:
        InputError: no such place, a file that is no published archive, a file or archive that is damaged, or an
            archive with another checksum.
    """
    if place.is_file():
        return _in_archive(place, versions)
    if not place.is_dir():
        raise InputError(f"there is no {place}; give the folder with the files, or their archive.")
    for version in versions:
        for folder in (place, place / version.folder):
            if all((folder / name).is_file() for name in version.names):
                return version, _in_folder(folder, version), folder
    for version in versions:
        if (place / version.archive).is_file():
            return _in_archive(place / version.archive, versions)
    return None


def incomplete(folder: Path, forms: Mapping[str, Collection[str]], versions: Sequence[Version]) -> InputError:
    """Return the error that names what a folder lacks of the form of which it holds most.

    Args:
        folder: where the files should be.
        forms: the files of each form, by its description.
        versions: those whose archives can be given instead.
    """
    lacking = {form: [name for name in names if not (folder / name).is_file()] for form, names in forms.items()}
    nearest = max(forms, key=lambda form: len(forms[form]) - len(lacking[form]))
    return InputError(
        f"{folder} lacks {', '.join(lacking[nearest])} of {nearest}; put them into it, or one of the archives "
        f"{' and '.join(version.archive for version in versions)}."
    )


def parse_binary(content: bytes, where: object, label_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images `[N, 3, 32, 32]` uint8 and labels `[N]` uint8 of records of labels and 3,072 pixels by channel.

    Args:
        content: the file.
        where: its name, for the messages.
        label_bytes: labels of one record, the last of which is taken.

    Raises:
        InputError: no whole number of records.
    """
    size = label_bytes + PIXELS
    if not content or len(content) % size:
        raise InputError(f"{where} holds {len(content)} bytes, no whole number of records of {size:,}; fetch it again.")
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    return records[:, label_bytes:].reshape(-1, 3, STORED_SIZE, STORED_SIZE), records[:, label_bytes - 1]


def parse_pickle(content: bytes, where: object, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images `[N, 3, 32, 32]` uint8 and labels `[N]` int64 of a pickle for Python, which is not unpickled.

    Args:
        content: the file: a dict with `data [N, 3072]` and a list of labels.
        where: its name, for the messages.
        labels: key of that list.

    Raises:
        InputError: damaged, or something else.
    """
    held = parse_dict(content, where)
    images, found = held.get("data"), held.get(labels)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (PIXELS,):
        raise InputError(f"{where} holds no 'data' of 3,072 bytes an image; give the file of the version for Python.")
    if not isinstance(found, list) or len(found) != len(images) or not all(type(label) is int for label in found):
        raise InputError(f"{where} holds no list {labels!r} of {len(images)} numbers; fetch it again.")
    return images.reshape(-1, 3, STORED_SIZE, STORED_SIZE), np.asarray(found, np.int64)


def parse_dict(content: bytes, where: object) -> dict[str, Any]:
    """Return the dict that a pickle holds, its keys as str.

    Raises:
        InputError: damaged, or no dict.
    """
    held = loads(content, where)
    if not isinstance(held, dict):
        raise InputError(f"{where} holds a {type(held).__name__}, not a dict; fetch it again.")
    return {key.decode("latin-1") if isinstance(key, bytes) else str(key): value for key, value in held.items()}


def joined(
    parts: Sequence[tuple[np.ndarray, np.ndarray]], where: object, what: str, classes: int
) -> tuple[Tensor, Tensor]:
    """Return the images `[N, 3, 32, 32]` uint8 and labels `[N]` int64 of several files together.

    Raises:
        InputError: a label that is no class.
    """
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if labels.min() < 0 or labels.max() >= classes:
        wrong = labels.max() if labels.max() >= classes else labels.min()
        raise InputError(
            f"{where} holds the label {wrong}, but {what} has the classes 0 to {classes - 1}; fetch it again."
        )
    return torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))


def _in_folder(folder: Path, version: Version) -> Files:
    paths = [folder / name for name in (*version.names, *version.more)]
    try:
        return {path.name: path.read_bytes() for path in paths if path.is_file()}
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read ({error.strerror}); permit it.") from error


def _in_archive(path: Path, versions: Sequence[Version]) -> tuple[Version, Files, Path]:
    version = next((version for version in versions if version.archive == path.name), None)
    if version is None:
        names = " or ".join(version.archive for version in versions)
        raise InputError(f"{path} is none of the published archives; give {names}, or the folder it unpacks to.")
    files = read_members(path, {*version.names, *version.more}, version.md5)
    _check_complete(path, files, version.names)
    return version, files, path


def _check_complete(path: Path, files: Files, names: Collection[str]) -> None:
    if missing := [name for name in names if name not in files]:
        raise InputError(f"{path} lacks {', '.join(missing)}; fetch it again.")
