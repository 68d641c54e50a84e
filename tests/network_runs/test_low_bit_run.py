"""`neuro convert --to RECIPE` and what reads its run: what the directory says, and whether it is true."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_networks import SIZE, attention, cnn

import neuro
from hardware_models.errors import InputError
from hardware_models.workload import Workload
from neuro.cli import main
from neuro.conversion.low_bit_load import load_low_bit_run
from neuro.conversion.low_bit_spec import LowBitSpec, resolve_low_bit_spec
from neuro.report import RunDocuments

CNN = ["convert", "--model", "tiny_networks:cnn", "--chip", "none", "--calibration-samples", "8"]
TINY = ["--compared-samples", "8"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "calibrated"
    command = ["convert", "--model", "tiny_networks:attention", "--to", "w4a8", "--calibration-samples", "8"]
    assert main([*command, *TINY, "--chip", "tpu_like", "--out", str(path)]) == 0
    return path


def record(run: Path | str) -> dict:
    return json.loads(Path(run, "conversion.json").read_text())


def test_every_document_is_there(calibrated: Path) -> None:
    names = {"spec.yaml", "recipe.yaml", "environment.json", "conversion.json", "estimate.json", "chips.json"}
    names |= {"report.html", "workload.json", "workload.npz", "workload-float.json", "workload-float.npz"}
    assert {path.name for path in calibrated.iterdir() if path.is_file()} == names | {"weights.safetensors"}


def test_the_record_says_what_became_of_each_operator(calibrated: Path) -> None:
    found = record(calibrated)["low_bit"]
    assert (found["recipe"], found["method"]) == ("w4a8", "ptq")
    by_path = {one["path"]: one for one in found["operators"] if one["kind"] == "synapse"}
    assert by_path["embed"]["weight"].startswith("8 bit")
    assert by_path["qkv"]["weight"].startswith("4 bit")
    assert 0 < by_path["qkv"]["error"] < 1
    assert sum(one["kind"] == "product" for one in found["operators"]) == 3
    assert 0 < found["output_error"] < 0.5
    assert found["float_bits"] / found["stored_bits"] > 3


def test_the_workload_has_the_widths_of_the_recipe(calibrated: Path) -> None:
    layers = {layer.name.split(".")[0]: layer for layer in Workload.load(calibrated / "workload.json").layers}
    assert [one.bits for one in layers["qkv"].operands] == [8, 4]
    rows = {row["key"]: row for row in record(calibrated)["rows"]}
    assert rows["low-bit"]["energy_j"] < rows["float"]["energy_j"] / 10


def test_the_network_comes_back_from_the_directory(calibrated: Path) -> None:
    network, (example,) = load_low_bit_run(calibrated)
    torch.manual_seed(0)
    x = torch.randn(4, 3, SIZE, SIZE)
    with torch.no_grad():
        model = attention()[0].eval()
        error = (network(x) - model(x)).norm() / model(x).norm()
    assert example.shape == (2, 3, SIZE, SIZE)
    assert 0 < error < 0.5


def test_commands_read_the_run(calibrated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(calibrated)]) == 0
    assert "4 bit signed, 48 scales" in " ".join(capsys.readouterr().out.split())
    assert main(["audit", str(calibrated), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["network"]["recipe"] == "w4a8"
    assert main(["energy", str(calibrated), "--chip", "tpu_like"]) == 0
    shown = capsys.readouterr().out
    assert "Low-bit" in shown
    assert "Spiking" not in shown
    assert main(["report", str(calibrated), "--format", "markdown"]) == 0
    assert "w4a8" in capsys.readouterr().out
    documents = RunDocuments.load(calibrated)
    assert documents.inference_form == "low-bit"
    assert "The network, quantized" in (calibrated / "report.html").read_text()


@pytest.mark.parametrize("form", ["qcdq", "qonnx", "program", "packed", "safetensors"])
def test_it_is_exported(calibrated: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(calibrated), "--format", form, "--out", f"network-{form}"]) == 0
    assert f"network-{form}: {Path(f'network-{form}').stat().st_size:,} bytes" in capsys.readouterr().out


def test_what_cannot_be_exported(
    calibrated: Path, run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["export", str(calibrated), "--format", "qonx"]) == 2
    assert "did you mean 'qonnx'" in capsys.readouterr().err
    assert main(["export", str(run), "--format", "qonnx"]) == 2
    assert "a run of another kind" in capsys.readouterr().err
    assert main(["export", str(tmp_path), "--format", "qonnx"]) == 2
    assert "no run directory" in capsys.readouterr().err


def test_it_trains_and_resumes_exactly(capsys: pytest.CaptureFixture[str]) -> None:
    digits = ["--data", "digits", "--method", "qat", "--to", "w4a4"]
    sets = ["--set", "data.train_limit=64", "--set", "data.test_limit=32", "--set", "training.evaluate_every=1"]
    command = [*CNN, *digits, *sets, "--float-epochs", "1"]
    assert main([*command, "--epochs", "2", "--out", "whole"]) == 0
    found = record("whole")
    assert [len(found["training"][form]) for form in ("float", "low-bit")] == [1, 2]
    assert found["rows"][1]["accuracy"] == found["training"]["low-bit"][-1]["test_accuracy"]
    assert main([*command, "--epochs", "2", "--resume", "--out", "whole"]) == 0
    assert record("whole")["training"] == found["training"]


def test_a_resumed_run_keeps_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--data", "digits", "--set", "data.train_limit=32", "--set", "data.test_limit=16"]
    command = [*CNN, *few, "--method", "qat", "--epochs", "1"]
    assert main([*command, "--to", "w4a4", "--out", "whole"]) == 0
    before = Path("whole/spec.yaml").read_text()
    assert main([*command, "--to", "w1a1", "--resume", "--out", "whole"]) == 2
    assert "recipe differs from" in capsys.readouterr().err
    assert main([*command, "--to", "w4a4", "--resume"]) == 2
    assert "--resume needs --out" in capsys.readouterr().err
    assert Path("whole/spec.yaml").read_text() == before


def test_an_architecture_by_its_name() -> None:
    command = ["convert", "--model", "spikeformer_v2", "--image-size", "16", "--to", "spike-w1", "--timesteps", "2"]
    assert (
        main([*command, "--calibration-samples", "4", "--compared-samples", "4", "--chip", "none", "--out", "a"]) == 0
    )
    found = record("a")
    assert found["rows"][1]["firing_rate"] > 0
    assert found["rows"][1]["timesteps"] == 2
    assert any("random" in note for note in found["notes"])


def test_a_module_and_inputs_in_python() -> None:
    model, _ = cnn()
    x, labels = torch.randn(12, 3, SIZE, SIZE), torch.randint(0, 10, (12,))
    found = neuro.quantize_network(model.eval(), "w8a8", x, labels, chips=["none"])
    assert found.record.low_bit is not None
    assert found.record.low_bit.output_error < 0.1
    assert found.record.rows[0].accuracy is not None
    with pytest.raises(InputError, match="cannot be trained on"):
        neuro.quantize_network(model.eval(), "w8a8", x, labels, chips=["none"], method="qat")
    with pytest.raises(InputError, match="without inputs"):
        neuro.quantize_network(model.eval(), "w8a8")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--to", "w4a5"], "unknown recipe 'w4a5'; did you mean"),
        (["--to", "w4a4", "--method", "qta"], "method was 'qta'"),
        (["--to", "w4a4", "--coding", "rate"], "--coding is for other conversions than --to"),
        (["--to", "w4a4", "--rounding", "up"], "calibration.rounding was 'up'"),
        (["--to", "w4a4", "--variant", "tiny"], "--variant tiny is for architectures"),
        (["--to", "w4a4", "--keep", "conv9"], "'conv9' was to be kept"),
        (["--to", "w4a4", "--set", "trainings.epochs=1"], "unknown key 'trainings.epochs'; did you mean"),
        (["--method", "qat"], "--method is for low-bit variants"),
    ],
)
def test_what_users_get_wrong(given: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*CNN, *given, "--out", "run"]) == 2
    assert said in capsys.readouterr().err
    assert not Path("run").exists()


def test_a_specification_goes_through_its_file() -> None:
    spec = resolve_low_bit_spec({"network": {"source": "timm:resnet18"}, "recipe": "w4a4"})
    assert spec.data.name == "photos"
    assert LowBitSpec.model_validate(__import__("yaml").safe_load(spec.to_yaml())) == spec


def test_recipes_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    assert "reactnet" in capsys.readouterr().out
    assert main(["recipes", "w1a1"]) == 0
    Path("mine.yaml").write_text(capsys.readouterr().out)
    assert main([*CNN, *TINY, "--to", "mine.yaml", "--out", "mine"]) == 0
    assert record("mine")["low_bit"]["recipe"] == "w1a1"
    assert main(["recipes", "w1a"]) == 2
