"""The software side of co-design studies: networks that are profiled, calibrated or trained for each point."""

from __future__ import annotations

from typing import Final

KINDS: Final = {
    "profiled": "neuro.studies.profiled:ProfiledNetworks",
    "calibrated": "neuro.studies.calibrated:CalibratedNetworks",
    "trained": "neuro.studies.trained:TrainedNetworks",
}
"""What `software.kind` of a study may be, beside `given`, and the class that answers, as `module:name`."""
