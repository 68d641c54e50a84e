"""Loop bounds of the products in an ONNX graph: convolutions and matrix products."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, NoReturn

from hardware_models.errors import InputError
from hardware_models.inputs.onnx_model import Model, elements, label
from hardware_models.workload import Bounds, Operator


class Sizes(NamedTuple):
    """A product's operator, its bounds in one run, and how often it runs for one sample."""

    operator: Operator
    bounds: Bounds
    runs: int = 1


def convolution(model: Model, node: Any, tensors: list[str], batch: int) -> Sizes:
    """Return the sizes of a (transposed) convolution of `[N, C, ...]` by `[outputs, C / groups, ...]`."""
    x, w = (model.shape(tensor, node) for tensor in tensors)
    out = model.shape(node.output[0], node)
    axes = len(x) - 2
    if axes < 1 or len(w) != len(x) or len(out) != len(x):
        _refuse(model, node, f"convolves sizes {x} with {w}")
    transposed = node.op_type == "ConvTranspose"
    kernel = w[2:]
    stride = _ints(node, "strides") or (1,) * axes
    dilation = _ints(node, "dilations") or (1,) * axes
    groups = (_ints(node, "group") or (1,))[0]
    if min(len(stride), len(dilation)) != axes or min(*stride, *dilation, groups) < 1:
        _refuse(model, node, f"has strides {stride}, dilations {dilation} and {groups} groups")
    if x[1] % groups or out[1] % groups:
        _refuse(model, node, f"has {x[1]} input and {out[1]} output channels in {groups} groups")
    bounds = Bounds(
        groups=groups,
        in_channels=x[1],
        out_channels=out[1],
        in_size=x[2:],
        out_size=out[2:],
        kernel=kernel,
        stride=stride,
        padding=_padding(model, node, x[2:], out[2:], kernel, stride, dilation, transposed),
        dilation=dilation,
        transposed=transposed,
    )
    return Sizes("conv", bounds, _runs(model, node, x[0], batch))


def _padding(
    model: Model,
    node: Any,
    size: tuple[int, ...],
    out: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    transposed: bool,
) -> tuple[int, ...]:
    """Return the padding before each axis; what lies behind it follows from the output's size."""
    axes = len(size)
    auto = next((item.s.decode("ascii", "replace") for item in node.attribute if item.name == "auto_pad"), "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        over, within = (size, out) if transposed else (out, size)
        total = [
            max(0, (o - 1) * s + d * (k - 1) + 1 - i)
            for o, i, k, s, d in zip(over, within, kernel, stride, dilation, strict=True)
        ]
        return tuple((pad + (auto == "SAME_LOWER")) // 2 for pad in total)
    pads = _ints(node, "pads") or (0,) * (2 * axes)
    if len(pads) != 2 * axes or min(pads) < 0:
        _refuse(model, node, f"has the pads {pads}")
    return pads[:axes]


def matrix_product(model: Model, node: Any, tensors: list[str], depends: list[bool], batch: int) -> Sizes:
    """Return the sizes of `[..., M, K] x [..., K, N]`: linear where one side is a weight, else of activations."""
    a, b = (model.shape(tensor, node) for tensor in tensors)
    if node.op_type == "Gemm":
        if len(a) != 2 or len(b) != 2:
            _refuse(model, node, f"multiplies sizes {a} and {b}")
        a = a[::-1] if (_ints(node, "transA") or (0,))[0] else a
        b = b[::-1] if (_ints(node, "transB") or (0,))[0] else b
    a, b = (1, *a) if len(a) == 1 else a, (*b, 1) if len(b) == 1 else b
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-2]:
        _refuse(model, node, f"multiplies sizes {a} and {b}, whose inner sizes differ")
    (m, k), n = a[-2:], b[-1]
    if not all(depends):
        # The weight is the right matrix, or the left one of the transposed product.
        w, x, outputs = (b, a, n) if depends[0] else (a, b, m)
        return _linear(model, node, w, elements(x) // k, k, outputs, batch)
    stack = _per_sample(model, node, _broadcast(model, node, a[:-2], b[:-2]), batch)
    bounds = Bounds(groups=stack, in_channels=stack * k, out_channels=stack * n, in_size=(m,), out_size=(m,))
    return Sizes("matmul", bounds)


def _linear(model: Model, node: Any, w: tuple[int, ...], rows: int, k: int, outputs: int, batch: int) -> Sizes:
    """Return the sizes of `rows` vectors of `k` values times a weight, or times one of a stack of weights."""
    matrices = math.prod(w[:-2])
    if rows % matrices:
        _refuse(model, node, f"multiplies {rows} rows by {matrices} matrices")
    positions = (_per_sample(model, node, rows // matrices, batch),)
    bounds = Bounds(
        groups=matrices,
        in_channels=matrices * k,
        out_channels=matrices * outputs,
        in_size=positions,
        out_size=positions,
    )
    return Sizes("linear", bounds)


def _broadcast(model: Model, node: Any, a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """Return how many products two stacks of matrices make."""
    length = max(len(a), len(b))
    pairs = list(zip((1,) * (length - len(a)) + a, (1,) * (length - len(b)) + b, strict=True))
    if any(left != right and 1 not in (left, right) for left, right in pairs):
        _refuse(model, node, f"multiplies stacks of {a} and {b} matrices")
    return math.prod(max(pair) for pair in pairs)


def _runs(model: Model, node: Any, first: int, batch: int) -> int:
    return _per_sample(model, node, first, batch)


def _per_sample(model: Model, node: Any, total: int, batch: int) -> int:
    if total % batch:
        _refuse(model, node, f"has {total} rows or stacks for a batch of {batch}, the first axis of the graph's input")
    return total // batch


def _ints(node: Any, name: str) -> tuple[int, ...] | None:
    for item in node.attribute:
        if item.name == name:
            return tuple(item.ints) or (item.i,)
    return None


def _refuse(model: Model, node: Any, what: str) -> NoReturn:
    raise InputError(f"{model.path}: node {label(node)} {what}, which cannot be counted; export the graph anew.")
