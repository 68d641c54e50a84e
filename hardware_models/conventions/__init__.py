"""Operation-count conventions of the literature, as named and sourced objects.

convention("spikingformer").estimate(workload)      cost of a Workload
estimate_quantized(workload, rival_bits(4))         the same network, as if quantized
rival_bits_of(workload)                             the width of its honest rival
estimate_table(read_table(path))                    cost of a published operation log
"""

from __future__ import annotations

from hardware_models.conventions.base import Convention
from hardware_models.conventions.ecoformer import EcoFormer
from hardware_models.conventions.horowitz45 import Horowitz45
from hardware_models.conventions.quantized import WIDEST_RIVAL, estimate_quantized, rival_bits, rival_bits_of
from hardware_models.conventions.spikingformer import Spikingformer
from hardware_models.conventions.spikingresformer import SpikingResformer
from hardware_models.errors import unknown_name

__all__ = [
    "CONVENTIONS",
    "DEFAULT_CONVENTION",
    "WIDEST_RIVAL",
    "Convention",
    "convention",
    "estimate_quantized",
    "rival_bits",
    "rival_bits_of",
]

CONVENTIONS: dict[str, Convention] = {
    rules.name: rules for rules in (Horowitz45(), Spikingformer(), SpikingResformer(), EcoFormer())
}
"""The conventions by name."""

DEFAULT_CONVENTION = Horowitz45.name
"""The convention used where none is asked for."""


def convention(name: str) -> Convention:
    """Return the convention called `name`; an unknown name is an `InputError` with the nearest ones."""
    if name not in CONVENTIONS:
        raise unknown_name("convention", name, CONVENTIONS)
    return CONVENTIONS[name]
