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

from dataclasses import dataclass
from typing import Any

import numpy as np

from hardware_models.errors import InputError, unknown_name
from hardware_models.systolic.counts import CONVENTIONS, Convention, SystolicRun, simulate_gemm
from hardware_models.whole_numbers import ceil_divide, whole_numbers


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
        InputError: a size that is no positive whole number, a kernel larger than the padded input, groups that
            do not divide the channels or filters, an unknown convention.
    """
    if convention not in CONVENTIONS:
        raise unknown_name("convention", convention, CONVENTIONS)
    strides, paddings, dilations = _pair(stride), _pair(padding), _pair(dilation)
    out_h = _output_size("height", ifmap_h, filter_h, strides[0], paddings[0], dilations[0], convention)
    out_w = _output_size("width", ifmap_w, filter_w, strides[1], paddings[1], dilations[1], convention)
    groups = whole_numbers("groups", groups)
    channels, filters = whole_numbers("channels", channels), whole_numbers("filters", filters)
    for name, count in (("channels", channels), ("filters", filters)):
        if np.any(count % groups != 0):
            raise InputError(f"{groups} groups do not divide {count} {name}; give groups that divide both.")
    window = _exact_times(_exact_times(filter_h, filter_w), channels // groups)
    return Gemm(groups, _exact_times(out_h, out_w), filters // groups, window)


def _pair(value: Any) -> tuple[Any, Any]:
    if isinstance(value, tuple):
        if len(value) != 2:
            raise InputError(f"{value!r} has {len(value)} values; give one for both, or a tuple of height and width.")
        return value
    return value, value


def _output_size(
    axis: str, size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, convention: Convention
) -> Any:
    size, kernel = whole_numbers(f"ifmap {axis}", size), whole_numbers(f"filter {axis}", kernel)
    stride, dilation = whole_numbers(f"stride ({axis})", stride), whole_numbers(f"dilation ({axis})", dilation)
    room = size + 2 * whole_numbers(f"padding ({axis})", padding, least=0) - (dilation * (kernel - 1) + 1)
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
