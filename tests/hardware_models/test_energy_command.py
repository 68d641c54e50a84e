"""`neuro energy` as a user calls it, without the top-level command."""

import argparse
import csv
import io
import json
from pathlib import Path

import pytest
from workload_builders import linear, operand, spikes, workload

from hardware_models.errors import InputError
from neuro.cli import COMMANDS, energy

GOLDEN = Path(__file__).parents[1] / "golden" / "spikingformer-8-512.csv"


def call(*arguments):
    parser = argparse.ArgumentParser()
    energy.add_arguments(parser)
    return energy.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def run_directory(tmp_path):
    spiking = linear("[fc]", 1, 10, 10, spikes(0.5), operand("weight"), acs=50, driven_by="input")
    workload(spiking).model_copy(update={"name": "spiking"}).save(tmp_path / "workload.json")
    dense = linear("fc", 1, 10, 10, macs=100)
    workload(dense).model_copy(update={"name": "parent"}).save(tmp_path / "workload-float.json")
    return tmp_path


def test_golden_as_json(capsys):
    assert call(GOLDEN, "--convention", "spikingformer", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"convention", "subject", "sources", "assumptions", "layers", "total"}
    assert document["convention"] == "spikingformer"
    assert document["total"]["energy_mj"] == pytest.approx(7.463502601886196, rel=1e-9)
    assert document["total"]["energy_j"] == pytest.approx(sum(layer["energy_j"] for layer in document["layers"]))
    assert len(document["layers"]) == 54 + 8
    assert set(document["layers"][0]) == {
        *("name", "operator", "macs", "acs", "energy_j", "energy_low_j", "energy_high_j", "rule")
    }


def test_golden_for_people(capsys):
    assert call(GOLDEN) == 0
    printed = capsys.readouterr().out
    assert "7.464 mJ" in printed
    assert "patch_embed.proj_conv1" in printed
    assert "spikingformer (by default" in printed
    assert "8 heads" in printed


def test_golden_as_csv(capsys):
    assert call(GOLDEN, "--csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[-1]["name"] == "total"
    assert float(rows[-1]["energy_j"]) == pytest.approx(7.463502601886196e-3, rel=1e-9)
    assert sum(float(row["energy_j"]) for row in rows[:-1]) == pytest.approx(float(rows[-1]["energy_j"]))


def test_heads_reach_the_table(capsys):
    call(GOLDEN, "--heads", "16", "--json")
    document = json.loads(capsys.readouterr().out)
    assert document["total"]["energy_mj"] < 7.4635
    assert any("Warning" in sentence for sentence in document["assumptions"])


def test_a_run_directory_gives_every_workload(capsys, run_directory):
    call(run_directory, "--json")
    document = json.loads(capsys.readouterr().out)
    assert document["subject"] == "spiking"
    assert document["convention"] == "horowitz45"
    assert document["total"]["energy_j"] == pytest.approx(50 * 0.9e-12)
    assert [other["subject"] for other in document["also"]] == ["parent"]
    assert document["also"][0]["total"]["energy_j"] == pytest.approx(100 * 4.6e-12)


def test_a_run_directory_for_people(capsys, run_directory):
    call(run_directory)
    printed = capsys.readouterr().out
    assert printed.index("spiking") < printed.index("parent")
    assert "[fc]" in printed  # not taken for markup
    assert "460.0 pJ" in printed
    assert "horowitz45 (by default" in printed


def test_a_run_directory_as_csv_names_its_subjects(capsys, run_directory):
    call(run_directory, "--csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["subject"], row["name"]) for row in rows] == [
        ("spiking", "[fc]"),
        ("spiking", "total"),
        ("parent", "fc"),
        ("parent", "total"),
    ]


def test_bands_are_printed_where_constants_have_one(capsys, tmp_path):
    layer = linear("fc", 1, 10, 10, operand("input", "integer", 4), operand("weight", "integer", 4), macs=1000)
    workload(layer).save(tmp_path / "w.json")
    call(tmp_path / "w.json")
    # 0.065 pJ with the band 0.0609375 to 0.075 (see test_arithmetic).
    assert "60.94 pJ to 75.00 pJ" in capsys.readouterr().out


def test_one_workload_file(capsys, run_directory):
    call(run_directory / "workload-float.json", "--convention", "ecoformer", "--json")
    document = json.loads(capsys.readouterr().out)
    assert (document["subject"], document["convention"]) == ("parent", "ecoformer")
    assert "also" not in document


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["none"], "does not exist"),
        (["{run}", "--convention", "horowits"], "did you mean 'horowitz45'"),
        (["{run}", "--heads", "2"], "--heads is for operation tables"),
        ([str(GOLDEN), "--convention", "ecoformer"], "--convention spikingformer"),
        ([str(GOLDEN), "--convention", "nonsense"], "unknown convention"),
        ([str(GOLDEN), "--heads", "7"], "do not divide"),
        (["{run}/empty"], "holds no workload.json"),
        (["{run}/other.json"], "schema"),
        (["{run}/other.csv"], "no rows"),
    ],
)
def test_bad_input_is_one_clear_sentence(run_directory, arguments, reason):
    (run_directory / "empty").mkdir()
    (run_directory / "other.json").write_text("{}")
    (run_directory / "other.csv").write_text("")
    with pytest.raises(InputError) as error:
        call(*(argument.format(run=run_directory) for argument in arguments))
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_json_and_csv_exclude_each_other(capsys):
    with pytest.raises(SystemExit) as error:
        call(GOLDEN, "--json", "--csv")
    assert error.value.code == 2


def test_the_help_names_every_convention():
    parser = argparse.ArgumentParser()
    energy.add_arguments(parser)
    words = " ".join(parser.format_help().split())
    for name in ("horowitz45", "spikingformer", "spikingresformer", "ecoformer"):
        assert name in words
    assert COMMANDS["energy"]
    assert "\n" not in COMMANDS["energy"]
