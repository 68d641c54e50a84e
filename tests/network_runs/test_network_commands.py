"""`neuro convert --model SOURCE` and `neuro audit` with what users get wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neuro.cli import main

CNN = ["convert", "--model", "tiny_networks:cnn", "--chip", "none", "--compared-samples", "2"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")


def test_audit_names_every_driven_operator(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(run)]) == 0
    short = capsys.readouterr().out
    assert "layer_norm" not in short
    assert "7 driven by spikes (4 with weights, 3 products of two spiking values)" in " ".join(short.split())
    assert main(["audit", str(run), "--all"]) == 0
    assert "layer_norm" in capsys.readouterr().out


def test_audit_as_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(run), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["network"]["coding"] == "differential"
    assert {row["verdict"] for row in document["measured"]} >= {"accumulate-only", "neuron"}


def test_the_default_directory_is_named_after_the_network() -> None:
    assert main([*CNN, "--timesteps", "2"]) == 0
    assert Path("runs/tiny_networks-cnn-t2/report.html").is_file()


def test_rate_coding_takes_binary_spikes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*CNN, "--timesteps", "4", "--coding", "rate", "--out", "rate"]) == 0
    record = json.loads(Path("rate/conversion.json").read_text())
    assert (record["network"]["coding"], record["network"]["spikes"]) == ("rate", "binary")
    assert any("ternary" in note for note in record["notes"])  # the image has negative pixels


def test_thresholds_can_be_searched_by_channel() -> None:
    command = [*CNN, "--timesteps", "2", "--spikes", "integer"]
    assert main([*command, "--calibration", "search", "--per-channel", "--out", "searched"]) == 0
    assert main([*command, "--out", "usual"]) == 0
    errors = [
        json.loads(Path(run, "conversion.json").read_text())["network"]["sweep"][0]["output_error"]
        for run in ("searched", "usual")
    ]
    assert errors[0] < errors[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--epochs", "3"], "--epochs is for architectures"),
        (["--variant", "8m"], "--variant is for architectures"),
        (["--coding", "phase"], "coding"),
        (["--spikes", "pow2"], "power-of-two"),
        (["--levels", "99"], "levels"),
        (["--sweep-timesteps", "4,2"], "rising"),
        (["--sweep-timesteps", "a"], "whole numbers"),
        (["--timesteps", "0"], "timesteps"),
        (["--input-size", "-3"], "input_size"),
        (["--set", "coding.percentil=3"], "percentile"),
        (["--percentile", "101"], "percentile"),
        (["--calibration", "guess"], "search"),
        (["--outlier-channels", "-1"], "outlier_channels"),
        (["--data", "digits", "--input-size", "4"], "8"),
    ],
)
def test_what_does_not_fit_is_one_sentence(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*CNN, *arguments]) == 2
    complaint = capsys.readouterr().err
    assert said in complaint
    assert len(complaint.strip().splitlines()) == 1
    assert not Path("runs").exists()


def test_options_of_given_networks_are_refused_for_architectures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "--coding", "rate"]) == 2
    assert "--coding is for networks that are given" in capsys.readouterr().err


def test_an_operator_without_a_rule_stops_the_conversion_unless_it_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["convert", "--model", "tiny_networks:bessel", "--timesteps", "2", "--chip", "none", "--out", "kept"]
    assert main([*command, "--compared-samples", "2"]) == 2
    complaint = capsys.readouterr().err
    assert "special_bessel_j0" in complaint
    assert "--keep special_bessel_j0" in complaint
    assert not Path("kept").exists()
    assert main([*command, "--compared-samples", "2", "--keep", "special_bessel_j0"]) == 0
    capsys.readouterr()
    assert main(["audit", "kept"]) == 0
    assert "KEPT IN FLOAT" in capsys.readouterr().out


def test_audit_of_an_architecture_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(tmp_path / "nowhere")]) == 2
    assert "no run directory" in capsys.readouterr().err
