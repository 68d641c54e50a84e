"""A training from its document to a run directory, and back to the network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from hardware_models.errors import InputError, RunError
from neuro.conversion.networks import load_data
from neuro.experiments.networks import load_trained, quantized_network
from neuro.experiments.run import run_training
from neuro.experiments.spec import TrainSpec, merged, read_training, recipe_names, resolve_train_spec
from neuro.training import accuracy

SMALL: dict[str, Any] = {
    "model": {"timesteps": 2, "overrides": {"widths": [8, 8, 8, 8]}},
    "data": {"name": "digits", "train_limit": 100, "test_limit": 40},
    "training": {"epochs": 2, "batch_size": 25},
}


def spec(**changed: Any) -> TrainSpec:
    return resolve_train_spec(json.loads(json.dumps(SMALL)) | changed)


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("parent") / "run"
    run_training(spec(form="float"), out)
    return out


def test_a_run_holds_all_that_is_promised(parent: Path) -> None:
    names = {path.name for path in parent.iterdir()}
    assert {"spec.yaml", "environment.json", "log.jsonl", "weights.safetensors", "training.json"} <= names
    record = json.loads((parent / "training.json").read_text())
    assert (record["form"], record["timesteps"], record["train_samples"], record["test_samples"]) == (
        "float",
        1,
        100,
        40,
    )
    assert len(record["history"]) == 2
    assert 0 <= record["history"][-1]["waited_seconds"] <= record["history"][-1]["seconds"]


def test_the_network_that_comes_back_has_the_recorded_accuracy(parent: Path) -> None:
    trained = load_trained(str(parent))
    found = accuracy(trained.model, load_data(trained.spec).test, 1, torch.device("cpu"))
    assert found == json.loads((parent / "training.json").read_text())["history"][-1]["test_accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize(("form", "timesteps"), [("w4a4", 1), ("spike-w1", 2)])
def test_a_low_bit_form_starts_from_its_parent(parent: Path, tmp_path: Path, form: str, timesteps: int) -> None:
    model = SMALL["model"] | {"timesteps": timesteps, "weights": str(parent)}
    record = run_training(spec(form=form, model=model, teacher=str(parent)), tmp_path / "run")
    trained = load_trained(str(tmp_path / "run"))
    network = quantized_network(trained.model)
    assert network is not None
    assert network.recipe.name == form
    assert network.timesteps == timesteps
    found = accuracy(trained.model, load_data(trained.spec).test, 1, torch.device("cpu"))
    assert found == record.accuracy


def test_a_low_bit_form_without_a_parent_is_refused() -> None:
    with pytest.raises(InputError, match=r"form .w4a4. quantizes a trained network; give it as model\.weights"):
        spec(form="w4a4")


def test_an_unknown_form_is_named() -> None:
    with pytest.raises(InputError, match="w4a5"):
        spec(form="w4a5", model=SMALL["model"] | {"weights": "x"})


def test_weights_of_another_form_are_refused(parent: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is of form 'float'; a spiking network starts from one of form 'spiking'"):
        run_training(spec(model=SMALL["model"] | {"weights": str(parent)}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_weights_of_another_size_are_refused(parent: Path, tmp_path: Path) -> None:
    model = SMALL["model"] | {"weights": str(parent), "overrides": {"widths": [8, 8, 16, 16]}}
    with pytest.raises(InputError, match="does not fit this network"):
        run_training(spec(form="float", model=model), tmp_path / "run")


def test_a_teacher_of_other_classes_is_refused(parent: Path, tmp_path: Path) -> None:
    weights = load_file(str(parent / "weights.safetensors"))
    other = tmp_path / "teacher"
    other.mkdir()
    text = (parent / "spec.yaml").read_text().replace("overrides:\n", "overrides:\n    num_classes: 12\n")
    (other / "spec.yaml").write_text(text)
    weights |= {"head.weight": torch.zeros(12, 8), "head.bias": torch.zeros(12)}
    save_file(weights, str(other / "weights.safetensors"))
    with pytest.raises(InputError, match=r"tells 12 classes apart, digits has 10"):
        run_training(spec(teacher=str(other)), tmp_path / "run")


def test_a_loss_that_is_not_finite_stops_at_its_step_and_keeps_the_last_epoch(tmp_path: Path) -> None:
    training = {"epochs": 3, "batch_size": 25, "learning_rate": 1e30, "warmup_epochs": 0, "clip_norm": None}
    with pytest.raises(RunError, match=r"in epoch 1, step 2; start a new run with a lower training.learning_rate"):
        run_training(spec(form="float", training=training), tmp_path / "run")


def test_a_full_disk_leaves_the_checkpoint_before(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neuro.training import state

    saved = []
    save = state.save_checkpoint

    def second_fails(path: Path, content: dict[str, Any]) -> None:
        if saved:
            raise RunError(f"could not write {path}: No space left on device.")
        save(path, content)
        saved.append(path.read_bytes())

    monkeypatch.setattr(state, "save_checkpoint", second_fails)
    with pytest.raises(RunError, match="No space left"):
        run_training(spec(form="float"), tmp_path / "run")
    assert (tmp_path / "run" / "checkpoints" / "last.pt").read_bytes() == saved[0]
    monkeypatch.undo()
    record = run_training(spec(form="float"), tmp_path / "run", resume=True)
    expected = json.loads((parent / "training.json").read_text())["history"]
    assert [one.loss for one in record.history] == [one["loss"] for one in expected]


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_training_is_a_valid_document(name: str) -> None:
    given = read_training(name)
    found = resolve_train_spec(given)
    assert found.title
    assert resolve_train_spec(json.loads(json.dumps(found.model_dump(mode="json", by_alias=True)))) == found


def test_augmentations_that_are_given_replace_those_of_a_recipe() -> None:
    recipe = read_training("fashion-mnist-spiking")
    for augment in ({}, {"affine": [3, 0.1, 1]}, None):
        assert merged(recipe, {"data": {"augment": augment}})["data"]["augment"] == augment
    assert merged(recipe, {"data": {"train_limit": 5}})["data"]["augment"] == {"crop_flip": 2}


@pytest.mark.parametrize(
    ("phases", "said"),
    [
        (5, r"training\.phases was 5; input should be a valid"),
        ([{"timesteps": 0, "epochs": 1}], r"training\.phases\.0\.timesteps was 0; "),
        ([{"timesteps": 1, "epochs": 1}, {"epochs": 1}], r"training\.phases\.1\.timesteps was .*; field required"),
    ],
)
def test_phases_that_cannot_be_are_named(phases: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        resolve_train_spec({"training": {"phases": phases}})


@pytest.mark.parametrize("form", ["float", "spike-w1"])
def test_phases_are_of_spiking_networks(form: str) -> None:
    with pytest.raises(InputError, match=rf"form is '{form}'; set training\.phases=\[\] and training\.epochs"):
        spec(form=form, training={"phases": [{"timesteps": 1, "epochs": 1}]})


def test_low_bits_are_not_sharded(parent: Path) -> None:
    with pytest.raises(InputError, match=r"form 'w4a4' has scales .* cannot be sharded; give parallel: replicated"):
        spec(form="w4a4", model=SMALL["model"] | {"weights": str(parent)}, parallel="sharded")


def test_images_without_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="photos has no labelled images to train on; give other data with --data"):
        run_training(spec(data={"name": "photos"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_training_that_comes_to_nothing_takes_its_log_along(tmp_path: Path) -> None:
    training = {"epochs": 1, "batch_size": 25, "learning_rate": 1e30, "warmup_epochs": 0, "log_every": 1}
    with pytest.raises(RunError, match="in epoch 1, step 2"):
        run_training(spec(form="float", training=training | {"clip_norm": None}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unknown_training_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(InputError, match="fashion-mnist-spiking"):
        read_training("fashion-mnist-spikin")


def test_a_document_of_another_kind_is_refused() -> None:
    with pytest.raises(InputError, match=r"schema 'neuro.spec/1' is not 'neuro.training/1'"):
        resolve_train_spec({"schema": "neuro.spec/1"})


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(InputError, match=r"training\.epoch\b"):
        resolve_train_spec({"training": {"epoch": 3}})


def test_a_checkpoint_of_another_subject_is_not_resumed(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run_training(spec(form="float"), out)
    (out / "training.json").unlink()
    with pytest.raises(InputError, match=r"was trained with other settings \(form"):
        run_training(spec(form="spiking"), out, resume=True)
