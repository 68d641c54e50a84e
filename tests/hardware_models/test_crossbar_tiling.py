"""Arrays, phases and converter bits of crossbars, against figures worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_models.crossbar.tiling import adc_energy, exact_adc_bits, phases, tile
from hardware_models.errors import InputError


def test_a_convolution_by_hand() -> None:
    # 64 -> 128 channels, 3x3, 8-bit weights on 1-bit cells, 128x128: K = 576, columns 128 * 8 = 1024.
    found = tile(576, 128, 8, 128, 128)
    assert found.blocks == 5  # ceil(576 / 128)
    assert found.column_tiles == 8
    assert found.arrays == 40
    assert found.utilization == pytest.approx(576 * 1024 / (40 * 128 * 128))


def test_multi_bit_cells_take_whole_cells() -> None:
    # 5-bit weights on 2-bit cells take 3 cells, not 2.5: 10 outputs fill 30 columns.
    assert tile(10, 10, 5, 16, 32, cell_bits=2).columns == 30


def test_kernel_positions_with_arrays_of_their_own() -> None:
    # 3x3 kernel, 3 channels: nine arrays that each hold 3 rows, against one of 27 rows.
    assert tile(27, 64, 1, 64, 64, planes=9).arrays == 9
    assert tile(27, 64, 1, 64, 64).arrays == 1


def test_depthwise_groups_share_an_array_along_its_diagonal() -> None:
    # 9 rows and 1 column each: 128 // 9 = 14 groups in an array of 128x128, ceil(32 / 14) = 3 arrays.
    found = tile(9, 1, 1, 128, 128, groups=32)
    assert found.arrays == 3
    assert found.utilization == pytest.approx(32 * 9 / (3 * 128 * 128))


def test_groups_larger_than_an_array_do_not_share() -> None:
    assert tile(200, 16, 1, 128, 128, groups=4).arrays == 8


def test_row_steps() -> None:
    # 300 rows on arrays of 128, 16 at once: 2 full blocks of 8 steps, and 44 rows in 3 steps.
    found = tile(300, 16, 1, 128, 128, parallel_rows=16)
    assert found.steps == 2 * 8 + 3
    assert found.block_steps == 8
    assert tile(20, 16, 1, 128, 128, parallel_rows=16).block_steps == 2


def test_phases() -> None:
    assert phases([1, 4, 8], 1).tolist() == [1, 4, 8]
    assert phases([1, 4, 8], 1, polarity=True).tolist() == [1, 3, 7]
    assert phases(8, 3) == 3


def test_bits_for_exact_sums() -> None:
    assert exact_adc_bits(2304, 1, 1) == 12  # sums of 0..2304
    assert exact_adc_bits(128, 2, 1) == 9  # 0..384
    assert exact_adc_bits(1, 1, 1) == 1


def test_energy_of_a_conversion() -> None:
    assert adc_energy(2.0, 8, 6) == 8.0  # twice for each bit
    assert adc_energy(3.0, 10, 6, "linear") == pytest.approx(5.0)
    with pytest.raises(InputError, match="walden or linear"):
        adc_energy(1.0, 8, 8, "cubic")


def test_very_large_layers_are_counted_exactly() -> None:
    huge = 2**40
    assert int(tile(huge, huge, 1, 1, 1, groups=1).arrays) == 2**80


def test_bad_sizes_are_named() -> None:
    with pytest.raises(InputError, match="rows is 0"):
        tile(4, 4, 1, 0, 4)
    with pytest.raises(InputError, match="planes must divide k"):
        tile(10, 4, 1, 4, 4, planes=9)


sizes = st.integers(1, 5000)


@given(
    sizes, sizes, st.integers(1, 32), st.integers(1, 512), st.integers(1, 512), st.integers(1, 8), st.integers(1, 64)
)
def test_arrays_hold_the_weights(k: int, n: int, bits: int, rows: int, cols: int, cell: int, groups: int) -> None:
    found = tile(k, n, bits, rows, cols, cell, groups)
    assert 0 < found.utilization <= 1
    assert found.arrays <= groups * -(-k // rows) * -(-n * -(-bits // cell) // cols)
    grown = [(k + 1, n, bits, groups), (k, n + 1, bits, groups), (k, n, bits + 1, groups), (k, n, bits, groups + 1)]
    for more_k, more_n, more_bits, more_groups in grown:
        larger = tile(more_k, more_n, more_bits, rows, cols, cell, more_groups)
        assert larger.arrays >= found.arrays


@given(sizes, st.integers(1, 512), st.integers(1, 512))
def test_steps_cover_every_row(k: int, rows: int, parallel: int) -> None:
    found = tile(k, 1, 1, rows, 1, parallel_rows=parallel)
    blocks = [min(rows, k - start) for start in range(0, k, rows)]
    assert found.steps == sum(-(-block // min(parallel, rows)) for block in blocks)


def test_it_broadcasts_over_layers_and_hardware() -> None:
    found = tile(np.array([9, 576]), np.array([4, 64]), 8, np.array([64, 128, 256])[:, None], 128)
    assert found.arrays.shape == (3, 2)
