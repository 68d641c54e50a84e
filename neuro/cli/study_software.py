"""Who answers for the networks of a study: modules that are imported only where a study names them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hardware_models.errors import unknown_name
from hardware_models.studies.software import Software
from hardware_models.studies.study import software_of as given_software

SOFTWARE: dict[str, str] = {
    "profiled": "neuro.studies.profiled:ProfiledNetworks.from_document",
    "calibrated": "neuro.studies.calibrated:CalibratedNetworks.from_document",
    "trained": "neuro.studies.trained:TrainedNetworks.from_document",
}
"""Kinds besides `given`, by name: where to find what makes one of its section and folder, as `module.path:name`."""


def software_of(kind: str) -> Callable[[Mapping[str, Any], Path], Software]:
    """Return what makes the software side of `kind`; its module is imported now."""
    if kind == "given":
        return given_software(kind)
    if kind not in SOFTWARE:
        raise unknown_name("kind of software side", kind, ["given", *SOFTWARE])
    module, _, name = SOFTWARE[kind].partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    made: Callable[[Mapping[str, Any], Path], Software] = found
    return made
