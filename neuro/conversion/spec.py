"""What a run is asked to do, as one document: `spec.yaml`, `--config FILE`, `--set key=value` and the flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hardware_models.errors import InputError, unknown_name
from hardware_models.shipped import shipped_configs
from neuro.hub import SPEC, WEIGHTS, is_folder, network_folder
from neuro.models.catalogue import architecture
from neuro.training.settings import TrainingSettings

SCHEMA: Final = "neuro.spec/1"

_TRAINING_SCHEMA: Final = "neuro.training/1"
"""Of `neuro.experiments.spec`, which lies above."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True, allow_inf_nan=False)


class ModelSpec(_Section):
    """Which network.

    Attributes:
        name: a registered architecture.
        variant: its size; null takes the architecture's default.
        timesteps: T.
        neuron: `if`, `lif`, `plif` or `ilif`.
        neuron_parameters: further arguments of the neuron, such as `tau`.
        surrogate: the surrogate gradient; `surrogate_alpha` its sharpness, null for the usual one.
        attention: the kind of attention; null takes the architecture's own.
        overrides: fields of the architecture's configuration that replace the variant's.
        weights: what to start from: a safetensors file or torch checkpoint, a run directory, or `hub:NAME`.
    """

    name: str = "spikeformer_v2"
    variant: str | None = None
    timesteps: Annotated[int, Field(ge=1)] = 4
    neuron: Literal["if", "lif", "plif", "ilif"] = "lif"
    neuron_parameters: dict[str, Any] = Field(default_factory=dict)
    surrogate: str = "sigmoid"
    surrogate_alpha: float | None = None
    attention: str | None = None
    overrides: dict[str, Any] = Field(default_factory=dict)
    weights: str | None = None


class DataSpec(_Section):
    """Which data.

    Attributes:
        name: such as `digits` or `folder:PATH`.
        image_size: side of the images in pixels; null takes the variant's own.
        split_seed: of the held-out split, where the data bring none; apart from the run's seed, so that runs
            of different seeds are judged on the same samples.
        train_limit: most training samples to use; null uses all.
        test_limit: most test samples to use; null uses all.
        augment: random changes of training images, such as `{crop_flip: 4}`; null takes the data set's own, `{}` none.
    """

    name: str = "digits"
    image_size: Annotated[int, Field(ge=1)] | None = None
    split_seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    train_limit: Annotated[int, Field(ge=1)] | None = None
    test_limit: Annotated[int, Field(ge=1)] | None = None
    augment: dict[str, Any] | None = None


class BuildSpec(_Section):
    """Which network on which data.

    Attributes:
        model: the network.
        data: the data.
        seed: of initial weights, sample order, augmentation and stochastic depth.
    """

    model: ModelSpec = Field(default_factory=ModelSpec)
    data: DataSpec = Field(default_factory=DataSpec)
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


