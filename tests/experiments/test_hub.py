"""Trained networks by name: which folder is found, and what is refused."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import neuro.hub
from hardware_models.errors import InputError, RunError
from neuro.conversion.spec import read_trained
from neuro.hub import Card, hub_cards, hub_names, network_folder, read_card, weights_file

COST = {
    **{"spikes": 10.0, "firing_rate": 0.25, "sops": 100.0, "macs": 5.0},
    **{"energy_j": 2e-6, "energy_low_j": 1e-6, "energy_high_j": 3e-6},
}
CARD = {
    **{"schema": "neuro.card/1", "name": "one", "form": "spiking", "architecture": "spikeformer_v2", "variant": "tiny"},
    **{"timesteps": 4, "parameters": 9, "dataset": "digits", "dataset_source": "UCI", "preprocessing": "none"},
    **{"accuracy": 0.5, "standard_error": 0.05, "samples": 100, "cost": COST, "convention": "horowitz45"},
    **{"profiled_samples": 16, "licence": "MIT", "command": "neuro train", "seed": 0, "epochs": 1, "versions": {}},
}


def write_network(folder: Path, **changed: Any) -> Path:
    """A folder of the hub whose files fit one another; nothing here reads the weights."""
    folder.mkdir(parents=True)
    content = f"weights of {folder.name}".encode()
    (folder / "weights.safetensors").write_bytes(content)
    (folder / "spec.yaml").write_text("schema: neuro.training/1\nmodel: {name: spikeformer_v2}\n")
    card = CARD | {"name": folder.name, "weights_sha256": hashlib.sha256(content).hexdigest()} | changed
    (folder / "card.json").write_text(json.dumps(card))
    return folder


@pytest.fixture
def shelves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The package's folder with `one` and `two`, and one's own with `two` and `three`."""
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    for folder in (shipped / "one", shipped / "two", own / "two", own / "three"):
        write_network(folder)
    monkeypatch.setattr(neuro.hub, "shipped_configs", lambda package, kind: shipped)
    monkeypatch.setenv("NEURO_HUB", str(own))
    monkeypatch.chdir(tmp_path)
    return SimpleNamespace(shipped=shipped, own=own)


def test_the_names_are_those_of_both_shelves(shelves: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub_names() == ["one", "three", "two"]
    assert {name: card.name for name, card in hub_cards().items()} == {"one": "one", "three": "three", "two": "two"}
    monkeypatch.delenv("NEURO_HUB")
    assert hub_names() == ["one", "two"]


def test_ones_own_goes_before_the_package(shelves: SimpleNamespace) -> None:
    assert network_folder("hub:one") == shelves.shipped / "one"
    assert network_folder("hub:two") == shelves.own / "two"


def test_a_folder_by_its_path(shelves: SimpleNamespace, tmp_path: Path) -> None:
    folder = write_network(tmp_path / "some" / "where")
    assert network_folder(f"hub:{folder}") == folder
    assert network_folder("hub:./some/where").resolve() == folder
    assert network_folder(str(folder)) == folder
    assert weights_file("hub:some/where").resolve() == folder / "weights.safetensors"


def test_an_owners_folder_on_ones_own_shelf(shelves: SimpleNamespace) -> None:
    folder = write_network(shelves.own / "owner" / "net")
    assert network_folder("hub:owner/net") == folder


def test_a_file_of_weights_stays_what_it_is() -> None:
    assert weights_file("nowhere/weights.pt") == Path("nowhere/weights.pt")


def test_a_run_directory_has_no_card(shelves: SimpleNamespace, tmp_path: Path) -> None:
    run = write_network(tmp_path / "run")
    (run / "card.json").unlink()
    assert weights_file(str(run)) == run / "weights.safetensors"
    with pytest.raises(InputError, match=r"lacks card\.json"):
        network_folder(f"hub:{run}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hub:thre", "unknown network of the hub 'thre'; did you mean 'three'"),
        ("hub:", "unknown network of the hub ''"),
        ("hub:..", "unknown network of the hub '..'"),
        ("hub:./nowhere", "hub:./nowhere: there is no such folder"),
        ("hub:a/b/c", "hub:a/b/c: there is no such folder"),
        ("hub:~nobody-of-this-name/net", "names an unknown home directory"),
        ("nowhere", "nowhere holds no trained network, it lacks spec.yaml and weights.safetensors"),
    ],
)
def test_what_is_not_there(shelves: SimpleNamespace, name: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        network_folder(name)
    assert message in str(raised.value)


def test_nothing_ships(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(neuro.hub, "shipped_configs", lambda package, kind: tmp_path)
    monkeypatch.delenv("NEURO_HUB", raising=False)
    assert hub_names() == []
    with pytest.raises(InputError, match="none ships here, so give hub:PATH of a folder"):
        network_folder("hub:one")


def test_a_shelf_that_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEURO_HUB", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"NEURO_HUB is '.*nowhere', which is no folder"):
        hub_names()


@pytest.mark.parametrize("file", ["spec.yaml", "weights.safetensors", "card.json"])
def test_a_file_is_missing(shelves: SimpleNamespace, file: str) -> None:
    (shelves.own / "three" / file).unlink()
    with pytest.raises(InputError, match=f"it lacks {file}; give a run directory"):
        network_folder("hub:three")


def test_weights_that_are_not_the_cards(shelves: SimpleNamespace) -> None:
    weights = shelves.own / "three" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes() + b"!")
    for name in ("hub:three", str(weights.parent)):
        with pytest.raises(InputError, match=r"weights\.safetensors is not the file of its card"):
            weights_file(name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot read"),
        ("[]", "is of the schema None, expected 'neuro.card/1'"),
        (json.dumps(CARD | {"schema": "neuro.card/2"}), "is of the schema 'neuro.card/2', expected 'neuro.card/1'"),
        (json.dumps(CARD), "weights_sha256: Field required"),
        (json.dumps(CARD | {"weights_sha256": "0" * 63}), "weights_sha256"),
        (json.dumps(CARD | {"weights_sha256": "0" * 64, "accuracy": 1.5}), "accuracy"),
        (json.dumps(CARD | {"weights_sha256": "0" * 64, "mood": "good"}), "mood: Extra inputs are not permitted"),
    ],
)
def test_a_card_of_another_kind(shelves: SimpleNamespace, content: str, message: str) -> None:
    (shelves.own / "three" / "card.json").write_text(content)
    with pytest.raises(InputError) as raised:
        network_folder("hub:three")
    assert message in str(raised.value)
    assert "card.json" in str(raised.value)


