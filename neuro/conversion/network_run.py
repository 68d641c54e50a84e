"""`convert_network`: from a trained network to a spiking one, compared, measured and costed, and a run directory."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hardware_models.comparison import Answer, compare, find_chips
from hardware_models.convention_estimate import ConventionEstimate
from hardware_models.conventions import Convention, convention
from hardware_models.errors import InputError
from hardware_models.workload import Workload
from neuro.coding.calibrate import CalibrationWarning, InputRange, calibrate
from neuro.coding.fidelity import Fidelity, fidelity
from neuro.coding.ladder import Ladder
from neuro.coding.network import SpikingNetwork
from neuro.coding.rewrite import to_spiking
from neuro.coding.scheme import Scheme
from neuro.coding.spike_only import SPIKE_ONLY, out_of_reach
from neuro.coding.sweep import SweepPoint, sweep
from neuro.conversion.device import find_device
from neuro.conversion.directory import run_directory
from neuro.conversion.estimates import estimate_forms
from neuro.conversion.network_data import GivenInputs, NetworkData, load_inputs
from neuro.conversion.network_spec import NetworkRunSpec, place_network_keywords, resolve_network_spec
from neuro.conversion.summary import network_rows
from neuro.conversion.write import write_results
from neuro.profiling import profile
from neuro.records import ConversionRecord, NetworkRecord, OperatorRecord, SweepRecord
from neuro.report.compared_forms import compared_forms
from neuro.sources import Source, load_source
from quant.capture import Captured, capture

Say = Callable[[str], None]

_FIDELITY_SAMPLES = 2


@dataclass
class NetworkConversion:
    """A finished conversion of a given network.

    Attributes:
        spec: what was asked for.
        record: the summary, what became of each operator, and the sweep over T.
        network: the spiking network.
        captured: the float network as a graph.
        workloads: measured, `float` and `converted`.
        estimates: energy by layer, of these and of both quantized.
        chips: what each form costs on each chip.
        directory: where the run was written; None if it was not.
    """

    spec: NetworkRunSpec
    record: ConversionRecord
    network: SpikingNetwork
    captured: Captured
    workloads: dict[str, Workload]
    estimates: dict[str, ConventionEstimate]
    chips: list[Answer]
    directory: Path | None


def convert_network(
    model: str | nn.Module,
    inputs: Tensor | tuple[Tensor, ...] | None = None,
    labels: Tensor | None = None,
    *,
    out: str | Path | None = None,
    **given: Any,
) -> NetworkConversion:
    """Convert a network into one whose products are driven by spikes; calibrate, compare, measure and cost it.

    Args:
        model: a source such as `timm:resnet18`, or a module in evaluation mode, which is moved to the run's device.
        inputs: inputs to calibrate and compare on, each `[N, ...]`; needed for a module, and for a source in place of a
            data set.
        labels: of the inputs, `[N]`; None where there are none.
        out: run directory to write; None writes nothing.
        given: `timesteps`, `sweep`, `coding`, `spikes`, `levels`, `strictness`, `keep`; `calibration`, `percentile`,
            `per_channel`, `outlier_channels`; `weights`, `weights_by_order`, `input_size`; `data`,
            `calibration_samples`, `compared_samples`, `profile_samples`; `seed`, `device`, `convention`, `chips`.

    Returns:
        The spiking network, the record of what became of each operator and of every T, workloads and estimates.

    Raises:
        InputError: anything in the request that does not fit.
        RunError: a fault while running.
    """
    name = model if isinstance(model, str) else type(model).__name__
    spec = resolve_network_spec(place_network_keywords({"model": name, **given}))
    device = find_device(spec.device)
    tensors = (inputs,) if isinstance(inputs, Tensor) else inputs
    data = None if tensors is None else GivenInputs(tuple(x.to(device) for x in tensors), labels)
    source = None
    if isinstance(model, nn.Module):
        if tensors is None:
            raise InputError(
                f"convert_network was given the module {name} without inputs; give it some, [N, ...] each."
            )
        source = Source.of_module(model, tuple(x[:1] for x in tensors))
    return run_network_conversion(spec, Path(out) if out is not None else None, source=source, data=data)


def run_network_conversion(
    spec: NetworkRunSpec,
    out: Path | None = None,
    *,
    source: Source | None = None,
    data: NetworkData | None = None,
    say: Say = lambda text: None,
) -> NetworkConversion:
    """Run a complete specification.

    Args:
        spec: what is asked for.
        out: run directory to write; None writes nothing.
        source: the network itself; None loads `spec.network`.
        data: what to calibrate and compare on; None loads `spec.data`.
        say: told what happens, one line at a time.
    """
    rules, chips, device = convention(spec.convention), find_chips(spec.chips), find_device(spec.device)
    with run_directory(out, spec, resume=False) if out is not None else nullcontext():
        source = source or _load(spec)
        if len(source.example) != 1:
            raise InputError(
                f"{source.name} takes {len(source.example)} inputs, and measuring follows one; fix the others in a "
                "module around it, or convert it with quant.capture and neuro.coding."
            )
        if isinstance(source.model, nn.Module):
            source.model.to(device)
        data = data or load_inputs(spec.data, source.example, source.normalise, device)
        run = _Run(spec, source, data, device, say)
        run.convert()
        workloads = run.measure()
        estimates = estimate_forms(rules, workloads, "converted")
        record = run.record(rules, workloads, estimates)
        answers = compare(compared_forms(workloads), chips)
        if out is not None:
            write_results(out, record, {"weights": run.network}, workloads, estimates, answers)
            say(f"report: {out / 'report.html'}")
    return NetworkConversion(spec, record, run.network, run.captured, workloads, estimates, answers, out)


def _load(spec: NetworkRunSpec) -> Source:
    given = spec.network
    return load_source(
        given.source,
        weights=given.weights,
        weights_by_order=given.weights_by_order,
        input_size=given.input_size,
        seed=spec.seed,
    )


class _Run:
    """One conversion under way."""

    captured: Captured
    network: SpikingNetwork
    points: list[SweepPoint]
    errors: list[Fidelity]
    longest: Workload
    """The converted network measured up to the largest T that was asked for."""

    def __init__(self, spec: NetworkRunSpec, source: Source, data: NetworkData, device: torch.device, say: Say) -> None:
        self.spec, self.source, self.data, self.device, self.say = spec, source, data, device, say
        self.notes = list(source.notes)
        if not source.trained:
            self.notes.append("The weights are random: outputs, rates and energy are those of an untrained network.")
        coding = spec.coding
        self.scheme = Scheme.of(coding.name, coding.spikes, coding.levels, coding.strictness)

    def convert(self) -> None:
        """Capture, rewrite, calibrate and compare."""
        spec, coding = self.spec, self.spec.coding
        self.say(f"capture: {spec.network.source}, {self.source.parameters:,} parameters")
        written_out = SPIKE_ONLY if self.scheme.strictness == "spike-only" else {}
        self.captured = capture(self.source.model, tuple(x.to(self.device) for x in self.source.example), written_out)
        self.network = to_spiking(self.captured, self.scheme, spec.timesteps, keep=coding.keep).to(self.device)
        self._calibrate()
        self.say(f"compare: T = {', '.join(map(str, spec.points))}")
        batches = self.data.compared(spec.compared_samples)
        self.points = sweep(self.network, self.captured.graph, batches, spec.points)
        beyond = out_of_reach(self.network, self.data.few(_FIDELITY_SAMPLES))
        if beyond:
            self.notes.append(f"Functions by thresholds saw values outside of their interval at {', '.join(beyond)}.")
        self.errors = fidelity(self.network, self.captured, self.data.few(_FIDELITY_SAMPLES), spec.points)

    def _calibrate(self) -> None:
        coding, expected = self.spec.coding, self.source.normalise
        self.say(f"calibrate: {coding.calibration_samples} samples of {self.data.name}")
        expects = None if expected is None else InputRange.normalised(expected.mean, expected.std)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CalibrationWarning)  # said here, and in the record
            found = calibrate(
                self.network,
                self.data.calibration(coding.calibration_samples),
                coding.percentile,
                method=coding.calibration,
                per_channel=coding.per_channel,
                outlier_channels=coding.outlier_channels,
                expects=expects,
            )
        for warning in found.warnings:
            self.say(f"warning: {warning}")
        unlike = Counter(one.note.partition(":")[0] for one in found.neurons.values() if one.note)
        self.notes += [*found.warnings, *(f"{count} layers of neurons: {note}." for note, count in unlike.items())]

    def measure(self) -> dict[str, Workload]:
        """Run both networks on the same images while measuring every operator."""
        spec = self.spec
        (images,) = self.data.few(spec.profile_samples)
        self.say(f"measure: {len(images)} sample{'s' if len(images) > 1 else ''}, T = {spec.points[-1]}")
        at_once = copy.copy(self.network)  # all timesteps in one piece, as profiling wants them
        at_once.timesteps = at_once.piece = spec.points[-1]
        self.longest = profile(at_once, images, timesteps=spec.points[-1], name=f"{self.source.name} spiking")
        reference = self.source.model if isinstance(self.source.model, nn.Module) else self.captured.graph
        parent = profile(reference, images, timesteps=1, time_first=False, name=f"{self.source.name} float")
        return {"converted": self.longest.until(spec.timesteps), "float": parent}

    def record(
        self, rules: Convention, workloads: dict[str, Workload], estimates: dict[str, ConventionEstimate]
    ) -> ConversionRecord:
        """Put everything that was found together."""
        spec = self.spec
        at_t = next(point for point in self.points if point.timesteps == spec.timesteps)
        accuracies = at_t.float_accuracy, at_t.accuracy
        return ConversionRecord(
            model=spec.network.source,
            timesteps=spec.timesteps,
            neuron=f"{self.scheme.spikes}, {self.scheme.levels} levels",
            convention=spec.convention,
            dataset=self.data.name,
            dataset_source=self.data.source,
            test_samples=at_t.samples,
            profiled_samples=workloads["converted"].batch,
            rows=network_rows(spec.timesteps, self.source.parameters, accuracies, workloads, estimates),
            network=self._network_record(rules),
            notes=self.notes,
        )

    def _network_record(self, rules: Convention) -> NetworkRecord:
        scheme = self.scheme
        errors = {one.node: one.errors for one in self.errors}
        ladders = {name: one for name, one in self.network.graph.named_modules() if isinstance(one, Ladder)}
        return NetworkRecord(
            coding=scheme.coding,
            spikes=scheme.spikes,
            levels=scheme.levels,
            strictness=scheme.strictness,
            folded=self.captured.folded,
            operators=[
                OperatorRecord(
                    path=one.path,
                    operator=one.operator,
                    kind=one.kind,
                    layer=one.module,
                    bound=ladders[one.module].bound if one.kind == "ladder" else None,
                    errors=list(errors.get(one.node, ())),
                )
                for one in self.network.operators
            ],
            errors_at=self.spec.points,
            sweep=[self._sweep_record(rules, point) for point in self.points],
            compared_samples=self.points[-1].samples,
            float_accuracy=self.points[-1].float_accuracy,
        )

    def _sweep_record(self, rules: Convention, point: SweepPoint) -> SweepRecord:
        workload = self.longest.until(point.timesteps)
        estimate = rules.estimate(workload)
        low, high = estimate.energy_band_j
        return SweepRecord(
            timesteps=point.timesteps,
            output_error=point.output_error,
            agreement=point.agreement,
            accuracy=point.accuracy,
            spikes=point.spikes,
            firing_rate=point.firing_rate,
            sops=workload.synaptic_operations,
            macs=workload.macs,
            energy_j=estimate.energy_j,
            energy_low_j=low,
            energy_high_j=high,
        )
