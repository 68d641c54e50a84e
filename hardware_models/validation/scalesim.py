"""Against SCALE-Sim 3.0.0: cycles and SRAM counts of systolic arrays, every case equal or not."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_models.systolic import simulate_gemm
from hardware_models.validation.row import Row, data_text

TARGET = "SCALE-Sim 3.0.0"
QUANTITIES = {
    "cycles": "cycles",
    "sram_ifmap_reads": "ifmap_reads",
    "sram_filter_reads": "filter_reads",
    "sram_ofmap_writes": "ofmap_writes",
}
"""Columns of the golden data, and what they are called here."""


_SIZES = ("M", "N", "K", "array_rows", "array_cols")


def rows() -> Iterator[Row]:
    """Yield one row for each quantity, over all golden layers."""
    cases = list(csv.DictReader(io.StringIO(data_text("scalesim.csv"))))
    M, N, K, rows, cols = (np.array([int(case[name]) for case in cases]) for name in _SIZES)
    dataflow = np.array([case["dataflow"] for case in cases])
    groups = np.array([int(case["groups"] or 1) for case in cases])
    found = simulate_gemm(M, N, K, rows, cols, dataflow, groups=groups)
    for column, ours in QUANTITIES.items():
        theirs = np.array([int(case[column]) for case in cases])
        errors = relative(getattr(found, ours), theirs)
        note = f"{int((errors == 0).sum())} of {len(cases)} layers equal"
        yield Row(
            TARGET,
            "simulated",
            column,
            None,
            None,
            "",
            float(errors.mean()),
            float(errors.max()),
            len(cases),
            0.0,
            note=note,
        )


def relative(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the absolute relative error of each case."""
    return np.abs(np.asarray(ours, dtype=np.float64) / theirs - 1)
