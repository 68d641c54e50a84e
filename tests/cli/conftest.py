"""Calling the command line, and one finished run for all tests here."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import TINY, Neuro, Outcome

from neuro.cli import main


@pytest.fixture
def neuro(capsys: pytest.CaptureFixture[str]) -> Neuro:
    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return Outcome(status, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of one epoch; not to be changed."""
    path = tmp_path_factory.mktemp("runs") / "finished"
    assert main(["convert", *TINY, "--epochs", "1", "--out", str(path)]) == 0
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
