"""A technology as data: what one operation costs in one process, read from `configs/technologies/*.yaml`.

A figure that is missing is refused by name; it is never taken as 0.
"""

from __future__ import annotations

import difflib
import functools
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hardware_models.errors import InputError, unknown_name
from hardware_models.quantity import Quantity, unit_factor
from hardware_models.shipped import shipped_configs
from hardware_models.yaml_files import read_yaml, validated

SCHEMA: Final = "neuro.technology/1"


class Technology(BaseModel):
    """Energies of one process.

    Attributes:
        name: name of the file, for example `horowitz45`.
        title: what it is, for people.
        node: feature size, for example `45 nm`.
        source: the paper or data sheet that most figures come from.
        figures: energy per operation or access by name: `int8_add`, `fp32_mul`, `sram_32k_64b`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_version: Literal["neuro.technology/1"] = Field(default=SCHEMA, alias="schema")
    name: str
    title: str
    node: str
    source: str
    figures: dict[str, Quantity]

    @model_validator(mode="after")
    def _figures_are_energies(self) -> Technology:
        for name, figure in self.figures.items():
            if unit_factor(figure.unit)[1] != "J":
                raise ValueError(f"figures.{name} has unit {figure.unit}; give an energy, for example pJ")
            if figure.band[0] < 0:
                raise ValueError(f"figures.{name} has the negative energy {figure.band[0]:g} {figure.unit}")
        return self

    def __getitem__(self, name: str) -> Quantity:
        """Return the figure called `name`; a missing one is an `InputError`."""
        return self.figure(name, "this estimate")

    def __contains__(self, name: str) -> bool:
        return name in self.figures

    def figure(self, name: str, needed_for: str) -> Quantity:
        """Return the figure called `name`.

        Args:
            name: for example `fp8_mul`.
            needed_for: what it is needed for, for the message.

        Raises:
            InputError: the technology has no such figure.
        """
        if name not in self.figures:
            nearest = difflib.get_close_matches(name, self.figures, n=3, cutoff=0.3)
            hint = f" such as {', '.join(nearest)}" if nearest else ""
            raise InputError(
                f"technology {self.name!r} has no figure {name!r}, which is needed for {needed_for}; use a "
                f"figure that it has{hint}, or add this one to the technology's file with its source."
            )
        return self.figures[name]


def technology_names() -> list[str]:
    """Return the names of the shipped technologies, sorted."""
    return sorted(path.stem for path in shipped_configs("hardware_models", "technologies").glob("*.yaml"))


@functools.cache
def technology(name: str) -> Technology:
    """Return the shipped technology called `name`; an unknown name is an `InputError`."""
    if name not in technology_names():
        raise unknown_name("technology", name, technology_names())
    return load_technology(shipped_configs("hardware_models", "technologies") / f"{name}.yaml")


def load_technology(path: Path) -> Technology:
    """Read and check one technology file.

    Raises:
        InputError: the file is missing, no YAML, of another schema, or holds a bad figure; the message names
            file, key and reason.
    """
    return validated(Technology, _with_defaults(read_yaml(path, "technology", SCHEMA)), path)


def _with_defaults(data: dict[str, Any]) -> dict[str, Any]:
    """Give each figure the entries of `defaults` that it lacks."""
    filled = dict(data)
    defaults = filled.pop("defaults", None) or {}
    figures = filled.get("figures")
    if isinstance(figures, dict) and isinstance(defaults, dict):
        filled["figures"] = {
            name: {**defaults, **figure} if isinstance(figure, dict) else figure for name, figure in figures.items()
        }
    return filled
