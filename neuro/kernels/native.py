"""The compiled kernels of this package: the `native.c` of each operator's folder (`quant.native` compiles them)."""

from __future__ import annotations

import ctypes
from typing import Final

from quant import native
from quant.native import FLAGS, NativeError

__all__ = ["FLAGS", "NativeError", "library", "why_not"]

_PACKAGE: Final = "neuro.kernels"


def library() -> ctypes.CDLL:
    """Return the loaded kernels, compiled if need be.

    Raises:
        NativeError: there is no compiler, it fails, or the cache cannot be written.
    """
    return native.compiled(_PACKAGE)


def why_not() -> str:
    """Return why there are no native kernels here; empty where there are."""
    return native.why_not(_PACKAGE)
