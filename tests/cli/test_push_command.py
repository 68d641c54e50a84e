"""`neuro push`, and what takes the networks it packs: `--weights hub:NAME`, `--pretrained`, `neuro models`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from commands import TINY, Neuro, files
from safetensors.torch import load_file
from torch import nn

from neuro.cli import main
from neuro.conversion.architecture_source import architecture_source
from neuro.experiments.networks import load_trained

TRAIN = TINY[:-2]  # a training profiles nothing
NO_CHIP = ["--chip", "none"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run directories `spiking` and `float`, and in `hub` their folders; not to be changed."""
    place = tmp_path_factory.mktemp("made")
    (place / "recipe.yaml").write_text("schema: neuro.training/1\ntraining: {epochs: 1}\n")
    for form in ("spiking", "float"):
        train = ["train", "--config", place / "recipe.yaml", *TRAIN, "--form", form, "--out", place / form]
        assert main([str(argument) for argument in train]) == 0
        assert main(["push", str(place / form), str(place / "hub" / f"tiny-{form}"), "--note", "As it came."]) == 0
    return place


@pytest.fixture
def hub(made: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$NEURO_HUB, with the two of them."""
    monkeypatch.setenv("NEURO_HUB", str(made / "hub"))
    return made / "hub"


def test_it_says_what_was_packed(neuro: Neuro, made: Path, here: Path) -> None:
    outcome = neuro("push", made / "spiking", "net", "--licence", "MIT")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("measure: 16 samples of digits\nnet: spiking, ")
    assert "of 20 held-out samples" in outcome.out
    assert "MIT: net" in outcome.out
    assert files(here / "net") == {"spec.yaml", "weights.safetensors", "card.json", "README.md"}
    assert json.loads((here / "net" / "card.json").read_text())["licence"] == "MIT"


def test_what_cannot_be_packed(neuro: Neuro, made: Path, here: Path) -> None:
    (here / "full").mkdir()
    (here / "full" / "mine").touch()
    before = files(here)
    for arguments, message in (
        (["nowhere", "net"], "nowhere holds no training.json"),
        ([made / "spiking", "full"], "full already holds something"),
        ([made / "spiking"], "the following arguments are required: DIR; see neuro push --help."),
    ):
        outcome = neuro("push", *arguments)
        assert outcome.status == 2
        assert message in outcome.err
        assert outcome.err.count("\n") == 1
    assert files(here) == before


@pytest.mark.parametrize("name", ["hub:tiny-spiking", "{made}/spiking", "hub:{made}/hub/tiny-spiking"])
def test_weights_of_a_whole_network(neuro: Neuro, made: Path, hub: Path, here: Path, name: str) -> None:
    outcome = neuro("convert", *TINY, *NO_CHIP, "--weights", name.format(made=made), "--out", "run")
    assert (outcome.status, outcome.err) == (0, "")
    assert "train:" not in outcome.out
    saved, given = (load_file(path / "weights.safetensors") for path in (here / "run", made / "spiking"))
    assert all((saved[key] == tensor).all() for key, tensor in given.items())


def test_weights_of_a_conversion(neuro: Neuro, finished_run: Path, here: Path) -> None:
    outcome = neuro("convert", *TINY, *NO_CHIP, "--weights", finished_run, "--out", "run")
    assert (outcome.status, outcome.err) == (0, "")
    saved, given = (load_file(path / "weights.safetensors") for path in (here / "run", finished_run))
    assert all((saved[key] == tensor).all() for key, tensor in given.items())


@pytest.mark.parametrize(
    ("given", "is_really", "expected"),
    [
        (["--weights", "hub:tiny-float"], "tiny, float, sdsa3", "tiny, spiking, T = 2, lif, sdsa3"),
        (["--weights", "hub:tiny-spiking", "--timesteps", 3], "tiny, spiking, T = 2, lif", "tiny, spiking, T = 3, lif"),
        (["--weights", "hub:tiny-spiking", "--variant", "0.4m"], "spikeformer_v2 tiny", "spikeformer_v2 0.4m"),
        (["--weights", "hub:tiny-spiking", "--neuron", "if"], "T = 2, lif", "T = 2, if"),
        (["--weights", "hub:tiny-spiking", "--attention", "sdsa4"], "lif, sdsa3", "lif, sdsa4"),
    ],
)
def test_weights_of_another_network_say_which(
    neuro: Neuro, hub: Path, here: Path, given: list[object], is_really: str, expected: str
) -> None:
    outcome = neuro("convert", *TINY, *given, "--out", "run")
    assert outcome.status == 2
    found, wanted = outcome.err.split("; expected ")
    assert found.startswith(f"neuro: {given[1]} is spikeformer_v2 ")
    assert is_really in found
    assert expected in wanted
    assert files(here) == set()


def test_the_trained_network_that_fits(neuro: Neuro, made: Path, hub: Path, here: Path) -> None:
    outcome = neuro("convert", "--pretrained", "--data", "digits", *NO_CHIP, "--out", "run")
    assert (outcome.status, outcome.err) == (0, "")
    card = json.loads((hub / "tiny-spiking" / "card.json").read_text())
    right = f"{100 * card['accuracy']:.2f} % ± {100 * card['standard_error']:.2f} on 20 samples of digits"
    assert outcome.out.startswith(f"pretrained: hub:tiny-spiking, spikeformer_v2 tiny, spiking, T = 2, {right}\n")
    assert "train:" not in outcome.out
    record = json.loads((here / "run" / "conversion.json").read_text())
    accuracies = {row["key"]: row["accuracy"] for row in record["rows"]}
    assert accuracies["spiking"] == card["accuracy"]
    assert (record["timesteps"], record["test_samples"]) == (2, 20)
    saved, given = (load_file(path / "weights.safetensors") for path in (here / "run", hub / "tiny-spiking"))
    assert all((saved[key] == tensor).all() for key, tensor in given.items())


def test_of_several_the_most_accurate(neuro: Neuro, made: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURO_HUB", "shelf")
    for name, changed in (
        ("a", {"accuracy": 0.7}),
        ("b", {"accuracy": 0.8}),
        ("c", {"accuracy": 0.9, "dataset": "fashion-mnist"}),
        ("d", {"accuracy": 1.0, "variant": "0.4m"}),
    ):
        folder = Path(shutil.copytree(made / "hub" / "tiny-spiking", here / "shelf" / name))
        card = json.loads((folder / "card.json").read_text())
        (folder / "card.json").write_text(json.dumps(card | changed))
    outcome = neuro("convert", "--pretrained", *NO_CHIP, "--out", "run")
    assert outcome.out.startswith("pretrained: hub:b, ")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--variant", "15m"], "no trained network is spikeformer_v2 15m, spiking; there are: "),
        (["--data", "fashion-mnist"], "no trained network is spikeformer_v2, spiking on fashion-mnist; there are: "),
        (["--timesteps", 3], "no trained network is spikeformer_v2, spiking, T = 3; there are: "),
        (["--weights", "hub:tiny-spiking"], "--pretrained brings weights and --weights hub:tiny-spiking was given"),
        (["--model", "timm:resnet18"], "--pretrained is for architectures that are trained here"),
        (["--to", "w8a8"], "--pretrained is for other conversions than --to"),
    ],
)
def test_no_trained_network_fits(neuro: Neuro, hub: Path, here: Path, given: list[object], message: str) -> None:
    outcome = neuro("convert", "--pretrained", *given)
    assert outcome.status == 2
    assert message in outcome.err
    assert files(here) == set()


@pytest.mark.parametrize("name", ["hub:tiny-float", "{made}/float"])
def test_the_parent_is_the_one_that_was_trained(made: Path, hub: Path, name: str) -> None:
    about = "spikeformer_v2", None, "digits", None
    source = architecture_source(*about, name.format(made=made), 0)
    (images,) = source.example
    with torch.no_grad():
        expected = load_trained("hub:tiny-float").model(images.unsqueeze(0))
        assert isinstance(source.model, nn.Module)
        assert torch.equal(source.model(images), expected)
    assert source.trained


@pytest.mark.slow
def test_a_low_bit_variant_of_it(neuro: Neuro, made: Path, hub: Path, here: Path) -> None:
    small = ["--calibration-samples", 16, "--set", "data.test_limit=20", "--set", "data.train_limit=40", *NO_CHIP]
    arguments = ["--model", "spikeformer_v2", "--to", "w8a8", "--weights", "hub:tiny-float", "--rounding", "nearest"]
    outcome = neuro("convert", *arguments, *small, "--out", "run")
    assert (outcome.status, outcome.err) == (0, "")
    record = json.loads((here / "run" / "conversion.json").read_text())
    trained = json.loads((made / "float" / "training.json").read_text())
    assert record["rows"][0]["accuracy"] == pytest.approx(trained["history"][-1]["test_accuracy"])
    assert not [note for note in record["notes"] if "random" in note]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--weights", "hub:tiny-spiking"], "hub:tiny-spiking is spikeformer_v2 tiny, spiking, T = 2, lif, sdsa3"),
        (["--weights", "hub:tiny-float", "--variant", "0.4m"], "expected spikeformer_v2 0.4m, float, sdsa3"),
        (["--weights", "some.safetensors"], "does not tell whether it is of the float parent of spikeformer_v2"),
        (["--weights", "hub:tiny-float", "--weights-by-order"], "--weights-by-order is for networks that are given"),
    ],
)
def test_no_parent_of_a_low_bit_variant(neuro: Neuro, hub: Path, here: Path, given: list[str], message: str) -> None:
    outcome = neuro("convert", "--model", "spikeformer_v2", "--to", "w8a8", *given)
    assert outcome.status == 2
    assert message in outcome.err
    assert files(here) == set()


def test_models_lists_what_is_trained(neuro: Neuro, hub: Path) -> None:
    lines = neuro("models").out.splitlines()
    for form in ("spiking", "float"):
        card = json.loads((hub / f"tiny-{form}" / "card.json").read_text())
        right = f"{100 * card['accuracy']:.2f} % of 20 held-out samples of digits"
        assert f"hub:tiny-{form}: {form}, {right}" in lines
    (entry,) = json.loads(neuro("models", "--json").out)
    assert entry["trained"]["hub:tiny-spiking"]["timesteps"] == 2
