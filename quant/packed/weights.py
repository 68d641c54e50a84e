"""Weights of few bits, held as bit planes: what a network file stores and what the kernels are prepared from.

binary    one plane,  w = 2 p - 1                       {-1, 1}
ternary   two planes, w = p0 - p1                       {-1, 0, 1}
integer   k planes,   w = sum_i 2^i p_i - 2^(k-1) p_(k-1)   two's complement
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from hardware_models.errors import InputError, unknown_name

FORMS: Final = ("binary", "ternary", "integer")
_INTEGERS: Final = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True, eq=False)
class PackedWeight:
    """A weight of a layer: output channel o of it is `scale[o]` times integers of few bits.

    Attributes:
        form: `binary`, `ternary` or `integer`.
        bits: 1 for binary, 2 for ternary, 1..8 for integers.
        shape: of the weight as torch has it, `[O, C / groups, *kernel]`.
        planes: uint8 `[planes, O, ceil(n / 8)]` of n weights per output channel; bit i of byte b is weight 8 b + i.
        scale: float32 `[O]`.
    """

    form: str
    bits: int
    shape: tuple[int, ...]
    planes: Tensor
    scale: Tensor

    @classmethod
    def from_codes(cls, codes: Tensor, scale: Tensor, form: str, bits: int | None = None) -> PackedWeight:
        """Pack integers `[O, C / groups, *kernel]` with a scale for each output channel, `[O]` or one number.

        Raises:
            InputError: the form or the bits are unknown, a code does not fit, or a scale is zero, infinite or NaN.
        """
        bits = _bits_of(form, bits)
        if codes.dtype not in _INTEGERS or codes.dim() < 2 or not codes.numel():
            raise InputError(
                f"codes were given as {codes.dtype} of shape {list(codes.shape)}; give integers [O, C, *kernel]."
            )
        _check_range(codes, form, bits)
        rows = codes.detach().to("cpu", torch.int16).reshape(codes.shape[0], -1)
        planes = _pack_rows(torch.stack(_planes_of(rows, form, bits)))
        return cls(form, bits, tuple(codes.shape), planes, _scale_of(scale, codes.shape[0]))

    def codes(self) -> Tensor:
        """Return the integers, int8 of `shape`."""
        size = torch.Size(self.shape[1:]).numel()
        shifts = torch.arange(8, dtype=torch.uint8)
        bits = (self.planes.unsqueeze(-1) >> shifts & 1).flatten(-2)[..., :size].to(torch.int16)
        if self.form == "binary":
            rows = 2 * bits[0] - 1
        else:
            factors = torch.tensor(plane_factors(self.form, self.bits), dtype=torch.int16)
            rows = (bits * factors.view(-1, 1, 1)).sum(0)
        return rows.to(torch.int8).reshape(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of planes and scales."""
        return self.planes.nbytes + self.scale.nbytes

    def header(self) -> dict[str, Any]:
        """Return what is no tensor, ready for JSON."""
        return {"form": self.form, "bits": self.bits, "shape": list(self.shape)}

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors, ready for safetensors."""
        return {"planes": self.planes, "scale": self.scale}

    @classmethod
    def read(cls, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> PackedWeight:
        """Return the weight that `header` and `tensors` describe.

        Raises:
            InputError: they do not fit each other.
        """
        missing = sorted({"form", "bits", "shape"} - set(header)) + sorted({"planes", "scale"} - set(tensors))
        if missing:
            raise InputError(f"a packed weight was read without {', '.join(missing)}; write it again.")
        form, bits, shape = header["form"], _bits_of(header["form"], header["bits"]), tuple(map(int, header["shape"]))
        if len(shape) < 2 or min(shape) < 1:
            raise InputError(f"a packed weight of shape {list(shape)} was read; [O, C, *kernel] was expected.")
        planes, size = tensors["planes"], torch.Size(shape[1:]).numel()
        expected = (1 if form == "binary" else bits, shape[0], -(-size // 8))
        if planes.dtype != torch.uint8 or tuple(planes.shape) != expected:
            raise InputError(
                f"planes were read as {planes.dtype} {list(planes.shape)} for a {form} weight of {bits} bits and shape "
                f"{list(shape)}; uint8 {list(expected)} was expected."
            )
        return cls(form, bits, shape, planes.contiguous(), _scale_of(tensors["scale"], shape[0]))


def plane_factors(form: str, bits: int) -> list[int]:
    """Return what each plane of a ternary or integer weight counts for."""
    if form == "ternary":
        return [1, -1]
    return [2**i for i in range(bits - 1)] + [-(2 ** (bits - 1))]


def _bits_of(form: object, bits: int | None) -> int:
    if form not in FORMS:
        raise unknown_name("form of weight", form, FORMS)
    if form == "integer":
        if not isinstance(bits, int) or isinstance(bits, bool) or not 1 <= bits <= 8:
            raise InputError(f"integer weights of {bits} bits were asked for; give 1 to 8 bits.")
        return bits
    own = 1 if form == "binary" else 2
    if bits not in (None, own):
        raise InputError(f"{form} weights of {bits} bits were asked for; they have {own}, leave bits out.")
    return own


def _check_range(codes: Tensor, form: str, bits: int) -> None:
    low, high = (-1, 1) if form != "integer" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    found = codes.aminmax()
    zeros = form == "binary" and bool((codes == 0).any())
    if int(found.min) < low or int(found.max) > high or zeros:
        given = "0" if zeros else f"{int(found.min)}..{int(found.max)}"
        expected = "-1 and 1" if form == "binary" else f"{low}..{high}"
        raise InputError(f"codes of {given} were given for {form} weights; quantize them to {expected} first.")


def _planes_of(rows: Tensor, form: str, bits: int) -> list[Tensor]:
    if form == "binary":
        return [rows > 0]
    if form == "ternary":
        return [rows > 0, rows < 0]
    return [(rows >> i & 1).bool() for i in range(bits)]


def _pack_rows(bits: Tensor) -> Tensor:
    """Pack bool `[planes, O, n]` into bytes."""
    padded = torch.nn.functional.pad(bits.to(torch.uint8), (0, -bits.shape[-1] % 8)).unflatten(-1, (-1, 8))
    return (padded << torch.arange(8, dtype=torch.uint8)).sum(-1, dtype=torch.uint8)


def _scale_of(scale: Tensor, outputs: int) -> Tensor:
    if not scale.is_floating_point() or scale.numel() not in (1, outputs):
        raise InputError(
            f"a scale was given as {scale.dtype} {list(scale.shape)}; give one number, or one for each of the "
            f"{outputs} output channels, as floats."
        )
    flat = scale.detach().to("cpu", torch.float32).reshape(-1)
    wrong = int((~torch.isfinite(flat) | (flat == 0)).sum())
    if wrong:
        raise InputError(f"{wrong} of {flat.numel()} scales are 0, infinite or NaN; calibrate the layer again.")
    return flat.expand(outputs).contiguous()
