"""Convolutions as matrix products for a systolic array.

A convolution of a [channels, H, W] input with `filters` kernels of [channels / groups, R, S] is `groups` products
[M, K] x [K, N] with

    M = E * F (output height x width), N = filters / groups, K = R * S * channels / groups

Output size, with padding P on each side, stride s and dilation d, R' = d (R - 1) + 1:

- `ideal`:    E = floor((H + 2 P - R') / s) + 1, as every framework computes it;
- `scalesim`: E = ceil((H + 2 P - R' + s) / s), as SCALE-Sim 3.0.0 does: where the stride does not divide it has one
  position more, that hangs over the edge. SCALE-Sim itself knows no padding, dilation or uneven strides; an input
  is given to it as already padded.

Depthwise and grouped convolutions are `groups` products one after the other, each with an array of its own fill
and drain. SCALE-Sim writes them in one of two ways. A topology row whose name contains `DP` is run as one layer
for each channel, with `Num Filter` filters each: here `groups=channels, filters=channels * num_filter`; its
figures are summed. Its own MobileNet file instead gives a depthwise layer as an ordinary one with all channels and
a single filter, a product M x 1 x 9 C with the same number of multiply-accumulates but other figures: here
`groups=1, filters=1`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hardware_models.errors import InputError, unknown_name
from hardware_models.systolic.counts import CONVENTIONS, Convention, SystolicRun, simulate_gemm
from hardware_models.whole_numbers import ceil_divide, common_shape, exact, largest, whole_numbers


@dataclass(frozen=True)
class Gemm:
    """`groups` independent products [m, k] x [k, n]; Python ints or arrays."""

    groups: Any
    m: Any
    n: Any
    k: Any


def simulate_conv(
    ifmap_h: Any,
    ifmap_w: Any,
    filter_h: Any,
    filter_w: Any,
    channels: Any,
    filters: Any,
    stride: Any = 1,
    *,
    rows: Any,
    cols: Any,
    dataflow: Any = "os",
    padding: Any = 0,
    dilation: Any = 1,
    groups: Any = 1,
    convention: Convention = "scalesim",
) -> SystolicRun:
    """Return what an array does for convolutions: `simulate_gemm` of what `lower_conv` returns.

    Args:
        ifmap_h .. stride: as in a SCALE-Sim topology row; see `lower_conv`.
        rows, cols, dataflow, convention: as in `simulate_gemm`.
        padding, dilation, groups: see `lower_conv`.

    Raises:
        InputError: as `lower_conv` and `simulate_gemm`.
    """
    gemm = lower_conv(
        *(ifmap_h, ifmap_w, filter_h, filter_w, channels, filters, stride),
        padding=padding,
        dilation=dilation,
        groups=groups,
        convention=convention,
    )
    return simulate_gemm(gemm.m, gemm.n, gemm.k, rows, cols, dataflow, convention=convention, groups=gemm.groups)


def lower_conv(
    ifmap_h: Any,
    ifmap_w: Any,
    filter_h: Any,
    filter_w: Any,
    channels: Any,
    filters: Any,
    stride: Any = 1,
    *,
    padding: Any = 0,
    dilation: Any = 1,
    groups: Any = 1,
    convention: Convention = "scalesim",
) -> Gemm:
    """Return the matrix products of convolutions; equations above.

    Args:
        ifmap_h, ifmap_w, filter_h, filter_w: sizes of input and kernel.
        channels, filters: over all groups.
        stride, padding, dilation: one value (or an array, for many layers), or a tuple of two: height, width.
        groups: divides `channels` and `filters`; `channels` of them is a depthwise convolution.
        convention: which output size.

    Raises:
        InputError: a size that is no positive whole number, shapes that do not broadcast, a kernel larger than the
            padded input, groups that do not divide the channels or filters, an unknown convention.
    """
    if convention not in CONVENTIONS:
        raise unknown_name("convention", convention, CONVENTIONS)
    axes = ("height", "width")
    named = {"ifmap height": ifmap_h, "ifmap width": ifmap_w, "filter height": filter_h, "filter width": filter_w}
    named |= {"channels": channels, "filters": filters, "groups": groups}
    for name, value in (("stride", stride), ("padding", padding), ("dilation", dilation)):
        named |= {f"{name} ({axis})": part for axis, part in zip(axes, _pair(value), strict=True)}
    sizes = {name: whole_numbers(name, value, least=int("padding" not in name)) for name, value in named.items()}
    common_shape(sizes)
    channels, filters, groups = sizes["channels"], sizes["filters"], sizes["groups"]
    for name in ("channels", "filters"):
        if np.any(sizes[name] % groups != 0):
            raise InputError(f"{groups} groups do not divide {sizes[name]} {name}; give groups that divide both.")
    window = _exact_times(_exact_times(sizes["filter height"], sizes["filter width"]), channels // groups)
    positions = _exact_times(*(_output_size(axis, sizes, convention) for axis in axes))
    return Gemm(groups, positions, filters // groups, window)


def _pair(value: Any) -> tuple[Any, Any]:
    if isinstance(value, tuple):
        if len(value) != 2:
            raise InputError(f"{value!r} has {len(value)} values; give one for both, or a tuple of height and width.")
        return value
    return value, value


def _output_size(axis: str, sizes: Mapping[str, Any], convention: Convention) -> Any:
    columns = [sizes[name.format(axis)] for name in ("ifmap {}", "filter {}", "padding ({})", "dilation ({})")]
    most = [largest(column) for column in columns]
    size, kernel, padding, dilation = exact(most[0] + 2 * most[2] + most[1] * most[3], *columns)
    stride = sizes[f"stride ({axis})"]
    room = size + 2 * padding - (dilation * (kernel - 1) + 1)
    if np.any(room < 0):
        raise InputError(
            f"the filter's {axis} {kernel} exceeds the padded input's {axis} (input {size}); give a smaller "
            "kernel or more padding."
        )
    return (ceil_divide(room, stride) if convention == "scalesim" else room // stride) + 1


def _exact_times(left: Any, right: Any) -> Any:
    """Return the product, as Python ints where int64 could overflow."""
    left, right = whole_numbers("size", left), whole_numbers("size", right)
    bound = int(np.max(left, initial=1)) * int(np.max(right, initial=1))
    if bound >= 2**63 and not (isinstance(left, int) and isinstance(right, int)):
        return np.asarray(left, dtype=object) * np.asarray(right, dtype=object)
    return left * right
