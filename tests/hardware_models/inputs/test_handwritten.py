from __future__ import annotations

import itertools
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_models.errors import InputError
from hardware_models.inputs import read_workload
from hardware_models.inputs.operands import Signal, operations
from hardware_models.layer_table import layer_table
from hardware_models.workload import Bounds, Workload

HEAD = "schema: neuro.layers/1\n"
DENSE = "input: integer, input_bits: 8, weights: integer, weight_bits: 8"


def read_yaml(tmp_path: Path, text: str) -> Workload:
    path = tmp_path / "net.yaml"
    path.write_text(HEAD + dedent(text))
    return read_workload(path)


def read_csv(tmp_path: Path, text: str) -> Workload:
    path = tmp_path / "net.csv"
    path.write_text(dedent(text))
    return read_workload(path)


def one(tmp_path: Path, layer: str, top: str = "") -> Workload:
    return read_yaml(tmp_path, f"{top}\nlayers:\n  - {{{layer}}}\n")


SPIKING = """
    name: small
    timesteps: 2
    defaults: {weights: integer, weight_bits: 8}
    layers:
      - {name: stem, kind: conv, in: [2, 4, 4], filters: 3, kernel: 3, padding: 1, input: binary,
         density: 0.5, neuron: lif, rate: [0.25, 0.5]}
      - {name: head, kind: linear, filters: 10}
"""


def test_a_spiking_network_worked_by_hand(tmp_path: Path) -> None:
    workload = read_yaml(tmp_path, SPIKING)
    stem, neuron, head = workload.layers
    assert [layer.name for layer in workload.layers] == ["stem", "stem.lif", "head"]
    # 4x4 with padding 1: on each axis the 3 taps reach inside 3 + 4 + 3 = 10 times, of 12; so of the 12 x 12 x 2 x 3
    # dense operations 10 x 10 x 2 x 3 = 600 read data, half of them a spike, in each of 2 timesteps.
    assert stem.bounds is not None
    assert stem.bounds.macs == 12 * 12 * 2 * 3
    assert stem.acs == 600 * workload.batch
    assert (stem.macs, stem.driven_by, stem.timesteps) == (0, "input", 2)
    # 3 x 4 x 4 = 48 neurons, of which 12 and then 24 fire.
    assert neuron.out_elements == 48
    assert neuron.output is not None
    assert [n / workload.batch for n in neuron.output.nonzero] == [12, 24]
    assert neuron.output.density == (0.25, 0.5)
    # The head reads those spikes: (12 + 24) x 10 accumulates.
    assert head.operand("input").nonzero == neuron.output.nonzero
    assert head.acs == 360 * workload.batch
    assert head.operand("weight").elements == 480
    assert (stem.consumers, neuron.consumers, head.consumers) == (("stem.lif",), ("head",), ())
    assert workload.spikes == 36
    assert workload.timesteps == 2


def test_csv_says_the_same_as_yaml(tmp_path: Path) -> None:
    text = """\
        # A comment in prose; settings look like this:
        # name = small
        # timesteps = 2
        # weights = integer
        # weight_bits = 8
        name,kind,in,filters,kernel,padding,input,density,neuron,rate
        stem,conv,2x4x4,3,3,1,binary,0.5,lif,0.25 0.5
        head,linear,,10,,,,,,
    """
    assert read_csv(tmp_path, text) == read_yaml(tmp_path, SPIKING)


def test_counts_are_whole_numbers_of_samples(tmp_path: Path) -> None:
    """A density of 0.125 on 10 values is 1.25 spikes: 1250 in 1000 samples."""
    workload = one(
        tmp_path,
        "name: fc, kind: linear, in: 10, filters: 3, input: binary, density: 0.125, weights: float, weight_bits: 32",
    )
    assert workload.batch == 1000
    assert workload.layers[0].operand("input").nonzero == (1250,)
    assert workload.acs == 3.75
    assert any("1000 samples" in note for note in workload.notes)


def test_dense_integers_are_multiplied(tmp_path: Path) -> None:
    layer = one(tmp_path, f"name: fc, kind: linear, in: [7, 5], filters: 3, {DENSE}").layers[0]
    assert (layer.macs, layer.acs, layer.driven_by) == (7 * 5 * 3, 0, None)
    assert layer.operand("input").form == "integer"
    assert layer.operand("input").magnitude == ()


