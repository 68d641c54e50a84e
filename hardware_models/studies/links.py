"""A link between two chips as data, read from `configs/links/*.yaml`: what it costs to send bits over it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hardware_models.errors import InputError, unknown_name
from hardware_models.quantity import Quantity, unit_factor
from hardware_models.shipped import shipped_configs
from hardware_models.yaml_files import read_yaml, validated

SCHEMA: Final = "neuro.link/1"

UNITS: Final = {"bandwidth": "bit/s", "energy_per_bit": "J/bit", "latency_per_message": "s"}
"""The figures of a link with their base units: bits of data in a second, energy of both ends for a bit, and the time
of a message on top of its bits."""

Floats = npt.NDArray[np.float64]


class Link(BaseModel):
    """One kind of link.

    Attributes:
        name: name of its file.
        title: what it is, for people.
        sources: papers, standards and data sheets that the figures come from.
        figures: by the names in `UNITS`; one that is missing is refused by name where it is needed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_version: Literal["neuro.link/1"] = Field(default=SCHEMA, alias="schema")
    name: str = Field(min_length=1)
    title: str
    sources: tuple[str, ...] = Field(min_length=1)
    figures: dict[str, Quantity]

    @model_validator(mode="after")
    def _figures_are_those_of_a_link(self) -> Link:
        for name, figure in self.figures.items():
            if name not in UNITS:
                raise ValueError(f"figures.{name} is none of a link; it has {', '.join(UNITS)}")
            if unit_factor(figure.unit)[1] != UNITS[name]:
                raise ValueError(f"figures.{name} has unit {figure.unit}; give it in {UNITS[name]}, or with a prefix")
            low, high = figure.si_band
            if low < 0 or (name == "bandwidth" and low == 0) or not np.isfinite(high):
                raise ValueError(f"figures.{name} spans {low:g} to {high:g}; give positive, finite numbers")
        return self

    def figure(self, name: str, needed_for: str) -> Quantity:
        """Return the figure called `name`; one that the link lacks is an `InputError`."""
        if name not in self.figures:
            raise InputError(
                f"link {self.name!r} has no figure {name!r}, which is needed for {needed_for}; add it with its source."
            )
        return self.figures[name]

    def latency_s(self, bits: float, messages: int) -> Floats:
        """Return the seconds of `bits` in `messages`, `[3]`: value, low, high.

            t = messages t_message + bits / bandwidth

        Raises:
            InputError: a figure is missing.
        """
        bandwidth = self.figure("bandwidth", "the time of a transfer")
        slow, fast = bandwidth.si_band
        message = self.figure("latency_per_message", "the time of a transfer")
        return messages * _ends(message) + bits / np.array([bandwidth.si, fast, slow])

    def energy_j(self, bits: float) -> Floats:
        """Return the joules of `bits`, both ends of the link together, `[3]`: bits x energy per bit.

        Raises:
            InputError: the link does not say.
        """
        return bits * _ends(self.figure("energy_per_bit", "the energy of a transfer"))


def _ends(figure: Quantity) -> Floats:
    return np.array([figure.si, *figure.si_band])


def link_names() -> list[str]:
    """Return the names of the shipped links, sorted."""
    return sorted(path.stem for path in shipped_configs("hardware_models", "links").glob("*.yaml"))


@functools.cache
def link(name: str) -> Link:
    """Return the shipped link called `name`; an unknown name is an `InputError`."""
    if name not in link_names():
        raise unknown_name("link", name, link_names())
    return load_link(shipped_configs("hardware_models", "links") / f"{name}.yaml")


def load_link(path: Path) -> Link:
    """Read and check one link file.

    Raises:
        InputError: the file is missing, no YAML, of another schema, or holds a bad entry.
    """
    return validated(Link, read_yaml(path, "link", SCHEMA), path)
