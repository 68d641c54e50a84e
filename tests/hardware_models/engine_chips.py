"""Chips of a few round figures, for engines' equations to be worked by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hardware_models.chip import Chip
from hardware_models.quantity import Quantity


def round_chip(engine: str, figures: Mapping[str, tuple[float, str]], refuses: Any = None, **settings: Any) -> Chip:
    """A chip of `engine` with `figures` as (value, unit)."""
    return Chip(
        name="round",
        title="round figures",
        kind="accelerator",
        engine=engine,
        node="1 um",
        sources=("nowhere",),
        figures={
            name: Quantity(value=value, unit=unit, source="a book", grade="assumed")
            for name, (value, unit) in figures.items()
        },
        settings=settings,
        refuses=refuses or {},
    )
