from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardware_models.errors import InputError
from hardware_models.inputs import read_workload
from hardware_models.workload import Workload

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnx.inliner")
helper: Any = pytest.importorskip("onnx.helper")
FLOAT, UINT8, INT8, INT32 = 1, 2, 3, 6

Shape = list[int | str | None]


def tensor(name: str, values: Any) -> Any:
    return onnx.numpy_helper.from_array(np.asarray(values), name)


def graph(
    tmp_path: Path,
    nodes: list[Any],
    weights: dict[str, Any] | None = None,
    inputs: dict[str, Shape] | None = None,
    elem: int = FLOAT,
    out: int = FLOAT,
) -> Path:
    """Write a graph whose result `y` has whatever shape inference finds."""
    given = inputs or {"x": [1, 3, 8, 8]}
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info(name, elem, shape) for name, shape in given.items()],
            [helper.make_tensor_value_info("y", out, None)],
            [tensor(name, values) for name, values in (weights or {}).items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def node(op: str, inputs: str, output: str = "y", **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), [output], name=output, **attributes)


def floats(*shape: int) -> Any:
    return np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def read(tmp_path: Path, *args: Any, **kwargs: Any) -> Workload:
    return read_workload(graph(tmp_path, *args, **kwargs))


def test_a_convolution_with_bias(tmp_path: Path) -> None:
    weights = {"w": floats(6, 3, 3, 3), "b": floats(6)}
    layer = read(tmp_path, [node("Conv", "x w b", strides=[2, 2], pads=[1, 1, 1, 1])], weights).layers[0]
    assert layer.bounds is not None
    # floor((8 + 2 - 3) / 2) + 1 = 4
    assert (layer.name, layer.operator, layer.op) == ("y", "conv", "Conv")
    assert (layer.bounds.gemm, layer.bounds.padding, layer.macs) == ((16, 6, 27), (1, 1), 16 * 6 * 27)
    assert layer.out_elements == 6 * 16
    assert layer.operand("input").elements == 3 * 64
    assert (layer.operand("weight").elements, layer.operand("weight").bits) == (162, 32)
    assert layer.operand("weight").form == "float"


@pytest.mark.parametrize(("auto_pad", "before"), [("SAME_UPPER", 0), ("SAME_LOWER", 1)])
def test_a_depthwise_convolution_that_pads_by_itself(tmp_path: Path, auto_pad: str, before: int) -> None:
    """8 to ceil(8 / 2) = 4 with a kernel of 3: (4 - 1) 2 + 3 - 8 = 1 in all."""
    layer = read(
        tmp_path, [node("Conv", "x w", strides=[2, 2], group=3, auto_pad=auto_pad)], {"w": floats(3, 1, 3, 3)}
    ).layers[0]
    assert layer.bounds is not None
    assert (layer.bounds.groups, layer.bounds.gemm, layer.bounds.padding) == (3, (16, 1, 9), (before, before))


def test_a_transposed_convolution(tmp_path: Path) -> None:
    layer = read(tmp_path, [node("ConvTranspose", "x w", strides=[2, 2])], {"w": floats(3, 5, 2, 2)}).layers[0]
    assert layer.bounds is not None
    assert (layer.bounds.transposed, layer.bounds.out_size, layer.macs) == (True, (16, 16), 64 * 3 * 5 * 4)


def test_matrix_products_of_a_batch(tmp_path: Path) -> None:
    """Two samples of 5 rows; weights on the right, on the left, and two activations."""
    nodes = [
        node("MatMul", "x w", "right"),
        node("Transpose", "x", "xt", perm=[0, 2, 1]),
        node("MatMul", "v xt", "left"),
        node("MatMul", "right left"),
    ]
    workload = read(tmp_path, nodes, {"w": floats(4, 7), "v": floats(7, 4)}, {"x": [2, 5, 4]})
    right, left, both = workload.layers
    assert workload.batch == 2
    assert [layer.operator for layer in workload.layers] == ["linear", "linear", "matmul"]
    assert right.bounds is not None
    assert left.bounds is not None
    assert both.bounds is not None
    assert right.bounds.gemm == left.bounds.gemm == (5, 7, 4)
    assert right.macs == left.macs == 2 * 5 * 7 * 4
    assert (both.bounds.gemm, both.bounds.groups, both.macs) == ((5, 5, 7), 1, 2 * 5 * 5 * 7)
    assert [operand.name for operand in both.operands] == ["left", "right"]
    assert both.operand("left").elements == 35
    assert right.consumers == left.consumers == ("y",)


