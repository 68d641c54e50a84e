"""One finished run of a given network for all tests here, through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuro.cli import main

TINY = ["--compared-samples", "4", "--calibration-samples", "8", "--chip", "tpu_like"]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run; not to be changed."""
    path = tmp_path_factory.mktemp("runs") / "attention"
    given = ["--model", "tiny_networks:attention", "--timesteps", "4", "--sweep-timesteps", "1,2,8"]
    assert main(["convert", *given, *TINY, "--out", str(path)]) == 0
    return path
