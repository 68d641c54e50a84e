"""`neuro eval`, as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Neuro, files

from hardware_models.errors import RunError
from neuro.cli import main

TINY = [
    *(
        "--config",
        "digits-spiking",
        "--timesteps",
        "2",
        "--epochs",
        "1",
        "--set",
        "training.phases=[]",
        "--set",
        "model.overrides.widths=[8,8,8,8]",
    ),
    *("--set", "data.train_limit=40", "--set", "data.test_limit=20", "--set", "training.batch_size=20"),
]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a training; evaluations are written into it."""
    path = tmp_path_factory.mktemp("runs") / "trained"
    assert main(["train", *TINY, "--out", str(path)]) == 0
    return path


def test_tables_and_a_comparison_last(neuro: Neuro, trained: Path) -> None:
    outcome = neuro("eval", trained)
    assert (outcome.status, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["data", "network", "eval"]
    said = json.loads((trained / "training.json").read_text())["history"][-1]["test_accuracy"]
    assert lines[-1] == f"training.json says {100 * said:.2f} %, measured {100 * said:.2f} %."
    assert f"record: {trained / 'evaluation.json'}" in outcome.out.replace("\n", "")
    assert "Counts and energy: 16 samples, under horowitz45" in outcome.out
    assert "beyond training" not in outcome.out
    assert not [name for name in files(trained) if name.endswith(".part")]


def test_everything_at_once(neuro: Neuro, trained: Path) -> None:
    asked = ["--early-exit", "--corruptions", "jpeg,contrast", "--severities", "2", "--confusion"]
    outcome = neuro("eval", trained, "--timesteps", "1,2,3", "--profile-samples", "2", *asked)
    assert (outcome.status, outcome.err) == (0, "")
    for part in ("beyond training", "Early exit, T = 2", "Corrupted images, T = 2", "Confusion matrix, T = 2"):
        assert part in outcome.out
    record = json.loads((trained / "evaluation.json").read_text())
    assert [row["timesteps"] for row in record["rows"]] == [1, 2, 3]
    assert [point["threshold"] for point in record["early_exit"]] == [0.5, 0.8, 0.9, 0.95, 0.99]
    assert record["corruptions"]["severities"] == [2]
    assert list(record["corruptions"]["accuracies"]) == ["jpeg", "contrast"]


def test_all_corruptions_without_a_value(neuro: Neuro, trained: Path) -> None:
    found = neuro("eval", trained, "--profile-samples", "0", "--samples", "10", "--corruptions", "--json")
    corruptions = json.loads(found.out)["corruptions"]
    assert (len(corruptions["accuracies"]), corruptions["severities"]) == (10, [1, 3, 5])


def test_json_alone_and_in_a_file_of_ones_own(neuro: Neuro, trained: Path, here: Path) -> None:
    before = (trained / "evaluation.json").read_bytes() if (trained / "evaluation.json").exists() else b""
    outcome = neuro("eval", trained, "--json", "--out", "one.json", "--profile-samples", "1", "--timesteps", "2")
    assert (outcome.status, outcome.err) == (0, "")
    assert json.loads(outcome.out) == json.loads((here / "one.json").read_text())
    assert ((trained / "evaluation.json").read_bytes() if before else b"") == before


def test_what_cannot_be_kept_was_shown(
    neuro: Neuro, trained: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, document: object) -> None:
        raise RunError(f"could not write {path}: No space left on device.")

    monkeypatch.setattr("neuro.conversion.write.write_json", full)
    outcome = neuro("eval", trained, "--profile-samples", "0")
    assert outcome.status == 1
    assert "No space left" in outcome.err
    assert "Accuracy" in outcome.out


def test_a_network_of_the_hub_is_left_as_it_is(neuro: Neuro, trained: Path, here: Path) -> None:
    assert neuro("push", trained, "nets/one").status == 0
    before = files(here)
    outcome = neuro("eval", "hub:./nets/one", "--profile-samples", "1")
    assert outcome.status == 0
    assert outcome.out.splitlines()[-1].startswith("the card says ")
    assert files(here) == before
    assert neuro("eval", "hub:./nets/one", "--profile-samples", "1", "--out", "one.json").status == 0
    assert files(here) == before | {"one.json"}


def test_another_accuracy_is_said_and_is_no_fault(neuro: Neuro, trained: Path, here: Path) -> None:
    for name in ("spec.yaml", "weights.safetensors"):
        (here / name).symlink_to(trained / name)
    record = json.loads((trained / "training.json").read_text())
    record["history"][-1]["test_accuracy"] = 0.999
    (here / "training.json").write_text(json.dumps(record))
    outcome = neuro("eval", here, "--profile-samples", "1")
    assert outcome.status == 0
    assert "training.json says 99.90 %, measured" in outcome.out
    assert "they differ by" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--timesteps", "one"], "--timesteps was given 'one'; write values with commas, such as 1,2,4."),
        (["--early-exit", "x"], "--early-exit was given 'x'"),
        (["--severities", "1"], "--severities is of corruptions"),
        (["--corruptions", "rain"], "unknown corruption 'rain'"),
        (["--data", "photos"], "carry no labels"),
        (["--data", "cifar10"], "write cifar10:PATH"),
        (["--convention", "mine"], "unknown convention 'mine'"),
        (["--device", "abacus"], "device 'abacus' is unknown"),
        (["--samples", "0"], "--samples was 0; give at least 1."),
        (["--out", "no/folder/one.json"], "lies in no folder"),
    ],
)
def test_bad_requests(neuro: Neuro, trained: Path, here: Path, arguments: list[str], said: str) -> None:
    outcome = neuro("eval", trained, *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert said in outcome.err
    assert outcome.err.count("\n") == 1


def test_no_network_there(neuro: Neuro, here: Path) -> None:
    outcome = neuro("eval", "nowhere")
    assert outcome.status == 2
    assert "nowhere holds no trained network" in outcome.err


def test_a_narrow_terminal(neuro: Neuro, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    outcome = neuro("eval", trained, "--profile-samples", "1", "--confusion", "--early-exit", "0.5")
    assert outcome.status == 0
    assert "too wide to show" in " ".join(outcome.out.split())


def test_it_is_listed(neuro: Neuro) -> None:
    assert "\n  eval " in neuro("--help").out
