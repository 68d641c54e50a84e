"""Processes that are interrupted, killed, or lose their reader."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from commands import TINY, Neuro, files
from safetensors.torch import load_file

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


def start(here: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `neuro` as a shell does in the foreground, where Ctrl-C is not ignored."""
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "neuro", *arguments],
        cwd=here,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    pytest.fail(f"{text!r} was never printed: {process.stderr.read() if process.stderr else ''}")


def wait_for_file(process: subprocess.Popen[str], path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, "the process ended before its checkpoint"
        assert time.monotonic() < until
        time.sleep(0.005)


def interrupt(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize("phase", ["start", "data:", "train: float", "measure: spiking,"])
def test_an_interrupt_before_the_first_epoch_leaves_nothing(tmp_path: Path, phase: str) -> None:
    epochs = "9999" if phase.startswith("train") else "0"
    limits = ["--set", "data.train_limit=null"] if phase.startswith("train") else []
    process = start(tmp_path, "convert", *TINY, *limits, "--epochs", epochs, "--out", "run")
    if phase == "start":
        time.sleep(0.6)
    else:
        wait_for(process, phase)
    assert interrupt(process) == "neuro: interrupted.\n"
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_in_training_says_how_to_go_on(tmp_path: Path) -> None:
    process = start(tmp_path, "convert", *TINY, "--epochs", "9999", "--out", "run")
    wait_for_file(process, tmp_path / "run" / "checkpoints" / "float.pt")
    err = interrupt(process)
    assert err == "neuro: interrupted; whole epochs are kept, continue with --resume --out run.\n"
    assert files(tmp_path / "run") == {"spec.yaml", "environment.json", "checkpoints/float.pt"}


def test_killed_and_resumed_is_the_run_that_was_not(tmp_path: Path, neuro: Neuro) -> None:
    arguments = [*TINY, "--epochs", "20", "--set", "model.overrides.drop_path=0.2"]
    process = start(tmp_path, "convert", *arguments, "--out", "killed")
    wait_for_file(process, tmp_path / "killed" / "checkpoints" / "spiking.pt")
    process.kill()
    process.communicate()
    assert not (tmp_path / "killed" / "report.html").exists()
    epochs = torch.load(tmp_path / "killed" / "checkpoints" / "spiking.pt", weights_only=True)["history"]
    assert len(epochs) < 20, "killed too late to show anything"

    resume = start(tmp_path, "convert", "--resume", "--out", "killed")
    assert resume.communicate(timeout=120)[1] == ""
    whole = start(tmp_path, "convert", *arguments, "--out", "whole")
    assert whole.communicate(timeout=120)[1] == ""
    for name in ("weights.safetensors", "weights-float.safetensors"):
        first, second = (load_file(tmp_path / run / name) for run in ("killed", "whole"))
        assert all(torch.equal(first[key], tensor) for key, tensor in second.items())
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


@pytest.mark.parametrize("command", [["--help"], ["models", "--json"], ["data"]])
def test_a_reader_who_leaves_early_is_no_fault(tmp_path: Path, command: list[str]) -> None:
    process = start(tmp_path, *command)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.wait(timeout=60)
    assert err == ""
