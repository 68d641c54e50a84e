"""The forms of a run that chips are asked about: the spiking variant, and every rival that could beat it.

All have b bits beside their own widths, for b-bit integers hold as many levels as T spikes: ceil(log2(T + 1)) of binary
ones.
The parent of an architecture is asked as trained and merged: merged it has more operations, as trained more and
smaller layers. A network that was given has one form.
"""

from __future__ import annotations

import json
from pathlib import Path

from hardware_models.conventions import rival_bits_of
from hardware_models.layer_table import LayerTable, layer_table
from hardware_models.workload import Workload
from neuro.records import LOW_BIT_WORKLOAD_FILES, NETWORK_WORKLOAD_FILES, WORKLOAD_FILES, FormKey
from neuro.report.documents import FORM_NAMES


def read_run_forms(directory: Path) -> dict[str, LayerTable]:
    """Return the compared forms of a run directory, by name.

    Raises:
        InputError: the workload of the spiking variant is missing, or one is damaged.
    """
    given = not (directory / WORKLOAD_FILES["spiking"]).exists()
    of_given = LOW_BIT_WORKLOAD_FILES if _is_low_bit(directory) else NETWORK_WORKLOAD_FILES
    files = of_given if given else {form: WORKLOAD_FILES[form] for form in _FORMS}
    spiking, *parents = ((form, directory / name) for form, name in files.items())
    found = [spiking, *((form, path) for form, path in parents if path.exists())]
    return compared_forms({form: Workload.load(path) for form, path in found})


def compared_forms(workloads: dict[FormKey, Workload] | dict[str, Workload]) -> dict[str, LayerTable]:
    """Return the columns of each form that chips are asked about, by name.

    `Spiking, 3 bits` has integer weights of as many bits; `Parent` is the floating-point parent, merged; `Unmerged`
    is the parent with its branches, as trained.

    Args:
        workloads: the measured forms; `spiking-merged`, and as far as they are there `float-merged` and `float`; or
            `converted` and `float`; or `low-bit` and `float`, which are asked at their own widths alone.
    """
    measured: dict[str, Workload] = {str(form): workload for form, workload in workloads.items()}
    if "converted" in measured:
        return _given(measured["converted"], measured.get("float"))
    if "low-bit" in measured:
        return {FORM_NAMES[form]: layer_table(workloads[form]) for form in ("low-bit", "float") if form in workloads}
    bits = rival_bits_of(measured["spiking-merged"])
    spiking = layer_table(measured["spiking-merged"])
    forms = {FORM_NAMES["spiking-merged"]: spiking, f"Spiking, {bits} bits": spiking.with_weight_bits(bits)}
    if "float-merged" in measured:
        merged = layer_table(measured["float-merged"])
        forms |= {"Parent, merged": merged, f"Parent, {bits} bits": merged.with_bits(bits)}
    if "float" in measured:
        parent = layer_table(measured["float"])
        # As trained it is asked in floating point only where there is no merged form: of two like rows one is enough.
        forms |= {} if "float-merged" in measured else {"Parent, unmerged": parent}
        forms |= {f"Unmerged, {bits} bits": parent.with_bits(bits)}
    return forms


def _is_low_bit(directory: Path) -> bool:
    """Whether the run's record is of a network that was quantized."""
    try:
        record = json.loads((directory / "conversion.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and bool(record.get("low_bit"))


def _given(converted: Workload, parent: Workload | None) -> dict[str, LayerTable]:
    """The compared forms of a network that was given."""
    bits = rival_bits_of(converted)
    spiking = layer_table(converted)
    forms = {FORM_NAMES["converted"]: spiking, f"Spiking, {bits} bits": spiking.with_weight_bits(bits)}
    if parent is not None:
        given = layer_table(parent)
        forms |= {FORM_NAMES["float"]: given, f"Parent, {bits} bits": given.with_bits(bits)}
    return forms


_FORMS: tuple[FormKey, ...] = ("spiking-merged", "float-merged", "float")
