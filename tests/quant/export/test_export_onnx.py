"""ONNX files, run in onnxruntime, in ONNX's reference implementation and by qonnx, against PyTorch."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import qonnx.core.onnx_exec
import torch
from onnx.numpy_helper import to_array
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.infer_shapes import InferShapes
from torch import Tensor, nn

import quant
from hardware_models.errors import InputError, RunError
from quant.export import export, export_qcdq, export_qonnx, run_qcdq, run_qonnx
from quant.quantizers import Binary, Pact, PowerOfTwo, Quantizer, Uniform
from quant.recipes import Recipe, UniformActivations, load_recipe

BINARY = {"bireal", "reactnet", "w1a1", "w1a2", "w1a8"}
SPIKING = {"spike-ternary", "spike-w1", "spike-w4", "spike-w8"}
FLIP = 2e-2
"""Relative error of an output where rounding put a few of the values inside of the network on the next step."""


ALSO = [
    pytest.param(recipe, form, marks=pytest.mark.slow)
    for form, names in {
        "qcdq": ("w4a4", "w4a8", "w2a2"),
        "qonnx": ("bireal", "w1a8", "w1a2", "w2a2", "w4a8", "w8a8"),
    }.items()
    for recipe in names
]
"""Nothing in them that others do not show."""

CASES = [(recipe, form) for recipe in quant.recipe_names() for form in ("qcdq", "qonnx")]


@pytest.mark.parametrize(
    ("recipe", "form"), [*ALSO, *(one for one in CASES if one not in {tuple(other.values) for other in ALSO})]
)
def test_every_recipe_runs_or_is_refused(recipe: str, form: str, quantized: Any, tmp_path: Path) -> None:
    network, x = quantized("cnn", recipe)
    path = tmp_path / "network.onnx"
    if recipe in SPIKING or (recipe in BINARY and form == "qcdq"):
        others = "export as program, packed or safetensors"
        held = "qonnx, program, packed or safetensors" if form == "qcdq" else others
        with pytest.raises(InputError, match=rf"(depthwise|up) \(.*\) reads .* {form} cannot hold.*({held}|{others})"):
            export(network, path, x, form)
        assert not path.exists()
    else:
        assert export(network, path, x, form) < FLIP
        onnx.checker.check_model(onnx.load(path))


@pytest.mark.parametrize(("form", "run"), [("qcdq", run_qcdq), ("qonnx", run_qonnx)])
def test_files_take_batches_of_any_size(form: str, run: Any, quantized: Any, tmp_path: Path) -> None:
    network, x = quantized("cnn", "w4a8")
    export(network, tmp_path / "a", x[:1], form)
    for count in (1, 3):
        torch.testing.assert_close(run(tmp_path / "a", x[:count]), network(x[:count]).detach(), rtol=0, atol=FLIP)


@pytest.mark.parametrize(
    ("recipe", "form", "most"),
    [("w4a4", "qcdq", 0.05), pytest.param("w1a1", "qonnx", 0.3, marks=pytest.mark.slow)],
)
def test_attention(recipe: str, form: str, most: float, quantized: Any, tmp_path: Path) -> None:
    network, x = quantized("vit", recipe)
    assert export(network, tmp_path / "a", x, form) < most
    nodes = [one.op_type for one in onnx.load(tmp_path / "a").graph.node]
    assert nodes.count("MatMul") >= 2, "the products of attention"
    quantizers = nodes.count("DequantizeLinear") + nodes.count("Quant") + nodes.count("BipolarQuant")
    assert quantizers >= len(network.quantizers()) - nodes.count("Identity")


def test_tables_and_products_with_parameters(quantized: Any, tmp_path: Path) -> None:
    network, x = quantized("words", "w8a8")
    assert export_qcdq(network, tmp_path / "a", x) < FLIP
    assert export_qonnx(network, tmp_path / "b", x) < FLIP


class Alike(nn.Module):
    """Answers its inputs, `[B, 4]` each, side by side."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4, bias=False) for _ in range(count))
        for one in self.layers:
            nn.init.eye_(one.weight)

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.cat([layer(x) for layer, x in zip(self.layers, inputs, strict=True)], 1)


