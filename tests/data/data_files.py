"""Bytes in the exact formats of the data sets, written by hand."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

MakeImages = Callable[..., None]


def idx_images(images: np.ndarray) -> bytes:
    return struct.pack(">IIII", 0x00000803, *images.shape) + images.astype(np.uint8).tobytes()


def idx_labels(labels: list[int]) -> bytes:
    return struct.pack(">II", 0x00000801, len(labels)) + bytes(labels)
