"""How matrix products map onto crossbar arrays, and how often each part of an array works.

A weight of b_w bits takes ceil(b_w / b_cell) cells side by side (bit slicing), so that a matrix of K x N takes

    arrays = ceil(K / rows) * ceil(N * ceil(b_w / b_cell) / cols)

An input of b_in bits is applied in ceil(b_in / b_dac) phases (bit-serial). Where the converter takes fewer rows at
once than the array has, an array works through its rows in steps. Each phase and step ends in one conversion of every
column in use.

Source: the mapping common to ISAAC (Shafiee et al., ISCA 2016) and NeuroSim (Chen, Peng and Yu, TCAD 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_models.errors import InputError
from hardware_models.whole_numbers import ceil_divide

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Tiling:
    """Arrays that hold the weights of a layer; all fields broadcast together.

    Attributes:
        rows_used: rows that one block of a group's reduction fills, at most the array's.
        blocks: blocks of rows along the reduction of one group, ceil(K / rows).
        steps: row steps of one group in one phase, over its blocks.
        block_steps: row steps of the fullest array in one phase: they follow each other in time. Groups that share
            an array step together, for the limit holds for the rows that add up in one column.
        columns: columns that one group's outputs fill, N * slices.
        column_tiles: arrays side by side, ceil(columns / cols).
        planes: kernel positions that have arrays of their own; 1 where the kernel is unrolled along the rows.
        bundles: sets of arrays for the groups: small groups share an array along its diagonal.
        arrays: all of them.
        utilization: share of the cells that hold a weight.
    """

    rows_used: Array
    blocks: Array
    steps: Array
    block_steps: Array
    columns: Array
    column_tiles: Array
    planes: Array
    bundles: Array
    arrays: Array
    utilization: Array


def tile(
    k: npt.ArrayLike,
    n: npt.ArrayLike,
    weight_bits: npt.ArrayLike,
    rows: npt.ArrayLike,
    cols: npt.ArrayLike,
    cell_bits: npt.ArrayLike = 1,
    groups: npt.ArrayLike = 1,
    parallel_rows: npt.ArrayLike | None = None,
    planes: npt.ArrayLike = 1,
) -> Tiling:
    """Return the arrays that weights of K x N take; integers or arrays that broadcast.

    Args:
        k: reduction length of each group.
        n: outputs of each group.
        weight_bits: bits of a weight.
        rows: rows of an array that take different inputs.
        cols: columns of an array that give different sums.
        cell_bits: bits that a cell holds.
        groups: groups of the convolution.
        parallel_rows: rows that are read at once; None for all.
        planes: kernel positions mapped to arrays of their own; must divide k.

    Raises:
        InputError: a size below 1; planes that do not divide k.
    """
    given = {"k": k, "n": n, "weight_bits": weight_bits, "rows": rows, "cols": cols, "cell_bits": cell_bits}
    given |= {"groups": groups, "parallel_rows": rows if parallel_rows is None else parallel_rows, "planes": planes}
    sizes = {name: np.asarray(value, dtype=np.int64) for name, value in given.items()}
    for name, value in sizes.items():
        if (value < 1).any():
            raise InputError(f"{name} is {int(value.min())}; give a size of at least 1.")
    if (sizes["k"] % sizes["planes"]).any():
        raise InputError("planes must divide k; give the number of kernel positions of each layer.")
    rows_, cols_ = sizes["rows"], sizes["cols"]
    reduction = sizes["k"] // sizes["planes"]
    columns = sizes["n"] * ceil_divide(sizes["weight_bits"], sizes["cell_bits"])
    blocks, column_tiles = ceil_divide(reduction, rows_), ceil_divide(columns, cols_)
    used, parallel = np.minimum(reduction, rows_), np.minimum(sizes["parallel_rows"], rows_)
    alone = (blocks > 1) | (column_tiles > 1)
    fitting = np.minimum(rows_ // used, cols_ // np.minimum(columns, cols_))
    sharing = np.where(alone, 1, np.minimum(fitting, sizes["groups"]))
    bundles = ceil_divide(sizes["groups"], sharing)
    arrays = _product(bundles, blocks, column_tiles, sizes["planes"])
    cells = sizes["groups"].astype(float) * sizes["k"] * columns
    return Tiling(
        rows_used=used,
        blocks=blocks,
        steps=(reduction // rows_) * ceil_divide(rows_, parallel) + ceil_divide(reduction % rows_, parallel),
        block_steps=ceil_divide(used, parallel),
        columns=columns,
        column_tiles=column_tiles,
        planes=sizes["planes"],
        bundles=bundles,
        arrays=arrays,
        utilization=cells / (arrays.astype(float) * rows_ * cols_),
    )


def _product(*factors: Array) -> Array:
    """Return the product of whole numbers, as Python ints where int64 overflows."""
    size = np.max(np.prod(np.broadcast_arrays(*[factor.astype(float) for factor in factors]), axis=0), initial=0)
    whole = [factor.astype(object) for factor in factors] if size >= 2.0**62 else list(factors)
    product = whole[0]
    for factor in whole[1:]:
        product = product * factor
    return np.asarray(product)


def phases(input_bits: npt.ArrayLike, dac_bits: npt.ArrayLike, polarity: bool = False) -> Array:
    """Return the phases that an input takes, ceil(bits / DAC bits).

    Args:
        input_bits: bits of an input.
        dac_bits: bits that a row's driver applies at once.
        polarity: the driver applies the sign as the polarity of its voltage, so that a signed value of more than
            one bit has one bit of magnitude less to apply.
    """
    bits = np.asarray(input_bits, dtype=np.int64)
    if polarity:
        bits = np.maximum(bits - 1, 1)
    return np.asarray(ceil_divide(bits, np.asarray(dac_bits, dtype=np.int64)))


def exact_adc_bits(active_rows: npt.ArrayLike, cell_bits: npt.ArrayLike, input_bits: npt.ArrayLike) -> Array:
    """Return the bits a converter needs for every sum of a column: ceil(log2(rows * (2^cell - 1) * (2^in - 1) + 1)).

    Args:
        active_rows: rows that add up in one conversion.
        cell_bits: bits of a cell.
        input_bits: bits of the input that have been applied when the conversion starts.
    """
    levels = (2.0 ** np.asarray(cell_bits) - 1) * (2.0 ** np.asarray(input_bits) - 1)
    return np.ceil(np.log2(np.asarray(active_rows) * levels + 1)).astype(np.int64)


def adc_energy(
    energy_j: npt.ArrayLike, bits: npt.ArrayLike, reference_bits: npt.ArrayLike, scaling: str = "walden"
) -> Array:
    """Return the energy of a conversion at `bits` from that at `reference_bits`.

    `walden` multiplies by 2 with every bit, the Walden figure of merit at a constant joule per conversion step
    (Walden, IEEE JSAC 17(4), 1999; surveyed by Murmann, "ADC Performance Survey 1997-2024"); it holds while noise
    does not limit the converter, to about 10 bits. `linear` is proportional to the bits: a successive-approximation
    converter whose comparator dominates. Both are graded `derived`.

    Raises:
        InputError: an unknown scaling.
    """
    more = np.asarray(bits, dtype=np.float64) - np.asarray(reference_bits, dtype=np.float64)
    if scaling == "walden":
        return np.asarray(energy_j) * 2.0**more
    if scaling == "linear":
        return np.asarray(energy_j) * (1.0 + more / np.asarray(reference_bits))
    raise InputError(f"unknown ADC scaling {scaling!r}; choose walden or linear.")
