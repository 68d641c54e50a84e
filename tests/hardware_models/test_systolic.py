"""The systolic array's counts: against SCALE-Sim's own figures, folds worked by hand, and what must always hold."""

from __future__ import annotations

import csv
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hardware_models
from hardware_models.errors import InputError
from hardware_models.systolic import SystolicRun, simulate_gemm
from hardware_models.systolic.dram_traffic import dram_traffic
from hardware_models.systolic.lowering import lower_conv, simulate_conv

GOLDEN = Path(hardware_models.__file__).parent / "validation" / "data" / "scalesim.csv"
COUNTS = ("cycles", "ifmap_reads", "filter_reads", "ofmap_writes")
FIGURES = ("cycles", "sram_ifmap_reads", "sram_filter_reads", "sram_ofmap_writes")

sizes = st.integers(1, 300)
arrays = st.integers(1, 40)
flows = st.sampled_from(["os", "ws", "is"])


def golden() -> list[dict[str, str]]:
    with GOLDEN.open() as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def column(rows: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([int(row[name] or 1) for row in rows])


# --- SCALE-Sim 3.0.0 --------------------------------------------------------------------------------------------


def test_every_count_of_every_golden_layer() -> None:
    rows = golden()
    assert len(rows) > 600
    shape = [column(rows, name) for name in ("M", "N", "K", "array_rows", "array_cols")]
    run = simulate_gemm(*shape, [row["dataflow"] for row in rows], groups=column(rows, "groups"))
    for count, figure in zip(COUNTS, FIGURES, strict=True):
        assert getattr(run, count).tolist() == column(rows, figure).tolist(), count


def test_the_same_from_the_shape_of_the_convolution() -> None:
    for row in golden():
        groups = int(row["groups"] or 1)
        names = ("ifmap_h", "ifmap_w", "filter_h", "filter_w", "channels", "filters", "stride")
        shape = [int(row[name]) for name in names]
        shape[5] *= groups  # a DP row has that many filters for each channel
        array = {"rows": int(row["array_rows"]), "cols": int(row["array_cols"]), "dataflow": row["dataflow"]}
        run = simulate_conv(*shape, **array, groups=groups)
        assert [getattr(run, count) for count in COUNTS] == [int(row[figure]) for figure in FIGURES], row


def test_utilization_and_mapping_efficiency_of_the_golden_layers() -> None:
    rows = [row for row in golden() if row["overall_util_percent"]]
    shape = [column(rows, name) for name in ("M", "N", "K", "array_rows", "array_cols")]
    run = simulate_gemm(*shape, [row["dataflow"] for row in rows])
    for name, share in (("overall_util", run.utilization), ("mapping_efficiency", run.mapping_efficiency)):
        theirs = [float(row[f"{name}_percent"]) / 100 for row in rows]
        np.testing.assert_allclose(share, theirs, rtol=1e-12)


# --- by hand ----------------------------------------------------------------------------------------------------


def test_folds_by_hand_output_stationary() -> None:
    # S_r = M = 5 on 4 rows: 2 folds; S_c = N = 3 on 2 columns: 2 folds. A fold streams K = 7 values through the skew
    # of 4 + 2 - 2: 7 + 4 = 11 cycles. 4 folds: 44 cycles, the last of which has the index 43.
    run = simulate_gemm(5, 3, 7, 4, 2, "os")
    assert (run.folds, run.cycles) == (4, 43)
    assert run.ifmap_reads == 5 * 7 * 2  # every input for both column folds
    assert run.filter_reads == 3 * 7 * 2
    assert run.ofmap_writes == 5 * 3 + 4 * (4 + 2)  # SCALE-Sim adds rows + cols for each fold
    assert run.utilization == pytest.approx(105 / (43 * 8))
    assert run.mapping_efficiency == pytest.approx(15 / 32)
    clean = simulate_gemm(5, 3, 7, 4, 2, "os", convention="ideal")
    assert (clean.cycles, clean.ofmap_writes) == (44, 15)


def test_folds_by_hand_weight_stationary() -> None:
    # S_r = K = 7 on 4 rows: 2 folds; S_c = N = 3 on 2 columns: 2 folds. Loading 4 rows of weights, then M = 5 values
    # through the skew: 5 + 2 * 4 + 2 - 2 = 13 cycles; 4 * 13 - 1 = 51.
    run = simulate_gemm(5, 3, 7, 4, 2, "ws")
    assert (run.cycles, run.ifmap_reads, run.filter_reads, run.ofmap_writes) == (51, 5 * 7 * 2, 3 * 7, 5 * 3 * 2)
    assert run.ofmap_reads == 15  # the second row fold adds to the sums of the first


def test_folds_by_hand_input_stationary() -> None:
    # S_r = K = 7: 2 folds; S_c = M = 5 on 2 columns: 3 folds; T = N = 3: 3 + 8 + 2 - 2 = 11; 6 * 11 - 1 = 65.
    run = simulate_gemm(5, 3, 7, 4, 2, "is")
    assert (run.cycles, run.ifmap_reads, run.filter_reads, run.ofmap_writes) == (65, 5 * 7, 3 * 7 * 3, 5 * 3 * 2)


def test_one_mac_on_one_element() -> None:
    # SCALE-Sim counts no cycle here and divides by it; ours has a share of 1.
    run = simulate_gemm(1, 1, 1, 1, 1, "os")
    assert (run.cycles, run.utilization) == (0, 1.0)
    assert simulate_gemm([1, 1], 1, 1, 1, 1, "os").utilization.tolist() == [1.0, 1.0]


def test_output_size_in_both_conventions() -> None:
    # (14 - 3 + 2) / 2 = 6.5: SCALE-Sim rounds up to 7 positions, of which the last hangs over; a framework has 6.
    assert lower_conv(14, 14, 3, 3, 4, 8, 2).m == 49
    assert lower_conv(14, 14, 3, 3, 4, 8, 2, convention="ideal").m == 36
    # padding 1 on each side: 16 wide; (16 - 3) // 2 + 1 = 7; width: stride 1: 14
    padded = lower_conv(14, 14, 3, 3, 4, 8, (2, 1), padding=1, convention="ideal")
    assert (padded.m, padded.n, padded.k) == (7 * 14, 8, 36)
    # a dilation of 2 makes a 3-tap kernel 5 wide: 14 - 5 + 1 = 10
    assert lower_conv(14, 14, 3, 3, 4, 8, dilation=2, convention="ideal").m == 100


def test_depthwise_is_one_product_for_each_channel() -> None:
    whole = simulate_conv(8, 8, 3, 3, 6, 6, rows=4, cols=4, dataflow="ws", groups=6)
    one = simulate_conv(8, 8, 3, 3, 1, 1, rows=4, cols=4, dataflow="ws")
    for count in (*COUNTS, "folds", "macs"):
        assert getattr(whole, count) == 6 * getattr(one, count)
    assert whole.utilization == pytest.approx(one.utilization)


def test_dram_refetch_by_hand() -> None:
    # K x N = 8 x 6 on 4 x 2, M = 10, weight-stationary: 3 column folds, 2 row folds. The ifmap of 50 own words.
    product = {"M": 10, "N": 6, "K": 8, "rows": 4, "cols": 2, "dataflow": "ws", "ifmap_words": 50}
    roomy = dram_traffic(**product, ifmap_capacity=100, filter_capacity=8, ofmap_capacity=40)
    assert (roomy.ifmap_reads, roomy.filter_reads, roomy.ofmap_writes, roomy.partial_sums) == (50, 48, 60, 0)
    # 99 // 2 = 49 words of half a buffer are one too few: fetched for each of 3 column folds. A column fold's sums,
    # 2 x 10, do not fit 19 words: written and read back once more than the results.
    tight = dram_traffic(**product, ifmap_capacity=99, filter_capacity=8, ofmap_capacity=39)
    assert (tight.ifmap_reads, tight.filter_reads, tight.partial_sums) == (150, 48, 60)


def test_dram_of_the_other_dataflows_by_hand() -> None:
    product = {"M": 10, "N": 6, "K": 8, "rows": 4, "cols": 2}
    small = {"ifmap_capacity": 2, "filter_capacity": 2, "ofmap_capacity": 2}
    # os: 3 row folds of M, 3 column folds of N
    out = dram_traffic(**product, **small, dataflow="os")
    assert (out.ifmap_reads, out.filter_reads, out.partial_sums) == (80 * 3, 48 * 3, 0)
    # a column fold of filters is 8 x 2 = 16 words: a buffer of 32 keeps it
    kept = dram_traffic(**product, **{**small, "filter_capacity": 32}, dataflow="os")
    assert kept.filter_reads == 48
    # is: 2 row folds of K, 5 column folds of M
    held = dram_traffic(**product, **small, dataflow="is")
    assert (held.ifmap_reads, held.filter_reads, held.partial_sums) == (80, 48 * 5, 60)


# --- what must hold ---------------------------------------------------------------------------------------------


@given(sizes, sizes, sizes, arrays, arrays, flows, st.integers(1, 8))
def test_counts_never_fall_when_work_grows(m: int, n: int, k: int, rows: int, cols: int, flow: str, more: int) -> None:
    base = simulate_gemm(m, n, k, rows, cols, flow)
    for grown in ((m + more, n, k), (m, n + more, k), (m, n, k + more)):
        run = simulate_gemm(*grown, rows, cols, flow)
        assert all(getattr(run, count) >= getattr(base, count) for count in (*COUNTS, "ofmap_reads", "macs"))


@given(sizes, sizes, sizes, arrays, arrays, flows)
def test_conventions_differ_by_the_artefacts_only(m: int, n: int, k: int, rows: int, cols: int, flow: str) -> None:
    theirs = simulate_gemm(m, n, k, rows, cols, flow)
    ideal = simulate_gemm(m, n, k, rows, cols, flow, convention="ideal")
    assert ideal.cycles == theirs.cycles + 1
    assert (ideal.ifmap_reads, ideal.filter_reads) == (theirs.ifmap_reads, theirs.filter_reads)
    assert ideal.ofmap_writes <= theirs.ofmap_writes
    assert ideal.cycles * rows * cols >= ideal.macs
    assert 0 < ideal.utilization <= 1
    assert 0 < ideal.mapping_efficiency <= 1


@given(st.lists(st.tuples(sizes, sizes, sizes, arrays, arrays, flows), min_size=1, max_size=8))
def test_arrays_equal_single_values(cases: list[tuple[int, int, int, int, int, str]]) -> None:
    run = simulate_gemm(*(list(values) for values in zip(*cases, strict=True)))
    for index, case in enumerate(cases):
        single = simulate_gemm(*case)
        for field in fields(SystolicRun):
            assert getattr(run, field.name)[index] == getattr(single, field.name)


@given(
    *(st.integers(1, 2**60) for _ in range(3)), st.integers(1, 2**20), st.integers(1, 2**20), flows, st.integers(1, 9)
)
def test_large_counts_are_exact(m: int, n: int, k: int, rows: int, cols: int, flow: str, groups: int) -> None:
    run = simulate_gemm(np.array([m]), n, k, rows, cols, flow, groups=groups)
    single = simulate_gemm(m, n, k, rows, cols, flow, groups=groups)
    assert run.cycles.tolist() == [single.cycles]
    assert run.ifmap_reads.tolist() == [single.ifmap_reads]
    assert run.macs.tolist() == [m * n * k * groups]
    # Python's own integers, with the ceiling taken another way than by floor division of a negative
    folds = {"os": (m, n), "ws": (k, n), "is": (k, m)}[flow]
    assert single.folds == groups * ((folds[0] + rows - 1) // rows) * ((folds[1] + cols - 1) // cols)


def test_single_values_give_python_numbers() -> None:
    run = simulate_gemm(np.int32(7), 3, 5, 4, np.uint8(4), "ws")
    assert type(run.cycles) is int
    assert type(run.ofmap_writes) is int
    assert type(run.utilization) is float


def test_broadcasting_layers_against_arrays() -> None:
    m = np.array([10, 20, 30])
    run = simulate_gemm(m, 8, 9, np.array([[4], [8]]), 4, np.array([["os"], ["input_stationary"]]))
    assert run.cycles.shape == (2, 3)
    assert run.cycles[1, 2] == simulate_gemm(30, 8, 9, 8, 4, "is").cycles
    assert simulate_gemm(np.array([], dtype=int), 8, 9, 4, 4).cycles.shape == (0,)


@given(sizes, sizes, sizes, arrays, arrays, flows, st.integers(2, 5000), st.integers(1, 6))
def test_dram_traffic_is_at_least_compulsory_and_never_falls(
    m: int, n: int, k: int, rows: int, cols: int, flow: str, capacity: int, more: int
) -> None:
    def traffic(m: int, n: int, k: int, room: int) -> Any:
        names = ("ifmap_capacity", "filter_capacity", "ofmap_capacity")
        return dram_traffic(m, n, k, rows, cols, flow, **dict.fromkeys(names, room))

    base = traffic(m, n, k, capacity)
    assert base.ifmap_reads >= m * k
    assert base.filter_reads >= n * k
    assert base.ofmap_writes == m * n
    bigger, roomier = traffic(m + more, n + more, k + more, capacity), traffic(m, n, k, capacity + more)
    for name in ("ifmap_reads", "filter_reads", "partial_sums"):
        assert getattr(bigger, name) >= getattr(base, name) >= getattr(roomier, name)
    unlimited = traffic(m, n, k, 10**9)
    assert (unlimited.ifmap_reads, unlimited.filter_reads, unlimited.partial_sums) == (m * k, n * k, 0)


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0, -3, 2.5, 3.0, True, "8", None, [4, 0], [1.5, 2], np.nan])
def test_sizes_that_are_no_positive_whole_numbers(bad: Any) -> None:
    with pytest.raises(InputError, match=r"(?s)^K .*whole number.*\.$"):
        simulate_gemm(4, 4, bad, 4, 4, "os")