def test_heads_are_groups(tmp_path: Path) -> None:
    inputs: dict[str, Shape] = {"q": [2, 4, 10, 8], "k": [2, 4, 8, 12]}
    bounds = read(tmp_path, [node("MatMul", "q k")], inputs=inputs).layers[0].bounds
    assert bounds is not None
    assert (bounds.groups, bounds.gemm) == (4, (10, 12, 8))


@pytest.mark.parametrize(("transposed", "shape"), [(0, (6, 9)), (1, (9, 6))])
def test_gemm(tmp_path: Path, transposed: int, shape: tuple[int, int]) -> None:
    nodes = [node("Gemm", "x w b", transB=transposed)]
    layer = read(tmp_path, nodes, {"w": floats(*shape), "b": floats(9)}, {"x": [4, 6]}).layers[0]
    assert layer.bounds is not None
    assert (layer.operator, layer.bounds.gemm, layer.macs) == ("linear", (1, 9, 6), 4 * 9 * 6)


def test_edges_run_through_what_computes_and_what_moves(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w1", "a"),
        node("Relu", "a", "relu"),
        node("Conv", "relu w2", "b"),
        node("Add", "b relu", "sum"),
        node("GlobalAveragePool", "sum", "gap"),
        node("Flatten", "gap", "flat"),
        node("Gemm", "flat w3", "fc"),
        node("Softmax", "fc"),
    ]
    weights = {"w1": floats(4, 3, 1, 1), "w2": floats(4, 4, 1, 1), "w3": floats(4, 10)}
    workload = read(tmp_path, nodes, weights)
    assert {layer.name: layer.operator for layer in workload.layers} == {
        "a": "conv", "relu": "elementwise", "b": "conv", "sum": "add", "gap": "pool", "fc": "linear",
        "y": "elementwise",
    }  # fmt: skip
    assert {layer.name: layer.consumers for layer in workload.layers if layer.consumers} == {
        "a": ("b", "fc"),
        "b": ("fc",),
    }
    assert {layer.name: layer.out_elements for layer in workload.layers}["gap"] == 4


def test_what_follows_from_shapes_alone_is_no_layer(tmp_path: Path) -> None:
    nodes = [
        node("Shape", "x", "shape"),
        node("Mul", "shape one", "same"),
        node("Reshape", "x same", "again"),
        node("Relu", "again"),
    ]
    workload = read(tmp_path, nodes, {"one": np.ones(4, dtype=np.int64)})
    assert [(layer.name, layer.out_elements) for layer in workload.layers] == [("y", 192)]


def test_an_addition_of_a_constant_is_no_addition_of_activations(tmp_path: Path) -> None:
    workload = read(tmp_path, [node("Add", "x c", "a"), node("Sub", "a x")], {"c": floats(8)})
    assert [layer.operator for layer in workload.layers] == ["elementwise", "add"]


def test_the_density_of_weights_is_measured(tmp_path: Path) -> None:
    w = floats(4, 3, 1, 1)
    w[0] = 0
    weight = read(tmp_path, [node("Conv", "x w")], {"w": w}).layers[0].operand("weight")
    assert (weight.nonzero, weight.density) == ((9,), (0.75,))


@pytest.mark.parametrize(
    ("row", "form", "bits", "acs"),
    [([-0.5, 0.5, 0.5], "ternary", 2, 6), ([-0.5, 0.0, 0.5], "ternary", 2, 4), ([0.0, 0.0, 0.3], "binary", 1, 2)],
)
def test_weights_of_one_magnitude_need_no_multiplier(
    tmp_path: Path, row: list[float], form: str, bits: int, acs: int
) -> None:
    nodes = [node("Gemm", "x w", transB=1)]
    w = np.array([row, row], dtype=np.float32)
    layer = read(tmp_path, nodes, {"w": w}, {"x": [1, 3]}).layers[0]
    weight = layer.operand("weight")
    assert (weight.form, weight.bits, layer.macs, layer.acs, layer.driven_by) == (form, bits, 0, acs, "weight")


