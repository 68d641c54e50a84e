"""The circumstances of a run: versions, machine, command."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
import sys
import time
from typing import Any

import torch

SCHEMA = "neuro.environment/1"
_PACKAGES = (
    "neuro",
    "torch",
    "numpy",
    "pydantic",
    "safetensors",
    "scikit-learn",
    "pillow",
    "spikingjelly",
    "snntorch",
)


def describe_environment(seed: int, device: str) -> dict[str, Any]:
    """Return versions, machine, command, seed and device as plain data."""
    return {
        "schema": SCHEMA,
        "command": shlex.join(["neuro", *sys.argv[1:]]) if _is_command_line() else "Python API",
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seed": seed,
        "device": device,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def _is_command_line() -> bool:
    return sys.argv[0].endswith(("neuro", "neuro/__main__.py"))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