@pytest.mark.parametrize(("weights", "acs", "bits"), [("sign", 30, 1), ("ternary, weight_density: 0.5", 15, 2)])
def test_weights_that_need_no_multiplier_drive_the_layer(tmp_path: Path, weights: str, acs: int, bits: int) -> None:
    """10 x 3 weights: of each that is not zero, the input is added or subtracted."""
    text = f"name: fc, kind: linear, in: 10, filters: 3, input: integer, input_bits: 8, weights: {weights}"
    workload = one(tmp_path, text)
    layer = workload.layers[0]
    assert (layer.macs, layer.acs, layer.driven_by) == (0, acs * workload.batch, "weight")
    assert layer.operand("weight").bits == bits


def test_integer_spikes_take_as_many_accumulates_as_unit_spikes(tmp_path: Path) -> None:
    """10 values, 2 of them not zero, holding 5 unit spikes together: 5 x 4 accumulates."""
    text = (
        "name: fc, kind: linear, in: 10, filters: 4, input: spikes, input_bits: 3, density: 0.2, unit_density: 0.5, "
        "weights: integer, weight_bits: 4"
    )
    workload = one(tmp_path, text)
    assert workload.acs == 20
    assert sum(workload.layers[0].operand("input").magnitude) == 5 * workload.batch


def test_depthwise_and_grouped_and_strided(tmp_path: Path) -> None:
    workload = read_yaml(
        tmp_path,
        f"""
        defaults: {{{DENSE}}}
        layers:
          - {{name: dw, kind: depthwise, in: [8, 9, 9], kernel: 3, stride: 2, padding: 1}}
          - {{name: gr, kind: conv, filters: 12, kernel: 1x3, groups: 4}}
          - {{name: up, kind: conv_transpose, filters: 2, kernel: 4, stride: 2, padding: 1}}
        """,
    )
    dw, gr, up = (layer.bounds for layer in workload.layers)
    assert dw is not None
    assert gr is not None
    assert up is not None
    # floor((9 + 2 - 3) / 2) + 1 = 5
    assert (dw.groups, dw.out_size, dw.gemm) == (8, (5, 5), (25, 1, 9))
    assert (gr.out_size, gr.gemm) == ((5, 3), (15, 3, 6))
    # (5 - 1) 2 - 2 + 3 + 1 = 10; (3 - 1) 2 - 2 + 3 + 1 = 6
    assert (up.out_size, up.macs) == ((10, 6), 15 * 12 * 2 * 16)
    assert workload.layers[2].out_elements == 2 * 10 * 6


def test_padding_same_keeps_the_size(tmp_path: Path) -> None:
    text = f"name: c, kind: conv, in: [1, 10, 10], filters: 1, kernel: 4, stride: 3, padding: same, {DENSE}"
    bounds = one(tmp_path, text).layers[0].bounds
    assert bounds is not None
    assert bounds.out_size == (4, 4)  # ceil(10 / 3)
    assert bounds.padding == (1, 1)  # 3 x 3 + 4 - 10 = 3 in all, 1 of it before


def test_edges_run_through_pools_norms_and_additions(tmp_path: Path) -> None:
    workload = read_yaml(
        tmp_path,
        f"""
        defaults: {{{DENSE}}}
        layers:
          - {{name: a, kind: conv, in: [4, 8, 8], filters: 4, kernel: 3, padding: 1}}
          - {{name: norm, kind: norm}}
          - {{name: b, kind: conv, filters: 4, kernel: 1}}
          - {{name: sum, kind: add, from: [norm, b]}}
          - {{name: pool, kind: maxpool, kernel: 2}}
          - {{name: gap, kind: globalpool}}
          - {{name: fc, kind: linear, filters: 3}}
        """,
    )
    edges = {layer.name: layer.consumers for layer in workload.layers if layer.consumers}
    assert edges == {"a": ("b", "fc"), "b": ("fc",)}
    sizes = {layer.name: layer.out_elements for layer in workload.layers}
    assert (sizes["pool"], sizes["gap"]) == (4 * 4 * 4, 4)
    assert [layer.operator for layer in workload.layers] == ["conv", "norm", "conv", "add", "pool", "pool", "linear"]


def test_layers_joined_along_their_channels(tmp_path: Path) -> None:
    workload = read_yaml(
        tmp_path,
        f"""
        defaults: {{{DENSE}}}
        layers:
          - {{name: a, kind: conv, in: [1, 8, 8], filters: 4, kernel: 1}}
          - {{name: b, kind: conv, filters: 6, kernel: 1, from: a}}
          - {{name: c, kind: conv, in: [10, 8, 8], filters: 1, kernel: 1, from: [a, b]}}
          - {{name: d, kind: conv, in: [1, 8, 8], filters: 1, kernel: 1, from: input}}
        """,
    )
    assert [layer.consumers for layer in workload.layers] == [("b", "c"), ("c",), (), ()]


