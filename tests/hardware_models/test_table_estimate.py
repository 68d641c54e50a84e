"""The spikingformer convention on published logs, and on toy logs that can be counted by hand."""

import csv
import itertools
from pathlib import Path

import pytest

from hardware_models.errors import InputError
from hardware_models.tables.estimate import estimate_table
from hardware_models.tables.operation_table import read_table

GOLDEN = Path(__file__).parents[1] / "golden"

# Published by the logs themselves: MACs, ACs and mJ, and the heads of the network.
PUBLISHED = {
    "spikingformer-8-512.csv": (0.347329512e9, 6.51754094076244e9, 7.463502601886196, 8),
    "spikingformer-8-768.csv": (0.520993768e9, 12.513659576717108e9, 13.658864951845398, 12),
}

TOY = """\
# firing rate of q,k,v in block 0: 0.5,0.25,0.125
layer,kind,in_channels,out_channels,kernel,dense_ops,acs,macs,rate_percent
stem,Conv2d,3,4,3,2000.0,0.0,2000.0,100.0
block[0].attn.q_conv,Conv1d,4,4,1,128.0,32.0,0.0,25.0
block[0].attn.k_conv,Conv1d,4,4,1,128.0,32.0,0.0,25.0
block[0].attn.v_conv,Conv1d,4,4,1,128.0,32.0,0.0,25.0
block[0].attn.proj_conv,Conv1d,4,4,1,128.0,64.0,0.0,50.0
"""


def read(tmp_path, text):
    path = tmp_path / "log.csv"
    path.write_text(text, encoding="utf-8")
    return read_table(path)


def estimate(tmp_path, text, heads=None):
    return estimate_table(read(tmp_path, text), heads)


def said(found):
    return " ".join(found.assumptions)


