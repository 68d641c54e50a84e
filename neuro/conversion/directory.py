"""The run directory: made, checked, and resumed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml

from hardware_models.errors import InputError, RunError
from hardware_models.files import write_atomically
from neuro.conversion.spec import RunSpec, merge_settings, read_settings, validate_spec


def default_directory(spec: RunSpec) -> Path:
    """Return a new `runs/MODEL-VARIANT-tT-DATA`, numbered where that exists."""
    data = spec.data.name.split(":")[0]
    variant = spec.model.variant or "default"
    base = Path("runs") / f"{spec.model.name}-{variant}-t{spec.model.timesteps}-{data}"
    candidates = [base, *(base.with_name(f"{base.name}-{n}") for n in range(2, 10_000))]
    return next(path for path in candidates if not path.exists())


def check_usable(path: Path, resume: bool) -> None:
    """Refuse a directory that cannot take a run, before any work is done.

    Raises:
        InputError: it is a file, is not empty (unless `resume`), or cannot be written.
    """
    if path.exists() and not path.is_dir():
        raise InputError(f"--out {path} is a file; give a directory.")
    if path.is_dir() and any(path.iterdir()) and not resume:
        raise InputError(
            f"--out {path} already holds files; choose another directory, or continue it with --resume."
        )
    existing = next(p for p in (path, *path.resolve().parents) if p.exists())
    if not os.access(existing, os.W_OK):
        raise InputError(
            f"--out {path} cannot be written ({existing} is read-only); choose another directory."
        )


def make_directory(path: Path) -> None:
    """Create the directory and its parents."""
    try:
        (path / "checkpoints").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"could not create {path}: {error.strerror}; choose another directory with --out."
        ) from error


def load_spec(path: Path, given: dict[str, Any]) -> RunSpec:
    """Read the `spec.yaml` of a run that is resumed; what is `given` beside it must agree.

    Raises:
        InputError: there is no run to resume, or a setting differs.
    """
    if not (path / "spec.yaml").is_file():
        raise InputError(
            f"--resume: {path} holds no spec.yaml; give the --out directory of the run to continue."
        )
    spec = validate_spec(read_settings(path / "spec.yaml"), str(path / "spec.yaml"))
    wanted = validate_spec(merge_settings(spec.model_dump(by_alias=True), given))
    if wanted != spec:
        changed = sorted(set(_flat(wanted.model_dump()).items()) ^ set(_flat(spec.model_dump()).items()))
        raise InputError(
            f"--resume: {', '.join(dict.fromkeys(key for key, _ in changed))} differs from {path / 'spec.yaml'}; resume "
            "without it, or start a new run."
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
