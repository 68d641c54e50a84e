"""Which points of a study to read, as SQL, so that the others are never fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hardware_models.errors import InputError, unknown_name
from hardware_models.studies.results import STATES, State
from hardware_models.studies.rows import Field


@dataclass(frozen=True)
class Filter:
    """What a point must be to be read: all of these at once.

    Attributes:
        states: in one of these states.
        among: by column, the values that it may have.
        within: by column, the least and the largest value that it may have, both included; None for no such end.
    """

    states: Sequence[State] = ("done",)
    among: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    within: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)

    def to_sql(self, fields: Sequence[Field]) -> tuple[str, list[Any]]:
        """Return the condition on a table of `fields`, and the values of its question marks.

        Raises:
            InputError: an unknown state or column, or a value of another kind than the column's.
        """
        for state in self.states:
            if state not in STATES:
                raise unknown_name("state", state, STATES)
        known = {each.name: each for each in fields if each.name != "key"}
        terms = [_among('"state"', len(self.states))]
        given: list[Any] = list(self.states)
        for name, values in self.among.items():
            column = _column(name, known)
            terms.append(_among(column.quoted, len(values)))
            given += [_fitting(column, value) for value in values]
        for name, ends in self.within.items():
            column = _column(name, known)
            for comparison, end in zip((">=", "<="), ends, strict=True):
                if end is not None:
                    terms.append(f"{column.quoted} {comparison} ?")
                    given.append(_fitting(column, end))
        return " AND ".join(terms), given


def _among(column: str, count: int) -> str:
    return f"{column} IN ({', '.join('?' * count)})"


def _column(name: str, known: Mapping[str, Field]) -> Field:
    if name not in known:
        raise unknown_name("column of the study", name, known)
    return known[name]


def _fitting(column: Field, value: Any) -> Any:
    """Return `value` for SQL, which would find nothing, and say nothing, where text meets a number."""
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, str) != (column.sql == "TEXT") or not isinstance(plain, str | int | float):
        raise InputError(f"column {column.name!r} holds {column.sql} and never {value!r}; filter by another value.")
    return plain