def test_attention_products_read_two_layers(tmp_path: Path) -> None:
    workload = read_yaml(
        tmp_path,
        """
        timesteps: 4
        defaults: {weights: integer, weight_bits: 8, input: binary, density: 0.2}
        layers:
          - {name: q, kind: linear, in: [10, 32], filters: 32, neuron: lif, rate: 0.1}
          - {name: k, kind: linear, in: [10, 32], filters: 32, neuron: lif, rate: 0.3, from: input}
          - {name: qk, kind: matmul, heads: 4, m: 10, k: 8, n: 10, from: [q, k]}
        """,
    )
    product = workload.layers[-1]
    assert [operand.name for operand in product.operands] == ["left", "right"]
    # 320 values each; a spike of q meets n = 10 of k: 4 x 32 x 10 accumulates, the cheaper side.
    assert (workload.batch, product.driven_by, product.acs / workload.batch) == (10, "left", 4 * 32 * 10)
    assert workload.layers[1].consumers == workload.layers[3].consumers == ("qk",)


def test_a_layer_outside_of_time(tmp_path: Path) -> None:
    workload = read_yaml(
        tmp_path,
        f"""
        timesteps: 4
        layers:
          - {{name: stem, kind: linear, in: 8, filters: 8, timesteps: 1, {DENSE}}}
          - {{name: lif, kind: lif, rate: 0.5}}
          - {{name: fc, kind: linear, filters: 2, weights: integer, weight_bits: 8}}
        """,
    )
    stem, neuron, head = workload.layers
    assert (stem.timesteps, neuron.timesteps, head.timesteps) == (1, 4, 4)
    assert stem.macs / workload.batch == 64
    assert head.operand("input").density == (0.5,) * 4


def test_a_stated_width_of_a_result_reaches_its_reader(tmp_path: Path) -> None:
    workload = read_yaml(
        tmp_path,
        f"""
        layers:
          - {{name: a, kind: linear, in: 8, filters: 8, output_bits: 4, {DENSE}}}
          - {{name: b, kind: linear, filters: 2, input: integer, weights: integer, weight_bits: 8}}
        """,
    )
    assert workload.layers[1].operand("input").bits == 4
    assert workload.layers[0].output is not None
    assert workload.layers[0].output.bits == 4


def test_the_columns_of_a_chip_estimate_can_be_made(tmp_path: Path) -> None:
    table = layer_table(read_yaml(tmp_path, SPIKING))
    assert table.acs.tolist() == [600, 0, 360]
    assert table.step_spikes.tolist() == [[16, 16], [12, 24], [12, 24]]
    assert table.edges.tolist() == [[0, 1], [1, 2]]


@st.composite
def convolutions(draw: st.DrawFn) -> Bounds:
    kernel, stride = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    padding, dilation = draw(st.integers(0, 4)), draw(st.integers(1, 3))
    size = draw(st.integers(max(1, dilation * (kernel - 1) + 1 - 2 * padding), 14))
    transposed = draw(st.booleans())
    spread = dilation * (kernel - 1) + 1
    out = (size - 1) * stride - 2 * padding + spread if transposed else (size + 2 * padding - spread) // stride + 1
    return Bounds(
        groups=2,
        in_channels=4,
        out_channels=6,
        in_size=(size,),
        out_size=(max(1, out),),
        kernel=(kernel,),
        stride=(stride,),
        padding=(padding,),
        dilation=(dilation,),
        transposed=transposed,
    )


