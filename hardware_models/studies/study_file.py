"""The SQLite file of a study: its marks, its two tables, and what SQLite's faults mean."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hardware_models.errors import InputError, RunError
from hardware_models.studies.pareto import SIGNS
from hardware_models.studies.rows import Rows

SCHEMA: Final = "neuro.study/1"

APPLICATION_ID: Final = 0x6E737479
"""Marks the file as a study's: "nsty" in ASCII, where SQLite keeps such marks."""


def make_file(path: Path, rows: Rows, words: Sequence[str]) -> None:
    """Make the file of a study whose document, space and objectives are `words`, in JSON."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        columns = ", ".join(f"{field.quoted} {field.sql}" for field in rows.fields[1:])
        connection.executescript(
            f"PRAGMA journal_mode = WAL; PRAGMA application_id = {APPLICATION_ID};"
            "CREATE TABLE study (schema TEXT, document TEXT, space TEXT, objectives TEXT);"
            f'CREATE TABLE points (id INTEGER PRIMARY KEY, "key" BLOB NOT NULL UNIQUE, {columns});'
        )
        connection.execute("INSERT INTO study VALUES (?, ?, ?, ?)", [SCHEMA, *words])
    finally:
        connection.close()


def description(path: Path, connection: sqlite3.Connection) -> tuple[Any, Any, Any]:
    """Return document, space and objectives of the study, after checking that it is one."""
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        mark = connection.execute("PRAGMA application_id").fetchone()[0]
        found = connection.execute("SELECT * FROM study").fetchone() if mark == APPLICATION_ID else None
    except sqlite3.DatabaseError as error:
        raise InputError(f"{path} is no study ({error}); give the file of one.") from error
    if not found:
        raise InputError(f"{path} is no study; give the file of one.")
    if found[0] != SCHEMA:
        raise InputError(
            f"{path} is a study of schema {found[0]!r}; expected {SCHEMA!r}, so use the version that made it."
        )
    try:
        document, space, objectives = map(json.loads, found[1:])
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} is a damaged study ({error}); restore it from a copy.") from error
    if not isinstance(objectives, dict) or not objectives or not set(objectives.values()) <= set(SIGNS):
        raise InputError(f"{path} is a damaged study (objectives {objectives!r}); restore it from a copy.")
    return document, space, objectives


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what SQLite says into a `RunError` that names the file."""
    try:
        yield
    except sqlite3.Error as error:
        raise RunError(f"study {path}: {error}; free space, or wait for whoever else writes to it.") from error
