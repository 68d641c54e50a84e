"""`convert`: from an architecture to a trained, measured, costed spiking variant and a run directory."""

from __future__ import annotations

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
from hardware_models.workload import Workload
from neuro.conversion.device import find_device
from neuro.conversion.directory import default_directory, load_spec, run_directory
from neuro.conversion.estimates import estimate_forms
from neuro.conversion.networks import (
    build_float_parent,
    build_spiking,
    calibrate_batchnorm,
    load_data,
    merge_error,
)
from neuro.conversion.pretrained import pretrained_settings
from neuro.conversion.spec import (
    RunSpec,
    fitting_weights,
    merge_settings,
    place_keywords,
    resolve_spec,
)
from neuro.conversion.summary import summary_rows
from neuro.conversion.write import write_results
from neuro.data import Dataset
from neuro.models import architecture, merge_model
from neuro.profiling import profile
from neuro.records import ConversionRecord, EpochRecord
from neuro.report.compared_forms import compared_forms
from neuro.training import accuracy, train
from neuro.weights import load_weights

_PIXELS_TO_PROFILE = 65_536

Say = Callable[[str], None]


@dataclass
class Conversion:
    """A finished conversion.

    Attributes:
        spec: what was asked for.
        record: the summary table and how training went.
        spiking: the spiking variant as trained.
        merged: its inference form.
        float_parent: the same topology with ReLU and T = 1.
        workloads: measured, by `float`, `spiking`, and both merged: `float-merged`, `spiking-merged`.
        estimates: energy by layer, by every `FormKey`.
        chips: what each form costs on each chip.
        directory: where the run was written; None if it was not.
    """

    spec: RunSpec
    record: ConversionRecord
    spiking: nn.Module
    merged: nn.Module
    float_parent: nn.Module
    workloads: dict[str, Workload]
    estimates: dict[str, ConventionEstimate]
    chips: list[Answer]
    directory: Path | None


def convert(
    model: str = "spikeformer_v2",
    *,
    out: str | Path | None = None,
    settings: dict[str, Any] | None = None,
    pretrained: bool = False,
    **given: Any,
) -> Conversion:
    """Convert an architecture into its spiking variant; train, measure and cost it.

    Args:
        model: a registered architecture, see `neuro models`.
        out: run directory to write; None writes nothing.
        settings: nested settings as in `spec.yaml`, for everything the keywords do not name.
        pretrained: take the trained network that fits, see `pretrained_settings`.
        given: `variant`, `timesteps`, `neuron`, `surrogate`, `attention`, `weights` (of the model); `data`,
            `image_size`; `epochs`; `seed`, `device`, `convention`, `chips`, `profile_samples`.

    Returns:
        The networks, the summary record, the workloads and the estimates.

    Raises:
        InputError: anything in the request that does not fit.
        RunError: a fault while running.
    """
    wanted = merge_settings(settings or {}, place_keywords({"model": model, **given}))
    if pretrained:
        wanted, _ = pretrained_settings(wanted)
    spec = resolve_spec(wanted)
    return run_conversion(spec, Path(out) if out is not None else None)


def run_in_directory(given: dict[str, Any], out: Path | None, resume: bool, say: Say) -> Conversion:
    """Run what was `given` in directory `out` (a new one under `runs/` by default), or resume the run there."""
    if resume:
        if out is None:
            raise InputError("--resume needs --out DIR, the directory of the run to continue.")
        spec = load_spec(out, given)
    else:
        spec = resolve_spec(given)
        out = out or default_directory(spec.directory_name)
    return run_conversion(spec, out, resume=resume, say=say)


def run_conversion(
    spec: RunSpec, out: Path | None = None, *, resume: bool = False, say: Say = lambda text: None
) -> Conversion:
    """Run a complete specification; `say` is told what happens, one line at a time."""
    rules, chips = convention(spec.convention), find_chips(spec.chips)
    device = find_device(spec.device)
    weights = None if spec.model.weights is None else fitting_weights(spec.model)
    with run_directory(out, spec, resume) if out is not None else nullcontext():
        dataset = load_data(spec)
        run = _Run(spec, dataset, device, _build(spec, dataset, weights, say), out, resume, say)
        run.train()
        workloads = run.measure()
        estimates = estimate_forms(rules, workloads, "spiking-merged")
        record = run.record(workloads, estimates)
        answers = compare(compared_forms(workloads), chips)
        spiking, float_parent = run.networks["spiking"], run.networks["float"]
        if out is not None:
            networks = {"weights": spiking, "weights-float": float_parent}
            write_results(out, record, networks, workloads, estimates, answers)
            say(f"report: {out / 'report.html'}")
    return Conversion(spec, record, spiking, run.merged, float_parent, workloads, estimates, answers, out)


