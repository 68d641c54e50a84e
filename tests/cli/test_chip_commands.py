"""`neuro chips`, `neuro energy --chip` and `neuro validate` as a user calls them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from hardware_models.chip import chip_names
from neuro.cli import main

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


def test_one_chip_layer_by_layer(layers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["energy", str(layers), "--chip", "generic_45nm"]) == 0
    shown = capsys.readouterr().out
    for word in ("fc1", "fc2", "total", "Energy band", "Weakest evidence", "Assumptions", "Sources"):
        assert word in shown


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
        (["energy", "NET", "--samples", "100"], "--samples is for chips"),
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
    given = [str(layers) if argument == "NET" else argument for argument in arguments]
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
