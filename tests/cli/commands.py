"""The command line as the tests call it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """Exit status and what was printed."""

    status: int
    out: str
    err: str


Neuro = Callable[..., Outcome]
"""Calls `neuro` with the given arguments."""

TINY = [
    *("--timesteps", "2", "--set", "model.overrides.widths=[8,8,8,8]"),
    *("--set", "data.train_limit=40", "--set", "data.test_limit=20"),
    *("--set", "training.batch_size=20", "--set", "profile_samples=4"),
]
"""Arguments of a conversion that takes two seconds."""


def files(path: Path) -> set[str]:
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}
