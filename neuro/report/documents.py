"""The documents of a run directory, read and checked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from hardware_models.comparison import SCHEMA as CHIPS_SCHEMA
from hardware_models.convention_estimate import ConventionEstimate
from hardware_models.errors import InputError
from hardware_models.workload import Workload
from neuro.records import (
    ESTIMATES_SCHEMA,
    ConversionRecord,
    Estimates,
    FormKey,
    workload_files,
)
from neuro.records import SCHEMA as CONVERSION_SCHEMA

FORM_NAMES: dict[FormKey, str] = {
    "converted": "Spiking",
    "low-bit": "Low-bit",
    "spiking-merged": "Spiking, merged",
    "spiking": "Spiking, as trained",
    "float": "Float parent",
    "float-merged": "Float parent, merged",
    "quantized": "Quantized parent",
    "spiking-quantized": "Spiking, quantized weights",
}
"""For people, the form of most interest first."""

_Document = TypeVar("_Document", bound=BaseModel)


@dataclass(frozen=True)
class RunDocuments:
    """Everything that a report is made from.

    Attributes:
        spec: what was asked for, as plain data.
        record: summary rows and training.
        workloads: what was measured, by form.
        estimates: energy by layer, by form.
        chips: what chips say of each form, as in `chips.json`; empty for a run that asked none.
        environment: versions, seed, command, as plain data.
        date: when the run was made, for people.
    """

    spec: Mapping[str, Any]
    record: ConversionRecord
    workloads: Mapping[FormKey, Workload]
    estimates: Mapping[FormKey, ConventionEstimate]
    chips: Sequence[Mapping[str, Any]] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    date: str = ""

    @property
    def variant_forms(self) -> tuple[FormKey, ...]:
        """The measured forms that are no float parent, the one that inference runs first."""
        forms: tuple[FormKey, ...] = ("converted", "low-bit", "spiking-merged", "spiking")
        return tuple(form for form in forms if form in self.workloads)

    @property
    def inference_form(self) -> FormKey:
        """The form that inference runs."""
        return self.variant_forms[0]

    @classmethod
    def load(cls, directory: Path) -> RunDocuments:
        """Read a run directory.

        Raises:
            InputError: the directory or one of its documents is missing, unreadable, or something else.
        """
        if not directory.is_dir():
            raise InputError(f"{directory} is no run directory; give the folder that neuro convert wrote.")
        record = _read_model(directory / "conversion.json", ConversionRecord, CONVERSION_SCHEMA)
        environment = _mapping(_read_json(directory / "environment.json"), directory / "environment.json")
        return cls(
            spec=_read_spec(directory / "spec.yaml"),
            record=record,
            workloads=dict(_read_workloads(directory, record)),
            estimates=_read_model(directory / "estimate.json", Estimates, ESTIMATES_SCHEMA).estimates,
            chips=_read_chips(directory / "chips.json"),
            environment=environment,
            date=_date(environment.get("started"), directory / "conversion.json"),
        )


def _date(started: object, path: Path) -> str:
    """When the run started, else when `path` was written."""
    try:
        when = datetime.fromisoformat(str(started))
    except ValueError:
        when = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def attributed(said: Iterable[tuple[FormKey, Iterable[str]]]) -> list[str]:
    """Each sentence once; one that does not hold for every form names those that it holds for."""
    by_form = [(form, list(texts)) for form, texts in said]
    sentences = dict.fromkeys(text for _, texts in by_form for text in texts)
    holds = {text: [FORM_NAMES[form] for form, texts in by_form if text in texts] for text in sentences}
    return [text if len(names) == len(by_form) else f"{text} ({', '.join(names)})" for text, names in holds.items()]


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(
            f"{path} does not exist; give a whole run directory, or make one with neuro convert."
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text; restore it, or run neuro convert again.") from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); mend its permissions or give another run."
        ) from error


def _read_json(path: Path) -> Any:
    text = _read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); restore it, or run neuro convert again.") from error


def _mapping(data: Any, path: Path) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise InputError(f"{path} holds no mapping of keys to values; restore it, or run neuro convert again.")
    return {str(key): value for key, value in data.items()}


def _read_spec(path: Path) -> dict[str, Any]:
    text = _read_text(path)
    try:
        return _mapping(yaml.safe_load(text), path)
    except (yaml.YAMLError, RecursionError) as error:
        problem = getattr(error, "problem", None) or "nested too deeply"
        raise InputError(f"{path} is not YAML ({problem}); restore it, or run neuro convert again.") from error


def _read_model(path: Path, model: type[_Document], schema: str) -> _Document:
    data = _mapping(_read_json(path), path)
    if data.get("schema") != schema:
        raise InputError(f"{path} has schema {data.get('schema')!r}; expected {schema!r}, as neuro convert writes it.")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the top level"
        raise InputError(f"{path} is not valid: {first['msg']} at {place}; mend that entry.") from error


def _read_chips(path: Path) -> Sequence[Mapping[str, Any]]:
    if not path.exists():  # a run from before chips were asked
        return ()
    data = _mapping(_read_json(path), path)
    if data.get("schema") != CHIPS_SCHEMA:
        raise InputError(f"{path} has schema {data.get('schema')!r}; expected {CHIPS_SCHEMA!r}, as neuro writes it.")
    answers: Sequence[Mapping[str, Any]] = data["answers"]
    return answers


def _read_workloads(directory: Path, record: ConversionRecord) -> Iterator[tuple[FormKey, Workload]]:
    for form, name in workload_files(record).items():
        # Runs of an earlier version did not measure the merged parent.
        if form != "float-merged" or (directory / name).exists():
            yield form, _read_workload(directory / name)


def _read_workload(path: Path) -> Workload:
    return Workload.from_dict(_mapping(_read_json(path), path), str(path))
