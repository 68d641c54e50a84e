"""The compiled kernels of `kernels/*.c`: their structures and functions."""

from __future__ import annotations

import ctypes
import functools
import logging
from typing import Final

from torch import Tensor

from quant import native

LOGGER: Final = logging.getLogger(__name__)
_PACKAGE: Final = "quant.packed"
_POINTER, _NUMBER, _FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float


def _fields(**kinds: str) -> list[tuple[str, type]]:
    kind_of = {"pointers": _POINTER, "numbers": _NUMBER, "floats": _FLOAT}
    return [(name, kind_of[kind.split("_")[0]]) for kind, names in kinds.items() for name in names.split()]


class Geometry(ctypes.Structure):
    """`Geometry` of shared.h."""

    _fields_ = _fields(
        numbers="batch height width out_height out_width groups outputs words kernel_height kernel_width "
        "stride_height stride_width padding_height padding_width dilation_height dilation_width threads"
    )


class Output(ctypes.Structure):
    """`Output` of shared.h."""

    _fields_ = _fields(
        pointers="sums values scale shift residual before slope after", floats="step zero_point low high"
    )


class Bits(ctypes.Structure):
    """`Bits` of bits.c."""

    _fields_ = _fields(
        pointers="activations tiles factors base border zeros room",
        numbers="activation_planes weight_planes exclusive",
    )


class Lookup(ctypes.Structure):
    """`Lookup` of lookup.c."""

    _fields_ = _fields(
        pointers="activations weights base border fives",
        numbers="count planes factor positions",
        pointers_more="codes room",
        numbers_more="channels first_channel words_in_all first_word",
    )


class Pack(ctypes.Structure):
    """`Pack` of pack.c."""

    _fields_ = _fields(
        pointers="x threshold bits codes",
        numbers="kind batch channels size channel_first groups planes step offset threads",
        floats="scale zero_point low high first",
    )


class Round(ctypes.Structure):
    """`Round` of values.c."""

    _fields_ = _fields(pointers="x y", numbers="count threads", floats="scale zero_point low high")


class Fire(ctypes.Structure):
    """`Fire` of values.c."""

    _fields_ = _fields(
        pointers="current spikes", numbers="timesteps count integer threads", floats="threshold leak step low high"
    )


def pointer(tensor: Tensor | None) -> int | None:
    """Return the address of a contiguous tensor; None for none."""
    return None if tensor is None else tensor.data_ptr()


@functools.cache
def kernels() -> ctypes.CDLL:
    """Return the library with its functions declared.

    Raises:
        NativeError: there is none here.
    """
    library, structure = native.compiled(_PACKAGE), ctypes.POINTER
    library.quant_packed_pack.argtypes = [structure(Pack)]
    library.quant_packed_pack.restype = _NUMBER
    library.quant_packed_bits.argtypes = [structure(Geometry), structure(Bits), structure(Output)]
    library.quant_packed_lookup.argtypes = [structure(Geometry), structure(Lookup), structure(Output)]
    library.quant_packed_lookup_is_fast.restype = _NUMBER
    library.quant_packed_rows.argtypes = [structure(Geometry), _POINTER, _POINTER, _NUMBER, _NUMBER, _POINTER]
    library.quant_packed_depthwise.argtypes = [
        structure(Geometry), _POINTER, _POINTER, _POINTER, _NUMBER, _POINTER, structure(Output),
    ]  # fmt: skip
    library.quant_packed_keep.argtypes = [_POINTER, _POINTER, *[_NUMBER] * 5, structure(Output)]
    library.quant_packed_round.argtypes = [structure(Round)]
    library.quant_packed_fire.argtypes = [structure(Fire)]
    for name in ("bits", "lookup", "rows", "depthwise", "keep", "round", "fire"):
        getattr(library, f"quant_packed_{name}").restype = None
    return library


@functools.cache
def available() -> bool:
    """Whether the kernels can run here; where not, the reason is logged once and the reference takes their place."""
    reason = native.why_not(_PACKAGE)
    if reason:
        LOGGER.warning("packed inference runs by its slow reference: %s", reason)
    return not reason


@functools.cache
def looks_up_fast() -> bool:
    """Whether the processor permutes 16-bit lanes (AVX-512BW), without which looking sums up is slow."""
    return available() and bool(kernels().quant_packed_lookup_is_fast())
