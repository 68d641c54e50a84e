"""`neuro train`, as a user meets it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from commands import TINY, Neuro, files

from neuro.cli import train as command
from neuro.experiments import run as experiment

SMALL = ["--config", "digits-spiking", "--set", "training.phases=[]", *TINY[:-2]]


def test_the_examples_of_the_help_are_valid(neuro: Neuro, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def note(spec: Any, out: Path, **given: Any) -> Any:
        asked.append(spec)
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "run_training", note)
    lines = [line.strip() for line in command.DESCRIPTION.splitlines() if "neuro train --config" in line]
    for line in lines:
        assert neuro(*shlex.split(line.partition("neuro ")[2])).err == "neuro: interrupted.\n"
    assert len(asked) == len(lines) == 3


def test_epochs_beside_the_phases_of_a_recipe(neuro: Neuro, here: Path) -> None:
    outcome = neuro("train", "--config", "digits-spiking", "--epochs", "3")
    assert outcome.status == 2
    assert "3 epochs were given beside phases of 18; leave epochs out, or give phases too, [] for none." in outcome.err


def test_an_empty_name_is_no_recipe(neuro: Neuro, here: Path) -> None:
    outcome = neuro("train", "--config", "", "--out", "run")
    assert outcome.status == 2
    assert files(here) == set()


def test_a_fault_before_the_first_checkpoint_leaves_nothing(neuro: Neuro, here: Path) -> None:
    ruined = ["--set", "training.learning_rate=1e30", "--set", "training.clip_norm=null", "--epochs", "9"]
    logged = ["--set", "training.log_every=1", "--set", "training.warmup_epochs=0", "--tensorboard"]
    outcome = neuro("train", *SMALL, *ruined, *logged, "--out", "run")
    assert outcome.status == 1
    assert "in epoch 1, step 2" in outcome.err
    assert list(here.iterdir()) == []
