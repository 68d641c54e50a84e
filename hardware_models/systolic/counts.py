"""What a systolic array does for a matrix product: cycles, and words read from and written to its SRAMs.

A product [M, K] x [K, N] (M output positions, N filters, K the reduction) is cut into folds that fit an array of
`rows` x `cols` elements. What stays in the elements names the dataflow:

| dataflow               | S_r | S_c | T | cycles of one fold  | ifmap reads | filter reads | ofmap writes |
|------------------------|-----|-----|---|---------------------|-------------|--------------|--------------|
| output-stationary (os) | M   | N   | K | T + rows + cols - 2 | M K f_c     | N K f_r      | M N          |
| weight-stationary (ws) | K   | N   | M | T + 2 rows + cols - 2 | M K f_c   | N K          | M N f_r      |
| input-stationary (is)  | K   | M   | N | T + 2 rows + cols - 2 | M K       | N K f_c      | M N f_r      |

    f_r = ceil(S_r / rows), f_c = ceil(S_c / cols), folds = f_r f_c, one after the other

A fold fills the skewed pipeline and drains it; os streams T values, ws and is first load `rows` rows of the
stationary operand. A fold that fills only a part of the array takes as long as a full one.

Two conventions of counting:

- `scalesim` (default), equal to SCALE-Sim 3.0.0 (Samajdar et al., ISPASS 2020; "Total Cycles", "SRAM ... Reads",
  "Overall Util %", "Mapping Efficiency %"), with two artefacts of it. Cycles are the index of the last cycle,
  counted from 0: one less than elapse. Output-stationary adds `rows + cols` to the ofmap writes of each fold, used
  or not.
- `ideal`: the equations above: cycles = folds * cycles of one fold, ofmap writes as in the table.

Neither counts the partial sums that ws and is read back to accumulate; `ofmap_reads` = M N (f_r - 1) has them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from hardware_models.errors import unknown_name
from hardware_models.whole_numbers import ceil_divide, common_shape, exact, largest, smallest, whole_numbers

Array = npt.NDArray[Any]
Integers = int | Array
Dataflow = Literal["os", "ws", "is"]
Convention = Literal["scalesim", "ideal"]

DATAFLOWS: dict[str, Dataflow] = {
    "os": "os",
    "ws": "ws",
    "is": "is",
    "output-stationary": "os",
    "weight-stationary": "ws",
    "input-stationary": "is",
}
CONVENTIONS: tuple[Convention, ...] = ("scalesim", "ideal")


@dataclass(frozen=True)
class SystolicRun:
    """Counts of one product, or of many in arrays of one shape; whole numbers are exact.

    Attributes:
        cycles: clock cycles without memory stalls.
        ifmap_reads, filter_reads: words that enter the array from their SRAMs.
        ofmap_writes: words that leave it: results, and in ws and is partial sums.
        ofmap_reads: partial sums read back (in no report of SCALE-Sim).
        folds: f_r * f_c, over all groups.
        macs: multiply-accumulates.
        utilization: macs / (cycles * rows * cols), a share; SCALE-Sim's "Overall Util %" / 100. Because its
            cycles are one short, a 1 x 1 array may show slightly more than 1.
        mapping_efficiency: share of the elements that have work, mean over folds; "Mapping Efficiency %" / 100.
    """

    cycles: Any
    ifmap_reads: Any
    filter_reads: Any
    ofmap_writes: Any
    ofmap_reads: Any
    folds: Any
    macs: Any
    utilization: Any
    mapping_efficiency: Any


@dataclass(frozen=True)
class Product:
    """Checked sizes of products and arrays, with the folds of one dataflow."""

    m: Any
    n: Any
    k: Any
    rows: Any
    cols: Any
    groups: Any
    dataflow: Dataflow

    @property
    def spatial(self) -> tuple[Any, Any, Any]:
        """(S_r, S_c, T)."""
        shapes = {"os": (self.m, self.n, self.k), "ws": (self.k, self.n, self.m), "is": (self.k, self.m, self.n)}
        return shapes[self.dataflow]

    @property
    def folds(self) -> tuple[Any, Any]:
        """(f_r, f_c)."""
        across_rows, across_cols, _ = self.spatial
        return ceil_divide(across_rows, self.rows), ceil_divide(across_cols, self.cols)


def simulate_gemm(
    M: Any,
    N: Any,
    K: Any,
    rows: Any,
    cols: Any,
    dataflow: Any = "os",
    *,
    convention: Convention = "scalesim",
    groups: Any = 1,
) -> SystolicRun:
    """Return what a `rows` x `cols` array does for the product [M, K] x [K, N]; equations above.

    Args:
        M, N, K: output positions, filters, reduction length.
        rows, cols: elements of the array.
        dataflow: `os`, `ws`, `is` or the long names, one or an array of them.
        convention: `scalesim` or `ideal`.
        groups: independent products of this size, one after the other (grouped and depthwise convolutions).

    Returns:
        Python ints (and floats) where all arguments are single values, else arrays of the broadcast shape: int64,
        or Python ints in object arrays where int64 could overflow.

    Raises:
        InputError: sizes that are no positive whole numbers (floating-point numbers are refused), shapes that do
            not broadcast, an unknown dataflow or convention.
    """
    if convention not in CONVENTIONS:
        raise unknown_name("convention", convention, CONVENTIONS)
    named = {"M": M, "N": N, "K": K, "rows": rows, "cols": cols, "groups": groups}
    sizes = [whole_numbers(name, value) for name, value in named.items()]
    flows = parse_dataflow(dataflow)
    shape = common_shape(dict(zip((*named, "dataflow"), (*sizes, flows), strict=True)))
    if isinstance(flows, str):
        return _run(_exact_product(sizes, flows), convention, shape)
    return _mixed(sizes, flows, convention, shape)


def parse_dataflow(dataflow: Any) -> Dataflow | npt.NDArray[np.str_]:
    """Return the short name of a dataflow, or an array of short names; an unknown one is an `InputError`."""
    given = np.asarray(dataflow)
    if given.ndim == 0:
        return _short_name(dataflow)
    names, places = np.unique(given.astype(np.str_), return_inverse=True)
    short = np.array([_short_name(str(name)) for name in names], dtype="U2")
    return short[places].reshape(given.shape)


def _short_name(dataflow: Any) -> Dataflow:
    name = str(dataflow).strip().lower().replace("_", "-").replace(" ", "-")
    if name not in DATAFLOWS:
        raise unknown_name("dataflow", dataflow, DATAFLOWS)
    return DATAFLOWS[name]


def _exact_product(sizes: list[Any], dataflow: Dataflow) -> Product:
    """Return the product with integers wide enough for every count of it."""
    m, n, k, rows, cols, groups = (largest(size) for size in sizes)
    corner = Product(m, n, k, smallest(sizes[3]), smallest(sizes[4]), groups, dataflow)
    (fold_rows, fold_cols), time = corner.folds, corner.spatial[2]
    words = (m * k + n * k + m * n) * (fold_rows + fold_cols)
    bound = groups * (fold_rows * fold_cols * (time + 2 * rows + 2 * cols) + words + m * n * k)
    m_, n_, k_, rows_, cols_, groups_ = exact(bound, *sizes)
    return Product(m_, n_, k_, rows_, cols_, groups_, dataflow)


def _run(product: Product, convention: Convention, shape: tuple[int, ...] | None) -> SystolicRun:
    p, stationary_output = product, product.dataflow == "os"
    (fold_rows, fold_cols), (across_rows, across_cols, time) = p.folds, p.spatial
    folds = fold_rows * fold_cols
    length = time + (1 if stationary_output else 2) * p.rows + p.cols - 2
    results = p.m * p.n
    cycles, writes = folds * length, results if stationary_output else results * fold_rows
    if convention == "scalesim":
        cycles = cycles - 1
        writes = writes + folds * (p.rows + p.cols) if stationary_output else writes
    macs = results * p.k
    counts = [
        cycles,
        p.m * p.k * (1 if p.dataflow == "is" else fold_cols),
        p.n * p.k * {"os": fold_rows, "ws": 1, "is": fold_cols}[p.dataflow],
        writes,
        0 * results if stationary_output else results * (fold_rows - 1),
        folds,
        macs,
    ]
    elements = _float(p.rows) * _float(p.cols)
    shares = [
        _share(_float(macs), _float(cycles) * elements),
        _float(across_rows) * _float(across_cols) / (_float(folds) * elements),
    ]
    whole = [count * p.groups for count in counts]
    if shape is None:
        return SystolicRun(*whole, *shares)
    return SystolicRun(*(_filled(value, shape) for value in (*whole, *shares)))


def _share(work: Any, room: Any) -> Any:
    """Return work / room; 1 where SCALE-Sim's counting leaves no cycle at all (one MAC on one element)."""
    if isinstance(room, float):
        return work / room if room else 1.0
    return np.divide(work, room, out=np.ones(np.broadcast_shapes(np.shape(work), room.shape)), where=room != 0)


