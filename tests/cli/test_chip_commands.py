"""`neuro chips`, `neuro energy --chip` and `neuro validate` as a user calls them."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hardware_models.chip import chip_names
from neuro.cli import main

ROOT = Path(__file__).parents[2]

LAYERS = """\
schema: neuro.layers/1
name: two layers
timesteps: 4
defaults: {weights: integer, weight_bits: 8}
layers:
  - {name: fc1, kind: linear, in: 64, filters: 32, input: binary, density: 0.25, neuron: lif, rate: 0.1}
  - {name: fc2, kind: linear, filters: 10}
"""


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    path = tmp_path / "net.yaml"
    path.write_text(LAYERS)
    return path


def test_every_chip_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chips"]) == 0
    listed = capsys.readouterr().out
    assert main(["chips", "--json"]) == 0
    about = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert set(about) == set(chip_names())
    assert "loihi1" in listed
    assert about["generic_45nm"]["answers"] == ["energy", "latency"]


def test_a_chip_of_ones_own_starts_from_a_shipped_one(
    tmp_path: Path, layers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["chips", "show", "generic_45nm"]) == 0
    text = capsys.readouterr().out
    mine = tmp_path / "mine.yaml"
    mine.write_text(text.replace("name: generic_45nm", "name: mine").replace("rows: 16", "rows: 32"))
    assert main(["chips", "check", str(mine)]) == 0
    assert "mine: a chip for the systolic engine" in capsys.readouterr().out
    assert main(["energy", str(layers), "--chip", str(mine), "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["answers"]
    assert answer["chip"] == "mine"
    assert answer["figures"]["array.rows"]["value"] == 32


def test_several_chips_side_by_side(layers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chips = ["generic_45nm", "generic_7nm", "jetson_nano"]
    asked = [part for name in chips for part in ("--chip", name)]
    assert main(["energy", str(layers), *asked, "--csv"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [line["chip"] for line in lines] == chips
    for line in lines:
        assert float(line["energy_low_j"]) <= float(line["energy_j"]) <= float(line["energy_high_j"])
    assert main(["energy", str(layers), *asked]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in chips)


def test_a_copy_that_kept_its_name_stays_apart(
    tmp_path: Path, layers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy.yaml"
    assert main(["chips", "show", "generic_45nm"]) == 0
    copy.write_text(capsys.readouterr().out.replace("rows: 16", "rows: 32"))
    assert main(["energy", str(layers), "--chip", "generic_45nm", "--chip", str(copy)]) == 0
    heads = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert heads.count("generic_45nm") == 2


@pytest.mark.parametrize("chip", ["loihi2", "generic_45nm", "eyeriss", "edge_tpu", "spikesim_65nm_rram"])
def test_a_network_taken_at_fewer_bits_is_marked(
    chip: str, tmp_path: Path, layers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = tmp_path / "wide.yaml"
    wide.write_text(layers.read_text().replace("weight_bits: 8", "weight_bits: 32"))
    assert main(["energy", str(wide), "--chip", chip, "--chip", "jetson_nano"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("two layers*") == 1
    assert f"Taken as quantized to the widest operands that the chip has, at an accuracy that is not known: {chip}" in (
        " ".join(shown.split())
    )
    assert main(["energy", str(wide), "--chip", chip, "--chip", "jetson_nano", "--csv"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [line["narrowed_layers"] for line in lines] == ["2", "0"]


def test_one_chip_layer_by_layer(layers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["energy", str(layers), "--chip", "generic_45nm"]) == 0
    shown = capsys.readouterr().out
    for word in ("fc1", "fc2", "total", "Energy band", "Weakest evidence", "Assumptions", "Sources"):
        assert word in shown


def test_one_chip_as_csv_has_every_layer_and_the_total(layers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["energy", str(layers), "--chip", "generic_45nm", "--csv"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    *parts, total = lines
    assert [line["layer"] for line in lines] == ["fc1", "fc1.lif", "fc2", "total"]
    assert sum(float(line["energy_j"]) for line in parts) == pytest.approx(float(total["energy_j"]))


def test_a_layer_that_the_chip_leaves_out_has_no_figure(layers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["energy", str(layers), "--chip", "eyeriss"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert not [line for line in lines if line.split()[:1] == ["fc1.lif"]]
    assert any("such as fc1.lif" in line for line in lines)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_nothing_is_cut_off_in_a_narrow_terminal(
    width: int, layers: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["chips"]) == 0
    assert main(["energy", str(layers), "--chip", "loihi1", "--chip", "spikesim_65nm_rram"]) == 0
    assert main(["energy", str(layers), "--chip", "loihi1"]) == 0
    shown = capsys.readouterr().out
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown
    assert all(len(line) <= width for line in shown.splitlines())
    assert shown.count("spikesim_65nm_rram") >= 2  # in the list and in the comparison
    assert ("1 of 25" in shown) == (width >= 60)


def test_an_estimate_without_a_band_says_so(layers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["energy", str(layers), "--chip", "seneca"]) == 0
    assert "Energy band: none known" in capsys.readouterr().out
    assert main(["energy", str(layers), "--chip", "seneca", "--chip", "loihi2"]) == 0
    assert "none known" in capsys.readouterr().out


def test_a_check_finds_the_figure_that_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chips", "show", "odin"]) == 0
    data = yaml.safe_load(capsys.readouterr().out)
    del data["figures"]["synapse"]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data))
    assert main(["chips", "check", str(path)]) == 2
    assert "chip 'odin' has no figure 'synapse." in capsys.readouterr().err


@pytest.mark.parametrize("name", chip_names())
def test_every_shipped_chip_passes_its_check(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chips", "check", name]) == 0
    assert capsys.readouterr().out.startswith(f"{name}: a chip for the ")


def test_monte_carlo_is_said(layers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["energy", str(layers), "--chip", "generic_45nm", "--samples", "200", "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["answers"]
    assert "200 Monte Carlo draws" in answer["band"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["energy", "NET", "--chip", "loihi9"], "unknown chip 'loihi9'; did you mean 'loihi"),
        (["energy", "NET", "--chip", "missing.yaml"], "missing.yaml cannot be read"),
        (["energy", "NET", "--chip", "generic_45nm", "--convention", "horowitz45"], "leave out --chip"),
        (["energy", "NET", "--chip", "generic_45nm", "--samples", "1"], "--samples was 1"),
        (["energy", "NET", "--chip", "generic_45nm", "--samples", "100000000"], "--samples was 100000000"),
        (["energy", "NET", "--samples", "100"], "--samples is for chips"),
        (["energy", "NET", "--chip", "none"], "--chip none names no chip"),
        (["energy", "RUN", "--chip", "eyeriss", "--bits", "4"], "--bits is for files"),
        (["energy", "RUN", "--input-shape", "x=1,3"], "--input-shape is for files"),
        (["energy", "nowhere.yaml", "--chip", "generic_45nm"], "nowhere.yaml does not exist"),
        (["chips", "show"], "neuro chips show needs a NAME or FILE"),
        (["chips", "list", "loihi1"], "neuro chips list takes no name"),
        (["chips", "show", "eyeris"], "unknown chip 'eyeris'; did you mean 'eyeriss'"),
        (["chips", "check", "nothing.yaml"], "nothing.yaml cannot be read"),
    ],
)
def test_bad_requests_are_one_sentence(
    arguments: list[str], sentence: str, layers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = {"NET": str(layers), "RUN": str(layers.parent)}
    given = [paths.get(argument, argument) for argument in arguments]
    assert main(given) == 2
    complaint = capsys.readouterr().err
    assert sentence in complaint
    assert complaint.count("\n") == 1


def test_the_scorecard_is_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "card.json"
    assert main(["validate", "--json", str(path)]) == 0
    shown = capsys.readouterr().out
    rows = json.loads(path.read_text())["rows"]
    assert "SCALE-Sim 3.0.0" in shown
    assert "goals reached" in shown
    for row in rows:
        assert row["met"] is (None if row["goal"] is None else abs(row["error"]) <= row["goal"])


def in_a_shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    line = f"set -o pipefail; {command}".replace("neuro ", f"{sys.executable} -m neuro ")
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, env={**os.environ, **environment}, cwd=ROOT, check=False
    )


def test_a_reader_who_leaves_is_no_fault() -> None:
    outcome = in_a_shell("neuro chips | head -1")
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stderr == ""


def test_a_terminal_without_unicode_is_spoken_to_plainly(layers: Path) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    outcome = in_a_shell(f"neuro energy {layers} --chip generic_45nm", **plain)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.isascii()
    assert "J" in outcome.stdout