def test_widths_of_quantize_dequantize_pairs(tmp_path: Path) -> None:
    """Values 3..14 with zero point 5: one of 12 weights is zero; the input is an 8-bit integer, moved around."""
    nodes = [
        node("QuantizeLinear", "x sx zx", "xq"),
        node("DequantizeLinear", "xq sx zx", "xd"),
        node("Flatten", "xd", "flat"),
        node("DequantizeLinear", "wq sw zw", "wd"),
        node("Transpose", "wd", "wt"),
        node("Gemm", "flat wt"),
    ]
    scale = np.float32(0.1)
    weights = {"sx": scale, "zx": np.uint8(128), "sw": scale, "zw": np.int8(5)}
    weights["wq"] = np.arange(3, 15, dtype=np.int8).reshape(2, 6)
    layer = read(tmp_path, nodes, weights, {"x": [1, 6]}).layers[0]
    x, w = layer.operand("input"), layer.operand("weight")
    assert (x.form, x.bits) == ("integer", 8)
    assert (w.form, w.bits, w.nonzero, w.elements) == ("integer", 8, (11,), 12)
    assert layer.driven_by is None


def test_weights_that_are_quantized_in_the_graph(tmp_path: Path) -> None:
    """With a scale of 1 for each output, 0.4 rounds to zero and the others do not."""
    nodes = [
        node("QuantizeLinear", "w s z", "wq", axis=0),
        node("DequantizeLinear", "wq s z", "wd", axis=0),
        node("Gemm", "x wd", transB=1),
    ]
    weights = {"w": np.array([[0.4, 3, -2], [0.4, 0.4, 7]], np.float32), "s": np.ones(2, np.float32)}
    weights["z"] = np.zeros(2, np.int8)
    w = read(tmp_path, nodes, weights, {"x": [1, 3]}).layers[0].operand("weight")
    assert (w.bits, w.nonzero, w.elements) == (8, (3,), 6)


def test_integer_operators(tmp_path: Path) -> None:
    weights = {"w": np.arange(-6, 6, dtype=np.int8).reshape(4, 3, 1, 1), "xz": np.uint8(0), "wz": np.int8(-6)}
    layer = read(tmp_path, [node("ConvInteger", "x w xz wz")], weights, elem=UINT8, out=INT32).layers[0]
    assert [(o.form, o.bits) for o in layer.operands] == [("integer", 8), ("integer", 8)]
    assert layer.operand("weight").nonzero == (11,)
    weights = {"w": np.arange(-6, 6, dtype=np.int8).reshape(3, 4)}
    layer = read(tmp_path, [node("MatMulInteger", "x w")], weights, {"x": [1, 5, 3]}, elem=INT8, out=INT32).layers[0]
    assert layer.bounds is not None
    assert (layer.bounds.gemm, layer.operand("input").bits) == ((5, 4, 3), 8)


def test_an_open_batch_is_one_sample(tmp_path: Path) -> None:
    workload = read(tmp_path, [node("Conv", "x w")], {"w": floats(4, 3, 1, 1)}, {"x": ["N", 3, 8, 8]})
    assert (workload.batch, workload.layers[0].macs) == (1, 64 * 12)


def test_other_open_sizes_have_to_be_given(tmp_path: Path) -> None:
    inputs: dict[str, Shape] = {"x": ["N", 3, "H", "W"]}
    path = graph(tmp_path, [node("Conv", "x w")], {"w": floats(4, 3, 1, 1)}, inputs)
    with pytest.raises(InputError, match=r"size 3 of the input 'x' is open \(H\).*x=1,3,1,1"):
        read_workload(path)
    assert read_workload(path, input_shapes={"x": (1, 3, 5, 6)}).layers[0].macs == 30 * 12
    for shapes, message in (
        ({"z": (1,)}, "unknown input 'z'"),
        ({"x": (1, 3, 5)}, "give as many"),
        ({"x": (1, 3, 0, 5)}, "of 1 or more"),
        ({"x": (1, 4, 5, 5)}, "cannot become"),
    ):
        with pytest.raises(InputError, match=message):
            read_workload(path, input_shapes=shapes)


def test_a_kernel_larger_than_its_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none may be below 1"):
        read(tmp_path, [node("Conv", "x w")], {"w": floats(4, 3, 12, 12)})


def test_an_operator_without_a_rule_is_refused(tmp_path: Path) -> None:
    for op, attributes in (("Einsum", {"equation": "ij,jk->ik"}), ("Det", {})):
        path = graph(tmp_path, [node(op, "x x" if op == "Einsum" else "x", **attributes)], inputs={"x": [4, 4]})
        with pytest.raises(InputError, match=rf"node 'y' \({op}\) has an operator without a rule"):
            read_workload(path)


