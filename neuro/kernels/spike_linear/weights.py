"""Weights as the products of spikes take them: floats, int8, or bit planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hardware_models.errors import InputError
from neuro.kernels.bitpack import pack_words, unpack_words

Form = Literal["float", "int8", "ternary", "binary"]


@dataclass(frozen=True, eq=False)
class SpikeWeight:
    """A weight matrix `[N, K]` in one of four forms; make it with the functions below.

    Attributes:
        form: what the planes hold.
        planes: `float` and `int8`: the matrix. `ternary`: int32 words `[N, ceil(K/32)]` of the +1 and of the -1.
            `binary`: words of the +1; all others are -1.
        scale: per output `[N]`, or None for integer results.
        inputs: K.
        input_major: the matrix `[K, N]` of `float` and `int8`, from which a spike selects a row; None does without.
    """

    form: Form
    planes: tuple[Tensor, ...]
    scale: Tensor | None
    inputs: int
    input_major: Tensor | None = None

    @property
    def outputs(self) -> int:
        """N."""
        return self.planes[0].shape[0]

    def dense(self) -> Tensor:
        """Return the matrix `[N, K]` without its scale: floats as they are, integers as int8."""
        if self.form in ("float", "int8"):
            return self.planes[0]
        plus, *minus = [unpack_words(plane, self.inputs, torch.uint8).to(torch.int8) for plane in self.planes]
        return plus - minus[0] if minus else 2 * plus - 1


def float_weight(weight: Tensor, event_driven: bool = True) -> SpikeWeight:
    """Prepare floating-point `[N, K]`; `event_driven` keeps a second copy, `[K, N]`, that pays at low firing rates."""
    _check_matrix(weight, weight.dtype.is_floating_point, "floating-point")
    return SpikeWeight("float", (weight,), None, weight.shape[1], weight.t().contiguous() if event_driven else None)


def int8_weight(weight: Tensor, scale: Tensor | None = None, event_driven: bool = False) -> SpikeWeight:
    """Prepare int8 `[N, K]` with a scale `[N]` or without."""
    _check_matrix(weight, weight.dtype == torch.int8, "int8")
    input_major = weight.t().contiguous() if event_driven else None
    return SpikeWeight("int8", (weight.contiguous(),), _checked_scale(scale, weight), weight.shape[1], input_major)


def ternary_weight(weight: Tensor, scale: Tensor | None = None) -> SpikeWeight:
    """Pack `[N, K]` of -1, 0 and 1 into two bit planes."""
    _check_matrix(weight, bool(torch.isin(weight, weight.new_tensor([-1, 0, 1])).all()), "-1, 0 or 1")
    planes = (pack_words(weight > 0), pack_words(weight < 0))
    return SpikeWeight("ternary", planes, _checked_scale(scale, weight), weight.shape[1])


def binary_weight(weight: Tensor, scale: Tensor | None = None) -> SpikeWeight:
    """Pack `[N, K]` of -1 and 1 into one bit plane."""
    _check_matrix(weight, bool((weight.abs() == 1).all()), "-1 or 1")
    return SpikeWeight("binary", (pack_words(weight > 0),), _checked_scale(scale, weight), weight.shape[1])


def _check_matrix(weight: Tensor, fits: bool, wanted: str) -> None:
    if weight.dim() != 2 or not fits:
        shape = tuple(weight.shape)
        raise InputError(f"a weight was given as {weight.dtype} of shape {shape}; give [N, K] of {wanted}.")


def _checked_scale(scale: Tensor | None, weight: Tensor) -> Tensor | None:
    if scale is not None and scale.shape != weight.shape[:1]:
        shape = tuple(scale.shape)
        raise InputError(f"a scale of shape {shape} was given for {weight.shape[0]} outputs; give one each.")
    return scale
