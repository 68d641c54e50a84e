"""A chip as data, read from `configs/chips/*.yaml`.

A chip names the engine that models it, the figures that the engine reads, each a `Quantity` with its source,
and the questions that it refuses because the public record is too thin. A figure that is missing is refused
by name where it is needed; it is never taken as 0.

In the file `figures` is a nested mapping whose leaves are quantities; their names are dotted
(`buffer: {read_energy: {...}}` is `buffer.read_energy`). `defaults` gives the source, grade and conditions
that a leaf does not state; a bare number is a count (unit 1).
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hardware_models.engine import LARGEST_SIZE, FigureSpec, Question, engine
from hardware_models.errors import InputError, unknown_name
from hardware_models.quantity import Quantity, unit_factor
from hardware_models.shipped import shipped_configs
from hardware_models.yaml_files import read_yaml, validated

SCHEMA: Final = "neuro.chip/1"

PLAUSIBLE: Final = {
    **{"J": 1e-3, "J/bit": 1e-6, "J/B": 1e-5, "s": 10.0, "W": 1e5},
    **{"Hz": 1e11, "1/s": 1e18, "B/s": 1e17},
}
"""Largest figures that can be meant, by unit: a thousand times and more beyond any chip; most mean a wrong prefix."""

Kind = Literal["neuromorphic", "accelerator", "npu", "gpu", "fpga", "microcontroller", "in-memory"]


class Chip(BaseModel):
    """One chip, or one configuration of it.

    Attributes:
        name: name of its file.
        title: what it is, for people.
        kind: the world it belongs to.
        engine: the engine that models it (`hardware_models.engine.ENGINES`).
        node: feature size, for example `65 nm`.
        sources: papers and data sheets that the figures come from.
        figures: by dotted name, as the engine's `FIGURES` list them.
        settings: the engine's own words (dataflow, sparsity policies), checked by its `Settings`.
        refuses: questions it does not answer, with the reason.
        notes: what a reader of its estimates has to know.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_version: Literal["neuro.chip/1"] = Field(default=SCHEMA, alias="schema")
    name: str = Field(min_length=1)
    title: str
    kind: Kind
    engine: str
    node: str
    sources: tuple[str, ...] = Field(min_length=1)
    figures: dict[str, Quantity]
    settings: dict[str, Any] = Field(default_factory=dict)
    refuses: dict[Question, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _figures_fit_the_engine(self) -> Chip:
        specs: tuple[FigureSpec, ...] = engine(self.engine).FIGURES
        for name, figure in self.figures.items():
            _check_figure(name, figure, specs, self.engine)
        if set(self.refuses) == set(get_args(Question)):
            raise ValueError("refuses every question; a chip must answer at least one")
        return self

    def figure(self, name: str, needed_for: str) -> Quantity:
        """Return the figure called `name`.

        Args:
            name: dotted, for example `mac.energy`.
            needed_for: what it is needed for, for the message.

        Raises:
            InputError: the chip has no such figure.
        """
        if name not in self.figures:
            nearest = difflib.get_close_matches(name, self.figures, n=3, cutoff=0.6)
            hint = f" (it has {', '.join(nearest)})" if nearest else ""
            raise InputError(
                f"chip {self.name!r} has no figure {name!r}, which is needed for {needed_for}{hint}; add it to the "
                "chip's file with its source, or let the file refuse that question."
            )
        return self.figures[name]


def chip_names() -> list[str]:
    """Return the names of the shipped chips, sorted."""
    return sorted(path.stem for path in shipped_configs("hardware_models", "chips").glob("*.yaml"))


@functools.cache
def chip(name: str) -> Chip:
    """Return the shipped chip called `name`; an unknown name is an `InputError`."""
    return load_chip(chip_path(name))


def chip_path(name: str) -> Path:
    """Return the file of the shipped chip called `name`; an unknown name is an `InputError`."""
    if name not in chip_names():
        raise unknown_name("chip", name, chip_names())
    return shipped_configs("hardware_models", "chips") / f"{name}.yaml"


def load_chip(path: Path) -> Chip:
    """Read and check one chip file.

    Raises:
        InputError: the file is missing, no YAML, of another schema, or holds a bad entry; the message names
            file, key and reason.
    """
    data = read_yaml(path, "chip", SCHEMA)
    defaults = data.pop("defaults", None) or {}
    if not isinstance(defaults, dict):
        raise InputError(f"{path}: defaults: expected a mapping such as {{source: ..., grade: ...}}; mend that entry.")
    figures = data.get("figures")
    if isinstance(figures, dict):
        data["figures"] = _unique(path, _flat(figures, defaults))
    loaded = validated(Chip, data, path)
    validated(engine(loaded.engine).Settings, loaded.settings, f"{path}: settings")
    for name, figure in loaded.figures.items():
        _check_plausible(path, name, figure)
    return loaded


def _unique(path: Path, leaves: Iterator[tuple[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return the leaves by name; one name written in two ways, or yes and no for a number, is an `InputError`."""
    found: dict[str, dict[str, Any]] = {}
    for name, entry in leaves:
        if name in found:
            raise InputError(f"{path}: figures.{name} is given twice, nested and with a dotted name; keep one of them.")
        if any(isinstance(entry.get(key), bool) for key in ("value", "low", "high")):
            # A flag would pass as the number 0 or 1.
            raise InputError(f"{path}: figures.{name} holds true or false (YAML's yes or no); give a number.")
        found[name] = entry
    return found


def _flat(
    figures: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the leaves of the nested `figures` under dotted names, with what `defaults` adds to each."""
    for key, entry in figures.items():
        name = f"{prefix}{key}"
        if isinstance(entry, dict) and not {"value", "unit"} & set(entry):
            yield from _flat(entry, defaults, f"{name}.")
        elif isinstance(entry, dict):
            yield name, {**defaults, **entry}
        else:
            yield name, {**defaults, "value": entry, "unit": "1"}


def _check_plausible(path: Path, name: str, figure: Quantity) -> None:
    """Refuse a figure of a file that can only be a slip; a chip made in Python may be as round as a sum needs."""
    unit, high = unit_factor(figure.unit)[1], figure.si_band[1]
    if high > PLAUSIBLE.get(unit, math.inf):
        raise InputError(
            f"{path}: figures.{name} reaches {high:g} {unit}, beyond anything built (at most {PLAUSIBLE[unit]:g} "
            f"{unit}); check its unit."
        )


def _check_figure(name: str, figure: Quantity, specs: tuple[FigureSpec, ...], engine_name: str) -> None:
    spec = next((spec for spec in specs if spec.matches(name)), None)
    if spec is None:
        known = [spec.name for spec in specs]
        nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known
        raise ValueError(f"figures.{name} is none that the {engine_name} engine reads; it reads {', '.join(nearest)}")
    if unit_factor(figure.unit)[1] != spec.unit:
        example = f"{{value: {figure.value:g}, unit: {spec.unit}}}"
        raise ValueError(f"figures.{name} has unit {figure.unit}; give {spec.meaning} as {example}, or with a prefix")
    if not figure.source.strip():
        raise ValueError(f"figures.{name} has no source; say where it comes from")
    low, high = figure.si_band
    unit = "" if spec.unit == "1" else f" {spec.unit}"
    if not math.isfinite(high):
        raise ValueError(f"figures.{name} reaches {high:g}{unit}; give a finite number")
    if low < 0 or (spec.kind == "rate" and low == 0):
        raise ValueError(f"figures.{name} is {low:g}{unit}; give a positive figure")
    if spec.kind == "size" and (figure.si < 1 or not math.isclose(figure.si, round(figure.si), rel_tol=1e-12)):
        raise ValueError(f"figures.{name} is {figure.si:g}; give a whole number of at least 1")
    if spec.kind == "size" and high > LARGEST_SIZE:
        raise ValueError(f"figures.{name} reaches {high:g}{unit}; give at most {LARGEST_SIZE:g}")
