"""Converting a network that is given: what the run directory says, and whether it is true."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_networks import SIZE, attention, cnn
from torch import nn

import neuro
from hardware_models.errors import InputError
from hardware_models.workload import Workload
from neuro.cli import main
from neuro.coding.encoder import Encoder
from neuro.conversion.network_spec import NetworkRunSpec, resolve_network_spec
from neuro.report import RunDocuments


def record(run: Path) -> dict:
    return json.loads((run / "conversion.json").read_text())


def test_every_document_is_there(run: Path) -> None:
    names = {"spec.yaml", "environment.json", "conversion.json", "estimate.json", "chips.json", "report.html"}
    names |= {"workload.json", "workload.npz", "workload-float.json", "workload-float.npz", "weights.safetensors"}
    assert {path.name for path in run.iterdir() if path.is_file()} == names


def test_the_error_falls_with_every_timestep(run: Path) -> None:
    sweep = record(run)["network"]["sweep"]
    assert [point["timesteps"] for point in sweep] == [1, 2, 4, 8]
    errors = [point["output_error"] for point in sweep]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3 < errors[0]


def test_spikes_and_energy_only_grow_with_timesteps(run: Path) -> None:
    sweep = record(run)["network"]["sweep"]
    for name in ("spikes", "sops", "energy_j"):
        values = [point[name] for point in sweep]
        assert values == sorted(values)
        assert values[0] > 0


def test_every_operator_is_listed_with_what_became_of_it(run: Path) -> None:
    operators = record(run)["network"]["operators"]
    driven = [(one["path"], one["operator"], one["kind"]) for one in operators if one["kind"] in ("synapse", "product")]
    # Attention: two products; and the gate, by elements.
    assert sorted(driven) == sorted([
        ("embed", "conv2d", "synapse"), ("qkv", "linear", "synapse"), ("gate", "linear", "synapse"),
        ("head", "linear", "synapse"), ("the network", "matmul", "product"), ("the network", "matmul", "product"),
        ("the network", "mul", "product"),
    ])  # fmt: skip
    exact = {one["operator"] for one in operators if one["kind"] == "nonlinear"}
    assert exact == {"layer_norm", "softmax", "sigmoid", "gelu"}
    assert all(one["errors"] for one in operators if one["kind"] in ("synapse", "product"))


def test_every_product_was_measured_to_be_accumulate_only(run: Path) -> None:
    workload = Workload.load(run / "workload.json")
    layers = {layer.name: layer for layer in workload.synaptic_layers()}
    for one in record(run)["network"]["operators"]:
        if one["kind"] == "synapse" or one["operator"] == "matmul":
            found = [layer for name, layer in layers.items() if name.startswith(one["layer"])]
            assert found
            assert all(layer.accumulate_only for layer in found)
    assert workload.macs == 0


def test_spikes_of_the_sweep_are_those_of_a_hand_count() -> None:
    model, _ = cnn()
    images = torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    found = neuro.convert_network(model.eval(), images, timesteps=3, chips=["none"], profile_samples=3)
    counted = 0

    def count(encoder: nn.Module, inputs: object, spikes: torch.Tensor) -> None:
        nonlocal counted
        counted += int(spikes.count_nonzero())

    handles = [m.register_forward_hook(count) for m in found.network.modules() if isinstance(m, Encoder)]
    found.network(images)
    for handle in handles:
        handle.remove()
    (point,) = found.record.network.sweep
    assert point.spikes == counted / 3
    assert found.workloads["converted"].spikes == counted / 3


def test_the_network_is_an_ordinary_module() -> None:
    model, _ = attention()
    images = torch.randn(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    found = neuro.convert_network(model.eval(), images, timesteps=12, chips=["none"])
    with torch.no_grad():
        expected, once, again = model(images), found.network(images), found.network(images)
    assert torch.equal(once, again)
    assert (once - expected).norm() / expected.norm() < 1e-3
    before = [p.clone() for p in found.network.parameters()]
    found.network.train()
    optimizer = torch.optim.SGD(found.network.parameters(), lr=0.1)
    found.network(images).square().sum().backward()
    optimizer.step()
    assert any(not torch.equal(a, b) for a, b in zip(before, found.network.parameters(), strict=True))


def test_labels_give_accuracy() -> None:
    model, _ = cnn()
    images = torch.randn(8, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    model.eval()
    with torch.no_grad():
        labels = model(images).argmax(1)
    found = neuro.convert_network(model, images, labels, timesteps=12, chips=["none"])
    (point,) = found.record.network.sweep
    assert found.record.network.float_accuracy == 1.0
    assert point.accuracy == point.agreement == 1.0


def test_the_report_can_be_made_again(run: Path, tmp_path: Path) -> None:
    page = tmp_path / "again.html"
    assert main(["report", str(run), "--output", str(page)]) == 0
    text = page.read_text()
    assert "What became of each operator" in text
    assert "driven by the spikes of both operands" in text
    for form in ("markdown", "csv", "json"):
        assert main(["report", str(run), "--format", form, "--output", str(tmp_path / form)]) == 0


def test_energy_of_a_run_on_a_chip(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["energy", str(run), "--chip", "tpu_like"]) == 0
    printed = capsys.readouterr().out
    assert "Spiking, 8 bits" in printed
    assert "Float parent" in printed


def test_the_spec_is_read_back(run: Path) -> None:
    spec = dict(RunDocuments.load(run).spec)
    assert resolve_network_spec(spec) == NetworkRunSpec.model_validate(spec)
    assert spec["network"]["source"] == "tiny_networks:attention"


def test_a_module_without_inputs_is_refused() -> None:
    model, _ = cnn()
    with pytest.raises(InputError, match="without inputs"):
        neuro.convert_network(model.eval())


def test_a_network_of_two_inputs_is_refused_in_one_sentence() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.layer(x + y)

    with pytest.raises(InputError, match="takes 2 inputs"):
        neuro.convert_network(Sum().eval(), (torch.randn(4, 4), torch.randn(4, 4)), chips=["none"])
