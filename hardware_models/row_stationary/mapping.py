"""How a row-stationary array runs a convolution: which rows, filters and channels one pass works on.

Words of Chen et al. (ISCA 2016; JSSC 2017, section III). A *set* of R x e processing elements (PEs) computes e rows
of one output plane: PE row i holds row i of the filter. A set wider than the array is *folded* into segments that lie
below one another. `r * t` sets work side by side, r of them on other channels, t on other filters; each PE
interleaves p filters and q channels. One *pass* takes n images x (p * t) filters x (q * r) channels x e output rows.
The global buffer keeps the sums of m filters until all channels have been added. Planes wider than the array can
stream are cut into `tiles` of f columns.

What must hold, with strides U and an input strip of ((e-1) U + R) x ((f-1) U + S):

    segments = ceil(e / cols);   r * t <= sets = floor(rows / (R * segments)) * max(1, floor(cols / e))
    q * S <= input words,  p * q * S <= weight words,  p <= sum words,  p a power of two    (scratch pads of one PE)
    n * m * e * f + n * q * r * strip <= buffer words,  p * t <= m
    n = 1, or, of whole planes (e = E), as many as leave room for the sums of p * sets filters with the largest p
    r <= 2,  r = 1 in a folded set

Two steps choose. First e, n and m, by the least off-chip traffic among those that occupy at least 90 % of the PEs that
the best one occupies: m is as large as the buffer allows, a multiple of p * sets. Then p, q, r and t, likewise by the
fewest accesses of the global buffer. A mapping is fixed before a run, so compressible activations are counted at one
nominal density, and the second step asks nothing of C and M: a larger layer never gets another array.

The rule yields m, n, e, p, q, r and t of JSSC 2017, table III, for AlexNet but for CONV3, where the table's q, r, t
would move 63 MB of sums through the global buffer and 50.2 MB were measured; and the measured number of active PEs in
all 18 layers of AlexNet and VGG-16. The 90 %, the limits on n and r, and the power of two are inferred from those
tables; the authors do not state them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hardware_models.distinct import distinct_rows
from hardware_models.whole_numbers import ceil_divide

Array = npt.NDArray[Any]

OCCUPANCY: Final = 0.9
"""Share of the best mapping's PEs that a mapping must occupy to be considered."""

MOST_CHAINED: Final = 2
"""Largest r: sets that add up the sums of one another."""

NOMINAL_DENSITY: Final = 0.42
"""Share of compressible activations taken as non-zero where mappings are compared: the mean of both measured
networks (zeros 58.6 % and 57.5 %)."""

BLOCK_CANDIDATES: Final = 1_000_000
"""Candidates compared at once: bounds memory, not the result."""


@dataclass(frozen=True)
class ConvShapes:
    """Convolutions, one array element each; channels and filters are those of one group.

    Attributes:
        groups, images: independent convolutions; inputs that share the weights.
        channels, filters: C and M.
        out_h, out_w: E and F.
        kernel_h, kernel_w: R and S.
        stride_h, stride_w: U, by axis.
        plain: 1 where inputs do not compress, 0 where they do.
    """

    groups: Array
    images: Array
    channels: Array
    filters: Array
    out_h: Array
    out_w: Array
    kernel_h: Array
    kernel_w: Array
    stride_h: Array
    stride_w: Array
    plain: Array


@dataclass(frozen=True)
class ArraySizes:
    """A row-stationary array, one array element for each convolution.

    Attributes:
        rows, cols: processing elements.
        weight_words, input_words, sum_words: scratch pads of one PE.
        buffer_words: global buffer for inputs and sums.
        row_width: columns of an output plane that are streamed at once.
    """

    rows: Array
    cols: Array
    weight_words: Array
    input_words: Array
    sum_words: Array
    buffer_words: Array
    row_width: Array


@dataclass(frozen=True)
class Mapping:
    """The mapping parameters of JSSC 2017, table III, by convolution; 0 everywhere where none fits.

    Attributes:
        m, n, e, p, q, r, t: as in the module's text.
        f, tiles: columns of a tile and number of tiles of a plane.
    """

    m: Array
    n: Array
    e: Array
    f: Array
    tiles: Array
    p: Array
    q: Array
    r: Array
    t: Array

    @property
    def fits(self) -> Array:
        """Which convolutions the array can run."""
        return self.m > 0


