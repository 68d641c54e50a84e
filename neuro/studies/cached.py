"""Networks that take long to make are made once for all studies that share a folder of them."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from hardware_models.errors import InputError, RunError, unknown_name
from hardware_models.layer_table import layer_table
from hardware_models.studies.software import Answer, Band
from hardware_models.workload import Workload

SCHEMA: Final = "neuro.network-cache/1"
_NO_SETTINGS: Final = ("kind", "folder", "cache")
"""Keys of `software` that say who answers and where files lie, and change no network."""

Document = TypeVar("Document", bound=BaseModel)


class Settings(BaseModel):
    """What a kind of software side is told beside the axes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CachedNetworks(ABC):
    """Answers for networks, keeping what was made in a folder named after the content of the request.

    The request is the kind, its settings and the point; two studies that ask for the same network share it. A folder
    appears whole or not at all.

    Args:
        settings: of the kind, as plain data.
        cache: the folder of all networks.
    """

    kind: str
    axes: tuple[str, ...]
    figures: tuple[str, ...]

    def __init__(self, settings: Mapping[str, Any], cache: Path) -> None:
        self._settings, self._cache = dict(settings), cache

    @classmethod
    def from_document(cls, document: Mapping[str, Any], folder: Path) -> Self:
        """Return the side that `software` of a study describes; networks go to its `cache`, `studies/networks` else."""
        return cls(document, Path(str(document.get("cache", "studies/networks"))))

    @abstractmethod
    def make(self, point: Mapping[str, Any], folder: Path) -> tuple[Workload, dict[str, Band]]:
        """Return what the network at `point` does, and its figures; `folder` is for whatever else is worth keeping."""

    def answer(self, point: Mapping[str, Any]) -> Answer:
        """Return the network at `point`, made now or before."""
        place = self._cache / self._key(point)
        if not (place / "figures.json").is_file():
            self._make(point, place)
        try:
            kept = json.loads((place / "figures.json").read_text(encoding="utf-8"))
            figures = {name: tuple(kept["figures"][name]) for name in self.figures}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{place} is damaged ({error}); delete that folder to make the network anew.") from error
        return Answer(layer_table(Workload.load(place / "workload.json")), figures)

    def _make(self, point: Mapping[str, Any], place: Path) -> None:
        try:
            self._cache.mkdir(parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(dir=self._cache, prefix=f".{place.name}."))
        except OSError as error:
            raise RunError(f"could not write into {self._cache}: {error.strerror}; give another folder.") from error
        try:
            workload, figures = self.make(point, made)
            workload.save(made / "workload.json")
            document = {"schema": SCHEMA, "kind": self.kind, "settings": self._settings, "point": dict(point)}
            content = json.dumps({**document, "figures": figures}, indent=1)
            (made / "figures.json").write_text(content, encoding="utf-8")
            made.rename(place)
        except OSError as error:
            if not place.is_dir():  # else another process was faster, and made the same
                raise RunError(f"could not write {place}: {error.strerror}; make room, then go on.") from error
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def _key(self, point: Mapping[str, Any]) -> str:
        for name in point:
            if name not in self.axes:
                raise unknown_name(f"axis of {self.kind} networks", name, self.axes)
        request = {"schema": SCHEMA, "kind": self.kind, "settings": self._settings, "point": dict(point)}
        text = json.dumps(request, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


def settings_of(kind: type[Document], document: Mapping[str, Any]) -> Document:
    """Validate what `software` of a study says beside `kind`; the first fault is one sentence.

    Raises:
        InputError: an unknown key, or a value that does not fit.
    """
    given = {key: value for key, value in document.items() if key not in _NO_SETTINGS}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        if fault["type"] == "extra_forbidden":
            raise unknown_name("key of software", key, kind.model_fields) from error
        raise InputError(f"software.{key} was {fault['input']!r}; {fault['msg'].lower()}.") from error


def exact(value: float) -> Band:
    """A figure that is known."""
    return (float(value),) * 3


def share(right: float, samples: int) -> Band:
    """An accuracy with its standard error, sqrt(p (1 - p) / N), to either side."""
    error = (right * (1 - right) / samples) ** 0.5
    return right, max(0.0, right - error), min(1.0, right + error)
