"""Reading operation logs: what is understood, and what is refused by file, line and column."""

import pytest

from hardware_models.errors import InputError
from hardware_models.tables.operation_table import read_table

TABLE = """\
# A toy, T=2. Number of operations: 0.002 M MACs, 0.4 k ACs; Energy consumption: 9.56 nJ
# firing rate of q,k,v in block 0: 0.5,0.25,0.125
layer,kind,in_channels,out_channels,kernel,dense_ops,acs,macs,rate_percent
stem,Conv2d,3,4,3,2000.0,0.0,2000.0,100.0
block[0].attn.q_conv,Conv1d,4,4,1,128.0,32.0,0.0,25.0
"""


def read(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "log.csv"
    path.write_bytes(text.encode(encoding))
    return read_table(path)


def test_rows_by_hand(tmp_path):
    stem, q = read(tmp_path, TABLE).rows
    assert (stem.layer, stem.kind, stem.in_channels, stem.out_channels) == ("stem", "Conv2d", 3, 4)
    assert (stem.dense_ops, stem.acs, stem.macs, stem.rate_percent) == (2000, 0, 2000, 100)
    assert (q.line, q.block, stem.block) == (5, 0, None)


def test_header_by_hand(tmp_path):
    header = read(tmp_path, TABLE).header
    assert (header.rates[0].q, header.rates[0].k, header.rates[0].v) == (0.5, 0.25, 0.125)
    assert header.timesteps == 2
    assert header.heads is None
    # Half a unit of the last digit: 0.002 M is good to 0.0005 M = 500; 9.56 nJ to 0.005 nJ.
    assert (header.macs.value, header.macs.rounding) == pytest.approx((2000, 500))
    assert (header.acs.value, header.acs.rounding) == pytest.approx((400, 50))
    assert (header.energy_j.value, header.energy_j.rounding) == pytest.approx((9.56e-9, 0.005e-9))


@pytest.mark.parametrize(
    "line",
    [
        "# heads: 12",
        "# {'depth': 8, 'Nheads': 12, 'Tsteps': 4}",
        "# num_heads = 12",
        "# with 12 attention heads",
        "#12 heads",
    ],
)
def test_heads_are_read_where_they_are_named(tmp_path, line):
    assert read(tmp_path, f"{line}\n{TABLE}").header.heads == 12


def test_rates_may_be_given_in_percent(tmp_path):
    rates = read(tmp_path, TABLE.replace("0.5,0.25,0.125", "50%, 25 %, 12.5%")).header.rates[0]
    assert (rates.q, rates.k, rates.v) == (0.5, 0.25, 0.125)


def same_rows(first, second):
    return [row.__dict__ | {"line": 0} for row in first.rows] == [row.__dict__ | {"line": 0} for row in second.rows]


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("\n", "\r\n"),
        lambda t: "\ufeff" + t,
        lambda t: t.replace("\n", "\n\n"),
        lambda t: t.rstrip("\n"),
        lambda t: t.replace(",", " , "),
        lambda t: t.replace("rate_percent", "Rate_Percent"),
        lambda t: (
            t.replace("rate_percent", "rate_percent,comment")
            .replace("100.0\n", "100.0,x\n")
            .replace("25.0\n", '25.0,"a,b"\n')
        ),
        lambda t: t.replace("100.0\n", "100%\n"),
        lambda t: t.replace("rate_percent", "rate").replace("100.0\n", "1.0\n").replace("25.0\n", "0.25\n"),
        lambda t: t.replace("rate_percent", "rate").replace("100.0\n", "100 %\n").replace("25.0\n", "25 %\n"),
        lambda t: "\n".join(
            sorted(t.splitlines(), key=lambda line: not line.startswith("layer"))
        ),  # header after comments
    ],
)
def test_other_spellings_give_the_same_rows(tmp_path, change):
    plain = read(tmp_path, TABLE)
    text = change(TABLE)
    assert text != TABLE
    assert same_rows(read(tmp_path, text), plain)
    assert read(tmp_path, text).header.rates == plain.header.rates


def test_empty_cells_are_missing_not_zero(tmp_path):
    rows = read(tmp_path, TABLE.replace("32.0,0.0,25.0", ",,")).rows
    assert (rows[1].acs, rows[1].macs, rows[1].rate_percent) == (None, None, None)


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("128.0,32.0", "128.0,many", ["line 5", "column acs", "'many'"]),
        ("128.0,32.0", "128.0,nan", ["line 5", "column acs", "nan"]),
        ("128.0,32.0", "128.0,inf", ["line 5", "column acs"]),
        ("128.0,32.0", "-128.0,32.0", ["line 5", "column dense_ops", "-128"]),
        ("128.0,32.0", ",32.0", ["line 5", "column dense_ops", "empty"]),
        ("Conv1d,4,4", "Conv1d,4.5,4", ["line 5", "column in_channels", "whole"]),
        ("0.0,25.0", "0.0,250.0", ["line 5", "column rate_percent", "100 %"]),
        ("0.0,25.0", "0.0", ["line 5", "8 cells", "9 columns"]),
        ("0.0,25.0", "0.0,25.0,7", ["line 5", "10 cells", "9 columns"]),
        ("dense_ops,", "", ["line 3", "dense_ops"]),
        ("layer,kind", "name,kind", ["line 3", "column layer", "name"]),
        ("dense_ops,acs", "dense_ops,dense_ops", ["line 3", "dense_ops", "twice"]),
        ("0.5,0.25,0.125", "0.5,0.25", ["line 2", "block 0", "three rates"]),
        ("0.5,0.25,0.125", "0.5,0.25,x", ["line 2", "block 0", "'x'"]),
        ("0.5,0.25,0.125", "50,25,12.5", ["line 2", "block 0", "50", "outside"]),
        ("# firing", "# firing rate of q,k,v in block 0: 0,0,0\n# firing", ["line 3", "block 0", "twice"]),
    ],
)
def test_errors_name_file_line_and_column(tmp_path, old, new, parts):
    assert TABLE.count(old) == 1
    text = TABLE.replace(old, new)
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    for part in ["log.csv", *parts]:
        assert part in str(error.value)


def test_a_line_that_is_no_csv_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"log.csv, line 4.*no CSV"):
        read(tmp_path, TABLE.replace("stem,", f"{'s' * 200_000},"))


def test_all_missing_columns_are_named_at_once(tmp_path):
    with pytest.raises(InputError, match="columns layer, dense_ops, rate_percent"):
        read(tmp_path, "a,b\n1,2\n")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no rows"),
        (b"\n\n", "no rows"),
        (b"# only comments\n", "no rows"),
        (b"layer,dense_ops,rate_percent\n", "no rows"),
        (b"\xff\xfe\x00\x01", "UTF-8"),
    ],
)
def test_files_without_a_table_are_refused(tmp_path, content, reason):
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason) as error:
        read_table(path)
    assert str(path) in str(error.value)


def test_missing_files_and_folders_are_refused(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_table(path)
