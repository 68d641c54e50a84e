from __future__ import annotations

from pathlib import Path

import pytest

from hardware_models.errors import InputError
from hardware_models.inputs import read_topology, read_workload

CONV = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "net.csv"
    path.write_text(text)
    return path


def test_convolutions_as_scale_sim_counts_them(tmp_path: Path) -> None:
    """Sizes of SCALE-Sim 3.0.0 for AlexNet's first layers: ceil((224 - 11 + 4) / 4) = 55, 55 x 55 = 3025 rows."""
    path = write(tmp_path, CONV + "Conv1, 224, 224, 11, 11, 3, 96, 4,\nConv2, 27, 27, 5, 5, 96, 256, 1,\n")
    workload = read_workload(path)
    assert [layer.bounds.gemm for layer in workload.layers if layer.bounds] == [(3025, 96, 363), (529, 256, 2400)]
    assert workload.layers[0].macs == 3025 * 96 * 363
    assert workload.layers[0].operand("input").elements == 224 * 224 * 3
    assert workload.layers[0].operand("weight").elements == 11 * 11 * 3 * 96
    assert [layer.consumers for layer in workload.layers] == [(), ()]
    notes = " ".join(workload.notes)
    assert "8-bit integers (by default" in notes
    assert "in Conv1)" in notes  # (224 - 11) / 4 is not whole; Conv2 is complete


def test_the_table_in_scale_sims_own_terms(tmp_path: Path) -> None:
    path = write(tmp_path, CONV + "Conv1, 224, 224, 11, 11, 3, 96, 4,\nDP2, 9, 9, 3, 3, 32, 1, 2,\n")
    m, n, k, groups = read_topology(path).mnk()
    assert [m.tolist(), n.tolist(), k.tolist(), groups.tolist()] == [[3025, 16], [96, 1], [363, 9], [1, 32]]


def test_a_depthwise_row_is_a_group_for_each_channel(tmp_path: Path) -> None:
    workload = read_workload(write(tmp_path, CONV + "Conv_DP, 9, 9, 3, 3, 32, 2, 2,\n"))
    bounds = workload.layers[0].bounds
    assert bounds is not None
    assert (bounds.groups, bounds.in_channels, bounds.out_channels, bounds.gemm) == (32, 32, 64, (16, 2, 9))
    assert "depthwise" in " ".join(workload.notes)


def test_matrix_products(tmp_path: Path) -> None:
    layer = read_workload(write(tmp_path, "Layer,M,N,K,\nqkv, 128, 64, 256,\n"), bits=16).layers[0]
    assert layer.bounds is not None
    assert (layer.operator, layer.bounds.gemm, layer.macs) == ("linear", (128, 64, 256), 128 * 64 * 256)
    assert {operand.bits for operand in layer.operands} == {16}
    assert (layer.operand("input").elements, layer.operand("weight").elements) == (128 * 256, 64 * 256)


def test_sparsity_thins_the_weights(tmp_path: Path) -> None:
    header = CONV.replace("Strides,", "Strides, Sparsity,")
    path = write(tmp_path, header + "A, 5, 5, 3, 3, 2, 6, 1, 2:4,\nB, 5, 5, 3, 3, 2, 6, 1,\n")
    a, b = (layer.operand("weight") for layer in read_workload(path).layers)
    assert (a.density, a.nonzero, a.elements) == ((0.5,), (54,), 108)
    assert b.density == (1.0,)


def test_two_strides(tmp_path: Path) -> None:
    header = CONV.replace("Strides,", "Stride Height, Stride Width,")
    bounds = read_workload(write(tmp_path, header + "A, 9, 9, 3, 3, 2, 6, 1, 2,\n")).layers[0].bounds
    assert bounds is not None
    assert (bounds.stride, bounds.out_size) == ((1, 2), (7, 4))


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + CONV.lower() + "A, 9, 9, 3, 3, 2, 6, 1,\n",
        CONV.rstrip(",\n") + "\n\nA,9,9,3,3,2,6,1\n",
        CONV + "\tA,9,9,3,3,2,6,1,#dw\r\n,,,,,,,,\n",
        "Layer, IFMAP Width, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
        "A,9,9,3,3,2,6,1,\n",
    ],
)
def test_forms_found_in_the_wild(tmp_path: Path, text: str) -> None:
    assert read_topology(write(tmp_path, text)).rows[0].mnk == (49, 6, 18)


def test_a_name_used_twice_gets_a_number(tmp_path: Path) -> None:
    workload = read_workload(write(tmp_path, "Layer,M,N,K,\na,1,1,1,\na,2,1,1,\na#2,3,1,1,\n"))
    names = [layer.name for layer in workload.layers]
    assert len(set(names)) == 3
    assert names[0] == "a"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("A, 5, 5, 7, 3, 2, 6, 1,", "filter of 7x3 is larger than its input of 5x5"),
        ("A, 5, 5, 3, 3, 0, 6, 1,", "channels is '0'"),
        ("A, 5, 5, 3, 3, x, 6, 1,", "channels is 'x'"),
        ("A, 5, 5, 3, 3, 2, 6, 0,", "stride height is '0'"),
        ("A, 5, 5, 3, 3, 2, 6,,", "stride height is empty"),
        ("A, 5, 5, 3, 3, 2, 6", "7 cells for 8 columns"),
        ("A, 5, 5, 3, 3, 2, 6, 1, 9,", "9 cells for 8 columns"),
    ],
)
def test_a_bad_row_is_refused(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        read_workload(write(tmp_path, CONV + row + "\n"))
    assert message in str(error.value)
    assert "net.csv, line 2" in str(error.value)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("Layer name, IFMAP Height, Filter Height, IFMAP Width, Filter Width, Channels, Num Filter, Strides,", "order"),
        ("Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter,", "Strides"),
        (CONV.rstrip() + " Batch size,", "'batch size' is unknown"),
        ("Layer, M, N, K, Color,", "'color' is unknown"),
    ],
)
def test_a_bad_header_is_refused(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_workload(write(tmp_path, header + "\nA, 5, 5, 3, 3, 2, 6, 1,\n"))


@pytest.mark.parametrize("ratio", ["3:2", "0:4", "1", "a:b"])
def test_a_bad_sparsity_is_refused(tmp_path: Path, ratio: str) -> None:
    with pytest.raises(InputError, match="N:M"):
        read_workload(write(tmp_path, f"Layer, M, N, K, Sparsity,\nA, 1, 5, 16, {ratio},\n"))


def test_a_bad_width_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 bits"):
        read_workload(write(tmp_path, "Layer,M,N,K,\na,1,1,1,\n"), bits=0)
