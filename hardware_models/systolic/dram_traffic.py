"""Words that pass between DRAM and the double-buffered SRAMs of a systolic array.

While one half of a buffer feeds the array the other half is filled, so data stay only if they fit a half. The folds
run as in SCALE-Sim: column folds f_c outside, row folds f_r inside (`systolic.counts` has S_r, S_c, T, f_r, f_c).

    reads of an operand = compulsory x refetch

Compulsory is every word once: the ifmap's own words, not the larger M x K that a convolution unrolls it to.

| dataflow | ifmap refetch                     | filter refetch                               | partial sums       |
|----------|-----------------------------------|----------------------------------------------|--------------------|
| os       | f_c, or 1 if the ifmap fits half  | f_r, or 1 if one column fold (K x cols) fits | none               |
| ws       | f_c, or 1 if the ifmap fits half  | 1                                            | cols x M must fit  |
| is       | 1                                 | f_c, or 1 if all filters fit half            | cols x N must fit  |

Results are written once. Where the partial sums of a column fold do not fit half of the ofmap buffer, they are
written and read back M N (f_r - 1) times more.

A layer then takes max(compute time, bytes / bandwidth): transfers hide behind the array's work, or it waits for
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hardware_models.systolic.counts import parse_dataflow
from hardware_models.whole_numbers import ceil_divide, exact, largest, whole_numbers


@dataclass(frozen=True)
class DramTraffic:
    """Words of one product, or arrays of them; all groups together.

    Attributes:
        ifmap_reads, filter_reads: operands fetched.
        ofmap_writes: results.
        partial_sums: partial sums that are written, and as often read back.
    """

    ifmap_reads: Any
    filter_reads: Any
    ofmap_writes: Any
    partial_sums: Any


def dram_traffic(
    M: Any,
    N: Any,
    K: Any,
    rows: Any,
    cols: Any,
    dataflow: str,
    *,
    ifmap_capacity: Any,
    filter_capacity: Any,
    ofmap_capacity: Any,
    ifmap_words: Any = None,
    groups: Any = 1,
) -> DramTraffic:
    """Return DRAM traffic; equations above.

    Args:
        M, N, K, rows, cols, dataflow, groups: as in `simulate_gemm`; one dataflow for all.
        ifmap_capacity, filter_capacity, ofmap_capacity: words that each buffer holds, both halves together; the
            ofmap's in words of partial sums.
        ifmap_words: distinct input words of each group; None for M * K. Words beyond M * K are never used.
        groups: independent products.

    Returns:
        Python ints where all arguments are single values, else arrays.

    Raises:
        InputError: sizes that are no whole numbers, an unknown dataflow.
    """
    flow = parse_dataflow(dataflow)
    named = {"M": M, "N": N, "K": K, "rows": rows, "cols": cols, "groups": groups}
    sizes: list[Any] = [whole_numbers(name, value) for name, value in named.items()]
    capacities = {"ifmap": ifmap_capacity, "filter": filter_capacity, "ofmap": ofmap_capacity}
    halves = [whole_numbers(f"{name}_capacity", value) // 2 for name, value in capacities.items()]
    own_words = None if ifmap_words is None else whole_numbers("ifmap_words", ifmap_words)
    m, n, k, rows, cols, groups = _exact_sizes(sizes)
    unrolled = m * k
    ifmap = unrolled if own_words is None else _least(unrolled, own_words)
    across_rows, across_cols = {"os": (m, n), "ws": (k, n), "is": (k, m)}[str(flow)]
    fold_rows, fold_cols = ceil_divide(across_rows, rows), ceil_divide(across_cols, cols)
    used_cols = _least(cols, across_cols)
    results = m * n
    partial = 0 * (results * fold_rows)
    if flow == "os":
        ifmap_refetch = _unless(ifmap <= halves[0], fold_cols)
        filter_refetch = _unless(k * used_cols <= halves[1], fold_rows)
    else:
        ifmap_refetch = 1 if flow == "is" else _unless(ifmap <= halves[0], fold_cols)
        filter_refetch = 1 if flow == "ws" else _unless(n * k <= halves[1], fold_cols)
        depth = m if flow == "ws" else n
        partial = results * (_unless(used_cols * depth <= halves[2], fold_rows) - 1)
    reads = (ifmap * ifmap_refetch, n * k * filter_refetch)
    return DramTraffic(*(words * groups for words in (*reads, results, partial)))


def _exact_sizes(sizes: list[Any]) -> list[Any]:
    """Return the sizes such that words times folds, of which there are at most M + N + K, are exact."""
    m, n, k, _, _, groups = (largest(size) for size in sizes)
    return list(exact(2 * groups * (m * k + n * k + m * n) * (m + n + k), *sizes))


def _least(left: Any, right: Any) -> Any:
    return min(left, right) if isinstance(left, int) and isinstance(right, int) else np.minimum(left, right)


def _unless(fits: Any, folds: Any) -> Any:
    """Return 1 where it fits, else the number of folds."""
    if isinstance(fits, bool | np.bool_):
        return 1 if fits else folds
    return np.where(fits, 1, folds)
