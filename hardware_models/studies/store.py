"""The file of one study: SQLite, appended in batches, safe against crashes, read while it is written.

What `add` returned for survives the end of the process at any moment, and of the machine (write-ahead log, written
through at every batch). A point stands in it once: one that is known stays as it is, unless it had failed, in which
case the new result takes its place. Each process opens the file for itself.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from hardware_models.errors import InputError, RunError, unknown_name
from hardware_models.studies.filters import Filter
from hardware_models.studies.pareto import SIGNS, Sense
from hardware_models.studies.results import STATES, Results, State
from hardware_models.studies.rows import Rows
from hardware_models.studies.space import Space
from hardware_models.studies.study_file import description, make_file, told

BLOCK: Final = 65536
"""Points read at once."""

PATIENCE_S: Final = 60.0
"""How long a writer waits for another one."""


class Store:
    """An open study; `create` and `open` make one.

    Attributes:
        path: the file.
        document: what the study is, as it was given.
        space: its search space.
        objectives: by name, `minimise` or `maximise`.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path, self._connection = path, connection
        document, space, objectives = description(path, connection)
        self.document: Mapping[str, Any] = document
        self.space = Space.from_document(space)
        self.objectives: Mapping[str, Sense] = objectives
        self._rows = Rows(self.space, list(objectives))

    @classmethod
    def create(cls, path: Path, document: Mapping[str, Any], space: Space, objectives: Mapping[str, Sense]) -> Self:
        """Make the file of a new study and open it.

        Args:
            path: the file; it must not exist, its folder must.
            document: what the study is, as plain data.
            space: its search space.
            objectives: by name, `minimise` or `maximise`.

        Raises:
            InputError: the file exists; no objectives; names that collide; a document that is no plain data.
            RunError: the file cannot be written.
        """
        for sense in objectives.values():
            if sense not in SIGNS:
                raise unknown_name("sense", sense, SIGNS)
        if not objectives:
            raise InputError("the study has no objectives; give at least one, such as {'energy_j': 'minimise'}.")
        try:
            words = [json.dumps(each, allow_nan=False) for each in (document, space.to_document(), objectives)]
        except (TypeError, ValueError) as error:
            raise InputError(f"the study's document is no plain data ({error}); give what JSON can hold.") from error
        rows = Rows(space, list(objectives))
        try:
            # Made under another name, so that nobody ever finds half a study, and linked, which overwrites nothing.
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
                made = Path(folder) / "study"
                with told(path):
                    make_file(made, rows, words)
                path.hardlink_to(made)
        except FileExistsError:
            raise InputError(f"{path} exists; open it to resume that study, or give another name.") from None
        except OSError as error:
            raise RunError(f"could not write {path}: {error.strerror or error}; give another folder.") from error
        return cls.open(path)

    @classmethod
    def open(cls, path: Path, space: Space | None = None, write: bool = True) -> Self:
        """Open the study in the file at `path`.

        Args:
            path: the file.
            space: the space that the study should have; None for any.
            write: whether points may be added.

        Raises:
            InputError: no such file, no study, a study of another schema version or of another space (the message
                says what has changed).
        """
        if not path.is_file():
            raise InputError(f"{path} is no file; give the file of a study, or create one.")
        mode = "rw" if write else "ro"
        try:
            connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=PATIENCE_S, isolation_level=None
            )
        except sqlite3.Error as error:
            raise InputError(f"{path} cannot be opened ({error}); see who may read and write it.") from error
        try:
            store = cls(path, connection)
            if write:
                with told(path):
                    connection.execute("PRAGMA synchronous = FULL")
                    connection.execute("PRAGMA cache_size = -131072")  # 128 MiB: the keys come in random order
            changed = store.space.differences(space) if space else []
            if changed:
                raise InputError(f"{path} is a study of another space ({'; '.join(changed)}); start a new one.")
        except BaseException:
            connection.close()
            raise
        return store

    def add(self, results: Results) -> int:
        """Write `results`, all of them or none, and return how many were new or took the place of a failed one.

        Raises:
            InputError: other axes or objectives than the study's, or a value that an axis cannot take.
            RunError: a full disk, another writer that does not end, a file opened for reading only; nothing of
                `results` is in the file then, and all that was there before is.
        """
        rows = self._rows.of(results)
        names = [field.quoted for field in self._rows.fields]
        statement = (
            f"INSERT INTO points ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) ON CONFLICT (key) DO "
            f"UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in names)} WHERE state = 'failed'"
        )
        with self._transaction("IMMEDIATE"):
            before = self._connection.total_changes
            self._connection.executemany(statement, rows)
            return self._connection.total_changes - before

    def read(self, which: Filter | None = None) -> Results:
        """Return the points that `which` (None: the done ones) lets through, in the order in which they came.

        Raises:
            InputError: an unknown state or column.
        """
        return self._rows.results([row for block in self.rows(which) for row in block])

    def rows(self, which: Filter | None = None) -> Iterator[list[tuple[Any, ...]]]:
        """Yield blocks of rows, `columns` of them, of the points that `which` lets through; others may write."""
        condition, values = (which or Filter()).to_sql(self._rows.fields)
        names = ", ".join(field.quoted for field in self._rows.fields[1:])
        statement = f"SELECT id, {names} FROM points WHERE id > ? AND id <= ? AND {condition} ORDER BY id LIMIT {BLOCK}"
        last, end = 0, self._fetch("SELECT coalesce(max(id), 0) FROM points")[0][0]
        while block := self._fetch(statement, [last, end, *values]):
            yield [row[1:] for row in block]
            last = block[-1][0]

    @property
    def columns(self) -> dict[str, str]:
        """Names and SQL types of the columns of `rows`."""
        return {field.name: field.sql for field in self._rows.fields[1:]}

    def keys(self, states: Sequence[State] = STATES) -> set[bytes]:
        """Return the keys (`Columns.keys`) of the points in `states`: what need not be computed again."""
        condition, values = Filter(states).to_sql(self._rows.fields)
        return {key for (key,) in self._fetch(f"SELECT key FROM points WHERE {condition}", values)}

    def counts(self) -> dict[State, int]:
        """Return the number of points in each state."""
        found = dict(self._fetch("SELECT state, count(*) FROM points GROUP BY state"))
        return {state: found.get(state, 0) for state in STATES}

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fetch(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        with told(self.path):
            return self._connection.execute(statement, values).fetchall()

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[None]:
        with told(self.path):
            self._connection.execute(f"BEGIN {kind}")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:  # a full disk may have ended it already
                    self._connection.execute("ROLLBACK")