def choose_mapping(shapes: ConvShapes, sizes: ArraySizes) -> Mapping:
    """Return the mapping of each convolution by the rule above.

    Args:
        shapes, sizes: int64 arrays `[P]`. Equal rows are searched once.
    """
    columns = [getattr(item, field.name) for item in (shapes, sizes) for field in fields(item)]
    first, place = distinct_rows(columns)
    different = np.stack([column[first] for column in columns])
    found = np.zeros((len(fields(Mapping)), len(first)), dtype=np.int64)
    split = len(fields(ConvShapes))
    most_e = _most_rows(ConvShapes(*different[:split]), ArraySizes(*different[split:]))
    step = max(1, BLOCK_CANDIDATES // (most_e + 1))
    for start in range(0, len(first), step):
        block = different[:, start : start + step]
        found[:, start : start + step] = _search(ConvShapes(*block[:split]), ArraySizes(*block[split:]))
    return Mapping(*found[:, place])


def _most_rows(shapes: ConvShapes, sizes: ArraySizes) -> int:
    """Return the largest e that any of the sets could have."""
    widest = sizes.rows // shapes.kernel_h * sizes.cols
    return int(np.minimum(shapes.out_h, widest).max(initial=1))


def _search(shapes: ConvShapes, sizes: ArraySizes) -> Array:
    """Return the fields of `Mapping`, `[9, P]`, of a block of convolutions."""
    tiles = ceil_divide(shapes.out_w, sizes.row_width)
    f = ceil_divide(shapes.out_w, tiles)
    width = (f - 1) * shapes.stride_w + shapes.kernel_w
    e, n, m = _rows_and_filters(shapes, sizes, f, tiles, width)
    fits = m > 0
    p, q, r, t = _within_pass(shapes, sizes, e, n, np.maximum(m, 1), f, width)
    return np.stack([m, n, e, f, tiles, p, q, r, t]) * fits


def _rows_and_filters(
    shapes: ConvShapes, sizes: ArraySizes, f: Array, tiles: Array, width: Array
) -> tuple[Array, Array, Array]:
    """Return e, n and m with the least off-chip traffic; m is 0 where nothing fits."""
    grid = np.arange(1, _most_rows(shapes, sizes) + 1)[None, :]
    whole = shapes.out_h[:, None]
    # The last candidate is the whole plane, for n images.
    e = np.concatenate([np.broadcast_to(grid, (len(f), grid.shape[1])), np.minimum(whole, grid.max())], axis=1)
    kernel, stride, images = shapes.kernel_h[:, None], shapes.stride_h[:, None], shapes.images[:, None]
    sets, _ = _sets(sizes, kernel, e)
    strip = ((e - 1) * stride + kernel) * width[:, None]
    rows, most_p, buffer = e * f[:, None], power_of_two(sizes.sum_words)[:, None], sizes.buffer_words[:, None]
    n = np.ones_like(e)
    n[:, -1:] = np.clip(buffer // (strip + most_p * sets * rows), 1, images)[:, -1:]
    room = (buffer - n * strip) // (n * rows)
    possible = (e <= whole) & ((n == 1) | (e == whole)) & (sets > 0) & (room > 0) & _narrow(shapes, sizes)[:, None]
    sets, room = np.where(possible, sets, 1), np.where(possible, room, 1)
    # The filters of one pass if every set works on filters of its own.
    unit = np.minimum(room, sets * power_of_two(np.minimum(most_p, np.maximum(room // sets, 1))))
    m = np.minimum(room // unit, ceil_divide(shapes.filters[:, None], unit)) * unit
    occupied = np.where(possible, kernel * e * np.minimum(sets, m), 0)
    strips = ceil_divide(whole, e) * tiles[:, None]
    weights = 1.0 * kernel * shapes.kernel_w[:, None] * ceil_divide(images, n) * strips
    inputs = 1.0 * input_rows(whole, e, kernel, stride) * (tiles * width)[:, None] * images / m
    nominal = np.where(shapes.plain > 0, 1.0, compressed(np.array(NOMINAL_DENSITY)))[:, None]
    best = _cheapest(weights + nominal * inputs, occupied, possible)
    chosen = [np.take_along_axis(values, best, axis=1)[:, 0] for values in (e, n, m, possible)]
    return chosen[0], chosen[1], chosen[2] * chosen[3]


def _cheapest(cost: Array, occupied: Array, possible: Array) -> Array:
    """Return the place `[P, 1]` of the least cost among well occupied candidates `[P, K]`; ties go to more PEs."""
    good = possible & (occupied >= OCCUPANCY * occupied.max(axis=1, keepdims=True))
    among = np.where(good, cost, np.inf)
    tied = good & (among <= among.min(axis=1, keepdims=True) * (1 + 1e-12))
    return np.argmax(np.where(tied, occupied, -1), axis=1)[:, None]


def _narrow(shapes: ConvShapes, sizes: ArraySizes) -> Array:
    """Return where a filter row of one channel fits the scratch pads."""
    return shapes.kernel_w <= np.minimum(sizes.input_words, sizes.weight_words)


def _sets(sizes: ArraySizes, kernel: Array, e: Array) -> tuple[Array, Array]:
    """Return how many sets fit the array (0: none) and the segments that each is folded into."""
    cols = sizes.cols[:, None]
    segments = ceil_divide(e, cols)
    return sizes.rows[:, None] // (kernel * segments) * np.maximum(1, cols // e), segments


def _within_pass(
    shapes: ConvShapes, sizes: ArraySizes, e: Array, n: Array, m: Array, f: Array, width: Array
) -> tuple[Array, Array, Array, Array]:
    """Return p, q, r and t with the fewest accesses of the global buffer, then the most PEs."""
    sets, segments = _sets(sizes, shapes.kernel_h[:, None], e[:, None])
    strip = n * ((e - 1) * shapes.stride_h + shapes.kernel_h) * width
    kept = np.maximum((sizes.buffer_words - n * m * e * f) // strip, 1)[:, None]
    chained = np.arange(1, MOST_CHAINED + 1)[None, :]
    possible = (chained <= np.minimum(sets, kept)) & ((chained == 1) | (segments == 1))
    t = np.minimum(np.maximum(sets // chained, 1), m[:, None])
    kernel = shapes.kernel_w[:, None]
    pads = np.minimum(sizes.input_words, sizes.weight_words)[:, None] // kernel
    q = np.maximum(1, np.minimum(pads, kept // chained))
    most_p = np.minimum(sizes.sum_words[:, None], sizes.weight_words[:, None] // (kernel * q))
    p = power_of_two(np.maximum(np.minimum(most_p, m[:, None] // t), 1))
    planes = (n * e * f)[:, None]
    accesses = 2.0 * planes / (q * chained) + strip[:, None] / (p * t)
    best = _cheapest(accesses, np.where(possible, chained * t, 0), possible | (chained == 1))
    r = np.broadcast_to(chained, p.shape)
    p, q, r, t = (np.take_along_axis(values, best, axis=1)[:, 0] for values in (p, q, r, t))
    return p, q, r, t


def input_rows(out_h: Array, e: Array, kernel_h: Array, stride_h: Array) -> Array:
    """Return the input rows read for all strips of `e` output rows: halos count for each strip."""
    strips = ceil_divide(out_h, e)
    return (out_h - strips) * stride_h + strips * kernel_h


def compressed(density: Array) -> Array:
    """Return the size of run-length coded activations relative to plain ones.

    A 64-bit word holds three pairs of a 5-bit run of zeros and a 16-bit value, so 64/3 bits for each value that is
    not zero; data that this would lengthen stay plain (JSSC 2017, section V).
    """
    return np.minimum(1.0, density * (64 / 3 / 16))


def power_of_two(values: Array) -> Array:
    """Return the largest power of two that is at most each of `values` (at least 1)."""
    return np.int64(1) << np.log2(values).astype(np.int64)
