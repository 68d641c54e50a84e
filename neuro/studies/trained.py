"""Networks that are trained for each point: short runs of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from hardware_models.errors import InputError
from hardware_models.studies.software import Band
from hardware_models.workload import Workload
from neuro.conversion.networks import load_data
from neuro.conversion.spec import known_keys
from neuro.experiments.networks import load_trained, quantized_network
from neuro.experiments.run import run_training
from neuro.experiments.spec import TrainSpec, merged, read_training, resolve_train_spec
from neuro.models import merge_model
from neuro.profiling import profile
from neuro.profiling.low_bit import profile_low_bit
from neuro.studies.cached import CachedNetworks, Settings, exact, settings_of, share


class TrainedSettings(Settings):
    """What is trained.

    Attributes:
        config: a shipped training or a file, see `neuro train --list`.
        set: settings that replace its own, nested.
        samples: held-out samples that are profiled.
    """

    config: str
    set: dict[str, Any] = Field(default_factory=dict)
    samples: int = Field(default=16, ge=1)


class TrainedNetworks(CachedNetworks):
    """Networks trained as a recipe says, with the point's settings in place of its own.

    Axes: every dotted key of a training (`neuro train --set`), such as `form`, `model.timesteps` or
    `training.spike_budget`. Figures: `accuracy` on the held-out split with its standard error, `spikes`, `firing_rate`,
    `synaptic_operations`, `macs`, `parameters`. The run directory of each stays in the cache.

    Args:
        document: `software` of a study.
        cache: the folder of networks.

    Raises:
        InputError: settings that do not fit.
    """

    kind = "trained"
    axes = tuple(key for key in known_keys(TrainSpec) if key not in ("title", "device", "parallel", "tensorboard"))
    figures = ("accuracy", "spikes", "firing_rate", "synaptic_operations", "macs", "parameters")

    def __init__(self, document: Mapping[str, Any], cache: Path) -> None:
        self._given = settings_of(TrainedSettings, document)
        self._recipe = merged(read_training(self._given.config), self._given.set)
        super().__init__({**self._given.model_dump(mode="json"), "recipe": self._recipe}, cache)

    def make(self, point: Mapping[str, Any], folder: Path) -> tuple[Workload, dict[str, Band]]:
        """Train, judge and profile."""
        spec = resolve_train_spec(merged(self._recipe, *(_nested(key, value) for key, value in point.items())))
        record = run_training(spec, folder / "run")
        if record.accuracy is None:
            raise InputError(
                f"the training at {dict(point)} has no epochs to judge; give training.epochs of 1 or more."
            )
        dataset = load_data(spec)
        model = load_trained(str(folder / "run"), dataset).model
        timesteps = int(getattr(model, "timesteps", 1))
        images, _ = next(iter(dataset.test.batches(min(self._given.samples, len(dataset.test)), timesteps)))
        low_bit = quantized_network(model)
        if low_bit is not None:
            workload = profile_low_bit(low_bit, images[0])
        else:
            workload = profile(merge_model(spec.model.name, model), images, time_first=True)
        rate = workload.firing_rate if workload.spikes else 0.0
        counts = (workload.spikes, rate, workload.synaptic_operations, workload.macs, record.parameters)
        right = share(record.accuracy, record.test_samples)
        return workload, dict(zip(self.figures, (right, *map(exact, counts)), strict=True))


def _nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    found: dict[str, Any] = value
    return found
