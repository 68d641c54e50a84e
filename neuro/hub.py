"""Trained networks by name: in the package, in a folder of one's own, or in a repository of the Hugging Face Hub.

    hub:NAME          a folder of $NEURO_HUB, or else a network that ships with the package (`hub_names()`)
    hub:PATH          a folder that `neuro push` wrote, with a / in it
    hub:OWNER/NAME    a repository of the Hugging Face Hub, where there is no such folder

A network is a folder with `spec.yaml` (how it is built), `weights.safetensors`, `card.json` (what it is) and
`README.md`. Nothing in it is run or unpickled.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hardware_models.errors import InputError, RunError, unknown_name
from hardware_models.shipped import shipped_configs

PREFIX = "hub:"
WEIGHTS, SPEC, CARD, README = "weights.safetensors", "spec.yaml", "card.json", "README.md"
CARD_SCHEMA: Final = "neuro.card/1"

Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True, allow_inf_nan=False)


class CardCost(_Document):
    """What one inference takes, mean over the profiled samples.

    Attributes:
        spikes: of all neurons.
        firing_rate: spikes per neuron and timestep; None for a network without neurons.
        sops: synaptic operations, spikes times fan-out.
        macs: the multiplications.
        energy_j: under the card's convention; `energy_low_j` and `energy_high_j` are its band.
    """

    spikes: Amount
    firing_rate: Amount | None
    sops: Amount
    macs: Amount
    energy_j: Amount
    energy_low_j: Amount
    energy_high_j: Amount


class Card(_Document):
    """Content of `card.json`: what a trained network is and does.

    Attributes:
        name: of the folder when it was written.
        form: `spiking`, `float` or a recipe of low bits.
        architecture: and `variant`, its size; `timesteps` is T.
        dataset: name of the data set; `dataset_source` says where it came from, `preprocessing` what was done to it.
        accuracy: share of the held-out `samples`, with the standard error `sqrt(p (1 - p) / N)`.
        cost: of the network as its weights are; `merged_cost` of its inference form, None where it has none.
        convention: of the energy.
        profiled_samples: behind the costs.
        licence: of the weights.
        note: anything else.
        command: to train it again, beside `spec.yaml`.
        weights_of: what kind of network the training started from; empty for random weights. `teacher` likewise.
        versions: of Python and the packages that trained it.
        weights_sha256: of `weights.safetensors`, 64 hexadecimal digits.
    """

    schema_version: Literal["neuro.card/1"] = Field(default=CARD_SCHEMA, alias="schema")
    name: str
    form: str
    architecture: str
    variant: str
    timesteps: Annotated[int, Field(ge=1)]
    parameters: Annotated[int, Field(ge=0)]
    dataset: str
    dataset_source: str
    preprocessing: str
    accuracy: Share
    standard_error: Amount
    samples: Annotated[int, Field(ge=1)]
    cost: CardCost
    merged_cost: CardCost | None = None
    convention: str
    profiled_samples: Annotated[int, Field(ge=1)]
    licence: str
    note: str = ""
    command: str
    seed: int
    epochs: int
    weights_of: str = ""
    teacher: str = ""
    versions: dict[str, str]
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def read_card(folder: Path) -> Card:
    """Read the card of a trained network.

    Raises:
        InputError: it cannot be read, or is no card of this version.
    """
    path = folder / CARD
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path} ({error}); give a folder that neuro push wrote.") from error
    found = document.get("schema") if isinstance(document, dict) else None
    if found != CARD_SCHEMA:
        raise InputError(f"{path} is of the schema {found!r}, expected {CARD_SCHEMA!r}; push the network again.")
    try:
        return Card.model_validate(document)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        raise InputError(f"{path}: {key}: {fault['msg']}; give a folder that neuro push wrote.") from error


def hub_names() -> list[str]:
    """Return the names that `hub:NAME` takes, sorted: those of $NEURO_HUB and those that ship with the package."""
    return sorted(_networks())


def hub_cards() -> dict[str, Card]:
    """Return the card of each of `hub_names()`; one that cannot be read is an `InputError`."""
    return {name: read_card(folder) for name, folder in sorted(_networks().items())}


def is_folder(name: str) -> bool:
    """Whether a `--weights` names a whole network, with its specification, and no single file."""
    return name.startswith(PREFIX) or Path(name).is_dir()


def network_folder(name: str) -> Path:
    """Return the folder of a trained network, whose weights are those of its card.

    Args:
        name: `hub:NAME` as above, or a run directory, which has no card.

    Raises:
        InputError: there is none of that name, it lacks a file, or its weights are not those of its card.
        RunError: the Hugging Face Hub cannot be reached.
    """
    if not name.startswith(PREFIX):
        return _checked(Path(name), (SPEC, WEIGHTS))
    return _checked(_found(name.removeprefix(PREFIX)), (SPEC, WEIGHTS, CARD))


def weights_file(name: str) -> Path:
    """Return the file of weights that a `--weights` names: a file as it is, else that of the network's folder."""
    return network_folder(name) / WEIGHTS if is_folder(name) else Path(name)


