"""Writing the points of a study as a table for other programs: CSV, or Parquet where pyarrow is installed."""

from __future__ import annotations

import csv
import importlib
from pathlib import Path
from typing import IO, Any

from hardware_models.errors import InputError
from hardware_models.files import write_atomically
from hardware_models.studies.filters import Filter
from hardware_models.studies.results import STATES
from hardware_models.studies.store import Store


def export(store: Store, path: Path, which: Filter | None = None) -> int:
    """Write the points that `which` lets through (None: all) to `path` and return their number.

    One line a point, in the order in which they came: axes (empty where inactive), objectives with their low and high
    ends, state, reason, seconds, worker. The suffix, `.csv` or `.parquet`, says the format.

    Raises:
        InputError: another suffix; Parquet without pyarrow; an unknown state or column.
        RunError: the file cannot be written; what was there before stays.
    """
    writers = {".csv": _write_csv, ".parquet": _write_parquet}
    if path.suffix not in writers:
        raise InputError(f"{path} ends in {path.suffix!r}; expected one of {', '.join(writers)}, so rename it.")
    return writers[path.suffix](store, path, which or Filter(STATES))


def _write_csv(store: Store, path: Path, which: Filter) -> int:
    count = 0
    with write_atomically(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(store.columns)
        for rows in store.rows(which):
            writer.writerows(rows)
            count += len(rows)
    return count


def _write_parquet(store: Store, path: Path, which: Filter) -> int:
    try:
        arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise InputError("Parquet needs pyarrow, which is not installed; install it, or export to .csv.") from None
    types = {"INTEGER": arrow.int64(), "REAL": arrow.float64(), "TEXT": arrow.string()}
    schema = arrow.schema([(name, types[sql]) for name, sql in store.columns.items()])
    with write_atomically(path, "wb") as file:
        return _write_groups(store, file, which, arrow, schema, parquet)


def _write_groups(store: Store, file: IO[Any], which: Filter, arrow: Any, schema: Any, parquet: Any) -> int:
    count = 0
    with parquet.ParquetWriter(file, schema) as writer:
        for rows in store.rows(which):
            columns = [
                arrow.array(entries, field.type) for entries, field in zip(zip(*rows, strict=True), schema, strict=True)
            ]
            writer.write_table(arrow.Table.from_arrays(columns, schema=schema))
            count += len(rows)
    return count
