"""Unpacking LZ4 frames and Zstandard, by packages that are installed or by Python's own library where it can."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from hardware_models.errors import InputError

Unpack = Callable[[bytes], bytes]


def unpacker(number: int, what: str) -> Unpack:
    """Return what unpacks the compression `number` of AEDAT 4: 0 none, 1 and 2 LZ4, 3 and 4 Zstandard.

    It raises ValueError for damaged data.

    Raises:
        InputError: an unknown number, or the package that it needs is not installed; `what` names the file.
    """
    if number == 0:
        return bytes
    if number in (1, 2):
        return _checked(_module("lz4.frame", "lz4", what).decompress)
    if number in (3, 4):
        return _zstandard(what)
    raise InputError(f"{what} is compressed by the unknown method {number}; record it uncompressed, with LZ4 or ZSTD.")


def _zstandard(what: str) -> Unpack:
    try:  # from Python 3.14 on
        return _checked(importlib.import_module("compression.zstd").decompress)
    except ModuleNotFoundError:
        module = _module("zstandard", "zstandard", what)
    # An unpacking object, since a packet need not state its unpacked size.
    return _checked(lambda packed: module.ZstdDecompressor().decompressobj().decompress(packed))


def _module(name: str, package: str, what: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{what} is compressed, and the package {package} that unpacks it is not installed; pip install {package}."
        ) from error


def _checked(unpack: Unpack) -> Unpack:
    def unpacked(packed: bytes) -> bytes:
        try:
            return unpack(packed)
        except Exception as error:  # each package has exceptions of its own
            raise ValueError(str(error)) from error

    return unpacked
