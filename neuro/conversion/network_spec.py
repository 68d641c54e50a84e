"""What the conversion of a given network is asked to do, as one document: `spec.yaml` and the flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hardware_models.errors import InputError, unknown_name
from neuro.conversion.spec import DataSpec, known_keys, place_keywords

SCHEMA: Final = "neuro.network-spec/1"

LARGEST_T: Final = 1024

Timesteps = Annotated[int, Field(ge=1, le=LARGEST_T)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True, allow_inf_nan=False)


class NetworkSpec(_Section):
    """Which network.

    Attributes:
        source: `timm:NAME`, `hf:NAME`, `module.path:factory` or a saved exported program, `FILE.pt2`.
        weights: a safetensors file or torch checkpoint; null keeps what the source brings.
        weights_by_order: match the file's tensors with the network's by their order, not by their names.
        input_size: side of the images in pixels; null takes the network's own.
    """

    source: str
    weights: str | None = None
    weights_by_order: bool = False
    input_size: Annotated[int, Field(ge=1)] | None = None


class CodingSpec(_Section):
    """How its values become spikes.

    Attributes:
        name: `differential` or `rate`.
        spikes: kind of spikes; null takes the coding's own.
        levels: thresholds of a multi-threshold neuron, or most unit spikes at once; null takes the kind's own.
        calibration: how thresholds are chosen: `percentile`, `max`, or `search` for the least error after T timesteps.
        percentile: share of magnitudes, percent, that the largest threshold reaches.
        per_channel: thresholds for each channel that a convolution or linear operator reads.
        outlier_channels: with one threshold for all channels, as many of them may have their own.
        strictness: `exact-nonlinear` computes what is not linear in floating point; `spike-only` by thresholds.
        keep: operators without a rule that stay in floating point.
        calibration_samples: inputs that the thresholds are chosen from.
    """

    name: Literal["differential", "rate"] = "differential"
    spikes: str | None = None
    levels: Annotated[int, Field(ge=1, le=15)] | None = None
    calibration: Literal["percentile", "max", "search"] = "percentile"
    percentile: Annotated[float, Field(gt=0, le=100)] = 99.9
    per_channel: bool = False
    outlier_channels: Annotated[int, Field(ge=0)] = 0
    strictness: Literal["exact-nonlinear", "spike-only"] = "exact-nonlinear"
    keep: list[str] = Field(default_factory=list)
    calibration_samples: Annotated[int, Field(ge=1)] = 32


class NetworkRunSpec(_Section):
    """Everything such a run depends on, apart from the code.

    Attributes:
        timesteps: T.
        sweep: further numbers of timesteps to compare at; those above T are run too.
        compared_samples: inputs to compare the networks on; null takes 64, or all that are labelled up to 1,000.
        seed: of random weights.
        device: a torch device.
        convention: the rules of the energy figures.
        chips: chips or chip files to estimate on; `default`, `all` and `none` are sets.
        profile_samples: samples to run while measuring every operator.
    """

    schema_version: Literal["neuro.network-spec/1"] = Field(default=SCHEMA, alias="schema")
    network: NetworkSpec
    coding: CodingSpec = Field(default_factory=CodingSpec)
    timesteps: Timesteps = 16
    sweep: list[Timesteps] = Field(default_factory=list)
    data: DataSpec = Field(default_factory=lambda: DataSpec(name="photos"))
    compared_samples: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    device: str = "cpu"
    convention: str = "horowitz45"
    chips: list[str] = Field(default_factory=lambda: ["default"])
    profile_samples: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _sweep_rises(self) -> NetworkRunSpec:
        if sorted(set(self.sweep)) != self.sweep:
            raise ValueError("give rising timesteps without repetition, such as 1,2,4,8")
        return self

    @property
    def points(self) -> list[int]:
        """The timesteps to compare at, T among them, rising."""
        return sorted({*self.sweep, self.timesteps})

    @property
    def directory_name(self) -> str:
        """A short name for a directory."""
        return f"{Path(self.network.source).name.replace(':', '-').replace('/', '-')}-t{self.timesteps}"

    def to_yaml(self) -> str:
        """Return the document as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json", by_alias=True), sort_keys=False)


def is_network_source(name: str) -> bool:
    """Whether a model's name is a source of a given network, and not a registered architecture."""
    return ":" in name or name.endswith(".pt2")


def resolve_network_spec(given: dict[str, Any], origin: str = "the settings") -> NetworkRunSpec:
    """Validate nested settings; what is missing takes its default.

    Raises:
        InputError: an unknown key (with the nearest names) or a value that does not fit.
    """
    try:
        return NetworkRunSpec.model_validate(given)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        if fault["type"] == "extra_forbidden":
            raise unknown_name("setting of a given network", key, known_keys(NetworkRunSpec)) from error
        message = fault["msg"].removeprefix("Value error, ")
        raise InputError(f"{origin}: {key or 'sweep'} was {fault['input']!r}; {message}.") from error


_KEYWORDS: dict[str, tuple[str, ...]] = {
    "model": ("network", "source"),
    **{key: ("network", key) for key in ("weights", "weights_by_order", "input_size")},
    "image_size": ("network", "input_size"),
    "coding": ("coding", "name"),
    **{
        key: ("coding", key) for key in ("spikes", "levels", "strictness", "keep", "calibration", "calibration_samples")
    },
    **{key: ("coding", key) for key in ("percentile", "per_channel", "outlier_channels")},
    "data": ("data", "name"),
    **{key: (key,) for key in ("timesteps", "sweep", "compared_samples", "seed", "device", "convention", "chips")},
    "profile_samples": ("profile_samples",),
}


def place_network_keywords(given: dict[str, Any]) -> dict[str, Any]:
    """Place flat keywords (those that are not None) where a `NetworkRunSpec` has them."""
    return place_keywords(given, _KEYWORDS)