def _float(value: Any) -> Any:
    return float(value) if isinstance(value, int) else value.astype(np.float64)


def _filled(value: Any, shape: tuple[int, ...]) -> Array:
    """Return an array of its own with the broadcast shape."""
    array = value if isinstance(value, np.ndarray) else np.asarray(value)
    return array if array.shape == shape else np.broadcast_to(array, shape).copy()


def _mixed(sizes: list[Integers], flows: Array, convention: Convention, shape: Any) -> SystolicRun:
    """Return the counts where the dataflow differs from product to product."""
    everywhere = [np.broadcast_to(size, shape) for size in sizes]
    flows = np.broadcast_to(flows, shape)
    parts = []
    for name in np.unique(flows):
        chosen = flows == name
        picked: list[Integers] = [size[chosen] for size in everywhere]
        product = _exact_product(picked, cast(Dataflow, str(name)))
        parts.append((chosen, _run(product, convention, (int(chosen.sum()),))))
    merged = []
    for field in fields(SystolicRun):
        values = [getattr(run, field.name) for _, run in parts]
        kind = np.result_type(*values) if values else np.dtype(np.int64)
        whole = np.empty(shape, dtype=kind)
        for (chosen, _), value in zip(parts, values, strict=True):
            whole[chosen] = value
        merged.append(whole)
    return SystolicRun(*merged)