def passing(*quantizers: Quantizer) -> quant.QuantizedNetwork:
    """A network that answers what each quantizer makes of its input, `[B, 4]`."""
    some = UniformActivations(scheme="uniform", bits=4)
    recipe = Recipe(name="one", summary="", weights=None, activations=some)
    network = quant.quantize(Alike(len(quantizers)).eval(), recipe, tuple(torch.randn(4, 4) for _ in quantizers))
    for name, one in zip(network.quantizers(), quantizers, strict=True):
        network.layers.set_submodule(name, one.eval())
    return network


def grid(scale: float) -> Tensor:
    """Values on, and half way between, the steps of a scale, and far outside of the range."""
    return torch.cat([torch.arange(-80, 80) / 4, torch.tensor([-1e4, 1e4, 3.3, -3.3])]).view(-1, 4) * scale


def set_to(quantizer: Quantizer, **values: Any) -> Quantizer:
    with torch.no_grad():
        for name, value in values.items():
            getattr(quantizer, name).copy_(torch.as_tensor(value))
    return quantizer


KINDS = {
    "signed": lambda: set_to(Uniform(4, True), scale_=0.5),
    "narrow": lambda: set_to(Uniform(8, True, narrow=True), scale_=0.5),
    "unsigned": lambda: set_to(Uniform(3, False), scale_=0.5),
    "one bit": lambda: set_to(Uniform(1, False), scale_=0.5),
    "even zero": lambda: set_to(Uniform(4, False, affine=True), scale_=0.5, zero_=6.0),
    "odd zero": lambda: set_to(Uniform(4, False, affine=True), scale_=0.5, zero_=7.0),
    "pact": lambda: set_to(Pact(4), clip_=7.5),
    "wide": lambda: set_to(Uniform(12, True), scale_=0.5),
    "binary": lambda: set_to(Binary("learned"), scale_=0.5),
    "shifted": lambda: set_to(Binary("one", axis=-1, channels=4, shift=True), shift_=[0.5, -0.25, 0.0, 1.0]),
}


def test_nodes_are_exact_also_half_way_between_steps(tmp_path: Path) -> None:
    x = grid(0.5)
    for form, run, kinds in (("qonnx", run_qonnx, list(KINDS)), ("qcdq", run_qcdq, list(KINDS)[:7])):
        inputs = tuple(x for _ in kinds)
        network = passing(*(KINDS[kind]() for kind in kinds))
        export(network, tmp_path / form, inputs, form)
        answers = zip(
            kinds, run(tmp_path / form, *inputs).split(4, 1), network(*inputs).detach().split(4, 1), strict=True
        )
        for kind, found, wanted in answers:
            if (form, kind) == ("qcdq", "odd zero"):  # which rounds x / s, and then adds z
                between = (x / 0.5) % 1 == 0.5
                assert torch.equal(found[~between], wanted[~between])
                assert float((found - wanted).abs().max()) == 0.5
            else:
                assert torch.equal(found, wanted), (form, kind)


@pytest.mark.parametrize(
    ("quantizer", "form", "what"),
    [
        (PowerOfTwo(4), "qcdq", "powers of two"),
        (PowerOfTwo(4), "qonnx", "powers of two"),
        (Uniform(1, True), "qonnx", "codes -1 and 0"),
        (Uniform(9, True), "qcdq", "codes of 9 bits"),
        (Binary("one"), "qcdq", "binary values"),
    ],
)
def test_refusals(quantizer: Quantizer, form: str, what: str, tmp_path: Path) -> None:
    network = passing(quantizer)
    with pytest.raises(InputError, match=f"{what}, which {form} cannot hold"):
        export(network, tmp_path / "a", torch.randn(2, 4), form)
    assert export(network, tmp_path / "a", torch.randn(2, 4), "safetensors") == 0


def test_weights_are_held_by_their_codes(quantized: Any, tmp_path: Path) -> None:
    network, x = quantized("cnn", "w4a4")
    export_qcdq(network, tmp_path / "a", x)
    held = {one.name: to_array(one) for one in onnx.load(tmp_path / "a").graph.initializer}
    codes = [value for value in held.values() if value.dtype == "int8" and value.ndim == 4]
    assert sorted(value.shape for value in codes) == [(8, 1, 3, 3), (8, 3, 3, 3), (8, 6, 2, 2)]
    (depthwise,) = [value for value in codes if value.shape[1] == 1]
    assert abs(depthwise).max() == 7
    assert not any(value.dtype == "float32" and value.ndim > 1 for value in held.values())