def test_a_card_comes_back_as_it_was_written(tmp_path: Path) -> None:
    card = read_card(write_network(tmp_path / "net"))
    assert Card.model_validate_json(card.model_dump_json(by_alias=True)) == card


def test_a_specification_of_another_kind(tmp_path: Path) -> None:
    folder = write_network(tmp_path / "net")
    (folder / "spec.yaml").write_text("schema: neuro.network-spec/1\n")
    with pytest.raises(InputError, match=r"is of the schema 'neuro\.network-spec/1', expected 'neuro\.training/1'"):
        read_trained(folder)
    (folder / "spec.yaml").write_text("schema: neuro.training/1\nmodel: {timesteps: 0}\n")
    with pytest.raises(InputError, match="timesteps was 0"):
        read_trained(folder)


def test_what_a_network_is_in_words(tmp_path: Path) -> None:
    folder = write_network(tmp_path / "net")
    assert str(read_trained(folder)) == "spikeformer_v2 tiny, spiking, T = 4, lif, sdsa3"
    (folder / "spec.yaml").write_text("schema: neuro.training/1\nform: float\nmodel: {variant: 0.4m, timesteps: 2}\n")
    assert str(read_trained(folder)) == "spikeformer_v2 0.4m, float, sdsa3"


def test_a_repository_is_fetched(shelves: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def snapshot_download(repository: str, allow_patterns: list[str]) -> str:
        asked.append((repository, sorted(allow_patterns)))
        return str(tmp_path / "cache")

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=snapshot_download))
    folder = write_network(tmp_path / "cache")
    assert network_folder("hub:owner/net") == folder
    assert asked == [("owner/net", ["README.md", "card.json", "spec.yaml", "weights.safetensors"])]
    (folder / "weights.safetensors").write_bytes(b"others")
    with pytest.raises(InputError, match="is not the file of its card"):
        network_folder("hub:owner/net")


def test_a_repository_that_cannot_be_fetched(shelves: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(repository: str, allow_patterns: list[str]) -> str:
        raise ConnectionError("no route\nto the host")

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=snapshot_download))
    with pytest.raises(RunError, match=r"hub:owner/net could not be fetched \(ConnectionError: no route\); fetch it"):
        network_folder("hub:owner/net")


def test_without_the_library_of_repositories(shelves: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match="huggingface_hub is not installed; pip install huggingface_hub, or give"):
        network_folder("hub:owner/net")