def _build(spec: RunSpec, dataset: Dataset, weights: Path | None, say: Say) -> dict[str, nn.Module]:
    say(f"data: {dataset.name}, {dataset.source}")
    networks = {"float": build_float_parent(spec, dataset), "spiking": build_spiking(spec, dataset)}
    if weights is not None:
        load_weights(weights, networks["spiking"])
    parameters = sum(p.numel() for p in networks["spiking"].parameters())
    m = spec.model
    say(f"model: {m.name} {m.variant}, {parameters:,} parameters, {m.neuron}, T={m.timesteps}")
    return networks


@dataclass
class _Run:
    """One conversion under way."""

    spec: RunSpec
    dataset: Dataset
    device: torch.device
    networks: dict[str, nn.Module]
    out: Path | None
    resume: bool
    say: Say
    history: dict[str, list[EpochRecord]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    merged: nn.Module = field(init=False)

    def train(self) -> None:
        """Train both networks, or calibrate those that keep their initial weights."""
        for form, network in self.networks.items():
            network.to(self.device)
            if self.spec.training.epochs:
                self.say(f"train: {form}, {self.spec.training.epochs} epochs")
                self.history[form] = train(
                    network,
                    self.dataset,
                    self.spec.training,
                    seed=self.spec.seed,
                    device=self.device,
                    checkpoint=self.out / "checkpoints" / f"{form}.pt" if self.out else None,
                    resume=self.resume,
                    progress=f"train {form}",
                )
            elif not self._has_weights(form):
                calibrate_batchnorm(network, self._images(network))
            network.eval()  # from here on nothing changes it, its BatchNorm statistics included
        untrained = [form for form in self.networks if not self.is_trained(form)]
        if untrained:
            self.notes.append(
                f"The {' and '.join(untrained)} network{'s have' if len(untrained) > 1 else ' has'} random weights; "
                "BatchNorm statistics were calibrated on the profiled images, so rates and energy are those of an "
                "untrained network; many potentials then lie at the threshold, and rounding lets the as-trained and "
                "the merged form differ by some percent of their spikes."
            )

    def measure(self) -> dict[str, Workload]:
        """Run each form on the same images while measuring every operator."""
        self.merged = merge_model(self.spec.model.name, self.networks["spiking"])
        parent = merge_model(self.spec.model.name, self.networks["float"])
        forms = {**self.networks, "spiking-merged": self.merged, "float-merged": parent}
        workloads = {}
        for form, network in forms.items():
            images = self._images(network)
            self.say(f"measure: {form}, {images.shape[1]} samples, T={images.shape[0]}")
            workloads[form] = profile(network, images, time_first=True, name=f"{self.spec.model.name} {form}")
        return workloads

    def record(self, workloads: dict[str, Workload], estimates: dict[str, ConventionEstimate]) -> ConversionRecord:
        """Evaluate accuracy and put the summary together."""
        spec, images = self.spec, self._images(self.merged)
        known = architecture(spec.model.name)
        return ConversionRecord(
            model=spec.model.name,
            variant=known.variant(spec.model.variant).name,
            timesteps=spec.model.timesteps,
            neuron=spec.model.neuron,
            surrogate=spec.model.surrogate,
            attention=spec.model.attention or known.default_attention,
            convention=spec.convention,
            dataset=self.dataset.name,
            dataset_source=f"{self.dataset.source} {self.dataset.preprocessing}".strip(),
            test_samples=len(self.dataset.test),
            profiled_samples=images.shape[1],
            rows=summary_rows(spec.model.timesteps, self._parameters(), self._accuracies(), workloads, estimates),
            training=self.history,
            merge_error=merge_error(self.networks["spiking"], self.merged, images),
            notes=self.notes,
        )

    def is_trained(self, form: str) -> bool:
        """Whether the network's weights were trained here or given."""
        return bool(self.spec.training.epochs) or self._has_weights(form)

    def _has_weights(self, form: str) -> bool:
        return form == "spiking" and self.spec.model.weights is not None

    def _images(self, network: nn.Module) -> Tensor:
        """The held-out images to profile, `[T, B, C, H, W]`."""
        side = self.dataset.image_size
        count = self.spec.profile_samples or max(1, _PIXELS_TO_PROFILE // side**2)
        timesteps = int(getattr(network, "timesteps", 1))
        images, _ = next(iter(self.dataset.test.batches(min(count, len(self.dataset.test)), timesteps)))
        return images.to(self.device)

    def _accuracies(self) -> dict[str, float | None]:
        """Held-out accuracy of each form; None where it is unlabelled or untrained."""
        found: dict[str, float | None] = {}
        for form, network in {**self.networks, "spiking-merged": self.merged}.items():
            trained = self.is_trained(form.removesuffix("-merged"))
            known = self.history.get(form, [])
            if known:
                found[form] = known[-1].test_accuracy
            elif self.dataset.classes and trained:
                self.say(f"evaluate: {form}, {len(self.dataset.test)} samples")
                found[form] = accuracy(network, self.dataset.test, int(getattr(network, "timesteps", 1)), self.device)
            else:
                found[form] = None
        return found

    def _parameters(self) -> dict[str, int]:
        forms = {**self.networks, "spiking-merged": self.merged}
        return {form: sum(p.numel() for p in network.parameters()) for form, network in forms.items()}
