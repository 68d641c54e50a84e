"""Checkpoints of a training: written whole or not at all, read without unpickling code."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import torch

from hardware_models.errors import InputError
from hardware_models.files import write_atomically

SCHEMA = "neuro.checkpoint/1"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors, numbers, strings, lists and dicts); an old file stays until the new one is whole."""
    content = io.BytesIO()  # torch.save hides a full disk behind an error of its own
    torch.save({"schema": SCHEMA, **state}, content)
    with write_atomically(path, "wb") as file:
        file.write(content.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        InputError: it is damaged, holds pickled code, or is of another schema version.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on foreign pickle protocols
            state = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # the unpickler raises anything on foreign bytes
        raise InputError(f"{path} cannot be read as a checkpoint; delete it to start this training anew.") from error
    if not isinstance(state, dict) or state.get("schema") != SCHEMA:
        raise InputError(f"{path} is no checkpoint of schema {SCHEMA!r}; delete it to start this training anew.")
    return state