@pytest.mark.parametrize("recipe", [pytest.param("w4a4", marks=pytest.mark.slow), "reactnet"])
def test_qonnx_runs_the_file(recipe: str, networks: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """The package's own executor, which wants a fixed batch, and an IR that the installed onnxruntime knows."""
    network, x = networks("cnn", 0)
    network.up = nn.Conv2d(8, 6, 1).eval()
    found = quant.quantize(network, recipe, x)
    export_qonnx(found, tmp_path / "a", x)
    model = onnx.load(tmp_path / "a")
    for one in [*model.graph.input, *model.graph.output]:
        one.type.tensor_type.shape.dim[0].dim_value = len(x)
    del model.graph.value_info[:]
    plain = qonnx.core.onnx_exec.qonnx_make_model

    def older(graph: Any, **more: Any) -> Any:
        made = plain(graph, **more)
        made.ir_version = 10
        return made

    monkeypatch.setattr(qonnx.core.onnx_exec, "qonnx_make_model", older)
    wrapped = ModelWrapper(model).transform(InferShapes())
    (answer,) = qonnx.core.onnx_exec.execute_onnx(wrapped, {model.graph.input[0].name: x.numpy()}).values()
    wanted = found(x).detach()
    assert float((torch.from_numpy(answer) - wanted).norm() / wanted.norm()) < FLIP


def test_what_is_no_network_or_format_is_refused(quantized: Any, networks: Any, tmp_path: Path) -> None:
    network, x = quantized("cnn", "w4a4")
    with pytest.raises(InputError, match="did you mean 'qonnx'"):
        export(network, tmp_path / "a", x, "qonx")
    with pytest.raises(InputError, match=r"a Convolutions was to be exported; quantize it first"):
        export(networks("cnn", 0)[0], tmp_path / "a", x, "qcdq")
    with pytest.raises(InputError, match="takes 1 inputs"):
        export(network, tmp_path / "a", (x, x), "qcdq")
    with pytest.raises(InputError, match="cannot be read"):
        run_qcdq(tmp_path / "none", x)
    with pytest.raises(InputError, match="cannot be read"):
        run_qonnx(tmp_path / "none", x)
    broken = copy.deepcopy(network)
    next(iter(broken.quantizers().values())).scale_.data.fill_(float("nan"))  # type: ignore[union-attr,operator]
    with pytest.raises(InputError, match="expected a finite scale"):
        export(broken, tmp_path / "a", x, "qcdq")


def test_a_file_that_cannot_be_written_leaves_what_was_there(quantized: Any, tmp_path: Path) -> None:
    network, x = quantized("words", "w8a8")
    with pytest.raises(RunError, match="could not write"):
        export(network, tmp_path / "none" / "a", x, "qcdq")
    (tmp_path / "a").write_text("before")
    refused, images = quantized("cnn", "w1a1")
    with pytest.raises(InputError):
        export(refused, tmp_path / "a", images, "qcdq")
    assert (tmp_path / "a").read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


def test_what_is_larger_than_a_file_is_refused(quantized: Any, tmp_path: Path, monkeypatch: Any) -> None:
    network, x = quantized("words", "w8a8")
    monkeypatch.setattr("quant.export.onnx_graph.MOST_BYTES", 200)
    with pytest.raises(InputError, match="an ONNX file at most 2; export as safetensors"):
        export(network, tmp_path / "a", x, "qcdq")


@pytest.mark.parametrize(("form", "missing"), [("qcdq", "onnxscript"), ("qcdq", "onnxruntime"), ("qonnx", "qonnx")])
def test_a_library_that_is_not_installed_is_named(
    form: str, missing: str, quantized: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    network, x = quantized("words", "w8a8")
    for name in [one for one in sys.modules if one.partition(".")[0] == missing]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputError, match=rf"{missing} is not installed; pip install neuro\[export\]"):
        export(network, tmp_path / "a", x, form)


def test_the_network_stays_as_it_was(networks: Any, tmp_path: Path) -> None:
    model, x = networks("words", 0)
    network = quant.quantize(model, load_recipe("w4a4"), x).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    export_qcdq(network, tmp_path / "a", x)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
