"""The data of the page: names and counts as JSON, points as packed columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hardware_models.studies.results import STATES
from neuro.report.study.packing import Column, Packed, pack, pack_text
from neuro.report.study.points import StudyPoints
from neuro.report.study.summary import Named

SCHEMA: Final = "neuro.study-report/1"

MOST_LISTED: Final = 1000
"""Points of the front that the JSON lists exactly."""

_BAND_BITS: Final = 16
"""Significant bits of the ends of bands: a hundred-thousandth."""

Array = npt.NDArray[Any]


def pack_points(points: StudyPoints) -> tuple[Packed, list[str], str]:
    """Return the packed columns, their names, and the packed reasons that their column `reason` counts into.

    Columns are `axis NAME`, `value NAME`, and `low NAME` and `high NAME` where the objective has bands, `state` (an
    index into `STATES`), `front` (2 on the nominal front, 1 on the robust one only) and `reason`.
    """
    columns: dict[str, Column] = {}
    for name, values in points.results.points.values.items():
        columns[f"axis {name}"] = Column(_with_gaps(points, name), whole=values.dtype.kind == "i")
    for name, (value, low, high) in points.results.objectives.items():
        columns[f"value {name}"] = Column(value)
        if not (np.array_equal(low, value, equal_nan=True) and np.array_equal(high, value, equal_nan=True)):
            columns[f"low {name}"] = Column(low, _BAND_BITS)
            columns[f"high {name}"] = Column(high, _BAND_BITS)
    front = np.zeros(len(points), dtype=np.int64)
    front[points.robust] = 1
    front[points.nominal] = 2
    reasons, reason = np.unique(points.results.reason.astype(str), return_inverse=True)
    columns["state"] = Column(np.array([STATES.index(state) for state in points.results.state.tolist()]))
    columns["front"], columns["reason"] = Column(front), Column(reason.ravel(), whole=True)
    return pack(columns.values(), front > 0), list(columns), pack_text({"reasons": reasons.tolist()})


def header(
    points: StudyPoints, named: Named, document: Mapping[str, Any], packed: Packed, columns: list[str]
) -> dict[str, Any]:
    """Return what the page has to know of the packed columns, and the front exactly."""
    listed = points.nominal[:MOST_LISTED].tolist()
    return {
        "schema": SCHEMA,
        "study": dict(document),
        "counts": dict(points.counts),
        "seconds": points.seconds,
        "axes": [name.to_document() for name in named.axes.values()],
        "objectives": [{**name.to_document(), "sense": points.senses[name.name]} for name in named.objectives.values()],
        "points": len(points),
        "states": list(STATES),
        "significant_bits": packed.bits,
        "columns": [{"name": name, **one} for name, one in zip(columns, packed.columns, strict=True)],
        "front": [{"point": row, "axes": points.point(row), "objectives": points.values(row)} for row in listed],
        "reasons": [vars(one) for one in points.reasons],
    }


def _with_gaps(points: StudyPoints, name: str) -> Array:
    """The values of an axis, None or NaN where it is inactive."""
    values, active = points.results.points.values[name], points.results.points.is_active(name)
    if active.all():
        return values
    if values.dtype.kind in "if":
        return np.where(active, values.astype(np.float64), np.nan)
    words = values.astype(object)
    words[~active] = None
    return words
