"""Linear layers and convolutions of packed activations: exact integer sums, or floats after an epilogue.

Positions come first and channels last, `[..., C]`; a convolution pads with the value 0 of the simulated network,
whatever the zero point is.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from hardware_models.errors import InputError
from quant.packed import library, reference
from quant.packed.activations import PackedActivation, code_zero
from quant.packed.library import Geometry, Output, pointer
from quant.packed.operands import Operand
from quant.packed.values import Steps

_BLOCK: Final = 8
_LOOKUP_BLOCK: Final = 128
_CHUNK_BYTES: Final = 2**19
_CHUNK_MOST: Final = 2048
PARALLEL_WORK = 2**15
"""Products of words, or of codes, from which waking a second thread pays."""


@dataclass(frozen=True, eq=False)
class Epilogue:
    """What follows the sums of a layer.

        y = prelu(steps(sum * scale + shift) + steps(residual) - before, slope) + after

    Each is float32 `[O]`. A ReLU is a slope of 0; ReActNet's shifted PReLU has its shifts in `before` and `after`.
    `steps` puts both operands of the sum on equal steps; without it they are added as they are.
    """

    scale: Tensor
    shift: Tensor | None = None
    slope: Tensor | None = None
    after: Tensor | None = None
    before: Tensor | None = None
    steps: Steps | None = None


def linear(
    x: PackedActivation, weight: Operand, epilogue: Epilogue | None = None, residual: Tensor | None = None
) -> Tensor:
    """Multiply activations `[..., C]` by a weight `[O, C]`.

    Returns:
        `[..., O]`, int32 sums, or float32 after an epilogue.

    Raises:
        InputError: the activation is not the one that the weight was prepared for, or a tensor has another shape.
    """
    if weight.kernel:
        raise InputError(f"linear was given the weight {list(weight.weight.shape)} of a convolution; call conv.")
    _check(x, weight)
    rows = torch.Size(x.shape[:-1]).numel()
    geometry = _geometry(weight, (rows, 1, 1), (1, 1), (1, 1), (0, 0), (1, 1))
    return _run(x, weight, geometry, (*x.shape[:-1], weight.outputs), epilogue, residual)


def conv(
    x: PackedActivation,
    weight: Operand,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    epilogue: Epilogue | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """Convolve activations `[B, *positions, C]` with a weight `[O, C / groups, *kernel]` of one or two axes.

    Returns:
        `[B, *positions, O]`, int32 sums, or float32 after an epilogue.

    Raises:
        InputError: as `linear`; or the kernel does not fit in the padded image.
    """
    axes = len(weight.kernel)
    if not axes or len(x.shape) != axes + 2:
        raise InputError(
            f"conv was given activations {list(x.shape)} and a weight {list(weight.weight.shape)}; give "
            "[B, *positions, C] with as many axes of positions as the kernel has."
        )
    _check(x, weight)
    places = [_per_axis(value, axes, least) for value, least in ((stride, 1), (padding, 0), (dilation, 1))]
    # One dimension is an image one line high.
    kernel, positions = (1,) * (2 - axes) + tuple(weight.kernel), (1,) * (2 - axes) + x.shape[1:-1]
    strides, paddings, dilations = ((*(least,) * (2 - axes), *p) for p, least in zip(places, (1, 0, 1), strict=True))
    geometry = _geometry(weight, (x.shape[0], *positions), kernel, strides, paddings, dilations)
    out = (geometry.out_height, geometry.out_width)[2 - axes :]
    if min(out) < 1:
        raise InputError(f"a kernel {list(weight.kernel)} does not fit in {list(x.shape)} with padding {padding}.")
    return _run(x, weight, geometry, (x.shape[0], *out, weight.outputs), epilogue, residual)


def scale_shift(sums: Tensor, epilogue: Epilogue, residual: Tensor | None = None) -> Tensor:
    """Apply an epilogue to int32 sums `[..., O]`; float32 `[..., O]`."""
    if sums.dtype != torch.int32 or not sums.dim():
        raise InputError(f"sums were given as {sums.dtype} {list(sums.shape)}; give int32 [..., O].")
    _check_epilogue(epilogue, residual, tuple(sums.shape))
    if not library.available():
        return reference.epilogue(sums, epilogue, residual)
    sums = sums.contiguous()
    y, output, _alive = _output(tuple(sums.shape), epilogue, residual)
    channels = sums.shape[-1]
    if y.numel():
        _keep(sums, None, 0, channels, output)
    return y


def _per_axis(value: int | Sequence[int], axes: int, least: int) -> tuple[int, ...]:
    found = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(found) != axes or not all(isinstance(v, int) and v >= least for v in found):
        raise InputError(f"{value} was given for a kernel of {axes} axes; give whole numbers from {least}, one each.")
    return found


def _check(x: PackedActivation, weight: Operand) -> None:
    if x.shape[-1] != weight.inputs or x.format != weight.format or x.layout != weight.layout:
        raise InputError(
            f"activations of {x.shape[-1]} channels, {x.format} and {x.layout} met a weight prepared for "
            f"{weight.inputs}, {weight.format} and {weight.layout}; pack them with the operand's format and layout."
        )


def _geometry(
    weight: Operand,
    image: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Geometry:
    groups = weight.layout.groups
    each = weight.inputs // groups
    out = [
        (size + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i, size in enumerate(image[1:])
    ]
    words = each if weight.layout.form == "codes" else -(-each // 64)
    work = torch.Size([image[0], *out, weight.outputs, *kernel]).numel() * words
    threads = torch.get_num_threads() if work >= PARALLEL_WORK else 1
    return Geometry(
        *image, *out, groups, weight.outputs // groups, words, *kernel, *stride, *padding, *dilation, threads
    )


def _run(
    x: PackedActivation,
    weight: Operand,
    geometry: Geometry,
    shape: tuple[int, ...],
    epilogue: Epilogue | None,
    residual: Tensor | None,
) -> Tensor:
    if epilogue is not None:
        _check_epilogue(epilogue, residual, shape)
    elif residual is not None:
        raise InputError("a residual was given without an epilogue; give an Epilogue with the scale of the sums.")
    if weight.algorithm == "reference":
        return _by_reference(x, weight, geometry, shape, epilogue, residual)
    y, output, _alive = _output(shape, epilogue, residual)
    if y.numel():
        _KERNELS[weight.algorithm](x, weight, geometry, output)
    return y


def _check_epilogue(epilogue: Epilogue, residual: Tensor | None, shape: tuple[int, ...]) -> None:
    for name in ("scale", "shift", "slope", "after", "before"):
        part = getattr(epilogue, name)
        if part is not None and (part.dtype != torch.float32 or part.shape != shape[-1:]):
            raise InputError(f"{name} was given as {part.dtype} {list(part.shape)}; give float32 [{shape[-1]}].")
    if residual is not None and (residual.dtype != torch.float32 or residual.shape != shape):
        raise InputError(f"a residual {residual.dtype} {list(residual.shape)} was given; give float32 {list(shape)}.")


def _output(
    shape: tuple[int, ...], epilogue: Epilogue | None, residual: Tensor | None
) -> tuple[Tensor, Output, list[Tensor | None]]:
    """The result, its structure, and the tensors that must live as long as that."""
    if epilogue is None:
        y = torch.empty(shape, dtype=torch.int32)
        return y, Output(sums=y.data_ptr()), [y]
    y = torch.empty(shape, dtype=torch.float32)
    parts = [epilogue.scale, epilogue.shift, residual, epilogue.before, epilogue.slope, epilogue.after]
    alive = [part if part is None else part.detach().contiguous() for part in parts]
    return y, Output(None, y.data_ptr(), *map(pointer, alive), *(epilogue.steps or ())), alive


def _bits(x: PackedActivation, weight: Operand, g: Geometry, output: Output) -> None:
    planes, extras = x.format.bits, weight.extras
    taps = g.kernel_height * g.kernel_width
    room = torch.empty(g.threads * taps * (2 + planes * _BLOCK), dtype=torch.int64)
    task = library.Bits(
        x.data.data_ptr(), weight.data.data_ptr(), extras["factors"].data_ptr(), weight.base.data_ptr(),
        pointer(weight.border), extras["zeros"].data_ptr(), room.data_ptr(), planes, weight.data.shape[2],
        weight.weight.form == "binary",
    )  # fmt: skip
    library.kernels().quant_packed_bits(g, task, output)


def _lookup(x: PackedActivation, weight: Operand, g: Geometry, output: Output) -> None:
    planes, fives = x.format.bits, weight.extras["fives"]
    positions, taps = g.batch * g.out_height * g.out_width, g.kernel_height * g.kernel_width
    # As many positions at once as keep their fives in the second-level cache.
    chunk = min(_CHUNK_MOST, max(_CHUNK_BYTES // (2 * planes * len(fives)), 1), positions)
    chunk = -(-chunk // _LOOKUP_BLOCK) * _LOOKUP_BLOCK
    codes = torch.empty(planes * chunk * len(fives), dtype=torch.int16)
    part = 51 * 4 * 64 + planes * 16 * chunk * 4 + taps * _LOOKUP_BLOCK * 8
    room = torch.empty(g.threads * part, dtype=torch.uint8)
    for group in range(g.groups):
        task = library.Lookup(
            x.data.data_ptr(), weight.data[group].data_ptr(), weight.base.data_ptr(), pointer(weight.border),
            fives.data_ptr(), len(fives), planes, x.format.factor, chunk, codes.data_ptr(), room.data_ptr(),
            weight.outputs, group * g.outputs, g.groups * g.words, group * g.words,
        )  # fmt: skip
        library.kernels().quant_packed_lookup(g, task, output)


def _int8(x: PackedActivation, weight: Operand, g: Geometry, output: Output) -> None:
    positions, taps = g.batch * g.out_height * g.out_width, g.kernel_height * g.kernel_width
    one_tap = taps * g.groups == 1 and g.stride_height * g.stride_width == 1
    in_place = one_tap and g.padding_height + g.padding_width == 0
    rows = x.data.reshape(positions, -1) if in_place else torch.empty(positions, taps * g.words, dtype=torch.int8)
    room = torch.empty(g.threads * taps, dtype=torch.int64)
    for group in range(g.groups):
        if not in_place:
            library.kernels().quant_packed_rows(
                g, x.data.data_ptr(), rows.data_ptr(), group, code_zero(x.format), room.data_ptr()
            )
        _keep(int_mm(rows, weight.data[group]), weight.base, group * g.outputs, weight.outputs, output)


def int_mm(rows: Tensor, columns: Tensor) -> Tensor:
    """Multiply int8 `[M, K]` and `[K, N]` exactly; int32 `[M, N]`."""
    if not _int_mm_is_exact():
        return (rows.double() @ columns.double()).to(torch.int32)
    if rows.shape[1] == 1:  # torch 2.13 returns what lay in memory for a single column
        rows, columns = torch.nn.functional.pad(rows, (0, 1)), torch.nn.functional.pad(columns, (0, 0, 0, 1))
    return torch._int_mm(rows, columns)


@functools.cache
def _int_mm_is_exact() -> bool:
    """Processors without int8 dot products saturate sums of two products in 16 bits."""
    rows = torch.full((32, 64), 127, dtype=torch.int8)
    for value in (-128, 127):
        found = torch._int_mm(rows, torch.full((64, 32), value, dtype=torch.int8))
        if not bool((found == 127 * value * 64).all()):
            return False
    return True


def _keep(sums: Tensor, base: Tensor | None, first: int, channels_in_all: int, output: Output) -> None:
    rows, channels = sums.shape[:-1].numel(), sums.shape[-1]
    library.kernels().quant_packed_keep(
        sums.data_ptr(), pointer(base), rows, channels, first, channels_in_all, torch.get_num_threads(), output
    )


def _depthwise(x: PackedActivation, weight: Operand, g: Geometry, output: Output) -> None:
    room = torch.empty(g.threads * g.kernel_height * g.kernel_width, dtype=torch.int64)
    library.kernels().quant_packed_depthwise(
        g, x.data.data_ptr(), weight.data.data_ptr(), weight.base.data_ptr(), code_zero(x.format), room.data_ptr(),
        output,
    )  # fmt: skip


_KERNELS: Final = {"bits": _bits, "lookup": _lookup, "int8": _int8, "depthwise": _depthwise}


def _by_reference(
    x: PackedActivation,
    weight: Operand,
    g: Geometry,
    shape: tuple[int, ...],
    epilogue: Epilogue | None,
    residual: Tensor | None,
) -> Tensor:
    q = x.integers().reshape(g.batch, g.height, g.width, -1)
    w = weight.data.reshape(weight.outputs, -1, g.kernel_height, g.kernel_width)
    stride, padding = (g.stride_height, g.stride_width), (g.padding_height, g.padding_width)
    dilation = (g.dilation_height, g.dilation_width)
    sums = reference.product(q, w, stride, padding, dilation, g.groups).reshape(shape)
    return sums if epilogue is None else reference.epilogue(sums, epilogue, residual)
