"""Measurements on disk: a JSON line for each, so that a search that was stopped goes on where it was."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hardware_models.errors import InputError
from hardware_models.files import write_atomically
from quant.search.nsga2 import Configuration
from quant.search.space import Space

SCHEMA: Final = "neuro.bit-search/1"


class Measurements:
    """Errors by configuration, in memory and, where a path is given, on disk.

    The first line says what was searched and how it was measured. The file is replaced as a whole after each
    measurement: whoever reads it sees all of the measurements or all but the last.

    Args:
        space: the configurations.
        measured: plain data that say what was measured.
        path: the file; None keeps measurements in memory.

    Raises:
        InputError: the file is none of this kind, or of another space or measurement.
    """

    def __init__(self, space: Space, measured: Mapping[str, Any], path: Path | None = None) -> None:
        self.path = path
        self._space = space
        self._header = {"schema": SCHEMA, **space.describe(), "measured": dict(measured)}
        self._errors: dict[Configuration, float] = {}
        if path is not None and path.exists():
            self._read(path)

    def __contains__(self, configuration: Configuration) -> bool:
        return configuration in self._errors

    def __getitem__(self, configuration: Configuration) -> float:
        return self._errors[configuration]

    def add(self, configuration: Configuration, error: float) -> None:
        """Keep a measurement.

        Raises:
            RunError: the file cannot be written.
        """
        self._errors[configuration] = error
        if self.path is None:
            return
        with write_atomically(self.path) as file:
            file.write(json.dumps(self._header) + "\n")
            for one, value in self._errors.items():
                file.write(json.dumps({"values": self._space.values(one), "error": value}) + "\n")

    def _read(self, path: Path) -> None:
        try:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path} is no file of measurements ({error}); give another.") from error
        if not lines or not isinstance(lines[0], dict) or lines[0].get("schema") != SCHEMA:
            raise InputError(f"{path} is no file of measurements of schema {SCHEMA!r}; give another.")
        wanted = json.loads(json.dumps(self._header))
        other = [key for key in wanted if lines[0].get(key) != wanted[key]]
        if other:
            raise InputError(
                f"{path} holds another search: it differs in {', '.join(other)}; give another file, or remove it."
            )
        places = [{value: i for i, value in enumerate(one.values)} for one in self._space.variables]
        for number, line in enumerate(lines[1:], 2):
            try:
                pairs = zip(places, line["values"], strict=True)
                self._errors[tuple(place[value] for place, value in pairs)] = _finite(line["error"])
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(f"{path}, line {number}: no measurement of this search; remove that line.") from error


def _finite(value: object) -> float:
    error = float(value)  # type: ignore[arg-type]
    if not math.isfinite(error) or error < 0:
        raise ValueError
    return error