@given(convolutions())
def test_accumulates_leave_padding_out(bounds: Bounds) -> None:
    """Counted one by one: every (output, tap) whose input exists, of 2 channels in a group, for 6 outputs."""
    size, out = bounds.in_size[0], bounds.out_size[0]
    over, within = (size, out) if bounds.transposed else (out, size)
    reached = sum(
        0 <= i * bounds.stride[0] + k * bounds.dilation[0] - bounds.padding[0] < within
        for i, k in itertools.product(range(over), range(bounds.kernel[0]))
    )
    spikes = Signal("binary", 1, False, (1.0,), (1.0,))
    weight = Signal("integer", 8, True, (1.0,))
    macs, acs, driven_by = operations(bounds, 1, 1, {"input": spikes, "weight": weight})
    assert (macs, acs, driven_by) == (0, (reached * 2 * 6,), "input")


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("kind: linear, in: 4, filters: 2", "name is missing"),
        ("name: input, kind: linear, in: 4, filters: 2", "choose another"),
        ("name: a, in: 4, filters: 2", "kind is missing"),
        ("name: a, kind: linar, in: 4, filters: 2", "did you mean linear"),
        ("name: a, kind: linear, in: 4, filtres: 2", "did you mean filters"),
        ("name: a, kind: linear, in: 4, kernel: 2", "kernel means nothing to a layer of kind linear"),
        ("name: a, kind: linear, in: 4, out_features: 3, filters: 2", "filters is given twice"),
        (f"name: a, kind: linear, filters: 2, {DENSE}", "in is missing"),
        (f"name: a, kind: linear, in: 4, {DENSE}", "filters is missing"),
        (f"name: a, kind: linear, in: 0, filters: 2, {DENSE}", "in is 0; give numbers of 1"),
        (f"name: a, kind: linear, in: 4, filters: -2, {DENSE}", "filters is -2"),
        (f"name: a, kind: linear, in: 4, filters: 2.5, {DENSE}", "filters is 2.5; give whole"),
        (f"name: a, kind: linear, in: 4, filters: true, {DENSE}", "filters is True; give whole"),
        (f"name: a, kind: linear, in: 99999999999999999999, filters: 2, {DENSE}", "in is 9999"),
        (f"name: a, kind: linear, in: [1, 2, 3], filters: 2, {DENSE}", "in has 3 sizes"),
        (f"name: a, kind: linear, in: 3, channels: 3, filters: 2, {DENSE}", "given twice"),
        ("name: a, kind: linear, in: 4, filters: 2, weights: integer, weight_bits: 8", "input is missing"),
        ("name: a, kind: linear, in: 4, filters: 2, input: integer, weights: float", "input_bits is missing"),
        ("name: a, kind: linear, in: 4, filters: 2, input: integer, input_bits: 8", "weights is missing"),
        ("name: a, kind: linear, in: 4, filters: 2, input: binary", "density is missing"),
        ("name: a, kind: linear, in: 4, filters: 2, input: ternary", "density is missing"),
        ("name: a, kind: linear, in: 4, filters: 2, input: spikes, density: 0.5, input_bits: 2", "unit_density is"),
        ("name: a, kind: linear, in: 4, filters: 2, input: spikes, density: 0.5", "input_bits is missing"),
        (
            "name: a, kind: linear, in: 4, filters: 2, input: spikes, density: 0.5, input_bits: 2, unit_density: 2",
            "1 to 3 unit spikes",
        ),
        ("name: a, kind: linear, in: 4, filters: 2, input: binary, density: 0.1, unit_density: 2", "form spikes"),
        ("name: a, kind: linear, in: 4, filters: 2, input: binary, density: 1.2", "from 0 to 1"),
        ("name: a, kind: linear, in: 4, filters: 2, input: binary, density: -0.1", "from 0 to 1"),
        ("name: a, kind: linear, in: 4, filters: 2, input: binary, density: .nan", "give a number"),
        ("name: a, kind: linear, in: 4, filters: 2, input: binary, density: [0.1, 0.2]", "2 numbers for 1 timesteps"),
        ("name: a, kind: linear, in: 4, filters: 2, input: sign, density: 0.5", "no sign is zero"),
        ("name: a, kind: linear, in: 4, filters: 2, input: ternary, density: 0.5, input_bits: 1", "2 to 64 bits"),
        (f"name: a, kind: conv, in: [3, 8, 8], filters: 2, {DENSE}", "kernel is missing"),
        (f"name: a, kind: conv, in: [3, 8, 8], filters: 2, kernel: 9, {DENSE}", "larger than the padded input"),
        (f"name: a, kind: conv, in: [3, 8, 8], filters: 2, kernel: [3, 3, 3], {DENSE}", "3 sizes for 2 axes"),
        (f"name: a, kind: conv, in: [3, 8, 8], filters: 2, kernel: 3, stride: 0, {DENSE}", "stride is 0"),
        (f"name: a, kind: conv, in: [3, 8, 8], filters: 2, kernel: 3, groups: 2, {DENSE}", "do not divide"),
        (f"name: a, kind: conv, channels: 3, filters: 2, kernel: 3, {DENSE}", "height is missing"),
        (f"name: a, kind: linear, in: 4, filters: 2, from: b, {DENSE}", "unknown layer in from 'b'"),
        (f"name: a, kind: linear, in: 4, filters: 2, rate: 0.5, {DENSE}", "belongs to a neuron"),
        (f"name: a, kind: linear, in: 4, filters: 2, neuron: lif, {DENSE}", "rate is missing"),
        (f"name: a, kind: linear, in: 4, filters: 2, neuron: liff, rate: 0.5, {DENSE}", "did you mean lif"),
        ("name: a, kind: matmul, m: 3, k: 4", "n is missing"),
        (f"name: a, kind: linear, in: 4, filters: 2, timesteps: 99999999999, {DENSE}", "give at most 1000000"),
    ],
)
def test_a_bad_layer_is_refused(tmp_path: Path, layer: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        one(tmp_path, layer)
    assert message in str(error.value)
    assert "net.yaml, layer " in str(error.value)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("name: b, kind: conv, in: [3, 8, 8], filters: 1, kernel: 1", "reads 3x8x8 values, but a.lif gives 4x8x8"),
        ("name: b, kind: conv, in: [4, 7, 8], filters: 1, kernel: 1", "but a.lif gives 4x8x8"),
        ("name: b, kind: linear, in: 255, filters: 1", "but a.lif gives 4x8x8"),
        ("name: a, kind: conv, filters: 1, kernel: 1", "given to a layer above"),
        ("name: b, kind: conv, filters: 1, kernel: 1, density: 0.5", "density differs from what a.lif fires"),
        ("name: b, kind: conv, filters: 1, kernel: 1, input: integer, input_bits: 8", "a.lif fires binary"),
        ("name: b, kind: conv, filters: 1, kernel: 1, from: [a, a.lif]", "added or joined"),
        ("name: b, kind: matmul, m: 8, k: 9, n: 8, right: binary, right_density: 0.1, from: [a, a]", "left operand"),
    ],
)
def test_layers_that_do_not_follow_each_other_are_refused(tmp_path: Path, second: str, message: str) -> None:
    text = f"""
        defaults: {{weights: integer, weight_bits: 8}}
        layers:
          - {{name: a, kind: conv, in: [2, 8, 8], filters: 4, kernel: 1, input: binary, density: 0.1, neuron: lif,
             rate: 0.25}}
          - {{{second}}}
        """
    with pytest.raises(InputError) as error:
        read_yaml(tmp_path, text)
    assert message in str(error.value)


