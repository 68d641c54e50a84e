"""`neuro push`: the folder holds the network that was trained, says what it is, and tells nothing of the machine."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor

import neuro.experiments.push as module
from hardware_models.conventions import convention
from hardware_models.errors import InputError, RunError
from neuro.data import load_dataset
from neuro.evaluation import costs
from neuro.experiments.model_card import model_card
from neuro.experiments.networks import load_trained
from neuro.experiments.push import push
from neuro.experiments.run import run_training
from neuro.experiments.spec import merged, resolve_train_spec
from neuro.hub import Card, network_folder, read_card
from quant.recipes import load_recipe

TINY: dict[str, Any] = {
    "model": {"overrides": {"widths": [8, 8, 8, 8]}, "timesteps": 2},
    "data": {"train_limit": 40, "test_limit": 20},
    "training": {"epochs": 1, "batch_size": 20},
}
FILES = {"spec.yaml", "weights.safetensors", "card.json", "README.md"}


def trained(out: Path, **settings: Any) -> Path:
    run_training(resolve_train_spec(merged(TINY, settings)), out)
    return out


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spiking network, its float parent, and a pupil of both; not to be changed."""
    place = tmp_path_factory.mktemp("machine")
    trained(place / "spiking")
    parent = trained(place / "float", form="float")
    trained(place / "pupil", teacher=str(parent), model={"weights": str(place / "spiking" / "weights.safetensors")})
    return place