class RunSpec(BuildSpec):
    """Everything a run depends on, apart from the code.

    Attributes:
        training: how it is trained.
        device: a torch device.
        convention: the rules of the energy figures.
        chips: chips or chip files to estimate on; `default`, `all` and `none` are sets.
        profile_samples: samples to run while measuring; null chooses by the size of the images.
    """

    schema_version: Literal["neuro.spec/1"] = Field(default=SCHEMA, alias="schema")
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    device: str = "cpu"
    convention: str = "horowitz45"
    chips: list[str] = Field(default_factory=lambda: ["default"])
    profile_samples: Annotated[int, Field(ge=1)] | None = None

    @property
    def directory_name(self) -> str:
        """A short name for a directory."""
        m = self.model
        return f"{m.name}-{m.variant}-t{m.timesteps}-{self.data.name.split(':')[0]}"

    def to_yaml(self) -> str:
        """Return the document as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json", by_alias=True), sort_keys=False)


def resolve_spec(given: dict[str, Any]) -> RunSpec:
    """Complete what the user gave with the data set's training defaults, and validate it.

    Args:
        given: nested settings; what is missing takes its default.

    Raises:
        InputError: an unknown key (with the nearest names) or a value that does not fit.
    """
    given = {key: value for key, value in given.items() if value is not None}
    model, data, training = (_section(given, name) for name in ("model", "data", "training"))
    merged = merge_settings(_training_defaults(data, model), given)
    if model.get("weights") and "epochs" not in training:
        # Weights that were given are measured as they are unless training is asked for.
        merged = merge_settings(merged, {"training": {"epochs": 0}})
    return validate_spec(merged)


def _section(given: dict[str, Any], name: str) -> dict[str, Any]:
    section = given.get(name, {})
    if not isinstance(section, dict):
        raise InputError(f"{name} was {section!r}; give its keys, as in {name}: {{{_EXAMPLES[name]}}}.")
    return section


_EXAMPLES = {"model": "variant: tiny", "data": "name: digits", "training": "epochs: 5"}


def _training_defaults(data: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """What is shipped as the way to train on this data set."""
    name = str(data.get("name", DataSpec().name)).split(":")[0]
    shipped = shipped_configs("neuro", "convert") / f"{name}.yaml"
    if not shipped.is_file():
        return {}
    defaults: dict[str, Any] = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    surrogate = ModelSpec().surrogate
    if model.get("surrogate", surrogate) != surrogate:
        # A sharpness is meant for one surrogate; another one keeps its own.
        defaults.get("model", {}).pop("surrogate_alpha", None)
    return defaults


def validate_spec(data: Any, origin: str = "the settings") -> RunSpec:
    """Validate plain data as a `RunSpec`; the first fault becomes one sentence.

    A variant and a kind of attention that are not named become the architecture's own.
    """
    if not isinstance(data, dict):
        raise InputError(f"{origin}: expected a mapping with model, data and training; see spec.yaml of any run.")
    if data.get("schema", SCHEMA) != SCHEMA:
        raise InputError(
            f"{origin}: schema {data['schema']!r} is not {SCHEMA!r}; remove that line or rewrite the file."
        )
    try:
        spec = RunSpec.model_validate(data)
    except ValidationError as error:
        raise first_fault(error, origin) from error
    complete_model(spec.model)
    return spec


@dataclass(frozen=True)
class TrainedSpec:
    """What the folder of a trained network says of it.

    Attributes:
        form: `spiking`, `float` or a recipe of low bits.
        built: which network, trained on which data.
    """

    form: str
    built: BuildSpec

    def __str__(self) -> str:
        """Return what it is, in words."""
        return describe_network(self.built.model, self.form)


def read_trained(folder: Path) -> TrainedSpec:
    """Read what a run directory or a folder of the hub says of its network.

    Raises:
        InputError: its specification is of another kind, or does not fit.
    """
    path = folder / SPEC
    settings = read_settings(path)
    schema = settings.get("schema")
    if schema not in (SCHEMA, _TRAINING_SCHEMA):
        raise InputError(
            f"{path} is of the schema {schema!r}, expected {_TRAINING_SCHEMA!r} or {SCHEMA!r}; give a run directory of "
            "neuro train, or hub:NAME."
        )
    try:
        built = BuildSpec.model_validate({key: settings[key] for key in BuildSpec.model_fields if key in settings})
    except ValidationError as error:
        raise first_fault(error, str(path), BuildSpec) from error
    complete_model(built.model)
    return TrainedSpec(str(settings.get("form", "spiking")), built)


def fitting_weights(model: ModelSpec, form: str = "spiking") -> Path:
    """Return the file of `model.weights`; those of a whole network have to be of this model, in this form.

    Raises:
        InputError: there is no such network, or it is another one.
    """
    name = str(model.weights)
    if not is_folder(name):
        return Path(name)
    folder = network_folder(name)
    found, wanted = str(read_trained(folder)), describe_network(model, form)
    if found != wanted:
        raise InputError(f"{name} is {found}; expected {wanted}, so ask for that network or give other weights.")
    return folder / WEIGHTS


def describe_network(model: ModelSpec, form: str) -> str:
    """Return in words what the weights of a network depend on; of a float parent that is neither T nor a neuron."""
    words = [f"{model.name} {model.variant}", form]
    if form != "float":
        words += [f"T = {model.timesteps}", model.neuron]
        words += [f"{key} = {value}" for key, value in sorted(model.neuron_parameters.items())]
    words.append(str(model.attention))
    return ", ".join([*words, *(f"{key} = {value}" for key, value in sorted(model.overrides.items()))])


def complete_model(model: ModelSpec) -> None:
    """Name the variant and the kind of attention that were left to the architecture."""
    known = architecture(model.name)
    model.variant = known.variant(model.variant).name
    model.attention = model.attention or known.default_attention


def first_fault(error: ValidationError, origin: str, document: type[BaseModel] = RunSpec) -> InputError:
    """Return the first fault of a document as one sentence."""
    fault = error.errors()[0]
    key = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return unknown_name("key", key, known_keys(document))
    if key == "model.neuron":
        return unknown_name("neuron", fault["input"], ["if", "lif", "plif", "ilif"])
    if key == "model.timesteps":
        return InputError(f"timesteps was {fault['input']!r}; give a whole number of at least 1.")
    if fault["type"] in ("dict_type", "model_type"):
        return InputError(f"{origin}: {key} was {fault['input']!r}; give keys with their values below it.")
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error" and isinstance(fault["input"], dict):
        return InputError(f"{origin}: {key}: {message}.")
    return InputError(f"{origin}: {key} was {fault['input']!r}; {message[0].lower()}{message[1:]}.")


def known_keys(spec: type[BaseModel] = RunSpec) -> list[str]:
    """Return every dotted key that `--set` takes."""
    keys = []
    for name, field in spec.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            keys += [f"{name}.{inner}" for inner in section.model_fields]
        elif name != "schema_version":
            keys.append(name)
    return keys


_KEYWORDS = {
    "model": ("model", "name"),
    **{key: ("model", key) for key in ("variant", "timesteps", "neuron", "surrogate", "attention", "weights")},
    "data": ("data", "name"),
    "image_size": ("data", "image_size"),
    "epochs": ("training", "epochs"),
    **{key: (key,) for key in ("seed", "device", "convention", "chips", "profile_samples")},
}
"""Where the specification has what the command line and `neuro.convert` take as flat keywords."""


def place_keywords(given: dict[str, Any], places: Mapping[str, Sequence[str]] | None = None) -> dict[str, Any]:
    """Place flat keywords (those that are not None) where the specification has them; `places` are a RunSpec's."""
    places = places or _KEYWORDS
    nested: dict[str, Any] = {}
    for key, value in given.items():
        if key not in places:
            raise unknown_name("keyword", key, places)
        if value is not None:
            nested = merge_settings(nested, _nest(places[key], value))
    return nested


def _nest(keys: Sequence[str], value: Any) -> dict[str, Any]:
    """`("a", "b"), 1` -> `{"a": {"b": 1}}`."""
    for key in reversed(keys):
        value = {key: value}
    return value


def merge_settings(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `over` laid on top, section by section."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge_settings(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def read_settings(path: Path) -> dict[str, Any]:
    """Read a YAML file of settings.

    Raises:
        InputError: it does not exist, is no YAML, or holds no mapping.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; give an existing YAML file.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} holds no settings; write keys such as 'model: {{name: spikeformer_v2}}'.")
    return data


def parse_assignment(text: str, spec: type[BaseModel] = RunSpec) -> dict[str, Any]:
    """Turn `section.key=value` of a `spec` into nested settings; the value is read as YAML.

    Raises:
        InputError: no `=`, an unknown key, or a value that is no YAML.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set was given {text!r}; write --set key=value, for example --set training.epochs=5.")
    prefixes = ("model.overrides.", "model.neuron_parameters.")
    if key not in known_keys(spec) and not key.startswith(prefixes):
        raise unknown_name("key", key, known_keys(spec))
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"--set {key} was given {value!r}, which is not a YAML value.") from error
    return _nest(key.split("."), parsed)
