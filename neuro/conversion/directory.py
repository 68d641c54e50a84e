"""The run directory: made, checked, resumed, and taken away again when a run comes to nothing."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import yaml
from pydantic import BaseModel

from hardware_models.errors import InputError, RunError
from hardware_models.files import write_atomically
from neuro.conversion.environment import describe_environment
from neuro.conversion.spec import RunSpec, merge_settings, read_settings, validate_spec

_DOCUMENTS = (
    *("spec.yaml", "recipe.yaml", "environment.json", "conversion.json", "estimate.json", "chips.json", "report.html"),
    *("workload*.json", "workload*.npz", "weights*.safetensors", "log.jsonl", "tensorboard/events.*"),
)


Document = TypeVar("Document", bound=BaseModel)


class Spec(Protocol):
    """What was asked for."""

    seed: int
    device: str

    def to_yaml(self) -> str:
        """Return the document as YAML."""
        ...


def default_directory(name: str) -> Path:
    """Return a new `runs/NAME`, numbered where that exists."""
    base = Path("runs") / name
    candidates = [base, *(base.with_name(f"{base.name}-{n}") for n in range(2, 10_000))]
    return next(path for path in candidates if not path.exists())


def check_usable(path: Path, resume: bool) -> None:
    """Refuse a directory that cannot take a run, before any work is done.

    Raises:
        InputError: it is a file, is not empty (unless `resume`), or cannot be written.
    """
    try:
        if path.is_dir() and any(path.iterdir()) and not resume:
            raise InputError(
                f"--out {path} already holds files; choose another directory, or continue it with --resume."
            )
        existing = next(p for p in (path, *path.absolute().parents) if p.exists())
    except OSError as error:
        raise InputError(f"--out {path} cannot be used: {error.strerror}; choose another directory.") from error
    if not existing.is_dir():
        raise InputError(f"--out {path} cannot be made: {existing} is a file; choose another directory.")
    if not os.access(existing, os.W_OK):
        raise InputError(f"--out {path} cannot be written ({existing} is read-only); choose another directory.")


@contextlib.contextmanager
def run_directory(path: Path, spec: Spec, resume: bool) -> Iterator[None]:
    """Make the directory, with the request in it, for the work of the block.

    Work that ends before anything is worth resuming (no whole epoch, and not a run that was there before) takes
    its files along, so that the same command can be given again. Interrupted work that can be resumed says how.

    Raises:
        InputError: the directory cannot take this run.
        RunError: it cannot be made.
    """
    check_usable(path, resume)
    new = [p for p in (path, *path.parents) if not p.exists()]
    try:
        _make(path, spec)
        yield
    except BaseException as error:
        if not resume and not any(path.glob("checkpoints/*")):
            _take_away(path, new)
        elif isinstance(error, KeyboardInterrupt):
            error.add_note(f"whole epochs are kept, continue with --resume --out {path}")
        raise


def _make(path: Path, spec: Spec) -> None:
    """Write what was asked for and under which circumstances; a run that is resumed has that already."""
    try:
        (path / "checkpoints").mkdir(parents=True, exist_ok=True)
        for unfinished in [*path.glob(".*.part"), *path.glob("checkpoints/.*.part")]:
            unfinished.unlink()  # of a process that was killed
    except OSError as error:
        raise RunError(f"could not create {path}: {error.strerror}; choose another directory with --out.") from error
    if not (path / "spec.yaml").exists():
        with write_atomically(path / "spec.yaml") as file:
            file.write(spec.to_yaml())
    if not (path / "environment.json").exists():
        write_json(path / "environment.json", describe_environment(spec.seed, spec.device))


def _take_away(path: Path, new: list[Path]) -> None:
    for pattern in _DOCUMENTS:
        for file in path.glob(pattern):
            file.unlink()
    for folder in [path / "checkpoints", path / "tensorboard", *new]:
        with contextlib.suppress(OSError):  # somebody else's file lies in it, or it was never made
            folder.rmdir()


def load_spec(path: Path, given: dict[str, Any]) -> RunSpec:
    """Read the specification of a run of an architecture that is resumed; see `agreed_spec`."""
    return agreed_spec(path, given, validate_spec)


def agreed_spec(path: Path, given: dict[str, Any], resolve: Callable[[Any, str], Document]) -> Document:
    """Read the `spec.yaml` of a run that is resumed; what is `given` beside it must agree.

    Args:
        path: the run directory.
        given: nested settings.
        resolve: makes the document of nested settings, which came from what it is told.

    Raises:
        InputError: there is no run to resume, or a setting differs.
    """
    if not (path / "spec.yaml").is_file():
        raise InputError(f"--resume: {path} holds no spec.yaml; give the --out directory of the run to continue.")
    spec = resolve(read_settings(path / "spec.yaml"), str(path / "spec.yaml"))
    wanted = resolve(merge_settings(spec.model_dump(by_alias=True), given), "the settings")
    if wanted != spec:
        changed = sorted(set(_flat(wanted.model_dump()).items()) ^ set(_flat(spec.model_dump()).items()))
        raise InputError(
            f"--resume: {', '.join(dict.fromkeys(key for key, _ in changed))} differs from {path / 'spec.yaml'}; "
            "resume without it, or start a new run."
        )
    return spec


def write_json(path: Path, data: Any) -> None:
    """Write plain data as JSON, whole or not at all."""
    with write_atomically(path) as file:
        json.dump(data, file, indent=1)
        file.write("\n")


def _flat(data: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = yaml.safe_dump(value)
    return flat