def test_unknown_dataflow_and_convention_name_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown dataflow 'weight-stationery'; did you mean 'weight-stationary'"):
        simulate_gemm(4, 4, 4, 4, 4, "weight-stationery")
    with pytest.raises(InputError, match="unknown dataflow 'rs'"):
        simulate_gemm(4, 4, 4, 4, 4, ["os", "rs"])
    with pytest.raises(InputError, match="unknown dataflow None"):
        simulate_gemm(4, 4, 4, 4, 4, None)
    with pytest.raises(InputError, match="unknown convention 'scale-sim'; did you mean 'scalesim'"):
        simulate_gemm(4, 4, 4, 4, 4, "os", convention="scale-sim")  # type: ignore[arg-type]


def test_shapes_that_do_not_broadcast() -> None:
    with pytest.raises(InputError, match=r"M \(2,\), N \(3,\).*do not broadcast"):
        simulate_gemm([1, 2], [1, 2, 3], 4, 4, 4, "os")


def test_convolutions_that_cannot_be() -> None:
    with pytest.raises(InputError, match="filter's height 5 exceeds"):
        lower_conv(4, 9, 5, 5, 3, 8)
    with pytest.raises(InputError, match="3 groups do not divide 8 channels"):
        lower_conv(9, 9, 3, 3, 8, 9, groups=3)
    with pytest.raises(InputError, match="give one for both, or a tuple"):
        lower_conv(9, 9, 3, 3, 8, 9, (1, 2, 3))
    with pytest.raises(InputError, match="padding"):
        lower_conv(9, 9, 3, 3, 8, 9, padding=-1)


