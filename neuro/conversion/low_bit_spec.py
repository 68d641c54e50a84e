"""What a low-bit conversion is asked to do, as one document: `spec.yaml` and the flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hardware_models.errors import InputError, unknown_name
from neuro.conversion.network_spec import NetworkSpec, Timesteps, is_network_source
from neuro.conversion.spec import DataSpec, known_keys, place_keywords
from neuro.training.settings import TrainingSettings

SCHEMA: Final = "neuro.low-bit-spec/1"

_FLOAT_TRAINING: Final = TrainingSettings(epochs=0, batch_size=128, learning_rate=2e-3, label_smoothing=0.1)
_TRAINING: Final = TrainingSettings(epochs=4, batch_size=128, learning_rate=1e-3, weight_decay=0.0)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True, allow_inf_nan=False)


class CalibrationSpec(_Section):
    """How ranges are chosen, and what is mended after training.

    Attributes:
        samples: inputs to calibrate with.
        method: `minmax`, `percentile`, `mse` or `histogram`.
        percentile: of that method, percent.
        equalization: even out the ranges of neighbouring layers before they are quantized.
        bias_correction: take the mean error that quantization makes off each layer's bias.
        rounding: of weights: `nearest`, `gptq` or `adaround`.
    """

    samples: Annotated[int, Field(ge=1)] = 256
    method: Literal["minmax", "percentile", "mse", "histogram"] = "mse"
    percentile: Annotated[float, Field(gt=50, le=100)] = 99.99
    equalization: bool = False
    bias_correction: bool = True
    rounding: Literal["nearest", "gptq", "adaround"] = "gptq"


class LowBitSpec(_Section):
    """Everything such a run depends on, apart from the code.

    Attributes:
        network: which network; of an architecture, `weights` is a run directory or `hub:NAME` of form `float`.
        variant: its size, of an architecture; null takes the architecture's own.
        recipe: name or file of a recipe.
        method: `ptq` calibrates, `qat` trains behind a calibration.
        timesteps: T, of recipes that fire.
        keep: operators and module paths that stay in floating point.
        calibration: of both methods; equalization, bias correction and rounding are of `ptq` alone.
        float_training: of the network itself before it is quantized; 0 epochs for one that is trained.
        training: of the low-bit variant (`qat`), with the float network as its teacher.
        compared_samples: held-out inputs to compare on; null takes all that are labelled, or 64.
        seed: of random weights and of the order of samples.
        device: a torch device.
        convention: the rules of the energy figures.
        chips: chips or chip files to estimate on; `default`, `all` and `none` are sets.
        profile_samples: samples to run while measuring every operator.
    """

    schema_version: Literal["neuro.low-bit-spec/1"] = Field(default=SCHEMA, alias="schema")
    network: NetworkSpec
    variant: str | None = None
    recipe: str
    method: Literal["ptq", "qat"] = "ptq"
    timesteps: Timesteps = 4
    keep: list[str] = Field(default_factory=list)
    calibration: CalibrationSpec = Field(default_factory=CalibrationSpec)
    float_training: TrainingSettings = _FLOAT_TRAINING
    training: TrainingSettings = _TRAINING
    data: DataSpec = Field(default_factory=DataSpec)
    compared_samples: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    device: str = "cpu"
    convention: str = "horowitz45"
    chips: list[str] = Field(default_factory=lambda: ["default"])
    profile_samples: Annotated[int, Field(ge=1)] = 4

    @property
    def directory_name(self) -> str:
        """A short name for a directory."""
        network = Path(self.network.source).name.replace(":", "-").replace("/", "-")
        return f"{network}-{Path(self.recipe).stem}"

    def to_yaml(self) -> str:
        """Return the document as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json", by_alias=True), sort_keys=False)


def resolve_low_bit_spec(given: dict[str, Any], origin: str = "the settings") -> LowBitSpec:
    """Validate nested settings; what is missing takes its default.

    Raises:
        InputError: an unknown key (with the nearest names) or a value that does not fit.
    """
    filled = dict(given)
    network = filled.get("network")
    if isinstance(network, dict) and is_network_source(str(network.get("source"))):
        filled = {"data": {"name": "photos"}} | filled
    for section, defaults in (("float_training", _FLOAT_TRAINING), ("training", _TRAINING)):
        if isinstance(filled.get(section), dict):
            filled[section] = {**defaults.model_dump(), **filled[section]}
    try:
        return LowBitSpec.model_validate(filled)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        if fault["type"] == "extra_forbidden":
            raise unknown_name("setting of a low-bit conversion", key, known_keys(LowBitSpec)) from error
        raise InputError(
            f"{origin}: {key} was {fault['input']!r}; {fault['msg'].removeprefix('Value error, ')}."
        ) from error


_KEYWORDS: dict[str, tuple[str, ...]] = {
    "model": ("network", "source"),
    **{key: ("network", key) for key in ("weights", "weights_by_order", "input_size")},
    "image_size": ("network", "input_size"),
    "to": ("recipe",),
    "data": ("data", "name"),
    "calibration": ("calibration", "method"),
    "calibration_samples": ("calibration", "samples"),
    "percentile": ("calibration", "percentile"),
    "rounding": ("calibration", "rounding"),
    "float_epochs": ("float_training", "epochs"),
    "epochs": ("training", "epochs"),
    **{
        key: (key,)
        for key in ("variant", "method", "timesteps", "keep", "compared_samples", "seed", "device", "convention")
    },
    **{key: (key,) for key in ("chips", "profile_samples")},
}


def place_low_bit_keywords(given: dict[str, Any]) -> dict[str, Any]:
    """Place flat keywords (those that are not None) where a `LowBitSpec` has them."""
    return place_keywords(given, _KEYWORDS)
