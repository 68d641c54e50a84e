"""Architectures that are run with their weights and measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from hardware_models.errors import InputError, unknown_name
from hardware_models.studies.software import Band
from hardware_models.workload import Workload
from neuro.conversion.networks import build_float_parent, build_spiking, calibrate_batchnorm, load_data
from neuro.conversion.spec import RunSpec, fitting_weights, read_trained, validate_spec
from neuro.data import Dataset
from neuro.hub import is_folder, network_folder, sha256, weights_file
from neuro.models import merge_model
from neuro.profiling import profile
from neuro.studies.cached import CachedNetworks, Settings, exact, settings_of, share
from neuro.training import accuracy
from neuro.weights import load_weights

_FORMS = ("spiking", "float")


class ProfiledSettings(Settings):
    """Which architecture is measured on what.

    Attributes:
        model: of a specification (`neuro.conversion.spec.ModelSpec`): name, variant, weights and so on.
        data: the data set.
        image_size: side of the images; null takes the variant's own.
        samples: that are profiled.
        seed: of random weights, where none are given.
    """

    model: dict[str, Any] = Field(default_factory=dict)
    data: str = "digits"
    image_size: Annotated[int, Field(ge=1)] | None = None
    samples: Annotated[int, Field(ge=1)] = 16
    seed: Annotated[int, Field(ge=0)] = 0


class ProfiledNetworks(CachedNetworks):
    """Networks in their inference form, measured.

    Axes: `form` (`spiking`, or `float` for the parent with ReLU and T = 1), and fields of the model: `variant`,
    `timesteps`, `neuron`, `attention`. Without weights BatchNorm is calibrated on the profiled images, and rates are
    those of an untrained network. Figures: `spikes`, `firing_rate`, `synaptic_operations`, `macs`, `parameters`, and
    with weights `accuracy`, with its standard error.

    Args:
        document: `software` of a study.
        cache: the folder of networks.

    Raises:
        InputError: settings that do not fit.
    """

    kind = "profiled"
    axes = ("form", "variant", "timesteps", "neuron", "attention")

    def __init__(self, document: Mapping[str, Any], cache: Path) -> None:
        self._given = settings_of(ProfiledSettings, document)
        known = ("spikes", "firing_rate", "synaptic_operations", "macs", "parameters")
        self.figures = (*known, "accuracy") if self._given.model.get("weights") else known
        weights = self._given.model.get("weights")
        content = {"weights_sha256": sha256(weights_file(weights))} if weights else {}
        super().__init__(self._given.model_dump(mode="json") | content, cache)

    def make(self, point: Mapping[str, Any], folder: Path) -> tuple[Workload, dict[str, Band]]:
        """Build, load or calibrate, merge and profile."""
        form = point.get("form", "spiking")
        if form not in _FORMS:
            raise unknown_name("form", form, _FORMS)
        spec = self._spec({name: value for name, value in point.items() if name != "form"})
        dataset = load_data(spec)
        model = build_spiking(spec, dataset) if form == "spiking" else build_float_parent(spec, dataset)
        timesteps = int(getattr(model, "timesteps", 1))
        count = min(self._given.samples, len(dataset.test))
        images, _ = next(iter(dataset.test.batches(count, timesteps)))
        found = self._weighted(spec, form, model, dataset, images)
        merged = merge_model(spec.model.name, model.eval())
        workload = profile(merged, images, time_first=True, name=f"{spec.model.name} {spec.model.variant} {form}")
        rate = workload.firing_rate if form == "spiking" else 0.0
        counts = (workload.spikes, rate, workload.synaptic_operations, workload.macs)
        parameters = sum(one.numel() for one in merged.parameters())
        return workload, found | dict(zip(self.figures, map(exact, (*counts, parameters)), strict=False))

    def _spec(self, point: Mapping[str, Any]) -> RunSpec:
        given = self._given
        data = {"name": given.data, "image_size": given.image_size}
        return validate_spec({"model": {**given.model, **point}, "data": data, "seed": given.seed}, "software")

    def _weighted(
        self, spec: RunSpec, form: str, model: nn.Module, dataset: Dataset, images: Tensor
    ) -> dict[str, Band]:
        """Give the model its weights and return its accuracy; or calibrate it."""
        if not spec.model.weights:
            calibrate_batchnorm(model, images)
            return {}
        if form != "spiking":
            raise InputError("software.model.weights are of the spiking network; leave out the form 'float', or them.")
        load_weights(self._file(spec), model)
        right = accuracy(model, dataset.test, images.shape[0], torch.device("cpu"))
        return {"accuracy": share(right, len(dataset.test))}

    def _file(self, spec: RunSpec) -> Path:
        """The weights, which were trained at one T and may be run at any other."""
        name = str(spec.model.weights)
        if not is_folder(name):
            return fitting_weights(spec.model)
        trained = read_trained(network_folder(name)).built.model.timesteps
        return fitting_weights(spec.model.model_copy(update={"timesteps": trained}))
