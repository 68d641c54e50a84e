"""`quantize_network`: from a network and a recipe to its low-bit variant, compared, measured and costed."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hardware_models.comparison import Answer, compare, find_chips
from hardware_models.convention_estimate import ConventionEstimate
from hardware_models.conventions import convention
from hardware_models.errors import InputError
from hardware_models.files import write_atomically
from hardware_models.workload import Workload
from neuro.conversion.device import find_device
from neuro.conversion.directory import run_directory
from neuro.conversion.low_bit_error import operator_errors
from neuro.conversion.low_bit_load import float_network, load_float_source
from neuro.conversion.low_bit_spec import LowBitSpec, place_low_bit_keywords, resolve_low_bit_spec
from neuro.conversion.network_data import DatasetInputs, GivenInputs, NetworkData, load_inputs
from neuro.conversion.summary import summary_row
from neuro.conversion.write import write_results
from neuro.evaluation import TimeFirst
from neuro.profiling import profile
from neuro.profiling.low_bit import profile_low_bit
from neuro.records import ConversionRecord, EpochRecord, LowBitOperator, LowBitRecord, SummaryRow
from neuro.report.compared_forms import compared_forms
from neuro.sources import Source
from neuro.training import TrainingSettings, train
from quant.calibrate import post_training
from quant.export import export_safetensors
from quant.network import Quantized, QuantizedNetwork
from quant.observe import CalibrationWarning, initialise
from quant.quantize import quantize
from quant.recipes import Recipe, load_recipe

Say = Callable[[str], None]

_ERROR_SAMPLES = 2


@dataclass
class LowBitConversion:
    """A finished low-bit conversion.

    Attributes:
        spec: what was asked for.
        record: the summary, and what became of each operator.
        network: the low-bit network.
        model: the float network.
        workloads: measured, `float` and `low-bit`.
        estimates: energy by layer of both.
        chips: what each costs on each chip.
        directory: where the run was written; None if it was not.
    """

    spec: LowBitSpec
    record: ConversionRecord
    network: QuantizedNetwork
    model: nn.Module
    workloads: dict[str, Workload]
    estimates: dict[str, ConventionEstimate]
    chips: list[Answer]
    directory: Path | None


def quantize_network(
    model: str | nn.Module,
    to: str,
    inputs: Tensor | None = None,
    labels: Tensor | None = None,
    *,
    out: str | Path | None = None,
    **given: Any,
) -> LowBitConversion:
    """Make the low-bit variant of a network; calibrate or train, compare, measure and cost it.

    Args:
        model: a source such as `timm:resnet18`, or a module in evaluation mode, which is moved to the run's device.
        to: a recipe's name or file.
        inputs: inputs to calibrate and compare on, `[N, ...]`; needed for a module, and for a source in place of a data
            set.
        labels: of the inputs, `[N]`; None where there are none.
        out: run directory to write; None writes nothing.
        given: `method`, `timesteps`, `keep`; `calibration`, `percentile`, `rounding`, `calibration_samples`;
            `float_epochs`, `epochs`; `weights`, `weights_by_order`, `input_size`; `data`, `compared_samples`,
            `profile_samples`; `seed`, `device`, `convention`, `chips`.

    Raises:
        InputError: anything in the request that does not fit.
        RunError: a fault while running.
    """
    name = model if isinstance(model, str) else type(model).__name__
    spec = resolve_low_bit_spec(place_low_bit_keywords({"model": name, "to": str(to), **given}))
    device = find_device(spec.device)
    data = None if inputs is None else GivenInputs((inputs.to(device),), labels)
    source = None
    if isinstance(model, nn.Module):
        if inputs is None:
            raise InputError(f"quantize_network was given the module {name} without inputs; give it some, [N, ...].")
        source = Source.of_module(model, (inputs[:1],))
    return run_low_bit_conversion(spec, Path(out) if out is not None else None, source=source, data=data)


def run_low_bit_conversion(
    spec: LowBitSpec,
    out: Path | None = None,
    *,
    source: Source | None = None,
    data: NetworkData | None = None,
    resume: bool = False,
    say: Say = lambda text: None,
) -> LowBitConversion:
    """Run a complete specification.

    Args:
        spec: what is asked for.
        out: run directory to write; None writes nothing.
        source: the network itself; None loads `spec.network`.
        data: what to calibrate, train and compare on; None loads `spec.data`.
        resume: continue the trainings in `out`.
        say: told what happens, one line at a time.
    """
    rules, chips, device = convention(spec.convention), find_chips(spec.chips), find_device(spec.device)
    recipe = load_recipe(spec.recipe)
    with run_directory(out, spec, resume=resume) if out is not None else nullcontext():
        source = source or load_float_source(spec)
        float_network(source)  # refuses what cannot be trained and measured
        assert isinstance(source.model, nn.Module)
        source.model.to(device)
        data = data or load_inputs(spec.data, source.example, source.normalise, device)
        run = _Run(spec, recipe, source, source.model, data, device, out, resume, say)
        run.make()
        workloads = run.measure()
        estimates = {form: rules.estimate(workload) for form, workload in workloads.items()}
        record = run.record(workloads, estimates)
        answers = compare(compared_forms(workloads), chips)
        if out is not None:
            with write_atomically(out / "recipe.yaml") as file:
                file.write(recipe.to_yaml())
            (example,) = source.example
            export_safetensors(run.network, out / "weights.safetensors", example.to(device))
            write_results(out, record, {}, workloads, estimates, answers)
            say(f"report: {out / 'report.html'}")
    return LowBitConversion(spec, record, run.network, run.model, workloads, estimates, answers, out)


@dataclass
class _Comparison:
    """Both networks on the same samples."""

    errors: list[Tensor] = field(default_factory=list)
    agreed: int = 0
    right: int = 0
    float_right: int = 0
    samples: int = 0
    labelled: bool = True

    def add(self, expected: Tensor, found: Tensor, labels: Tensor | None) -> None:
        """Count one batch of outputs `[B, ...]`."""
        difference = (found - expected).flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1).clamp_min(1e-30)
        self.errors.append(difference)
        first, second = expected.flatten(1).argmax(1), found.flatten(1).argmax(1)
        self.agreed += int((first == second).sum())
        self.samples += len(expected)
        self.labelled = self.labelled and labels is not None
        if labels is not None:
            self.float_right += int((first == labels.to(first.device)).sum())
            self.right += int((second == labels.to(second.device)).sum())

    def share(self, count: int) -> float | None:
        """An accuracy, where there are labels."""
        return count / self.samples if self.labelled else None


@dataclass
class _Run:
    """One conversion under way."""

    spec: LowBitSpec
    recipe: Recipe
    source: Source
    model: nn.Module
    data: NetworkData
    device: torch.device
    out: Path | None
    resume: bool
    say: Say
    history: dict[str, list[EpochRecord]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    compared: _Comparison = field(default_factory=_Comparison)
    network: QuantizedNetwork = field(init=False)

    def make(self) -> None:
        """Train the float network if asked, quantize it, train or mend the variant, and compare both."""
        spec = self.spec
        self.say(f"network: {self.source.name}, {self.source.parameters:,} parameters")
        self.notes += self.source.notes
        if spec.float_training.epochs:
            self._train("float", self.model, spec.float_training, None)
        elif not self.source.trained:
            self.notes.append("The weights are random: outputs and energy are those of an untrained network.")
        self.model = float_network(dataclasses.replace(self.source, model=self.model))
        self.say(f"calibrate: {self.recipe.name}, {spec.calibration.samples} samples of {self.data.name}")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", CalibrationWarning)
            self.network = self._quantized()
        self.notes += [str(one.message) for one in caught if issubclass(one.category, CalibrationWarning)]
        self.notes += self.network.notes
        if spec.method == "qat":
            self._train("low-bit", self.network, spec.training, self.model)
        self._compare()

    def _quantized(self) -> QuantizedNetwork:
        spec, given = self.spec, self.spec.calibration
        batches = list(self.data.calibration(given.samples))
        if spec.method == "ptq":
            network, _ = post_training(
                self.model,
                self.recipe,
                batches,
                method=given.method,
                percentile=given.percentile,
                equalization=given.equalization,
                bias_correction=given.bias_correction,
                rounding=given.rounding,
                timesteps=spec.timesteps,
                keep=spec.keep,
            )
            return network
        (example,) = (torch.cat(parts) for parts in zip(*batches, strict=True))
        network = quantize(self.model, self.recipe, example, timesteps=spec.timesteps, keep=spec.keep)
        initialise(network, [(example,)], given.method, given.percentile)
        return network.to(self.device)

    def _train(self, form: str, network: nn.Module, settings: TrainingSettings, teacher: nn.Module | None) -> None:
        if not isinstance(self.data, DatasetInputs):
            raise InputError(
                "inputs were given as tensors, which cannot be trained on; give --data NAME, or --method ptq."
            )
        self.say(f"train: {form}, {settings.epochs} epochs")
        self.history[form] = train(
            TimeFirst(network),
            self.data.as_dataset(),
            settings,
            seed=self.spec.seed,
            device=self.device,
            checkpoint=self.out / "checkpoints" / f"{form}.pt" if self.out else None,
            resume=self.resume,
            progress=f"train {form}",
            teacher=None if teacher is None else TimeFirst(teacher),
        )
        network.eval()

    @torch.no_grad()
    def _compare(self) -> None:
        self.say("compare")
        for inputs, labels in self.data.compared(self.spec.compared_samples or _every(self.data)):
            self.compared.add(self.model(*inputs).float(), self.network(*inputs).float(), labels)

    def measure(self) -> dict[str, Workload]:
        """Run both networks on the same samples while measuring every operator."""
        (images,) = self.data.few(self.spec.profile_samples)
        self.say(f"measure: {len(images)} samples")
        found = profile_low_bit(self.network, images, name=f"{self.source.name} {self.recipe.name}")
        parent = profile(self.model, images, timesteps=1, time_first=False, name=f"{self.source.name} float")
        return {"low-bit": found, "float": parent}

    def record(self, workloads: dict[str, Workload], estimates: dict[str, ConventionEstimate]) -> ConversionRecord:
        """Put everything that was found together."""
        spec = self.spec
        return ConversionRecord(
            model=spec.network.source,
            timesteps=self.network.timesteps,
            neuron="integrate and fire" if self.recipe.fires else "",
            convention=spec.convention,
            dataset=self.data.name,
            dataset_source=self.data.source,
            test_samples=self.compared.samples,
            profiled_samples=workloads["low-bit"].batch,
            rows=self._rows(workloads, estimates),
            training=self.history,
            low_bit=self._low_bit_record(),
            notes=self.notes,
        )

    def _rows(self, workloads: dict[str, Workload], estimates: dict[str, ConventionEstimate]) -> list[SummaryRow]:
        both, summary = self.compared, f"{self.recipe.summary[0].upper()}{self.recipe.summary[1:]}"
        note = f"{summary}; {'trained with straight-through gradients' if self.spec.method == 'qat' else 'calibrated'}."
        found, parent = workloads["low-bit"], workloads["float"]
        bits = self.recipe.weights.bits if self.recipe.weights else 32
        counts = self.source.parameters, both.share(both.float_right), "The network as it was quantized."
        low = sum(one.numel() for one in self.network.parameters()), both.share(both.right), note
        return [
            summary_row("float", "Float network", parent, estimates["float"], 1, 32, *counts),
            summary_row("low-bit", self.recipe.name, found, estimates["low-bit"], self.network.timesteps, bits, *low),
        ]

    def _low_bit_record(self) -> LowBitRecord:
        (few,) = self.data.few(_ERROR_SAMPLES)
        errors = operator_errors(self.network, self.model, few)
        parent = [*self.model.parameters(), *self.model.buffers()]
        return LowBitRecord(
            recipe=self.recipe.name,
            summary=self.recipe.summary,
            method=self.spec.method,
            operators=[self._operator(one, errors.get(one.node)) for one in self.network.operators],
            output_error=float(torch.cat(self.compared.errors).median()),
            agreement=self.compared.agreed / self.compared.samples,
            compared_samples=self.compared.samples,
            stored_bits=self.network.bits(),
            float_bits=sum(one.numel() * 8 * one.element_size() for one in parent),
        )

    def _operator(self, one: Quantized, error: float | None) -> LowBitOperator:
        quantizers = self.network.quantizers()
        return LowBitOperator(
            path=one.path,
            operator=one.operator,
            kind=one.kind,
            weight=quantizers[one.weight].words() if one.weight else "",
            inputs=[quantizers[name].words() for name in one.inputs],
            error=error if error is None or math.isfinite(error) else None,
        )


def _every(data: NetworkData) -> int | None:
    """All held-out samples where they are labelled; the usual number else."""
    return len(data.dataset.test) if isinstance(data, DatasetInputs) and data.labelled else None
