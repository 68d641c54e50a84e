"""The points of a study in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hardware_models.quantity import with_prefix
from hardware_models.studies.results import Results

_UNITS: Final = {"_js": "Js", "_j": "J", "_s": "s"}
"""Of objectives, by how their names end."""

_COLUMN: Final = 12
"""Width that a column takes about: a terminal that has not so much for each shows a block for each point."""


def print_points(results: Results, limit: int, console: Console) -> None:
    """Print the first `limit` points, one at least: axes, and objectives with their bands."""
    rows = [_row(results, index) for index in range(min(limit, len(results)))]
    same = {name: rows[0][name] for name in results.points.values if len({row[name] for row in rows}) == 1}
    names = [name for name in rows[0] if name not in same]
    if same:
        console.print(escape(f"all: {', '.join(f'{name} {value}' for name, value in same.items())}"))
    if console.width < _COLUMN * len(names):
        for row in rows:
            console.print(escape("; ".join(f"{name} {row[name]}" for name in names)))
    else:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        for name in names:
            table.add_column(escape(name), justify="right", overflow="fold")
        for row in rows:
            table.add_row(*(escape(row[name]) for name in names))
        console.print(table)
    if len(results) > len(rows):
        console.print(f"{len(results) - len(rows)} more; --limit {len(results)} shows all.")


def _row(results: Results, index: int) -> dict[str, str]:
    point: Mapping[str, Any] = results.points.point(index)
    cells = {name: "-" if value is None else _plain(value) for name, value in point.items()}
    for name, values in results.objectives.items():
        value, low, high = (float(one) for one in values[:, index])
        unit = next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")
        band = "" if low == high else f" ({_number(low, unit, 3)} to {_number(high, unit, 3)})"
        cells[name] = _number(value, unit, 4) + band
    return cells


def _number(value: float, unit: str, digits: int) -> str:
    return with_prefix(value, unit, digits) if unit else f"{value:.{digits}g}"


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
