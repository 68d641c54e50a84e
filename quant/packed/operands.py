"""Weights laid out for the kernels.

What a product adds apart from the packed part is known beforehand. With q = factor * u - zero_point,

    sum q w = factor * sum u w - zero_point * sum w,

and a tap in the padding, read as u = 0, has to bring 0 and not -zero_point * w: `base` holds the second term for
each output channel, `border` what is given back for each tap.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from hardware_models.errors import InputError, unknown_name
from quant.packed import library, plan
from quant.packed.activations import ActivationFormat, Layout, code_zero
from quant.packed.weights import PackedWeight, plane_factors

_TILE = 16
_FIVES = 13


@dataclass(frozen=True, eq=False)
class Operand:
    """A weight prepared for one algorithm and one format of activations.

    Attributes:
        weight: what it was prepared from.
        algorithm: one of `plan.ALGORITHMS`, or `reference` where nothing could be compiled.
        format: of the activation that it takes.
        layout: of the activation that it takes.
        kernel: sizes of the kernel, () for a linear layer.
        data: the weight as the algorithm reads it.
        base: int32 `[O]`.
        border: int32 `[taps, O]`; None where the zero point is 0 or the padding holds it.
        extras: further tensors of the algorithm.
    """

    weight: PackedWeight
    algorithm: str
    format: ActivationFormat
    layout: Layout
    kernel: tuple[int, ...]
    data: Tensor
    base: Tensor
    border: Tensor | None
    extras: dict[str, Tensor] = field(default_factory=dict)

    @property
    def outputs(self) -> int:
        """Output channels of all groups."""
        return self.weight.shape[0]

    @property
    def inputs(self) -> int:
        """Input channels of all groups."""
        return self.weight.shape[1] * self.layout.groups


def prepare(
    weight: PackedWeight,
    form: ActivationFormat,
    groups: int = 1,
    positions: int = 1024,
    algorithm: str | None = None,
) -> Operand:
    """Lay out a weight `[O, C / groups, *kernel]` for activations of a format.

    Args:
        weight: of a linear layer or a convolution of one or two dimensions.
        form: of the activations.
        groups: of the convolution.
        positions: about how many output positions (rows) a call will have: with few, other algorithms are faster.
        algorithm: instead of the one that `plan` chooses.

    Raises:
        InputError: the shape fits no layer, sums could pass 32 bits, or the algorithm cannot run here.
    """
    if not 2 <= len(weight.shape) <= 4 or groups < 1 or weight.shape[0] % groups:
        raise InputError(
            f"a weight {list(weight.shape)} with {groups} groups was given; give [O, C / groups] with a kernel of up "
            "to two axes and groups that divide O."
        )
    chosen = algorithm or _choose(weight, form, groups, positions)
    if chosen not in (*plan.ALGORITHMS, "reference"):
        raise unknown_name("algorithm", chosen, plan.ALGORITHMS)
    codes = weight.codes().flatten(2) if len(weight.shape) > 2 else weight.codes().unsqueeze(-1)
    _check_sums(codes, form)
    if chosen == "depthwise" and codes.shape[:2] != (groups, 1):
        raise InputError(f"depthwise was asked of a weight {list(weight.shape)} with {groups} groups; leave it open.")
    if not library.available():
        chosen = "reference"
    as_codes = chosen in ("int8", "depthwise")
    layout = Layout("codes" if as_codes else "bits", groups)
    zero = code_zero(form) if as_codes else form.zero_point
    base = -zero * codes.sum((1, 2), dtype=torch.int32)
    # int8 codes hold the zero point in the padding themselves.
    border = zero * codes.sum(1, dtype=torch.int32).t().contiguous() if zero and not as_codes else None
    data, extras, more = _LAYOUTS[chosen](weight, codes, form, groups)
    return Operand(weight, chosen, form, layout, weight.shape[2:], data, base + more, border, extras)


def _choose(weight: PackedWeight, form: ActivationFormat, groups: int, positions: int) -> str:
    if weight.shape[:2] == (groups, 1) and groups > 1:
        return "depthwise"
    return plan.choose(len(weight.planes), form.bits, positions, library.looks_up_fast())


def _check_sums(codes: Tensor, form: ActivationFormat) -> None:
    highest = form.factor * (2**form.bits - 1) - form.zero_point
    largest = int(codes.to(torch.int64).abs().sum((1, 2)).max()) * max(abs(highest), form.zero_point)
    if largest >= 2**31:
        raise InputError(
            f"sums up to {largest} do not fit in 32 bits; use fewer bits or split the {codes[0].numel()} inputs."
        )


_Laid = tuple[Tensor, dict[str, Tensor], Tensor | int]


def _as_bits(weight: PackedWeight, codes: Tensor, form: ActivationFormat, groups: int) -> _Laid:
    """int64 `[groups, tiles, planes, taps, words, 16]`.

    Binary weights take XOR: with p the plane of w, and planes u_i of u,
    sum u w = sum_i 2^i (popcount(p) - popcount(u_i ^ p)).
    """
    binary = weight.form == "binary"
    if binary:
        planes, counts = (codes > 0).unsqueeze(0), [-1]
    else:
        counts = plane_factors(weight.form, weight.bits)
        planes = _planes(codes, weight)
    words = _words(planes.transpose(-1, -2))  # [planes, O, taps, words]
    each = weight.shape[0] // groups
    tiles = torch.nn.functional.pad(words.unflatten(1, (groups, each)), (0, 0, 0, 0, 0, -each % _TILE))
    tiles = tiles.unflatten(2, (-1, _TILE)).permute(1, 2, 0, 4, 5, 3).contiguous()
    powers = torch.tensor([form.factor * 2**i for i in range(form.bits)])
    factors = powers.view(-1, 1) * torch.tensor(counts)
    extras = {"factors": factors.contiguous(), "zeros": torch.zeros(words.shape[-1], dtype=torch.int64)}
    more = form.factor * (2**form.bits - 1) * planes[0].sum((1, 2), dtype=torch.int32) if binary else 0
    return tiles, extras, more


def _planes(codes: Tensor, weight: PackedWeight) -> Tensor:
    """Bool `[planes, O, C / groups, taps]`."""
    if weight.form == "ternary":
        return torch.stack([codes > 0, codes < 0])
    return torch.stack([(codes >> i & 1).bool() for i in range(weight.bits)])


def _words(bits: Tensor) -> Tensor:
    """Pack bool `[..., C]` into int64 `[..., ceil(C / 64)]`."""
    padded = torch.nn.functional.pad(bits.to(torch.int64), (0, -bits.shape[-1] % 64)).unflatten(-1, (-1, 64))
    return (padded << torch.arange(64)).sum(-1)


def _as_lookup(weight: PackedWeight, codes: Tensor, form: ActivationFormat, groups: int) -> _Laid:
    """int8 `[groups, O / groups up to a multiple of 16, fives, 6]`, the last 0; and which five each is."""
    outputs, channels, taps = codes.shape
    words = -(-channels // 64)
    spread = torch.zeros(outputs, taps, words, _FIVES * 5, dtype=torch.int8)
    padded = torch.nn.functional.pad(codes.transpose(1, 2), (0, -channels % 64))
    spread[..., :64] = padded.unflatten(-1, (words, 64))
    used = torch.arange(words).view(-1, 1) * 64 + torch.arange(_FIVES) * 5 < channels
    fives = used.expand(taps, -1, -1).flatten().nonzero().flatten()
    rows = spread.reshape(outputs, -1, 5)[:, fives]
    each = outputs // groups
    rows = torch.nn.functional.pad(rows.unflatten(0, (groups, each)), (0, 0, 0, 0, 0, -each % _TILE))
    rows = torch.nn.functional.pad(rows, (0, 1))
    return rows.contiguous(), {"fives": fives.contiguous()}, 0


def _as_int8(weight: PackedWeight, codes: Tensor, form: ActivationFormat, groups: int) -> _Laid:
    """int8 `[groups, taps * C / groups, O / groups]`."""
    rows = codes.transpose(1, 2).flatten(1).unflatten(0, (groups, -1))
    return rows.transpose(1, 2).contiguous(), {}, 0


def _as_depthwise(weight: PackedWeight, codes: Tensor, form: ActivationFormat, groups: int) -> _Laid:
    """int8 `[taps, C]`."""
    return codes[:, 0].t().contiguous(), {}, 0


def _as_reference(weight: PackedWeight, codes: Tensor, form: ActivationFormat, groups: int) -> _Laid:
    return codes, {}, 0


_LAYOUTS = {
    "bits": _as_bits,
    "lookup": _as_lookup,
    "int8": _as_int8,
    "depthwise": _as_depthwise,
    "reference": _as_reference,
}
