"""Where the four files of Fashion-MNIST are: found on this machine, or downloaded with a checksum.

Kept apart from `fashion_mnist.py` because telling whether the data are here must not wait for torch.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from hardware_models.errors import InputError
from neuro.data.download import DownloadError, cache_folder, download

PARTS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

# The addresses and the MD5 of the .gz files are those of https://github.com/zalandoresearch/fashion-mnist
MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
)
PUBLISHED_MD5 = {
    "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
}
# SHA-256 of the unpacked files. Debian strips name and date from the gzip headers, so its .gz files have
# other checksums; with name and date put back they have the published MD5, which is how these were verified.
CONTENT_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}

DATA_VARIABLE = "NEURO_DATA"
SHARED_FOLDERS = (Path("/usr/share/datasets"), Path("/usr/local/share/datasets"), Path("/opt/datasets"))
# Debian's and this package's own layout, torchvision's layout, and the files themselves.
LAYOUTS = ("fashion-mnist", "FashionMNIST/raw", "")
HOW_TO_GET = (
    "install Debian's package dataset-fashion-mnist, or put the four files "
    f"{', '.join(f'{part}.gz' for part in PARTS)} into a folder and give fashion-mnist:FOLDER "
    f"(or set {DATA_VARIABLE} to it)"
)

Files = Mapping[str, Path]


def find() -> Files | None:
    """Return the path of each part in the first place that has all four, or None.

    Looks in `$NEURO_DATA`, in the share folders of the system, and in the user's cache.
    """
    own = os.environ.get(DATA_VARIABLE)
    places = [Path(own).expanduser()] if own else []
    for place in (*places, *SHARED_FOLDERS, cache_folder()):
        if files := _complete(place):
            return files
    return None


def find_in(folder: Path) -> Files:
    """Return the path of each part in the folder that the user gave.

    Raises:
        InputError: no such folder, or a part is missing from it.
    """
    if files := _complete(folder):
        return files
    if not os.path.isdir(folder):  # noqa: PTH112 - see _is_file
        raise InputError(f"{folder} is not a folder; to have Fashion-MNIST, {HOW_TO_GET}.")
    missing = [f"{part}.gz" for part in PARTS if _part(folder, part) is None]
    raise InputError(f"{folder} lacks {', '.join(missing)}; put all four files of Fashion-MNIST into it.")


def find_or_download() -> Files:
    """Return the path of each part, after downloading the parts into the user's cache if they are nowhere.

    Raises:
        InputError: not on this machine and not to be had.
        RunError: the cache cannot be written.
    """
    return find() or fetch(cache_folder() / "fashion-mnist")


def fetch(folder: Path, mirrors: Sequence[str] = MIRRORS, md5: Mapping[str, str] = PUBLISHED_MD5) -> Files:
    """Download the parts that `folder` lacks; return the path of each.

    Raises:
        InputError: they are not to be had; says what to do instead.
        RunError: `folder` cannot be written.
    """
    for part in PARTS:
        target = folder / f"{part}.gz"
        if not _is_file(target):
            try:
                download([f"{mirror}/{part}.gz" for mirror in mirrors], target, md5[part])
            except DownloadError as error:
                raise InputError(
                    f"Fashion-MNIST is not on this machine and cannot be downloaded ({error}); {HOW_TO_GET}."
                ) from error
    return {part: folder / f"{part}.gz" for part in PARTS}


def is_published(part: str, content: bytes) -> bool:
    """Whether the unpacked `content` is the published one, byte for byte."""
    return hashlib.sha256(content).hexdigest() == CONTENT_SHA256[part]


def _complete(place: Path) -> Files | None:
    """Return the path of each part in one of the known layouts under `place`, or None."""
    for layout in LAYOUTS:
        found = {part: path for part in PARTS if (path := _part(place / layout, part))}
        if len(found) == len(PARTS):
            return found
    return None


def _part(folder: Path, part: str) -> Path | None:
    """Return the path of a part, compressed or not, if it is in `folder`."""
    for path in (folder / f"{part}.gz", folder / part):
        if _is_file(path):
            return path
    return None


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises in a folder that may not be entered
