"""What `neuro train` is asked to do, as one document: a recipe under `configs/training`, or `spec.yaml` of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import Field, ValidationError

from hardware_models.errors import InputError, unknown_name
from hardware_models.shipped import shipped_configs
from neuro.conversion.spec import BuildSpec, complete_model, first_fault, merge_settings, read_settings
from neuro.training.parallel import Strategy
from neuro.training.settings import TrainingSettings
from quant.recipes import load_recipe

SCHEMA: Final = "neuro.training/1"


class TrainSpec(BuildSpec):
    """One training, apart from the code.

    Attributes:
        title: what it shows, in a sentence.
        form: `spiking`, `float` (the parent: ReLU, T = 1), or a recipe of low bits such as `w4a4`, which quantizes the
            parent that `model.weights` hold.
        teacher: a run directory or `hub:NAME`, whose network's answers the loss asks for too; null for none.
        training: how it is trained.
        parallel: how several processes hold the network.
        device: a torch device.
        tensorboard: write TensorBoard's files too.
    """

    schema_version: Literal["neuro.training/1"] = Field(default=SCHEMA, alias="schema")
    title: str = ""
    form: str = "spiking"
    teacher: str | None = None
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    parallel: Strategy = "replicated"
    device: str = "cpu"
    tensorboard: bool = False

    @property
    def directory_name(self) -> str:
        """A short name for a directory."""
        form = self.form if self.form == "float" else f"{self.form}-t{self.model.timesteps}"
        return f"{self.data.name.split(':')[0]}-{self.model.name}-{self.model.variant}-{Path(form).stem}"

    @property
    def is_low_bit(self) -> bool:
        """Whether the network is a quantized one."""
        return self.form not in ("spiking", "float")

    def to_yaml(self) -> str:
        """Return the document as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json", by_alias=True), sort_keys=False)


def recipe_names() -> list[str]:
    """Return the names of the shipped trainings, sorted."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def read_training(name: str) -> dict[str, Any]:
    """Read a shipped training by its name, or a file.

    Raises:
        InputError: neither, or no YAML.
    """
    shipped = _folder() / f"{name}.yaml"
    if shipped.is_file():
        return read_settings(shipped)
    if name.endswith((".yaml", ".yml")) or Path(name).exists():
        return read_settings(Path(name))
    raise unknown_name("training", name, recipe_names())


def resolve_train_spec(given: dict[str, Any], origin: str = "the settings") -> TrainSpec:
    """Validate nested settings; what is missing takes its default.

    Raises:
        InputError: an unknown key (with the nearest names) or a value that does not fit.
    """
    if given.get("schema", SCHEMA) != SCHEMA:
        raise InputError(
            f"{origin}: schema {given['schema']!r} is not {SCHEMA!r}; give a file for neuro train, such as those of "
            "neuro train --list."
        )
    try:
        spec = TrainSpec.model_validate(given)
    except ValidationError as error:
        raise first_fault(error, origin, TrainSpec) from error
    complete_model(spec.model)
    if spec.training.phases and spec.form != "spiking":
        raise InputError(
            f"{origin}: training.phases are parts at different T of a spiking network, but the form is {spec.form!r}; "
            "set training.phases=[] and training.epochs."
        )
    if spec.is_low_bit:
        load_recipe(spec.form)
        if spec.parallel == "sharded":
            raise InputError(
                f"{origin}: form {spec.form!r} has scales that are single numbers, which cannot be sharded; give "
                "parallel: replicated."
            )
        if spec.model.weights is None:
            raise InputError(
                f"{origin}: form {spec.form!r} quantizes a trained network; give it as model.weights, a run directory, "
                "a file or hub:NAME of form 'float'."
            )
    return spec


def merged(*documents: dict[str, Any]) -> dict[str, Any]:
    """Return settings laid on top of one another; of augmentations, which have an order, the last ones alone."""
    found: dict[str, Any] = {}
    for document in documents:
        found = merge_settings(found, document)
        data = document.get("data")
        if isinstance(data, dict) and "augment" in data:
            found["data"] = {**found["data"], "augment": data["augment"]}
    return found


def _folder() -> Path:
    return shipped_configs("neuro", "training")
