"""Figures by layer: what was measured, beside what the estimate says of the same layer."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from hardware_models.convention_estimate import ConventionEstimate, ConventionLayer
from hardware_models.workload import Layer, Workload
from neuro.report.audit import AuditRow, Verdict, audit
from neuro.report.documents import FormKey, RunDocuments


class LayerFigures(BaseModel):
    """One layer of one form; counts and joules are of one inference, None where nothing is known.

    Attributes:
        form: which form of the network.
        index: position in execution order, from 1.
        name: the layer's name; `operator` and `op` say what it is.
        verdict: of the audit; `reason` says why, `operands` what it read, `share` its part of the synaptic
            operations.
        timesteps: how often it runs.
        dense_macs: multiply-accumulates if nothing were skipped.
        macs: multiply-accumulates that were executed, measured; `acs` the accumulates.
        spikes: unit spikes that a neuron layer fired.
        firing_rate: spikes per neuron per timestep.
        counted_macs: what the convention counts of them; `counted_acs` likewise.
        energy_j: joules under the convention, with its band; `rule` is the rule that was applied.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    form: FormKey
    index: int
    name: str
    operator: str
    op: str = ""
    verdict: Verdict | None = None
    reason: str = ""
    operands: tuple[str, ...] = ()
    share: float | None = None
    timesteps: int | None = None
    dense_macs: float | None = None
    macs: float | None = None
    acs: float | None = None
    spikes: float | None = None
    firing_rate: float | None = None
    counted_macs: float | None = None
    counted_acs: float | None = None
    energy_j: float | None = None
    energy_low_j: float | None = None
    energy_high_j: float | None = None
    rule: str = ""


@dataclass(frozen=True)
class LayerRates:
    """Firing of one neuron layer.

    Attributes:
        name: the layer's name.
        neurons: how many there are.
        rates: spikes per neuron in each timestep; empty when its output was not measured.
        mean: over the timesteps; NaN when not measured.
        busiest: share of non-zero values of the busiest channel, its largest over the timesteps, if known.
    """

    name: str
    neurons: int
    rates: tuple[float, ...]
    mean: float
    busiest: float | None


@dataclass(frozen=True)
class EnergyParts:
    """Joules of one layer, by what they are spent on."""

    mac_j: float
    ac_j: float
    other_j: float


def measured_workload(documents: RunDocuments, form: FormKey) -> Workload:
    """The workload behind a form; a quantized form runs the operators of the one it was quantized from."""
    quantized_from: dict[FormKey, FormKey] = {"quantized": "float", "spiking-quantized": documents.inference_form}
    return documents.workloads[quantized_from.get(form, form)]


def layer_figures(documents: RunDocuments, form: FormKey) -> list[LayerFigures]:
    """Join measurement and estimate of a form, in execution order.

    Layers of the estimate that the workload does not hold come last, so that no joule is lost.
    """
    workload, estimate = measured_workload(documents, form), documents.estimates.get(form)
    waiting = _by_name(estimate)
    rows: list[LayerFigures] = []
    for layer, judged in zip(workload.layers, audit(workload), strict=True):
        same = waiting.get(layer.name)
        measured = _measured(layer, judged, workload.batch)
        rows.append(_figures(form, len(rows) + 1, measured, same.popleft() if same else None))
    for left in (layer for queue in waiting.values() for layer in queue):
        rows.append(_figures(form, len(rows) + 1, {"name": left.name, "operator": left.operator}, left))
    return rows


def _by_name(estimate: ConventionEstimate | None) -> dict[str, deque[ConventionLayer]]:
    """Layers by name; the nth of a name in the estimate belongs to the nth of that name in the workload."""
    waiting: dict[str, deque[ConventionLayer]] = defaultdict(deque)
    for layer in estimate.layers if estimate else ():
        waiting[layer.name].append(layer)
    return waiting


def _measured(layer: Layer, judged: AuditRow, batch: int) -> dict[str, object]:
    spikes = sum(layer.output.magnitude) / batch if layer.operator == "neuron" and layer.output else None
    updates = layer.out_elements * layer.timesteps
    same = {"name", "operator", "op", "verdict", "reason", "share", "dense_macs", "macs", "acs"}
    return {
        **judged.model_dump(include=same),
        "operands": tuple(operand.words for operand in judged.operands),
        "timesteps": layer.timesteps,
        "spikes": spikes,
        "firing_rate": spikes / updates if spikes is not None and updates else None,
    }


def _figures(form: FormKey, index: int, measured: dict[str, object], estimated: ConventionLayer | None) -> LayerFigures:
    fields = {"form": form, "index": index, **measured}
    if estimated:
        fields |= {"counted_macs": estimated.macs, "counted_acs": estimated.acs, "rule": estimated.rule}
        fields |= {key: getattr(estimated, key) for key in ("energy_j", "energy_low_j", "energy_high_j")}
    return LayerFigures.model_validate(fields)


def firing_rates(workload: Workload) -> list[LayerRates]:
    """Return spikes per neuron per timestep of every neuron layer; an integer spike counts as its value."""
    return list(_rates(workload))


def _rates(workload: Workload) -> Iterator[LayerRates]:
    for layer in workload.neuron_layers():
        neurons, output = layer.out_elements, layer.output
        rates: tuple[float, ...] = ()
        if output and neurons:
            rates = tuple(fired / (neurons * workload.batch) for fired in output.magnitude)
        mean = sum(rates) / len(rates) if rates else math.nan
        channels = output.max_channel_density if output else ()
        yield LayerRates(layer.name, neurons, rates, mean, max(channels, default=None))


def energy_parts(estimate: ConventionEstimate) -> list[EnergyParts]:
    """Split each layer's joules into those of multiply-accumulates, of accumulates, and of anything else.

    A layer with both kinds is split by the joules per operation of the layers that have one kind, where these
    agree with each other and add up to the layer's own figure; where they do not, its joules are `other`.
    """
    per_mac = _joules_each([(layer.energy_j, layer.macs) for layer in estimate.layers if not layer.acs])
    per_ac = _joules_each([(layer.energy_j, layer.acs) for layer in estimate.layers if not layer.macs])
    return [_split(layer, per_mac, per_ac) for layer in estimate.layers]


def _joules_each(pairs: list[tuple[float, float]]) -> float:
    """Joules per operation where all layers agree on them, else NaN."""
    ratios = [energy / count for energy, count in pairs if count]
    agree = bool(ratios) and math.isclose(min(ratios), max(ratios), rel_tol=1e-9)
    return ratios[0] if agree else math.nan


def _split(layer: ConventionLayer, per_mac: float, per_ac: float) -> EnergyParts:
    if layer.macs and not layer.acs:
        return EnergyParts(layer.energy_j, 0, 0)
    if layer.acs and not layer.macs:
        return EnergyParts(0, layer.energy_j, 0)
    parts = EnergyParts(layer.macs * per_mac, layer.acs * per_ac, 0)
    if layer.macs and math.isclose(parts.mac_j + parts.ac_j, layer.energy_j, rel_tol=1e-6):
        return parts
    return EnergyParts(0, 0, layer.energy_j)
