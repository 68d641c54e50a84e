"""A study's points as rows of a table: the fields, and the way from `Results` to rows and back."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from hardware_models.errors import InputError, RunError
from hardware_models.studies.axis import Axis
from hardware_models.studies.columns import Array, Columns
from hardware_models.studies.results import Results
from hardware_models.studies.space import Space

ENDS: Final = ("", "_low", "_high")
"""What the fields of an objective are called: `energy`, `energy_low`, `energy_high`."""

_SQL_OF_KIND: Final = {"i": "INTEGER", "f": "REAL", "b": "INTEGER", "O": "TEXT"}


@dataclass(frozen=True)
class Field:
    """A column of the table: its name and SQL type."""

    name: str
    sql: str

    @property
    def quoted(self) -> str:
        """The name as SQL takes it."""
        return '"' + self.name.replace('"', '""') + '"'


class Rows:
    """The table of a study: first a key, then axes, objectives, and what became of the point.

    Raises:
        InputError: two fields of one name, capitals aside.
    """

    def __init__(self, space: Space, objectives: Sequence[str]) -> None:
        self._space, self._objectives = space, tuple(objectives)
        axes = [Field(name, _SQL_OF_KIND[axis.dtype.kind]) for name, axis in space.axes.items()]
        ends = [Field(name + end, "REAL") for name in objectives for end in ENDS]
        after = [Field("state", "TEXT"), Field("reason", "TEXT"), Field("seconds", "REAL"), Field("worker", "TEXT")]
        self.fields = (Field("key", "BLOB"), *axes, *ends, *after)
        names = ["id", *(field.name.lower() for field in self.fields)]
        twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
        if twice is not None:
            raise InputError(f"two columns of the study would be called {twice!r}; rename that axis or objective.")

    def of(self, results: Results) -> Iterator[tuple[Any, ...]]:
        """Yield a row for each point of `results`; inactive axes and unknown objectives are None.

        Raises:
            InputError: other axes or objectives than the study's, or a value that an axis cannot take.
        """
        if set(results.objectives) != set(self._objectives):
            given = sorted(results.objectives)
            raise InputError(f"results have objectives {given}; expected those of the study, {list(self._objectives)}.")
        points = self._space.masked(results.points)
        ends = [results.objectives[name][end].tolist() for name in self._objectives for end in range(3)]
        after = [array.tolist() for array in (results.state, results.reason, results.seconds, results.worker)]
        axes = [_entries(points, name) for name in self._space.axes]
        return zip(points.keys(), *axes, *ends, *after, strict=True)

    def results(self, rows: Sequence[tuple[Any, ...]]) -> Results:
        """Return rows, without their keys, as results; one that lacks what it must have is a `RunError`."""
        columns = list(zip(*rows, strict=True)) if rows else [()] * (len(self.fields) - 1)
        entries = iter(columns)
        read = {name: _axis_column(name, axis, next(entries)) for name, axis in self._space.axes.items()}
        masks = {name: active for name, (_, active) in read.items() if self._space.axes[name].when is not None}
        objectives = {
            name: np.array(list(itertools.islice(entries, 3)), dtype=np.float64).reshape(3, -1)
            for name in self._objectives
        }
        state, reason, seconds, worker = entries
        return Results(
            Columns({name: values for name, (values, _) in read.items()}, masks),
            objectives,
            _text(state),
            _text(reason),
            np.array(seconds, dtype=np.float64),
            _text(worker),
        )


def _entries(points: Columns, name: str) -> Sequence[Any]:
    values = points.values[name].tolist()
    if name not in points.active:
        return values
    return [value if active else None for value, active in zip(values, points.active[name].tolist(), strict=True)]


def _axis_column(name: str, axis: Axis, entries: Sequence[Any]) -> tuple[Array, Array]:
    """Return a column of the table as the axis's values and where it is active, `[N]` each."""
    if axis.dtype == object:
        values = _text(entries)
        active = np.array([entry is not None for entry in entries], dtype=bool)
    else:
        values = np.array(entries, dtype=np.float64)  # None becomes NaN; whole numbers are exact up to 2**53
        active = ~np.isnan(values)
    if axis.when is None and not active.all():
        raise RunError(f"the study holds a point without a value of axis {name!r}; the file is damaged, so restore it.")
    if not active.all():
        values[~active] = axis.first()
    return values.astype(axis.dtype), active


def _text(entries: Sequence[Any]) -> Array:
    """Return texts as an array of objects, each distinct text once in memory."""
    known: dict[Any, Any] = {}
    array = np.empty(len(entries), dtype=object)
    array[:] = [known.setdefault(entry, entry) for entry in entries]
    return array
