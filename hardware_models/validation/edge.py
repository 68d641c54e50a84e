"""Against published figures of edge chips that the roofline engine models; nothing is fitted to a scored row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any, cast

from hardware_models.chip import chip
from hardware_models.estimate import Estimate, estimate
from hardware_models.quantity import Grade
from hardware_models.validation.edge_networks import NETWORKS
from hardware_models.validation.row import NOTHING, Row, data_text, single


def rows() -> Iterator[Row]:
    """Yield one row for each published latency or energy of a network."""
    yield from network_rows("edge_points.csv")


def network_rows(name: str) -> Iterator[Row]:
    """Yield the rows of the data file `name` that give a network's latency or energy."""
    for point in points(name):
        if not point["network"]:
            continue
        found = estimate(NETWORKS[point["network"]](), chip(point["chip"]))
        yield single(
            chip(point["chip"]).title,
            cast(Grade, point["grade"]),
            f"{point['quantity']} of {found.subject} ({point['conditions']})",
            total(found, point["quantity"]),
            float(point["published"]),
            point["unit"],
            None,
            "figures of the chip" if point["fitted"] == "yes" else NOTHING,
            point["note"],
        )


def points(name: str) -> list[dict[str, Any]]:
    """Return the lines of a data file of published figures."""
    return list(csv.DictReader(io.StringIO(data_text(name))))


def total(found: Estimate, quantity: str) -> float:
    """Return the energy or latency of an estimate, without its band."""
    values = found.total_energy_j if quantity == "energy" else found.total_latency_s
    if values is None:
        raise ValueError(f"{found.chip.name} answers no {quantity}, so a point of it cannot be scored")
    return float(values[0])