def test_convolutions_whose_shapes_do_not_broadcast() -> None:
    with pytest.raises(InputError, match=r"ifmap height \(2,\), ifmap width \(3,\) do not broadcast"):
        lower_conv([8, 9], [8, 9, 10], 3, 3, 4, 4)


def test_rows_of_uneven_length_are_refused() -> None:
    with pytest.raises(InputError, match="whose rows differ in length"):
        simulate_gemm([[1], [1, 2]], 2, 3, 8, 8)


def test_numpy_integers_kept_as_objects_are_exact() -> None:
    # (2^63 + 5) * 2^40 * 3 needs 105 bits; numpy's uint64 would wrap.
    m = np.array([np.uint64(2**63 + 5)], dtype=object)
    assert simulate_gemm(m, 2**40, 3, 8, 8).macs[0] == (2**63 + 5) * 2**40 * 3


def test_output_sizes_beyond_64_bits_are_exact() -> None:
    huge = np.array([2**62])
    assert lower_conv(huge, 1, 1, 1, 1, 1, padding=(huge, 0)).m[0] == 3 * 2**62
    with pytest.raises(InputError, match="exceeds the padded input"):  # 2^33 (2^33 - 1) + 1 rows, not a negative number
        lower_conv(np.array([5]), 5, 2**33, 1, 1, 1, dilation=(np.array([2**33]), 1))