def _found(wanted: str) -> Path:
    if "/" not in wanted:
        folder = _on_shelf(wanted)
        if folder is None:
            raise _unknown(wanted)
        return folder
    try:
        folder = Path(wanted).expanduser()
    except RuntimeError as error:
        raise InputError(f"hub:{wanted} names an unknown home directory; write the path in full.") from error
    for place in (folder, *(shelf / wanted for shelf in _shelves())):
        if place.is_dir():
            return place
    if wanted.count("/") > 1 or wanted.startswith((".", "/", "~")) or wanted.endswith("/"):
        raise InputError(f"hub:{wanted}: there is no such folder; give one that neuro push wrote.")
    return _downloaded(wanted)


def _shelves() -> list[Path]:
    """The folders of networks, one's own first."""
    own = os.environ.get("NEURO_HUB")
    shelves = [Path(own)] if own else []
    if own and not shelves[0].is_dir():
        raise InputError(f"NEURO_HUB is {own!r}, which is no folder; set it to a folder of networks, or unset it.")
    return [*shelves, shipped_configs("neuro", "hub")]


def _networks() -> dict[str, Path]:
    """The folders on the shelves by name; one's own stand before the package's."""
    return {path.parent.name: path.parent for shelf in reversed(_shelves()) for path in shelf.glob(f"*/{SPEC}")}


def _on_shelf(name: str) -> Path | None:
    if name in ("", ".", ".."):
        return None
    return next((shelf / name for shelf in _shelves() if (shelf / name).is_dir()), None)


def _unknown(wanted: str) -> InputError:
    names = hub_names()
    if not names:
        return InputError(f"unknown network of the hub {wanted!r}; none ships here, so give hub:PATH of a folder.")
    return unknown_name("network of the hub", wanted, names)


def _checked(folder: Path, files: tuple[str, ...]) -> Path:
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise InputError(
            f"{folder} holds no trained network, it lacks {' and '.join(missing)}; give a run directory of neuro train "
            "or a folder of neuro push."
        )
    if (folder / CARD).is_file() and sha256(folder / WEIGHTS) != read_card(folder).weights_sha256:
        raise InputError(f"{folder / WEIGHTS} is not the file of its card (SHA-256 differs); get the folder again.")
    return folder


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, as 64 hexadecimal digits."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; give a file that can be read.") from error


def _downloaded(repository: str) -> Path:
    try:
        library = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise InputError(
            f"hub:{repository} is no folder here, and for repositories of the Hugging Face Hub huggingface_hub is not "
            "installed; pip install huggingface_hub, or give a folder."
        ) from error
    try:
        return Path(library.snapshot_download(repository, allow_patterns=[SPEC, WEIGHTS, CARD, README]))
    except Exception as error:  # of many libraries below it
        reason = f"{type(error).__name__}: {str(error).strip()}".split("\n", 1)[0]
        raise RunError(f"hub:{repository} could not be fetched ({reason}); fetch it and give its folder.") from error
