"""What a row-stationary array does for convolutions: active PEs, cycles, and words moved.

Mapping parameters m, n, e, f, p, q, r, t as in `row_stationary.mapping`; C channels, M filters, E x F outputs, R x S
kernels, N images, all of one of G groups; strips = ceil(E / e) * tiles. Per batch:

    passes        = G * ceil(N/n) * strips * ceil(M/(p t)) * ceil(C/(q r))
    multiply      = G * N * strips * f * S * ceil(M/t) * ceil(C/r)     cycles: each PE does one multiplication a cycle
    sums          = G * N * M * E * F * ceil(C/(q r)) / port           cycles: every pass reads and writes its sums,
                                                                       `port` words a cycle in each direction
    processing    = max(multiply, sums) + overhead * passes
    buffer words  = 2 * G*N*M*E*F * ceil(C/(q r))              sums, read and written (the first pass reads none, the
                                                               last result is read once more, to go off chip)
                  + G*N*C * input rows * width * ceil(M/(p t)) input strips, with their halos and padding
                  + weights                                    fetched through the buffer
    weights       = G*M*C*R*S * ceil(N/n) * strips             words, from off chip
    inputs        = G*N*C * input rows * width * ceil(M/m)     words, from off chip, before compression
    outputs       = G*N*M*E*F                                  words, to off chip, before compression

Source: Chen et al., JSSC 2017 (64-bit port of the global buffer, 16-bit words: port = 4). That sums limit the time of
wide layers is what the measured latencies of VGG-16 say: `validation/fit_eyeriss.py` prints how close this comes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hardware_models.errors import InputError
from hardware_models.row_stationary.mapping import (
    ArraySizes,
    ConvShapes,
    Mapping,
    choose_mapping,
    input_rows,
)
from hardware_models.whole_numbers import INT64_MAX, ceil_divide, whole_numbers

Array = npt.NDArray[Any]

_LIMITS: Final = dict.fromkeys(("kernel_h", "kernel_w", "stride_h", "stride_w"), 2**10) | {
    "rows": 2**12,
    "cols": 2**12,
    "row_width": 2**16,
}


@dataclass(frozen=True)
class RowStationaryCounts:
    """Exact counts of a batch, one array element for each convolution; all 0 where the array cannot run it.

    Attributes:
        mapping: how it is run.
        active_pes: processing elements at work.
        passes: processing passes.
        multiply_cycles, sum_cycles: cycles that arithmetic, and that moving sums, would take alone.
        buffer_words: accesses of the global buffer.
        weight_words, input_words, output_words: moved on or off chip, before compression.
        macs: multiply-accumulates, zeros included.
    """

    mapping: Mapping
    active_pes: Array
    passes: Array
    multiply_cycles: Array
    sum_cycles: Array
    buffer_words: Array
    weight_words: Array
    input_words: Array
    output_words: Array
    macs: Array

    def processing_cycles(self, overhead: npt.ArrayLike) -> Array:
        """Return the cycles of processing, with `overhead` cycles for every pass."""
        return np.maximum(self.multiply_cycles, self.sum_cycles) + np.asarray(overhead) * self.passes


def row_stationary(
    *,
    channels: Any,
    filters: Any,
    out_h: Any,
    out_w: Any,
    kernel_h: Any,
    kernel_w: Any,
    rows: Any,
    cols: Any,
    buffer_words: Any,
    weight_words: Any = 224,
    input_words: Any = 12,
    sum_words: Any = 24,
    row_width: Any = 128,
    port_words: Any = 4,
    groups: Any = 1,
    images: Any = 1,
    stride_h: Any = 1,
    stride_w: Any = 1,
    plain: Any = False,
) -> RowStationaryCounts:
    """Return what an array of `rows` x `cols` PEs does for convolutions; all arguments broadcast.

    Args:
        channels, filters: of one of `groups` groups.
        out_h, out_w, kernel_h, kernel_w, stride_h, stride_w: geometry; padding follows from them.
        images: inputs of one batch.
        plain: where inputs are too dense to compress; the choice of the mapping weighs it.
        buffer_words: words of the global buffer for inputs and sums.
        weight_words, input_words, sum_words: scratch pads of one PE, in words; Eyeriss's.
        row_width: columns of an output plane streamed at once.
        port_words: words that the buffer reads, and writes, in a cycle.

    Raises:
        InputError: a size that is no positive whole number.
    """
    shape = {"groups": groups, "images": images, "channels": channels, "filters": filters, "out_h": out_h}
    shape |= {"out_w": out_w, "kernel_h": kernel_h, "kernel_w": kernel_w, "stride_h": stride_h, "stride_w": stride_w}
    shape |= {"plain": np.asarray(plain).astype(np.int64)}
    array = {"rows": rows, "cols": cols, "weight_words": weight_words, "input_words": input_words}
    array |= {"sum_words": sum_words, "buffer_words": buffer_words, "row_width": row_width}
    given = [np.asarray(whole_numbers(name, v, least=int(name != "plain"))) for name, v in (shape | array).items()]
    given.append(np.asarray(whole_numbers("port_words", port_words)))
    _check_sizes([*shape, *array, "port_words"], given)
    flat = [values.reshape(-1).astype(np.int64) for values in np.broadcast_arrays(*given)]
    shapes, sizes = ConvShapes(*flat[: len(shape)]), ArraySizes(*flat[len(shape) : -1])
    counts = _counted(shapes, choose_mapping(shapes, sizes), flat[-1])
    return _reshaped(counts, np.broadcast_shapes(*(values.shape for values in given)))


def _check_sizes(names: list[str], given: list[Array]) -> None:
    """Refuse sizes that no layer or chip has: with these limits the search cannot overflow."""
    for name, values in zip(names, given, strict=True):
        limit = _LIMITS.get(name, 2**31)
        if values.size and int(values.max()) >= limit:
            raise InputError(f"{name} is {int(values.max())}; expected a size below {limit}, so mend it.")


def _counted(shapes: ConvShapes, mapping: Mapping, port: Array) -> RowStationaryCounts:
    fits = mapping.fits
    # Where nothing fits the mapping is 0; 1 keeps the divisions whole, and `fits` removes the result.
    used = Mapping(*(np.where(fits, getattr(mapping, field.name), 1) for field in fields(Mapping)))
    s = ConvShapes(*_exact_columns(shapes, used))
    filter_groups = ceil_divide(s.filters, used.p * used.t)
    channel_groups = ceil_divide(s.channels, used.q * used.r)
    set_filters, set_channels = ceil_divide(s.filters, used.t), ceil_divide(s.channels, used.r)
    strips = ceil_divide(s.out_h, used.e) * used.tiles
    batches = ceil_divide(s.images, used.n)
    passes = s.groups * batches * strips * filter_groups * channel_groups
    outputs = s.groups * s.images * s.filters * s.out_h * s.out_w
    width = (used.f - 1) * s.stride_w + s.kernel_w
    strip_words = input_rows(s.out_h, used.e, s.kernel_h, s.stride_h) * width * used.tiles
    inputs = s.groups * s.images * s.channels * strip_words
    kernels = s.groups * s.filters * s.channels * s.kernel_h * s.kernel_w
    weights = kernels * batches * strips
    return RowStationaryCounts(
        mapping=mapping,
        active_pes=fits * s.kernel_h * used.e * np.minimum(used.r, s.channels) * np.minimum(used.t, s.filters),
        passes=fits * passes,
        multiply_cycles=fits * s.groups * s.images * strips * used.f * s.kernel_w * set_filters * set_channels,
        sum_cycles=fits * ceil_divide(outputs * channel_groups, port),
        buffer_words=fits * (2 * outputs * channel_groups + inputs * filter_groups + weights),
        weight_words=fits * weights,
        input_words=fits * inputs * ceil_divide(s.filters, used.m),
        output_words=fits * outputs,
        macs=fits * kernels * s.images * s.out_h * s.out_w,
    )


def _exact_columns(shapes: ConvShapes, used: Mapping) -> list[Array]:
    """Return the columns, as Python integers where a count could exceed int64."""
    columns = [getattr(shapes, field.name) for field in fields(ConvShapes)]
    sizes = [column.astype(float) for column in columns[:-1]]  # `plain` is no size
    bound = 4.0 * np.prod(sizes, axis=0) * used.tiles
    return [column.astype(object) for column in columns] if bound.max(initial=0) > INT64_MAX else columns


def _reshaped(counts: RowStationaryCounts, shape: tuple[int, ...]) -> RowStationaryCounts:
    mapping = Mapping(*(getattr(counts.mapping, field.name).reshape(shape) for field in fields(Mapping)))
    rest = {f.name: getattr(counts, f.name).reshape(shape) for f in fields(RowStationaryCounts) if f.name != "mapping"}
    return RowStationaryCounts(mapping=mapping, **rest)