@pytest.fixture(scope="module")
def folders(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each of them pushed."""
    place = tmp_path_factory.mktemp("hub")
    for name in ("spiking", "float", "pupil"):
        push(runs / name, place / name)
    return {path.name: path for path in place.iterdir()}


@pytest.fixture(scope="module")
def low_bit(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The parent quantized: its run and its folder; capturing it takes seconds."""
    run = trained(runs / "w4a4", form="w4a4", model={"weights": str(runs / "float")})
    folder = tmp_path_factory.mktemp("hub") / "w4a4"
    push(run, folder)
    return run, folder


def few() -> Tensor:
    return next(load_dataset("digits", image_size=16, train_limit=40, test_limit=20).test.batches(16, 1))[0][0]


def check_same_network(run: Path, folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == FILES
    before, after = load_trained(str(run)), load_trained(f"hub:{folder}")
    timesteps = int(getattr(before.model, "timesteps", 1))
    images = few().expand(timesteps, -1, -1, -1, -1)
    with torch.no_grad():
        assert torch.equal(before.model(images), after.model(images))
    assert after.spec.form == before.spec.form


def check_card(run: Path, folder: Path, form: str) -> None:
    card, record = read_card(folder), json.loads((run / "training.json").read_text())
    assert (card.form, card.architecture, card.variant, card.dataset) == (form, "spikeformer_v2", "tiny", "digits")
    assert card.accuracy == record["history"][-1]["test_accuracy"]
    assert card.standard_error == pytest.approx(math.sqrt(card.accuracy * (1 - card.accuracy) / 20))
    assert (card.samples, card.profiled_samples, card.epochs, card.seed) == (20, 16, 1, 0)
    assert (card.parameters, card.timesteps) == (record["parameters"], record["timesteps"])
    assert card.versions["torch"] == torch.__version__
    content = (folder / "weights.safetensors").read_bytes()
    assert content == (run / "weights.safetensors").read_bytes()
    assert card.weights_sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("form", ["spiking", "float"])
def test_the_folder_is_what_was_trained(runs: Path, folders: dict[str, Path], form: str) -> None:
    check_same_network(runs / form, folders[form])
    check_card(runs / form, folders[form], form)


@pytest.mark.slow
def test_the_folder_of_low_bits_is_what_was_trained(low_bit: tuple[Path, Path]) -> None:
    check_same_network(*low_bit)
    check_card(*low_bit, "w4a4")


@pytest.mark.slow
def test_low_bits_cost_less_and_name_their_parent(
    runs: Path, folders: dict[str, Path], low_bit: tuple[Path, Path]
) -> None:
    card = read_card(low_bit[1])
    assert (card.cost.spikes, card.cost.firing_rate, card.merged_cost) == (0, None, None)
    assert card.cost.energy_j < read_card(folders["float"]).cost.energy_j / 10
    assert card.weights_of == "spikeformer_v2 tiny, float, sdsa3, widths = [8, 8, 8, 8]"
    assert card.command == "neuro train --config spec.yaml --weights WEIGHTS --out runs/w4a4"
    assert all(str(runs).encode() not in (low_bit[1] / file).read_bytes() for file in FILES)


def test_costs_are_those_of_an_evaluation(runs: Path, folders: dict[str, Path]) -> None:
    model = load_trained(str(runs / "spiking")).model
    expected = costs(model, few(), [2], convention("horowitz45"))[2]
    card = read_card(folders["spiking"])
    found = card.cost.model_dump(exclude={"macs"})
    assert found == pytest.approx(vars(expected))
    assert card.merged_cost is not None
    assert card.merged_cost.macs < card.cost.macs
    assert card.merged_cost.spikes > 0


def test_what_does_not_spike_says_so(folders: dict[str, Path]) -> None:
    card = read_card(folders["float"])
    assert (card.cost.spikes, card.cost.firing_rate) == (0, None)
    assert card.cost.macs > 0
    assert "| as trained | 0 | - |" in (folders["float"] / "README.md").read_text()


def test_nothing_of_the_machine_is_told(runs: Path, folders: dict[str, Path]) -> None:
    for folder in folders.values():
        for file in FILES:
            assert str(runs).encode() not in (folder / file).read_bytes()


def test_what_it_started_from_is_named_by_its_form(folders: dict[str, Path]) -> None:
    pupil = read_card(folders["pupil"])
    assert pupil.teacher == "spikeformer_v2 tiny, float, sdsa3, widths = [8, 8, 8, 8]"
    assert pupil.weights_of == "a file of weights"
    assert read_card(folders["spiking"]).weights_of == ""
    spec = yaml.safe_load((folders["pupil"] / "spec.yaml").read_text())
    assert (spec["model"]["weights"], spec["teacher"]) == (None, None)
    assert pupil.command == "neuro train --config spec.yaml --weights WEIGHTS --teacher TEACHER --out runs/pupil"


def test_a_low_bit_form_keeps_a_place_for_its_parent(runs: Path) -> None:
    spec = resolve_train_spec(merged(TINY, {"form": "w4a4", "model": {"weights": str(runs / "float")}}))
    shared = module._shared(spec)
    assert shared.spec.model.weights == "WEIGHTS"
    assert resolve_train_spec(yaml.safe_load(shared.spec.to_yaml())) == shared.spec


def test_a_teacher_that_is_gone_stops_nobody(runs: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs / "pupil", tmp_path / "run"))
    spec = yaml.safe_load((run / "spec.yaml").read_text())
    spec["teacher"] = spec["model"]["weights"] = str(tmp_path / "gone")
    (run / "spec.yaml").write_text(yaml.safe_dump(spec))
    card = push(run, tmp_path / "net", samples=2)
    assert card.weights_of == card.teacher == "weights that are no longer there"


def test_names_of_the_hub_are_kept(folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURO_HUB", str(folders["float"].parent))
    run = trained(tmp_path / "run", teacher="hub:float", model={"weights": "hub:spiking"})
    card = push(run, tmp_path / "net", samples=2)
    assert (card.weights_of, card.teacher) == ("hub:spiking", "hub:float")
    assert card.command == "neuro train --config spec.yaml --out runs/net"
    spec = yaml.safe_load((tmp_path / "net" / "spec.yaml").read_text())
    assert (spec["model"]["weights"], spec["teacher"]) == ("hub:spiking", "hub:float")


@pytest.mark.parametrize(
    ("name", "is_path"),
    [
        *(("runs/mine", True), ("w.pt", True), ("hub:./net", True), ("hub:/a/net", True), ("hub:~/net", True)),
        *(("hub:a/b/c", True), ("hub:here/net", True), ("hub:net", False), ("hub:owner/net", False), (None, False)),
    ],
)
def test_what_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None, is_path: bool) -> None:
    (tmp_path / "here" / "net").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert module._is_path(name) == is_path


def test_a_folder_of_images_keeps_its_place_to_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(16):
        path = tmp_path / "my photos" / f"class {number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((20, 20), 90).convert("RGB").save(path)
    data = {"name": f"folder:{tmp_path / 'my photos'}", "train_limit": None, "test_limit": None, "image_size": 16}
    card = push(trained(tmp_path / "run", data=data), tmp_path / "net")
    assert card.dataset == "folder"
    assert card.dataset_source.startswith("the images in a folder, licence not stated")
    assert card.command == "neuro train --config spec.yaml --data folder:PATH --out runs/net"
    assert all(str(tmp_path).encode() not in (tmp_path / "net" / file).read_bytes() for file in FILES)
    assert all(b"my photos" not in (tmp_path / "net" / file).read_bytes() for file in FILES)


@pytest.mark.parametrize(
    ("text", "data", "expected"),
    [
        ("A (MIT) from /home/a b/c, the files; 3 to test", "a", "A (MIT) from a folder, the files; 3 to test"),
        ("images in a, licence; a part", "folder:a", "images in a folder, licence; a part"),
        ("side to 16 * 256/224; scale 1/255", "a", "side to 16 * 256/224; scale 1/255"),
        ("see https://a.org/b, CC BY", "a", "see https://a.org/b, CC BY"),
    ],
)
def test_paths_go_and_all_else_stays(text: str, data: str, expected: str) -> None:
    assert module._without_paths(text, data) == expected


def test_front_matter_and_tables(folders: dict[str, Path]) -> None:
    text = (folders["spiking"] / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "license": "apache-2.0",
        "library_name": "neuro",
        "tags": ["image-classification", "spiking-neural-network", "spikeformer_v2"],
        "datasets": ["digits"],
        "metrics": ["accuracy"],
    }
    card = read_card(folders["spiking"])
    assert f"{100 * card.accuracy:.2f} % ± {100 * card.standard_error:.2f} %" in body
    assert card.weights_sha256 in body
    assert "| merged, as inference runs it |" in body


def test_any_licence_and_any_note(folders: dict[str, Path]) -> None:
    card = read_card(folders["spiking"])
    told: Card = card.model_copy(update={"licence": "Ours: 1", "note": "a | b <c>\n---"})
    _, front, body = model_card(told).split("---\n", 2)
    assert yaml.safe_load(front)["license"] == "other"
    assert yaml.safe_load(front)["license_name"] == "Ours: 1"
    assert "a \\| b &lt;c&gt; ---" in body


def test_a_training_that_is_not_finished(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "spiking", tmp_path / "run")
    (tmp_path / "run" / "training.json").unlink()
    with pytest.raises(InputError, match=r"holds no training\.json, so no training was finished there"):
        push(tmp_path / "run", tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_a_folder_that_holds_files_is_left_alone(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "mine").write_text("mine")
    with pytest.raises(InputError, match="already holds something; give a new folder, or an empty one"):
        push(runs / "spiking", tmp_path / "net")
    with pytest.raises(InputError, match="already holds something"):
        push(runs / "spiking", tmp_path / "net" / "mine")
    assert [path.name for path in (tmp_path / "net").iterdir()] == ["mine"]


def test_a_folder_below_a_file_is_refused_before_the_work(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be made, .*file is a file; give another folder"):
        push(runs / "float", tmp_path / "file" / "network")


def test_an_empty_folder_is_taken(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    push(runs / "float", tmp_path / "net", samples=2)
    assert network_folder(f"hub:{tmp_path / 'net'}") == tmp_path / "net"
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


def test_a_full_disk_leaves_nothing(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.shutil, "copyfile", full)
    with pytest.raises(RunError, match=r"could not write .*net: No space left on device"):
        push(runs / "float", tmp_path / "net", samples=2)
    assert list(tmp_path.iterdir()) == []


def test_data_that_have_changed(runs: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs / "float", tmp_path / "run"))
    record = json.loads((run / "training.json").read_text())
    (run / "training.json").write_text(json.dumps(record | {"test_samples": 19}))
    with pytest.raises(InputError, match=r"has 20 held-out samples and .* was judged on 19"):
        push(run, tmp_path / "net")


def test_a_recipe_of_ones_own(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(load_recipe("w4a4").to_yaml())
    run = Path(shutil.copytree(runs / "pupil", tmp_path / "run"))
    spec = yaml.safe_load((run / "spec.yaml").read_text())
    (run / "spec.yaml").write_text(yaml.safe_dump(spec | {"form": str(tmp_path / "mine.yaml")}))
    with pytest.raises(InputError, match=r"mine\.yaml is a recipe of your own"):
        push(run, tmp_path / "net")


def test_no_licence_and_no_samples(runs: Path, tmp_path: Path) -> None:
    for given in ({"licence": " "}, {"samples": 0}):
        with pytest.raises(InputError, match="name a licence, and 1 sample or more"):
            push(runs / "float", tmp_path / "net", **given)


def test_untrained_weights_are_judged_here(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", form="float", training={"epochs": 0})
    assert json.loads((run / "training.json").read_text())["history"] == []
    card = push(run, tmp_path / "net", samples=2)
    with torch.no_grad():
        images, labels = next(load_dataset("digits", image_size=16, train_limit=40, test_limit=20).test.batches(20, 1))
        right = (load_trained(str(run)).model(images).argmax(-1) == labels).float().mean().item()
    assert card.accuracy == pytest.approx(right)
