"""Kinds of rows against numpy's own."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hardware_models.distinct import distinct_rows

SMALL = st.integers(-3, 3)
ANY = st.integers(-(2**61), 2**61)


@given(hnp.arrays(np.int64, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=SMALL | ANY))
def test_kinds_are_those_of_numpy(rows: np.ndarray) -> None:
    expected, kind = np.unique(rows, axis=0, return_inverse=True)
    first, found = distinct_rows(list(rows.T))
    np.testing.assert_array_equal(rows[first], expected)
    np.testing.assert_array_equal(found, kind.ravel())
    assert all(not (rows[:index] == rows[index]).all(axis=1).any() for index in first)


def test_columns_of_wide_ranges_do_not_overflow() -> None:
    wide = np.array([0, 2**61, 0, 2**61, 7])
    first, kind = distinct_rows([wide, wide[::-1].copy(), wide])
    rows = np.stack([wide, wide[::-1], wide], axis=1)
    assert len(first) == len({tuple(row) for row in rows.tolist()})
    np.testing.assert_array_equal(rows[first][kind], rows)


def test_no_rows_have_no_kinds() -> None:
    first, kind = distinct_rows([np.zeros(0, dtype=np.int64)])
    assert len(first) == len(kind) == 0