def test_weights_in_another_file_are_never_read(tmp_path: Path) -> None:
    path = graph(tmp_path, [node("Conv", "x w")], {"w": floats(4, 3, 1, 1)})
    model = onnx.load(str(path))
    stored = model.graph.initializer[0]
    stored.ClearField("raw_data")
    stored.data_location = 1
    entry = stored.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    path.write_bytes(model.SerializeToString())
    workload = read_workload(path)
    assert workload.layers[0].operand("weight").density == (1.0,)
    assert any("stored in another file" in note for note in workload.notes)


def test_a_local_function_is_opened(tmp_path: Path) -> None:
    path = graph(tmp_path, [node("Conv", "x w", "a"), node("Block", "a", domain="mine")], {"w": floats(4, 3, 1, 1)})
    model = onnx.load(str(path))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    body = [helper.make_node("Relu", ["in"], ["out"])]
    model.functions.append(helper.make_function("mine", "Block", ["in"], ["out"], body, [helper.make_opsetid("", 17)]))
    path.write_bytes(model.SerializeToString())
    assert [layer.op for layer in read_workload(path).layers] == ["Conv", "Relu"]


@pytest.mark.parametrize("content", [b"", b"\x00" * 40, b"not a graph", b"\x08\x08", b"\xff" * 100])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        read_workload(path)


def test_a_file_with_flipped_bytes_is_read_or_refused(tmp_path: Path) -> None:
    nodes = [node("Conv", "x w", "a", pads=[1, 1, 1, 1]), node("Flatten", "a", "flat"), node("Gemm", "flat v")]
    path = graph(tmp_path, nodes, {"w": floats(2, 3, 3, 3), "v": floats(128, 2)})
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            damaged[place] = random.integers(0, 256)
        path.write_bytes(damaged[: random.integers(1, len(whole))] if random.random() < 0.3 else damaged)
        try:
            assert read_workload(path).layers
        except InputError:
            continue


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = graph(tmp_path, [node("Conv", "x w")], {"w": floats(4, 3, 1, 1)})
    monkeypatch.setitem(sys.modules, "onnx.checker", None)
    with pytest.raises(InputError, match=r"pip install 'neuro\[onnx\]'"):
        read_workload(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "macs", "parameters"),
    # Operations and parameters as published with torchvision's weights: 1.814 G, 11.69 M and 0.301 G, 3.50 M.
    [("resnet18", 1_814_073_344, 11_689_512), ("mobilenet_v2", 300_774_272, 3_504_872)],
)
def test_published_networks(tmp_path: Path, name: str, macs: int, parameters: int) -> None:
    torch = pytest.importorskip("torch")
    import published_networks

    network = getattr(published_networks, name)()
    stored = sum(parameter.numel() for parameter in network.parameters())
    path = tmp_path / "net.onnx"
    example = torch.zeros(1, 3, 224, 224)
    torch.onnx.export(network, example, str(path), dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}})
    workload = read_workload(path)
    assert stored == parameters
    assert workload.macs == macs
    weights = sum(layer.operand("weight").elements for layer in workload.synaptic_layers())
    norms = sum(p.numel() for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d) for p in m.parameters())
    assert weights == parameters - norms - 1000  # the classifier's biases


@pytest.mark.filterwarnings("ignore")
def test_a_graph_and_a_measurement_agree(tmp_path: Path) -> None:
    """The profiler watches torch run; the reader sees only the exported file. Both find the same products."""
    torch = pytest.importorskip("torch")
    import published_networks

    from neuro.profiling import profile

    torch.manual_seed(0)
    network, example = published_networks.mobilenet_v2(), torch.randn(2, 3, 64, 64)
    path = tmp_path / "net.onnx"
    # With the norms left in place the weights are those that torch ran with.
    training = torch.onnx.TrainingMode.PRESERVE
    torch.onnx.export(network, example, str(path), dynamo=False, do_constant_folding=False, training=training)
    read, measured = (list(w.synaptic_layers()) for w in (read_workload(path), profile(network, example)))
    assert [layer.bounds for layer in read] == [layer.bounds for layer in measured]
    assert [layer.macs for layer in read] == [layer.macs for layer in measured]
    assert [layer.operand("weight").nonzero for layer in read] == [x.operand("weight").nonzero for x in measured]
    places = [{layer.name: place for place, layer in enumerate(found)} for found in (read, measured)]
    edges = [
        {(place[layer.name], place[name]) for layer in found for name in layer.consumers}
        for found, place in zip((read, measured), places, strict=True)
    ]
    assert edges[0] == edges[1]
