"""Trained networks by name: in the package, in a folder of one's own, or in a repository of the Hugging Face Hub.

    hub:NAME          a network that ships with the package (`hub_names()`), or a folder of $NEURO_HUB
    hub:PATH          a folder that `neuro push` wrote, with a / in it
    hub:OWNER/NAME    a repository of the Hugging Face Hub, where there is no such folder

A network is a folder with `spec.yaml` (how it is built), `weights.safetensors`, `card.json` and `README.md`. Nothing in
it is run or unpickled.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from hardware_models.errors import InputError, RunError, unknown_name
from hardware_models.shipped import shipped_configs

PREFIX = "hub:"
WEIGHTS, SPEC, CARD = "weights.safetensors", "spec.yaml", "card.json"
_FILES = (SPEC, WEIGHTS, CARD, "README.md")


def hub_names() -> list[str]:
    """Return the names of the networks that ship with the package, sorted."""
    return sorted(path.parent.name for path in shipped_configs("neuro", "hub").glob(f"*/{SPEC}"))


def network_folder(name: str) -> Path:
    """Return the folder of a trained network.

    Args:
        name: `hub:NAME` as above, or a run directory.

    Raises:
        InputError: there is none of that name.
        RunError: the Hugging Face Hub cannot be reached.
    """
    if not name.startswith(PREFIX):
        return _checked(Path(name))
    wanted = name.removeprefix(PREFIX)
    shelves = [Path(os.environ["NEURO_HUB"])] if "NEURO_HUB" in os.environ else []
    for folder in (Path(wanted).expanduser(), *(shelf / wanted for shelf in shelves)):
        if "/" in wanted and folder.is_dir():
            return _checked(folder)
    for shelf in (*shelves, shipped_configs("neuro", "hub")):
        if "/" not in wanted and (shelf / wanted / SPEC).is_file():
            return shelf / wanted
    if wanted.count("/") == 1 and not wanted.startswith((".", "/", "~")):
        return _checked(_downloaded(wanted))
    own = [path.parent.name for shelf in shelves for path in shelf.glob(f"*/{SPEC}")]
    raise unknown_name("network of the hub", wanted, [*hub_names(), *own])


def weights_file(name: str) -> Path:
    """Return the file of weights that a `--weights` names: a file as it is, else that of the network's folder."""
    path = Path(name)
    if not name.startswith(PREFIX) and not path.is_dir():
        return path
    return network_folder(name) / WEIGHTS


def _checked(folder: Path) -> Path:
    missing = [file for file in (SPEC, WEIGHTS) if not (folder / file).is_file()]
    if missing:
        raise InputError(
            f"{folder} holds no trained network, it lacks {' and '.join(missing)}; give a run directory of neuro train "
            "or a folder of neuro push."
        )
    return folder


def _downloaded(repository: str) -> Path:
    try:
        library = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise InputError(
            f"hub:{repository} is no folder here, and for repositories of the Hugging Face Hub huggingface_hub is not "
            "installed; pip install huggingface_hub, or give a folder."
        ) from error
    try:
        return Path(library.snapshot_download(repository, allow_patterns=list(_FILES)))
    except Exception as error:  # of many libraries below it
        reason = str(error).split("\n", 1)[0]
        raise RunError(f"hub:{repository} could not be fetched ({reason}); fetch it and give its folder.") from error