def test_a_pool_changes_the_density_so_it_has_to_be_stated(tmp_path: Path) -> None:
    text = """
        defaults: {weights: integer, weight_bits: 8}
        layers:
          - {name: a, kind: conv, in: [2, 8, 8], filters: 4, kernel: 1, input: binary, density: 0.1, neuron: lif,
             rate: 0.25}
          - {name: pool, kind: maxpool, kernel: 2}
          - {name: b, kind: conv, filters: 1, kernel: 1, input: binary}
        """
    with pytest.raises(InputError, match="density is missing"):
        read_yaml(tmp_path, text)
    assert read_yaml(tmp_path, text.replace("input: binary}", "input: binary, density: 0.6}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer: []", "did you mean 'layers'"),
        ("layers: 3", "list of mappings"),
        ("layers: [3]", "list of mappings"),
        ("layers: []", "holds no layers"),
        ("timesteps: 0\nlayers: []", "timesteps is 0"),
        ("defaults: [1]\nlayers: []", "defaults is no mapping"),
        ("defaults: {weight_bit: 8}\nlayers: []", "did you mean weight_bits"),
        ("defaults: {name: 8}\nlayers: []", "name means nothing"),
        ("notes: hello\nlayers: []", "notes is no list"),
        ("layers: [{1: 2}]", "no word"),
        ("layers:\n  - {name: a, name: b}", "given twice"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        read_yaml(tmp_path, text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,kind,in,filtres\na,linear,3,4\n", "did you mean 'filters'"),
        ("name,kind,in,in\na,linear,3,4\n", "column in stands twice"),
        ("name,kind,in,filters\na,linear,3\n", "line 2: 3 cells for 4 columns"),
        ("name,kind,in,filters\n", "no rows"),
        ("# weight_bit = 8\nname,kind,in\na,linear,3\n", "did you mean 'weight_bits'"),
        ("# weight_bits = 8\n# weight_bits = 4\nname,kind,in\na,linear,3\n", "set twice"),
        ("name,kind,in\na,linear,3\n", "line 2: filters is missing"),
        ('name,kind,in\na,"linear\n,3\n', "runs over a line"),
    ],
)
def test_a_bad_csv_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        read_csv(tmp_path, text)
    assert message in str(error.value)
    assert "net.csv" in str(error.value)


def test_a_default_whose_key_is_no_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="defaults: the key 8 is no word"):
        one(tmp_path, f"name: a, kind: linear, in: 4, filters: 2, {DENSE}", "defaults: {8: 8}")
