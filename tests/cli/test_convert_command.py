"""`neuro convert` and the commands that read its run, as a user meets them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commands import TINY, Neuro, files
from PIL import Image
from safetensors.torch import load_file


def test_it_says_what_it_does_and_prints_the_table(neuro: Neuro, here: Path) -> None:
    outcome = neuro("convert", *TINY, "--epochs", "1")
    assert outcome.status == 0
    assert outcome.err == ""
    starts = [line.split(":")[0] for line in outcome.out.splitlines() if ": " in line]
    assert starts[:9] == ["data", "model", *["train"] * 2, *["measure"] * 4, "evaluate"]
    assert "report: runs/spikeformer_v2-tiny-t2-digits/report.html" in outcome.out
    assert "Spiking, merged" in outcome.out
    assert not [name for name in files(here) if name.endswith(".part")]


def test_a_second_run_gets_a_directory_of_its_own(neuro: Neuro, here: Path) -> None:
    for _ in range(2):
        assert neuro("convert", *TINY, "--epochs", "0").status == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == [
        "spikeformer_v2-tiny-t2-digits",
        "spikeformer_v2-tiny-t2-digits-2",
    ]


@pytest.mark.parametrize("timesteps", [1, 3])
def test_any_number_of_timesteps(neuro: Neuro, here: Path, timesteps: int) -> None:
    outcome = neuro("convert", *TINY, "--epochs", "0", "--timesteps", timesteps, "--out", "a b/ünïcode ✓")
    assert outcome.status == 0
    rows = json.loads((here / "a b/ünïcode ✓/conversion.json").read_text())["rows"]
    assert {row["key"]: row["timesteps"] for row in rows} | {"quantized": 1, "float": 1} == {
        row["key"]: row["timesteps"] for row in rows
    }
    assert rows[1]["timesteps"] == timesteps


@pytest.mark.parametrize("labelled", [False, True])
def test_a_folder_of_pictures_of_any_kind(neuro: Neuro, here: Path, labelled: bool) -> None:
    for number, mode in enumerate(["RGB", "L", "RGBA", "1"]):
        folder = here / "photos" / (("cats", "dogs")[number % 2] if labelled else "")
        folder.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((50, 40), 90).convert(mode).save(folder / f"{number}.png")
    arguments = ["--data", "folder:photos", "--image-size", "16", "--epochs", "1" if labelled else "0"]
    assert neuro("convert", *TINY, *arguments, "--out", "run").status == 0
    record = json.loads((here / "run" / "conversion.json").read_text())
    assert (record["rows"][1]["accuracy"] is not None) == labelled


def test_given_weights_are_measured_and_not_trained(neuro: Neuro, here: Path, finished_run: Path) -> None:
    weights = finished_run / "weights.safetensors"
    outcome = neuro("convert", *TINY, "--weights", weights, "--out", "run")
    assert outcome.status == 0
    assert "train:" not in outcome.out
    saved, given = load_file(here / "run" / "weights.safetensors"), load_file(weights)
    assert all((saved[name] == tensor).all() for name, tensor in given.items())


def test_weights_of_another_network(neuro: Neuro, here: Path, finished_run: Path) -> None:
    weights = finished_run / "weights.safetensors"
    for other in (["--neuron", "plif"], ["--attention", "sdsa4"], ["--set", "model.overrides.widths=[16,16,16,16]"]):
        outcome = neuro("convert", *TINY, *other, "--weights", weights, "--out", "run")
        assert outcome.status == 2
        assert "does not fit this network" in outcome.err
        assert files(here) == set()


def test_resuming_a_finished_run_changes_no_result(neuro: Neuro, here: Path, finished_run: Path) -> None:
    shutil.copytree(finished_run, here / "run")
    (here / "run" / "report.html").unlink()
    assert neuro("convert", "--resume", "--out", "run").status == 0
    assert files(here / "run") == files(finished_run)
    first, second = (load_file(path / "weights.safetensors") for path in (here / "run", finished_run))
    assert all((first[name] == tensor).all() for name, tensor in second.items())
    for name in ("conversion.json", "estimate.json", "environment.json", "spec.yaml"):
        assert (here / "run" / name).read_bytes() == (finished_run / name).read_bytes(), name


def test_resuming_with_other_settings_or_a_damaged_checkpoint(neuro: Neuro, here: Path, finished_run: Path) -> None:
    shutil.copytree(finished_run, here / "run")
    before = {name: (here / name).read_bytes() for name in files(here)}
    outcome = neuro("convert", "--resume", "--out", "run", "--timesteps", "3")
    assert outcome.status == 2
    assert "model.timesteps differs from run/spec.yaml; resume without it" in outcome.err
    checkpoint = here / "run" / "checkpoints" / "spiking.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-300])
    outcome = neuro("convert", "--resume", "--out", "run")
    assert outcome.status == 2
    assert "spiking.pt cannot be read as a checkpoint; delete it" in outcome.err
    after = {name: (here / name).read_bytes() for name in files(here)}
    assert {name for name in after if after[name] != before[name]} == {"run/checkpoints/spiking.pt"}


def test_a_loss_that_diverges(neuro: Neuro, here: Path) -> None:
    outcome = neuro("convert", *TINY, "--epochs", "2", "--set", "training.learning_rate=1e30", "--out", "run")
    assert outcome.status == 1
    assert "became nan in epoch 1, step" in outcome.err
    assert "start a new run with a lower training.learning_rate" in outcome.err
    assert files(here) == set()  # so the same --out can be used


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")])
def test_too_little_memory(neuro: Neuro, here: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr("neuro.conversion.pipeline.profile", fail)
    outcome = neuro("convert", *TINY, "--epochs", "0", "--out", "run")
    assert outcome.status == 1
    assert "out of memory; use a smaller --variant" in outcome.err
    assert files(here) == set()


DISK_IS_FULL_AT = ["spec.yaml", "float.pt", "spiking.pt", "weights.safetensors", "workload.npz", "workload.json"]
DISK_IS_FULL_AT += ["estimate.json", "conversion.json", "report.html"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("name", DISK_IS_FULL_AT)
def test_a_full_disk(neuro: Neuro, here: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    import hardware_models.files as module

    make = module.tempfile.mkstemp

    def on_a_full_disk(**given: object) -> tuple[int, str]:
        descriptor, path = make(**given)
        if given["prefix"] == f".{name}.":
            module.os.close(descriptor)
            descriptor = module.os.open("/dev/full", module.os.O_WRONLY)
        return descriptor, path

    monkeypatch.setattr(module.tempfile, "mkstemp", on_a_full_disk)
    outcome = neuro("convert", *TINY, "--epochs", "1", "--out", "run")
    assert outcome.status == 1
    assert "No space left on device; free space" in outcome.err
    left = files(here)
    assert not [file for file in left if file.endswith(".part") or file.endswith(f"/{name}")]
    if name in ("spec.yaml", "float.pt"):
        assert not (here / "run").exists()
        return
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert neuro("convert", "--resume", "--out", "run").status == 0  # after somebody has freed space


def test_energy_and_report_read_the_run(neuro: Neuro, here: Path, finished_run: Path) -> None:
    shutil.copytree(finished_run, here / "run")
    document = json.loads(neuro("energy", "run", "--json").out)
    rows = json.loads((here / "run" / "conversion.json").read_text())["rows"]
    assert document["total"]["energy_j"] == pytest.approx(rows[2]["energy_j"])
    for convention in ("spikingformer", "spikingresformer", "ecoformer"):
        assert neuro("energy", "run", "--convention", convention).status == 0
    before = (here / "run" / "report.html").read_bytes()
    assert neuro("report", "run").status == 0
    assert (here / "run" / "report.html").read_bytes() == before
    for kind, start in (("markdown", "#"), ("csv", "form,"), ("json", "{")):
        outcome = neuro("report", "run", "--format", kind)
        assert outcome.status == 0
        assert outcome.out.startswith(start)


@pytest.mark.parametrize("command", ["energy", "report"])
def test_runs_that_are_not_whole(neuro: Neuro, here: Path, finished_run: Path, command: str) -> None:
    (here / "empty").mkdir()
    (here / "begun").mkdir()
    shutil.copy(finished_run / "spec.yaml", here / "begun")
    shutil.copytree(finished_run, here / "damaged")
    workload = here / "damaged" / "workload.json"
    workload.write_bytes(workload.read_bytes()[:500])
    before = files(here)
    for name in ("empty", "begun", "damaged"):
        outcome = neuro(command, name)
        assert outcome.status == 2
        assert outcome.err.startswith("neuro: ")
        assert outcome.err.count("\n") == 1
    assert files(here) == before


@pytest.mark.parametrize("width", [40, 80, 200])
def test_narrow_terminals_lose_nothing(neuro: Neuro, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    outcome = neuro("models")
    assert outcome.status == 0
    assert max(map(len, outcome.out.splitlines())) <= width
    for figure in ("8,033,128", "15,112,208", "31,333,864", "55,350,248", "13.951 G"):
        assert figure in outcome.out
    assert "…" not in outcome.out


def test_help_teaches(neuro: Neuro) -> None:
    for arguments in ([], ["--help"]):
        outcome = neuro(*arguments)
        assert outcome.status == 0
        assert "neuro convert --model spikeformer_v2 --timesteps 4" in outcome.out
    assert neuro("--version").out.startswith("neuro ")
    for command in ("convert", "energy", "report", "models", "data"):
        with pytest.raises(SystemExit) as left:
            neuro(command, "--help")
        assert left.value.code == 0


def test_data_and_models_as_json(neuro: Neuro) -> None:
    assert {entry["name"] for entry in json.loads(neuro("data", "--json").out)} >= {"digits", "fashion-mnist", "folder"}
    assert json.loads(neuro("models", "--json").out)[0]["name"] == "spikeformer_v2"
    assert "digits" in neuro("data").out
