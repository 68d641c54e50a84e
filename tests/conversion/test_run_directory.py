"""The run directory: refused, made, taken away, kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tiny_request import TINY

from hardware_models.errors import InputError
from neuro.conversion.directory import default_directory, load_spec, run_directory
from neuro.conversion.pipeline import Conversion
from neuro.conversion.spec import RunSpec, resolve_spec


@pytest.fixture
def spec() -> RunSpec:
    return resolve_spec(TINY)


def files(path: Path) -> set[str]:
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}


def fail(path: Path, spec: RunSpec, leaving: str, error: type[BaseException]) -> None:
    """Work that writes the file `leaving` and then fails."""
    with run_directory(path, spec, resume=False):
        (path / leaving).write_text("content")
        raise error


def test_the_default_is_named_after_the_run_and_numbered(
    spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_directory(spec.directory_name) == Path("runs/spikeformer_v2-tiny-t2-digits")
    Path("runs/spikeformer_v2-tiny-t2-digits").mkdir(parents=True)
    assert default_directory(spec.directory_name) == Path("runs/spikeformer_v2-tiny-t2-digits-2")


def test_made_with_the_request_in_it(spec: RunSpec, tmp_path: Path) -> None:
    path = tmp_path / "a b" / "ünïcode ✓"
    with run_directory(path, spec, resume=False):
        assert files(path) == {"spec.yaml", "environment.json"}
    assert load_spec(path, {}) == spec


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError, MemoryError])
def test_work_that_came_to_nothing_leaves_nothing(spec: RunSpec, tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        fail(tmp_path / "new" / "run", spec, "workload.json", error)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_there_and_files_of_others_stay(spec: RunSpec, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fail(tmp_path, spec, "my notes.txt", KeyboardInterrupt)
    assert files(tmp_path) == {"my notes.txt"}


def test_a_whole_epoch_is_kept_and_an_interrupt_says_how_to_go_on(spec: RunSpec, tmp_path: Path) -> None:
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt) as caught:
        fail(path, spec, "checkpoints/float.pt", KeyboardInterrupt)
    assert files(path) == {"spec.yaml", "environment.json", "checkpoints/float.pt"}
    assert caught.value.__notes__ == [f"whole epochs are kept, continue with --resume --out {path}"]


def test_resuming_keeps_the_request_and_sweeps_up(spec: RunSpec, tmp_path: Path) -> None:
    with run_directory(tmp_path, spec, resume=False):
        before = (tmp_path / "environment.json").read_bytes()
    (tmp_path / ".weights.safetensors.x1.part").write_bytes(b"half")  # of a process that was killed
    with pytest.raises(InputError), run_directory(tmp_path, spec, resume=True):
        raise InputError("a fault")
    assert files(tmp_path) == {"spec.yaml", "environment.json"}
    assert (tmp_path / "environment.json").read_bytes() == before


def refuse(path: Path, spec: RunSpec, message: str) -> None:
    with pytest.raises(InputError, match=message), run_directory(path, spec, resume=False):
        pytest.fail("the work was begun")


def test_directories_that_cannot_take_a_run(spec: RunSpec, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    refuse(file, spec, f"--out {file} cannot be made: {file} is a file; choose another directory")
    refuse(file / "below", spec, f"{file} is a file; choose another directory")
    refuse(tmp_path, spec, "already holds files; choose another directory, or continue it with --resume")
    refuse(tmp_path / ("x" * 300), spec, "cannot be used: File name too long; choose another directory")
    assert files(tmp_path) == {"file"}


def test_a_read_only_place(spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # tests may run as root, who may do everything
    refuse(tmp_path / "run", spec, rf"cannot be written \({tmp_path} is read-only\); choose another directory")
    assert files(tmp_path) == set()


def test_what_is_given_beside_resume_must_agree(conversion: Conversion) -> None:
    path = conversion.directory
    assert path is not None
    assert load_spec(path, {}) == conversion.spec
    assert load_spec(path, {"model": {"variant": "tiny"}}) == conversion.spec
    for given, named in (
        ({"training": {"epochs": 2}}, r"training\.epochs"),
        ({"seed": 7, "model": {"overrides": {"heads": 4}}}, r"model\.overrides\.heads, seed"),
    ):
        with pytest.raises(InputError, match=rf"--resume: {named} differs from .*spec\.yaml; resume without it"):
            load_spec(path, given)


def test_a_directory_that_is_no_run_is_not_resumed(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match=r"holds no spec\.yaml; give the --out directory of the run to continue"):
            load_spec(path, {})