def rows_by_hand(path):
    """Energy of each row in pJ straight from the file: 4.6 MAC at 100 %, else 0.9 AC."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    for row in csv.DictReader(lines):
        full = float(row["rate_percent"]) == 100.0
        yield row["layer"], 4.6 * float(row["macs"]) if full else 0.9 * float(row["acs"])


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("named", [False, True])
def test_published_totals_to_nine_digits(name, named):
    macs, acs, millijoules, heads = PUBLISHED[name]
    found = estimate_table(read_table(GOLDEN / name), heads if named else None)
    assert found.energy_j * 1e3 == pytest.approx(millijoules, rel=1e-9)
    assert found.macs == pytest.approx(macs, rel=1e-9)
    assert found.acs == pytest.approx(acs, rel=1e-9)
    assert "Warning" not in said(found)
    assert f"{heads} heads" in said(found)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_logs_layer_by_layer(name):
    by_name = {layer.name: layer for layer in estimate_table(read_table(GOLDEN / name)).layers}
    expected = dict(rows_by_hand(GOLDEN / name))
    assert len(expected) == 54
    for layer, picojoules in expected.items():
        assert by_name[layer].energy_j == pytest.approx(picojoules * 1e-12, rel=1e-12)
    attention = set(by_name) - set(expected)
    assert sorted(attention) == [f"block[{block}].attn.q(k^T v)" for block in range(8)]


def test_published_attention_block_by_hand():
    # Block 0 of 8-512: T=4, N=196, 8 heads of 64; rates q .1723, k .03626, v .06958.
    layers = estimate_table(read_table(GOLDEN / "spikingformer-8-512.csv")).layers
    acs = 4 * 8 * 196 * 64**2 * (0.03626344770312309 + 0.17230188630104062)
    index = [layer.name for layer in layers].index("block[0].attn.q(k^T v)")
    assert layers[index].acs == pytest.approx(acs, rel=1e-12)
    assert layers[index - 1].name == "block[0].attn.v_conv"
    assert layers[index + 1].name == "block[0].attn.proj_conv"


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("kept", ["nothing", "energy only"])
def test_heads_without_a_named_number(tmp_path, name, kept):
    """Without any total the published width of a head is taken; from an energy alone the heads are found."""
    _, _, millijoules, heads = PUBLISHED[name]
    lines = (GOLDEN / name).read_text().splitlines()
    rates_and_rows = [line for line in lines if not line.startswith("#") or "firing rate of" in line]
    extra = [f"# Energy consumption: {millijoules} mJ"] if kept == "energy only" else []
    found = estimate(tmp_path, "\n".join(extra + rates_and_rows))
    assert found.energy_j * 1e3 == pytest.approx(millijoules, rel=1e-9)
    assert ("only this one gives the total" if extra else "published ImageNet models") in said(found)
    assert f"{heads} heads" in said(found)


def test_toy_by_hand(tmp_path):
    # T N = 128 / 16 = 8. One head of 4: 8 * 1 * 16 * (0.125 + 0.5) = 80 ACs. Rows: 2000 MACs, 160 ACs.
    found = estimate(tmp_path, TOY, heads=1)
    assert (found.macs, found.acs) == (2000, 240)
    assert found.energy_j == pytest.approx((2000 * 4.6 + 240 * 0.9) * 1e-12)
    # Two heads of 2: 8 * 2 * 4 * 0.625 = 40 ACs.
    assert estimate(tmp_path, TOY, heads=2).acs == 200


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_heads_are_found_from_a_stated_total(tmp_path, heads):
    stated = estimate(tmp_path, TOY, heads).acs
    found = estimate(tmp_path, f"# 0.000002 G MACs, {stated / 1e9:.12f} G ACs\n{TOY}")
    assert f"{heads} heads: the table does not name them" in said(found)
    assert found.acs == stated


def test_a_stated_total_that_fits_no_heads_is_reported(tmp_path):
    found = estimate(tmp_path, f"# 12345 ACs; Energy consumption: 1.0 nJ\n{TOY}", heads=1)
    assert "states 12345 ACs" in said(found)
    assert "rows give 240" in said(found)
    assert "states 1e-09 J" in said(found)


def test_a_rounded_total_that_agrees_is_not_reported(tmp_path):
    found = estimate(tmp_path, f"# Energy consumption: 9.4 nJ\n{TOY}", heads=1)  # 9.416 nJ
    assert "Warning" not in said(found)
    assert "Warning" in said(estimate(tmp_path, f"# Energy consumption: 9.5 nJ\n{TOY}", heads=1))


def test_the_callers_heads_come_first_then_the_headers(tmp_path):
    text = f"# Nheads: 2\n{TOY}"
    assert estimate(tmp_path, text).acs == 200
    assert estimate(tmp_path, text, heads=1).acs == 240


@pytest.mark.parametrize(("heads", "line"), [(3, ""), (0, ""), (-1, ""), (None, "# heads: 3\n")])
def test_heads_that_do_not_divide_are_refused(tmp_path, heads, line):
    with pytest.raises(InputError, match="do not divide 4 channels"):
        estimate(tmp_path, line + TOY, heads)


def test_missing_accumulates_follow_from_the_rate(tmp_path):
    text = "layer,dense_ops,rate_percent\na,1000,25\nb,10,100\n"
    found = estimate(tmp_path, text)
    assert [(layer.macs, layer.acs) for layer in found.layers] == [(0, 250), (10, 0)]
    assert "no attention products are counted" in said(found)


@pytest.mark.parametrize(
    ("row", "expected"), [("a,100,0,40", (40, 0)), ("a,100,30,0", (0, 30)), ("a,100,,40", (40, 0))]
)
def test_a_row_without_rate_counts_the_operations_it_has(tmp_path, row, expected):
    layer = estimate(tmp_path, f"layer,dense_ops,acs,macs\n{row}\n").layers[0]
    assert (layer.macs, layer.acs) == expected


@pytest.mark.parametrize("row", ["a,100,0,0", "a,100,3,4", "a,100,,"])
def test_a_row_that_does_not_tell_is_refused(tmp_path, row):
    with pytest.raises(InputError, match=r"log.csv, line 2.*'a'.*rate_percent"):
        estimate(tmp_path, f"layer,dense_ops,acs,macs\n{row}\n")


def test_a_rate_next_to_full_counts_as_full(tmp_path):
    head = "layer,dense_ops,acs,macs,rate_percent\n"
    assert estimate(tmp_path, head + "a,100,7,100,99.99995\n").macs == 100
    assert estimate(tmp_path, head + "a,100,7,100,99.99\n").acs == 7


def test_rates_missing_for_a_block_are_refused(tmp_path):
    without = "\n".join(TOY.splitlines()[1:])
    with pytest.raises(InputError, match=r"line 3.*block 0"):
        estimate(tmp_path, without, heads=1)


def test_rates_of_a_block_without_rows_are_reported(tmp_path):
    found = estimate(tmp_path, f"# firing rate of q,k,v in block 5: 0,0,0\n{TOY}", heads=1)
    assert found.acs == 240
    assert "which are not counted: 5." in said(found)


def test_rates_and_heads_without_any_attention_are_reported(tmp_path):
    found = estimate(tmp_path, "# firing rate of q,k,v in block 0: 0,0,0\nlayer,dense_ops,rate\na,9,1\n", heads=2)
    assert "rates of 1 attention blocks are not used" in said(found)
    assert "2 heads are not used" in said(found)


def test_heads_that_nothing_tells_are_refused(tmp_path):
    with pytest.raises(InputError, match="--heads"):
        estimate(tmp_path, TOY)


@pytest.mark.parametrize(("channels", "heads"), [(64, 1), (384, 8), (1024, 16)])
def test_published_widths_of_a_head(tmp_path, channels, heads):
    # T N = 2; ACs = 2 C^2 / heads * 0.625. The published 384-channel model has 8 heads of 48.
    row = f"block[0].attn.q_conv,Conv1d,{channels},{channels},1,{2 * channels**2},0,0,0"
    header, columns, *_ = TOY.splitlines()
    found = estimate(tmp_path, "\n".join([header, columns, row]))
    assert found.acs == pytest.approx(2 * channels**2 / heads * 0.625)


def test_channels_missing_where_attention_needs_them_are_refused(tmp_path):
    with pytest.raises(InputError, match="in_channels and out_channels"):
        estimate(tmp_path, TOY.replace("q_conv,Conv1d,4,4", "q_conv,Conv1d,,4"), heads=1)


def test_tokens_that_are_no_whole_number_are_refused(tmp_path):
    with pytest.raises(InputError, match="no multiple of its 4 x 4"):
        estimate(tmp_path, TOY.replace("q_conv,Conv1d,4,4,1,128.0", "q_conv,Conv1d,4,4,1,131.0"), heads=1)


def test_a_projection_with_bias_has_the_same_tokens(tmp_path):
    # 8 rows x (16 weights + 4 biases) = 160 is 10 rows of 16 as well: the reading without bias comes first.
    # 7 rows x 20 = 140 is no multiple of 16, so it has a bias: 7 * 16 * 0.625 = 70 ACs.
    found = estimate(tmp_path, TOY.replace("q_conv,Conv1d,4,4,1,128.0", "q_conv,Conv1d,4,4,1,140.0"), heads=1)
    assert next(layer.acs for layer in found.layers if layer.operator == "matmul") == pytest.approx(70)


def test_timesteps_that_do_not_fit_are_reported(tmp_path):
    assert "T=3" in said(estimate(tmp_path, f"# T=3\n{TOY}", heads=1))
    assert "Warning" not in said(estimate(tmp_path, f"# T=4\n{TOY}", heads=1))


def test_any_number_of_blocks(tmp_path):
    header, columns, stem, *block = TOY.splitlines()
    more = [line.replace("block[0]", "block[11]") for line in block]
    text = "\n".join([header, header.replace("block 0", "block 11"), columns, stem, *block, *more])
    found = estimate(tmp_path, text, heads=1)
    assert found.acs == 480
    assert [layer.name for layer in found.layers if layer.operator == "matmul"] == [
        "block[0].attn.q(k^T v)",
        "block[11].attn.q(k^T v)",
    ]


@pytest.mark.parametrize(("few", "many"), list(itertools.pairwise([1, 2, 4])))
def test_more_heads_take_fewer_accumulates(tmp_path, few, many):
    assert estimate(tmp_path, TOY, few).acs > estimate(tmp_path, TOY, many).acs
