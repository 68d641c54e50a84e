"""A study as a document: its question, its networks, its space, what is wanted and how the space is searched.

schema: neuro.study/1
name: array-shape
question: Which array serves all four stages at the least energy and delay?
software: {kind: given, networks: {spiking: workload.json}}
chip: eyeriss
space:
  axes:
    hardware.array.rows: {integer: [4, 32], step: 4}
    hardware.array.cols: {integer: [4, 32], step: 4}
  constraints: ["hardware.array.rows * hardware.array.cols <= 512"]
objectives: {energy_j: minimise, latency_s: minimise}
method: {kind: screen}

An objective can be a formula over axes, what is evaluated, and formulas before it:
`places: {minimise: "hardware.array.rows * hardware.array.cols"}`. Files of the software side lie in `software.folder`;
where that is not given, in the folder of the study's file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from hardware_models.errors import InputError, unknown_name
from hardware_models.shipped import shipped_configs
from hardware_models.studies.pareto import SIGNS, Sense
from hardware_models.studies.space import Space
from hardware_models.yaml_files import read_yaml, validated

SCHEMA: Final = "neuro.study/1"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)


class Method(_Section):
    """How the space is searched.

    Attributes:
        kind: `screen` evaluates the whole grid; `random` draws; `nsga2`, `nsga3` and `tpe` search.
        evaluations: points to evaluate, for all but `screen`.
        population: points that are chosen together.
        seed: of all that is drawn.
    """

    kind: Literal["screen", "random", "nsga2", "nsga3", "tpe"] = "screen"
    evaluations: Annotated[int, Field(ge=1)] = 1000
    population: Annotated[int, Field(ge=2)] = 50
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


class Bands(_Section):
    """How uncertainty is carried.

    Attributes:
        samples: Monte Carlo draws; 0 for the corners, every uncertain figure at the same end at once.
        seed: of the draws.
    """

    samples: Annotated[int, Field(ge=0)] = 0
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


class StudyDocument(_Section):
    """One study.

    Attributes:
        name: of the study, and of its file.
        title: a sentence.
        question: that it answers.
        software: who answers for networks, by `kind`, and what that one needs.
        chip: the chip, where it is no axis.
        space: axes and constraints, see `Space`.
        objectives: what is wanted, by name: `minimise` or `maximise`, or one of them with a formula.
        method: how the space is searched.
        bands: how uncertainty is carried.
    """

    schema_version: Literal["neuro.study/1"] = Field(default=SCHEMA, alias="schema")
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    title: str = ""
    question: str = ""
    software: dict[str, Any]
    chip: str | None = None
    space: dict[str, Any]
    objectives: Annotated[dict[str, Sense | dict[Sense, str]], Field(min_length=1)]
    method: Method = Field(default_factory=Method)
    bands: Bands = Field(default_factory=Bands)

    @field_validator("objectives", mode="before")
    @classmethod
    def _senses_or_formulas(cls, given: Any) -> Any:
        """Told here in plain words; of two shapes pydantic would tell what each of them misses."""
        for name, entry in given.items() if isinstance(given, dict) else ():
            sense = next(iter(entry)) if isinstance(entry, dict) and len(entry) == 1 else entry
            formula = entry[sense] if isinstance(entry, dict) and sense is not entry else ""
            if not isinstance(sense, str) or sense not in SIGNS or not isinstance(formula, str):
                raise ValueError(
                    f"objective {name!r} is {entry!r}; give minimise, maximise, or one with a formula, as in "
                    "{minimise: 'a * b'}"
                )
        return given

    @property
    def senses(self) -> dict[str, Sense]:
        """Objectives by name, `minimise` or `maximise`."""
        return {
            name: next(iter(entry)) if isinstance(entry, dict) else entry for name, entry in self.objectives.items()
        }

    @property
    def formulas(self) -> dict[str, str]:
        """Texts of the objectives that are formulas, by name."""
        return {name: next(iter(entry.values())) for name, entry in self.objectives.items() if isinstance(entry, dict)}

    def read_space(self) -> Space:
        """Return the space that the document describes."""
        return Space.from_document(self.space)

    def to_document(self) -> dict[str, Any]:
        """Return the study as plain data."""
        return self.model_dump(mode="json", by_alias=True)


def study_names() -> list[str]:
    """Return the names of the shipped studies, sorted."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def study_path(name: str) -> Path:
    """Return the file of a shipped study by its name, or the file that is named.

    Raises:
        InputError: neither.
    """
    shipped = _folder() / f"{name}.yaml"
    if shipped.is_file():
        return shipped
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    raise unknown_name("study", name, study_names())


def read_study(path: Path, settings: Mapping[str, Any] | None = None) -> StudyDocument:
    """Read the file of a study.

    Args:
        path: the file.
        settings: values that take the place of the file's, by dotted key, such as `method.evaluations`.

    Raises:
        InputError: it is missing, no YAML, of another schema, or its content does not fit.
    """
    data = read_yaml(path, "study", SCHEMA)
    for key, value in (settings or {}).items():
        data = _with(data, key, value)
    document = validated(StudyDocument, data, str(path))
    folder = path.parent / str(document.software.get("folder", ""))
    return document.model_copy(update={"software": {**document.software, "folder": str(folder.resolve())}})


def _with(data: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return `data` with `value` at the dotted `key`; names with dots of their own, such as axes, stand in the file."""
    first, _, rest = key.partition(".")
    section = data.get(first, {})
    if rest and not isinstance(section, Mapping):
        raise InputError(f"{key} cannot be set, because {first} is {section!r}; set {first} as a whole.")
    return {**data, first: _with(section, rest, value) if rest else value}


def _folder() -> Path:
    return shipped_configs("hardware_models", "studies")
