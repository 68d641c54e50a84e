"""Whatever cannot be used gives one sentence that says what to do, status 2, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from commands import TINY, Neuro, files
from PIL import Image


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("convrt", "unknown command 'convrt'; did you mean 'convert' or 'report' or 'export'?"),
        ("convert extra", "unknown argument 'extra'"),
        ("convert --timestep 4", "unknown argument '--timestep'; did you mean '--timesteps'"),
        ("convert --timesteps", "argument --timesteps: expected one argument; see neuro convert --help."),
        ("convert --timesteps x", "argument --timesteps: invalid int value: 'x'; see neuro convert --help."),
        ("convert --timesteps 1.5", "invalid int value: '1.5'"),
        ("convert --timesteps 0", "timesteps was 0; give a whole number of at least 1."),
        ("convert --timesteps -3", "timesteps was -3; give a whole number of at least 1."),
        ("convert --model spikeformer", "unknown model 'spikeformer'; did you mean 'spikeformer_v2'?"),
        ("convert --variant tny", "unknown variant of spikeformer_v2 'tny'; did you mean 'tiny'?"),
        ("convert --variant 15M", "did you mean '15m'?"),
        ("convert --data digit", "unknown data set 'digit'; did you mean 'digits'?"),
        ("convert --data fashion", "did you mean 'fashion-mnist'?"),
        ("convert --data ./photos", "for a folder of images write folder:PATH"),
        ("convert --data folder:", "lacks the path of its folder; write folder:PATH"),
        ("convert --data folder:nowhere", "there is no folder nowhere; give a folder of images"),
        ("convert --data digits:here", "takes no path; write digits alone"),
        ("convert --neuron lf", "unknown neuron 'lf'; did you mean 'lif'"),
        ("convert --surrogate sigmod", "unknown surrogate 'sigmod'; did you mean 'sigmoid'?"),
        ("convert --attention sdsa2", "unknown attention 'sdsa2'; did you mean"),
        ("convert --convention horowitz", "unknown convention 'horowitz'; did you mean 'horowitz45'?"),
        ("convert --device gpu", "device 'gpu' is unknown; give cpu, cuda or cuda:N."),
        ("convert --epochs -1", "training.epochs was -1; input should be greater than or equal to 0."),
        ("convert --seed -1", "seed was -1"),
        ("convert --seed 99999999999999999999", "seed was 99999999999999999999"),
        ("convert --image-size 0", "data.image_size was 0"),
        ("convert --set training.epoch=1", "unknown key 'training.epoch'; did you mean 'training.epochs'"),
        ("convert --set epochs", "--set was given 'epochs'; write --set key=value"),
        ("convert --set training.learning_rate=.inf", "training.learning_rate was inf"),
        ("convert --set model.overrides.width=1", "unknown architecture setting 'width'; did you mean 'widths'"),
        ("convert --set model.neuron_parameters.ta=1", "unknown parameter of neuron 'lif' 'ta'; did you mean 'tau'?"),
        ("convert --set model.neuron_parameters.tau=x", "tau was 'x'; give a time constant"),
        ("convert --weights nowhere.pt", "cannot read weights nowhere.pt: No such file or directory"),
        ("convert --config nowhere.yaml", "cannot read nowhere.yaml: No such file or directory"),
        ("convert --resume", "--resume needs --out DIR, the directory of the run to continue."),
        ("convert --resume --out nowhere", "nowhere holds no spec.yaml"),
        ("models nope", "unknown model 'nope'"),
        ("models --jsn", "unknown argument '--jsn'; did you mean '--json'?"),
        ("data x", "unknown argument 'x'"),
        ("energy", "the following arguments are required: PATH; see neuro energy --help."),
        ("energy nowhere", "nowhere does not exist; give a run directory"),
        ("report nowhere", "nowhere is no run directory"),
        ("report . --format pdf", "invalid choice: 'pdf'"),
    ],
)
def test_one_sentence_and_status_2(neuro: Neuro, here: Path, arguments: str, message: str) -> None:
    outcome = neuro(*arguments.split())
    assert outcome.status == 2
    assert outcome.err.startswith("neuro: ")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err
    assert files(here) == set()
    assert not (here / "runs").exists()


def test_the_traceback_is_for_those_who_ask(neuro: Neuro, here: Path) -> None:
    assert "Traceback" not in neuro("convert", "--model", "x").err
    outcome = neuro("convert", "--model", "x", "--debug")
    assert outcome.status == 2
    assert "Traceback" in outcome.err
    assert outcome.err.splitlines()[-1].startswith("neuro: unknown model 'x'")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("model: {name: x\n", "is not valid YAML"),
        ("", "holds no settings"),
        ("modell: {}\n", "unknown key 'modell'"),
        ("model: {timestep: 3}\n", "unknown key 'model.timestep'; did you mean 'model.timesteps'"),
        ("data: digits\n", "data was 'digits'; give its keys, as in data: {name: digits}."),
        ("training: {epochs: many}\n", "training.epochs was 'many'"),
    ],
)
def test_config_files(neuro: Neuro, here: Path, content: str, message: str) -> None:
    (here / "c.yaml").write_text(content)
    outcome = neuro("convert", "--config", "c.yaml", "--out", "run")
    assert outcome.status == 2
    assert message in outcome.err
    assert files(here) == {"c.yaml"}


def test_the_file_then_the_flags_then_the_assignments(neuro: Neuro, here: Path) -> None:
    (here / "c.yaml").write_text("model: {timesteps: 3, neuron: if}\nseed: 5\ntraining:\n")
    arguments = [*TINY[2:], "--config", "c.yaml", "--neuron", "plif", "--epochs", "3", "--set", "training.epochs=0"]
    assert neuro("convert", *arguments, "--out", "run").status == 0
    spec = yaml.safe_load((here / "run" / "spec.yaml").read_text())
    assert (spec["model"]["timesteps"], spec["model"]["neuron"], spec["seed"]) == (3, "plif", 5)
    assert spec["training"]["epochs"] == 0


def test_a_run_is_its_own_config(neuro: Neuro, here: Path, finished_run: Path) -> None:
    arguments = ["--config", finished_run / "spec.yaml", "--epochs", "0", "--out", "again"]
    assert neuro("convert", *arguments).status == 0
    first, second = (yaml.safe_load((p / "spec.yaml").read_text()) for p in (finished_run, here / "again"))
    assert first | {"training": None} == second | {"training": None}


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "holds no image (it is empty)"),
        ("text", "holds no image (only 'a.txt')"),
        ("truncated", "cannot read the image photos/a.png: "),
        ("no image", "its content is of no image format that Pillow knows"),
        ("unlabelled", "has no labels to train on; use --epochs 0 to only measure"),
    ],
)
def test_folders_of_images(neuro: Neuro, here: Path, kind: str, message: str) -> None:
    photos = here / "photos"
    photos.mkdir()
    if kind == "text":
        (photos / "a.txt").write_text("x")
    if kind in ("truncated", "unlabelled"):
        Image.effect_noise((40, 30), 90).convert("RGB").save(photos / "a.png")
    if kind == "truncated":
        content = (photos / "a.png").read_bytes()
        (photos / "a.png").write_bytes(content[: len(content) // 2])
    if kind == "no image":
        (photos / "a.png").write_bytes(b"hello")
    epochs = "1" if kind == "unlabelled" else "0"
    before = files(here)
    outcome = neuro("convert", *TINY, "--epochs", epochs, "--data", "folder:photos", "--out", "new/run")
    assert outcome.status == 2
    assert message in outcome.err
    assert files(here) == before
    assert not (here / "new").exists()


def test_output_directories_that_cannot_be_used(neuro: Neuro, here: Path, finished_run: Path) -> None:
    (here / "file").write_text("x")
    for out, message in (
        ("file", "file is a file; choose another directory"),
        ("file/below", "file is a file; choose another directory"),
        (finished_run, "already holds files; choose another directory, or continue it with --resume."),
    ):
        outcome = neuro("convert", *TINY, "--out", out)
        assert outcome.status == 2
        assert message in outcome.err
    assert files(here) == {"file"}
