"""The idx format of MNIST and its relatives: a big-endian header, then unsigned bytes.

Header: two zero bytes, a type byte (8: unsigned byte), the number of dimensions, then each dimension as a
32-bit integer. Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", 1998.
"""

from __future__ import annotations

import gzip
import zlib
from math import prod
from pathlib import Path

import numpy as np

from hardware_models.errors import InputError

UNSIGNED_BYTE = 0x08


def read_bytes(path: Path) -> bytes:
    """Return the content of an idx file, unpacked when it is gzip-compressed.

    Raises:
        InputError: the file is missing, not permitted, or a damaged or truncated gzip file.
    """
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} is damaged or truncated ({_reason(error)}); delete it and fetch it again.") from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); check that it exists and is yours to read."
        ) from error


def parse(content: bytes, dimensions: int, path: Path) -> np.ndarray:
    """Return the array that an idx file of unsigned bytes holds.

    Args:
        content: the unpacked file.
        dimensions: how many the file must have: 1 for labels, 3 for images.
        path: where it came from, for the messages.

    Returns:
        uint8 array, `[N]` for labels, `[N, H, W]` for images; read-only, it shares the memory of `content`.

    Raises:
        InputError: another magic number, no data, or more or fewer bytes than the header announces.
    """
    magic = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if content[:4] != magic:
        raise InputError(
            f"{path} is not an idx file of {dimensions}-dimensional bytes: it begins with "
            f"{content[:4].hex(' ') or 'nothing'}, not {magic.hex(' ')}; give the file of that name."
        )
    start = 4 + 4 * dimensions
    shape = tuple(np.frombuffer(content[4:start], dtype=">u4").tolist()) if len(content) >= start else ()
    if not shape or not prod(shape) or len(content) - start != prod(shape):
        announced = "x".join(map(str, shape)) or "a complete header"
        raise InputError(
            f"{path} announces {announced} but holds {max(len(content) - start, 0)} bytes of data; "
            "it is truncated or damaged: fetch it again."
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def check_labelled(
    images: np.ndarray, labels: np.ndarray, paths: tuple[Path, Path], what: str, side: int, classes: int
) -> None:
    """Refuse images of another size, labels of another count, and labels that are no class.

    Args:
        images: `[N, H, W]`.
        labels: `[N]`.
        paths: of the images and of the labels, for the messages.
        what: the data set.
        side: height and width of its images.
        classes: how many it has.
    """
    if images.shape[1:] != (side, side):
        height, width = images.shape[1:]
        raise InputError(f"{paths[0]} holds images of {height}x{width}, not {side}x{side}; give the files of {what}.")
    if len(images) != len(labels):
        raise InputError(
            f"{paths[0]} holds {len(images)} images but {paths[1]} holds {len(labels)} labels; "
            "give the two files of one release."
        )
    if labels.max() >= classes:
        raise InputError(
            f"{paths[1]} holds the label {labels.max()}, but {what} has the classes 0 to {classes - 1}; give its own "
            "label file."
        )


def _reason(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__
