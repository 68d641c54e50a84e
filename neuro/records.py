"""What a conversion found, as the plain documents of a run directory.

spec.yaml            what was asked for (`neuro.conversion.spec.RunSpec`, or `network_spec.NetworkRunSpec` of a network
                     that was given)
weights.safetensors  the spiking variant as trained
workload.json        its inference form (merged), measured; arrays beside it in workload.npz
workload-as-trained.json, workload-float.json, workload-float-merged.json
                     the variant before merging, and the float parent before and after
conversion.json      this file's `ConversionRecord`: the summary rows, and how training went
estimate.json        energy by layer of each row, under one convention
chips.json           what each form costs on chips: totals, bands, assumptions (`hardware_models.comparison`)
report.html          all of it, to read
environment.json     versions, seed, command, machine
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from hardware_models.convention_estimate import ConventionEstimate

SCHEMA: Final = "neuro.conversion/1"
ESTIMATES_SCHEMA: Final = "neuro.estimates/1"


FormKey = Literal[
    "float", "float-merged", "spiking", "spiking-merged", "converted", "low-bit", "quantized", "spiking-quantized"
]
"""The forms of one network: the floating-point parent and the spiking variant, each as trained and merged, or the
network that was given (`float`) and what it was converted into (`converted` to spikes, or `low-bit`); the parent
quantized to ceil(log2(T + 1)) bits, and the spiking inference form with weights of as many bits."""


WORKLOAD_FILES: dict[FormKey, str] = {
    "spiking-merged": "workload.json",
    "spiking": "workload-as-trained.json",
    "float": "workload-float.json",
    "float-merged": "workload-float-merged.json",
}
"""The forms that are measured of an architecture; the quantized ones run the operators of `float` and
`spiking-merged`."""

NETWORK_WORKLOAD_FILES: dict[FormKey, str] = {"converted": "workload.json", "float": "workload-float.json"}
"""The forms that are measured of a network that was given."""

LOW_BIT_WORKLOAD_FILES: dict[FormKey, str] = {"low-bit": "workload.json", "float": "workload-float.json"}
"""The forms that are measured of a low-bit conversion."""


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class SummaryRow(_Document):
    """One line of the summary table: what one form of the network does in one inference.

    Attributes:
        key: which form of the network.
        name: for people, for example `Spiking variant, merged`.
        accuracy: share of the test split that is right; None when it was not measured.
        parameters: number of parameters.
        timesteps: T.
        bits: width of weights and activations in the energy figure.
        firing_rate: spikes per neuron per timestep; None without neurons.
        sops: synaptic operations, spikes times fan-out.
        macs: multiply-accumulates.
        acs: accumulates.
        energy_j: energy in joules under the run's convention, with its band.
        note: what a careful reader has to know of this row.
    """

    key: FormKey
    name: str
    accuracy: float | None
    parameters: int
    timesteps: int
    bits: int
    firing_rate: float | None
    sops: float
    macs: float
    acs: float
    energy_j: float
    energy_low_j: float
    energy_high_j: float
    note: str = ""


class EpochRecord(_Document):
    """One epoch of training.

    Attributes:
        epoch: from 1.
        loss: mean over the samples, as is `train_accuracy`.
        test_accuracy: where it was measured.
        learning_rate: of the last step.
        seconds: of wall clock; `waited_seconds` of them for batches.
        timesteps: T.
        firing_rate: spikes per neuron and timestep, where there is a budget of them.
    """

    epoch: int
    loss: float
    train_accuracy: float
    test_accuracy: float | None
    learning_rate: float
    seconds: float
    waited_seconds: float = 0.0
    timesteps: int = 1
    firing_rate: float | None = None


class OperatorRecord(_Document):
    """What became of one operator of a network that was given.

    Attributes:
        path: the module it came from.
        operator: such as `conv2d`.
        kind: `synapse` or `product` (driven by spikes), `scale`, `add`, `reduce`, `move`, `nonlinear` (run on values),
            `comparison` or `ladder` (by comparisons or thresholds alone), or `kept` (no rule, left in floating point as
            asked).
        layer: its name in the measured workload; empty where it has none of its own.
        bound: largest error of a function made by thresholds, absolute or relative as `neuro.coding.ladder` says; None
            for other operators.
        errors: of its result against the float network at each T of `NetworkRecord.errors_at`; empty where no spikes
            drive it.
    """

    path: str
    operator: str
    kind: str
    layer: str = ""
    bound: float | None = None
    errors: list[float] = Field(default_factory=list)


class SweepRecord(_Document):
    """The converted network at one T; counts and joules are of one inference.

    Attributes:
        timesteps: T.
        output_error: median over samples of |y_T - y| / |y| against the float network.
        agreement: share of samples with the float network's largest output.
        accuracy: share of samples that are right; None without labels.
        spikes: of all neurons.
        firing_rate: spikes per neuron and timestep.
        sops: synaptic operations; `macs` the multiplications that remain.
        energy_j: under the run's convention, with its band.
    """

    timesteps: int
    output_error: float
    agreement: float
    accuracy: float | None
    spikes: float
    firing_rate: float
    sops: float
    macs: float
    energy_j: float
    energy_low_j: float
    energy_high_j: float


class NetworkRecord(_Document):
    """What became of a network that was given.

    Attributes:
        coding: how values are sent, `differential` or `rate`; `spikes` what kind, with `levels` thresholds.
        strictness: `exact-nonlinear` or `spike-only`.
        folded: BatchNorm layers that went into the operator before them.
        operators: every operator met, in order.
        errors_at: the timesteps of `OperatorRecord.errors`.
        sweep: the network over T, rising; the last is the run's own T.
        compared_samples: samples behind `sweep`.
        float_accuracy: of the float network on the same samples; None without labels.
    """

    coding: str
    spikes: str
    levels: int
    strictness: str
    folded: dict[str, str] = Field(default_factory=dict)
    operators: list[OperatorRecord]
    errors_at: list[int]
    sweep: list[SweepRecord]
    compared_samples: int
    float_accuracy: float | None = None


class LowBitOperator(_Document):
    """What became of one operator of a low-bit network.

    Attributes:
        path: the module it came from.
        operator: such as `conv2d`.
        kind: `synapse`, `product`, `add`, `nonlinear`, ... as of `quant.capture.operators`; `norm`, or `kept` (no rule,
            left in floating point as asked).
        weight: how its weight is held, such as `binary, 64 scales`; empty without a weight.
        inputs: how what it reads is held; empty where it reads values as they come.
        error: of its result against the float network's, relative; None where nothing of it is quantized.
    """

    path: str
    operator: str
    kind: str
    weight: str = ""
    inputs: list[str] = Field(default_factory=list)
    error: float | None = None


class LowBitRecord(_Document):
    """What became of a network that was quantized.

    Attributes:
        recipe: its name, with what it is in `summary`.
        method: `ptq` or `qat`.
        operators: every operator met, in order.
        output_error: median over samples of |y_q - y| / |y| against the float network.
        agreement: share of samples with the float network's largest output.
        compared_samples: samples behind both, and behind the accuracies.
        stored_bits: of all parameters and buffers, quantized weights at their width; `float_bits` of the float network.
    """

    recipe: str
    summary: str
    method: str
    operators: list[LowBitOperator]
    output_error: float
    agreement: float
    compared_samples: int
    stored_bits: int
    float_bits: int


class ConversionRecord(_Document):
    """What became of the network.

    Attributes:
        model: architecture and variant.
        convention: the convention of the energy figures.
        dataset: name of the data set; `dataset_source` says where it came from and how it was prepared.
        test_samples: size of the held-out split that the accuracies are shares of.
        profiled_samples: samples that were run while measuring.
        rows: the summary table.
        training: epochs of the `float` parent and of the `spiking` variant.
        merge_error: largest difference that merging makes to the output of a convolution, each given what it
            really sees, relative to that convolution's largest output; None where nothing is merged.
        network: what became of a network that was given; None for an architecture.
        low_bit: what became of a network that was quantized; None for others.
        notes: anything else, one sentence each.
    """

    schema_version: Literal["neuro.conversion/1"] = Field(default=SCHEMA, alias="schema")
    model: str
    variant: str = ""
    timesteps: int
    neuron: str
    surrogate: str = ""
    attention: str = ""
    convention: str
    dataset: str
    dataset_source: str
    test_samples: int
    profiled_samples: int
    rows: list[SummaryRow]
    training: dict[str, list[EpochRecord]] = Field(default_factory=dict)
    merge_error: float | None = None
    network: NetworkRecord | None = None
    low_bit: LowBitRecord | None = None
    notes: list[str] = Field(default_factory=list)


class Estimates(BaseModel):
    """Content of `estimate.json`: one estimate for each form of the network."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_version: Literal["neuro.estimates/1"] = Field(default=ESTIMATES_SCHEMA, alias="schema")
    estimates: dict[FormKey, ConventionEstimate] = Field(min_length=1)


def workload_files(record: ConversionRecord) -> dict[FormKey, str]:
    """Return the measured forms of a run and the files that hold them."""
    if record.low_bit:
        return LOW_BIT_WORKLOAD_FILES
    return NETWORK_WORKLOAD_FILES if record.network else WORKLOAD_FILES
