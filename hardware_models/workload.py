"""The Workload: plain numbers that say what a network does in one inference. The only bridge to hardware.

A Workload is a list of layers in execution order. A layer carries its loop bounds, the width and form of each
operand, which operand is spikes and how many there were in each timestep, and the layers that consume its
result. It holds no tensors and needs no torch; it can be measured (`neuro.profile`), read from a file, or
written by hand.

Counts are exact integers summed over `Workload.batch` samples; sizes are those of one sample and one timestep.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from hardware_models.errors import InputError
from hardware_models.files import write_atomically

SCHEMA: Final = "neuro.workload/1"

Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]

Form = Literal["binary", "ternary", "integer", "power-of-two", "float"]
"""Values an operand was seen to take, up to one scale: {0,1}; {-1,0,1}; small integers; 0 and powers of two of either
sign; anything else."""

MOST_LEVELS: Final = 16
"""Powers of two from the smallest to the largest that an operand of that form spans at most."""

Operator = Literal["conv", "linear", "matmul", "neuron", "norm", "add", "mask", "pool", "reduce", "elementwise"]
"""conv, linear: activation x weight. matmul: activation x activation. neuron: charge, fire, reset. mask: product
of two spike tensors, element by element. reduce: sum or mean. elementwise: everything else that computes."""

SYNAPTIC: tuple[str, ...] = ("conv", "linear", "matmul")
"""Operators made of multiply-accumulates."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Bounds(_Frozen):
    """Loop bounds of a convolution or matrix product, for one sample and one timestep.

    A linear layer on M rows has `out_size == in_size == (M,)` and kernel `(1,)`; a matrix product
    `[M, K] x [K, N]` in each of G groups has `in_channels = G K`, `out_channels = G N`, `out_size = (M,)`.
    """

    groups: Size = 1
    in_channels: Size
    out_channels: Size
    in_size: tuple[Size, ...]
    out_size: tuple[Size, ...]
    kernel: tuple[Size, ...] = (1,)
    stride: tuple[Size, ...] = (1,)
    padding: tuple[Count, ...] = (0,)
    dilation: tuple[Size, ...] = (1,)
    transposed: bool = False

    @model_validator(mode="after")
    def _groups_divide(self) -> Bounds:
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"{self.in_channels} input and {self.out_channels} output channels do not divide into "
                f"{self.groups} groups"
            )
        return self

    @property
    def gemm(self) -> tuple[int, int, int]:
        """(M, N, K) of each group's matrix product: output positions, outputs, reduction length."""
        positions = self.in_size if self.transposed else self.out_size
        per_group_in, per_group_out = self.in_channels // self.groups, self.out_channels // self.groups
        if self.transposed:
            return math.prod(positions), per_group_out * math.prod(self.kernel), per_group_in
        return math.prod(positions), per_group_out, per_group_in * math.prod(self.kernel)

    @property
    def macs(self) -> int:
        """Dense multiply-accumulates of one sample and timestep, padding counted as data."""
        return self.groups * math.prod(self.gemm)

    @property
    def fan_out(self) -> float:
        """Mean number of accumulates that one input element triggers."""
        return self.macs / (self.in_channels * math.prod(self.in_size))


class Operand(_Frozen):
    """One tensor of a layer: how its values are represented and, for activations, how active they were.

    Attributes:
        name: `input`, `weight`, `left`, `right` or `output`.
        role: `activation` changes with the sample, `weight` does not.
        bits: width of one stored value; 1 for binary spikes.
        signed: whether negative values occur.
        form: which values occur, up to `scale`.
        scale: the common factor of a scaled form; values are `scale` times an integer. Of powers of two the smallest.
        levels: powers of two from the smallest to the largest value; 0 for other forms, and where it is not known.
        elements: size in one sample and one timestep (of a weight: its size).
        nonzero: non-zero values in each timestep, summed over the batch; a weight has one entry.
        magnitude: the unit spikes that the values stand for in each timestep: the sum of |integer value|, and equal to
            `nonzero` for binary, ternary and power-of-two operands, each value of which is one spike; empty for
            floating point.
        density: share of non-zero values in each timestep.
        max_channel_density: the busiest channel's density in each timestep; empty for weights.
        channels: key of the `[T, C]` array of non-zero counts by channel in `Workload.arrays`.
    """

    name: str
    role: Literal["activation", "weight"] = "activation"
    bits: Size
    signed: bool
    form: Form
    scale: float = 1.0
    levels: Annotated[int, Field(ge=0, le=MOST_LEVELS)] = 0
    elements: Size
    nonzero: tuple[Count, ...]
    magnitude: tuple[Count, ...] = ()
    density: tuple[Share, ...]
    max_channel_density: tuple[Share, ...] = ()
    channels: str | None = None

    @property
    def is_spikes(self) -> bool:
        """Whether the values are spikes (of any form), so that a product with them needs only additions."""
        return self.form != "float"

    @property
    def number_bits(self) -> int:
        """Width of a value as a number; of powers of two, whose `bits` tell sign and level, the integer they are."""
        if self.form != "power-of-two":
            return self.bits
        most = (2 ** min(self.bits, 6) - 1) // (1 + self.signed)  # levels that so many bits tell apart
        return (self.levels or max(1, min(most, MOST_LEVELS))) + self.signed

    def until(self, timesteps: int) -> Operand:
        """Return the operand of the first `timesteps`; its form stays that of the whole run."""
        by_step = ("nonzero", "magnitude", "density", "max_channel_density")
        return self.model_copy(update={name: getattr(self, name)[:timesteps] for name in by_step})

    @property
    def mean_density(self) -> float:
        """Share of non-zero values over all timesteps."""
        return sum(self.density) / len(self.density)


class Layer(_Frozen):
    """One operator of the network.

    Attributes:
        name: module path, with the operation's own name where the module has several.
        operator: what it is.
        op: the operation as it was seen, for example `aten.convolution`.
        timesteps: how often it runs in one inference: T, or 1 outside of time.
        bounds: loop bounds of a synaptic operator.
        operands: what it reads, activations and weights.
        out_elements: size of its result in one sample and one timestep; of a neuron, the number of neurons.
        macs: multiply-accumulates that were executed, over batch and timesteps.
        acs: accumulates (additions triggered by spikes), over batch and timesteps; one, with a shift, for each
            power-of-two spike and output that it reaches.
        acs_by_timestep: the same in each timestep; empty where it is not known.
        driven_by: name of the operand whose spikes drive the accumulates.
        output: the spikes of a neuron.
        consumers: names of the layers that read its result, through any additions and reshapes.
    """

    name: str
    operator: Operator
    op: str
    timesteps: Size
    bounds: Bounds | None = None
    operands: tuple[Operand, ...] = ()
    out_elements: Count
    macs: Count = 0
    acs: Count = 0
    acs_by_timestep: tuple[Count, ...] = ()
    driven_by: str | None = None
    output: Operand | None = None
    consumers: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _synaptic_has_bounds(self) -> Layer:
        if self.operator in SYNAPTIC and self.bounds is None:
            raise ValueError(f"layer {self.name!r} is a {self.operator} without bounds")
        return self

    @model_validator(mode="after")
    def _timesteps_add_up(self) -> Layer:
        steps = self.acs_by_timestep
        if steps and (len(steps) != self.timesteps or sum(steps) != self.acs):
            raise ValueError(
                f"layer {self.name!r} states accumulates of {len(steps)} timesteps, {sum(steps)} in all; expected "
                f"{self.timesteps} timesteps and {self.acs}"
            )
        return self

    @property
    def dense_macs(self) -> int:
        """Multiply-accumulates of one inference of one sample if nothing were skipped."""
        return self.bounds.macs * self.timesteps if self.bounds else 0

    @property
    def fan_out(self) -> float:
        """Mean number of accumulates that one input element triggers; 0 for operators without synapses."""
        return self.bounds.fan_out if self.bounds else 0.0

    @property
    def accumulate_only(self) -> bool:
        """Whether it is synaptic and needs no multiplication."""
        return self.operator in SYNAPTIC and self.driven_by is not None

    def operand(self, name: str) -> Operand:
        """Return the operand called `name`."""
        for operand in self.operands:
            if operand.name == name:
                return operand
        raise KeyError(f"layer {self.name!r} has no operand {name!r}; it has {[o.name for o in self.operands]}")

    def until(self, timesteps: int) -> Layer:
        """Return what the layer did in the first `timesteps`; see `Workload.until`."""
        if self.timesteps <= timesteps:
            return self
        if self.acs and not self.acs_by_timestep:
            raise InputError(
                f"layer {self.name!r} does not say when its accumulates happened; profile the network again."
            )
        acs = self.acs_by_timestep[:timesteps]
        return self.model_copy(
            update={
                "timesteps": timesteps,
                "operands": tuple(operand.until(timesteps) for operand in self.operands),
                "macs": self.macs * timesteps // self.timesteps,
                "acs": sum(acs),
                "acs_by_timestep": acs,
                "output": self.output and self.output.until(timesteps),
            }
        )


class Workload(_Frozen):
    """What a network does in one inference, layer by layer.

    Attributes:
        name: the network's name.
        timesteps: T of the network.
        batch: samples that the counts are summed over.
        layers: in execution order.
        notes: what the reader of the figures has to know, one sentence each.
    """

    schema_version: Literal["neuro.workload/1"] = Field(default=SCHEMA, alias="schema")
    name: str
    timesteps: Size
    batch: Size
    layers: tuple[Layer, ...]
    notes: tuple[str, ...] = ()
    _arrays: dict[str, npt.NDArray[np.int64]] = PrivateAttr(default_factory=dict)

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @property
    def arrays(self) -> dict[str, npt.NDArray[np.int64]]:
        """Non-zero counts by timestep and channel, `[T, C]`, under the keys in `Operand.channels`."""
        return self._arrays

    def synaptic_layers(self) -> Iterator[Layer]:
        """Yield the layers made of multiply-accumulates."""
        return (layer for layer in self.layers if layer.operator in SYNAPTIC)

    def neuron_layers(self) -> Iterator[Layer]:
        """Yield the neuron layers."""
        return (layer for layer in self.layers if layer.operator == "neuron")

    def neuron_fan_out(self, neuron: Layer) -> float:
        """Return the mean number of synapses behind one neuron of a layer: the fan-outs of its synaptic consumers.

        Consumers that are reached only through other layers are not behind it.
        """
        return sum(layer.fan_out for layer in self.layers if layer.name in neuron.consumers)

    @property
    def macs(self) -> float:
        """Multiply-accumulates of one inference, mean over the batch."""
        return sum(layer.macs for layer in self.layers) / self.batch

    @property
    def acs(self) -> float:
        """Accumulates of one inference, mean over the batch."""
        return sum(layer.acs for layer in self.layers) / self.batch

    @property
    def synaptic_operations(self) -> float:
        """Spikes times their fan-out, of one inference: the accumulates of convolutions and matrix products."""
        return sum(layer.acs for layer in self.synaptic_layers()) / self.batch

    @property
    def spikes(self) -> float:
        """Unit spikes (a power of two is one) that all neurons fire in one inference, mean over the batch."""
        return sum(sum(layer.output.magnitude) for layer in self.neuron_layers() if layer.output) / self.batch

    @property
    def firing_rate(self) -> float:
        """Spikes per neuron per timestep; NaN for a network without neurons."""
        updates = sum(layer.out_elements * layer.timesteps for layer in self.neuron_layers())
        return self.spikes / updates if updates else math.nan

    def until(self, timesteps: int) -> Workload:
        """Return what the first `timesteps` of the same run did, so that one run tells the cost of any shorter one.

        What is counted by timestep is cut; multiply-accumulates, which no spike decides, are alike in all timesteps.
        Layers outside of time stay as they are, and so do forms and widths: the hardware serves the whole run.

        Raises:
            InputError: `timesteps` is not between 1 and T, or a layer does not say when its accumulates happened.
        """
        if not 1 <= timesteps <= self.timesteps:
            raise InputError(f"{self.name!r} ran {self.timesteps} timesteps; give 1 to that, not {timesteps}.")
        layers = tuple(layer.until(timesteps) for layer in self.layers)
        first = self.model_copy(update={"timesteps": timesteps, "layers": layers})
        first._arrays = {key: counts[:timesteps] for key, counts in self._arrays.items()}
        return first

    def save(self, path: Path) -> None:
        """Write `path` (JSON) and, beside it, the arrays as `.npz`; each file appears whole or not at all."""
        with write_atomically(path.with_suffix(".npz"), "wb") as file:
            np.savez_compressed(file, **self._arrays)  # type: ignore[arg-type]
        with write_atomically(path) as file:
            file.write(self.model_dump_json(by_alias=True, indent=1))

    @classmethod
    def load(cls, path: Path) -> Workload:
        """Read what `save` wrote; the arrays are optional.

        Raises:
            InputError: the file is missing, no workload, or of another schema version.
        """
        workload = cls.from_dict(_read_json(path), str(path))
        npz = path.with_suffix(".npz")
        if npz.exists():
            workload._arrays.update(_read_arrays(npz))
        return workload

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Workload):
            return NotImplemented
        mine, theirs = self._arrays, other._arrays
        same = mine.keys() == theirs.keys() and all(np.array_equal(mine[key], theirs[key]) for key in mine)
        return same and all(getattr(self, name) == getattr(other, name) for name in type(self).model_fields)

    def __hash__(self) -> int:
        return hash((self.name, self.timesteps, self.batch, self.layers, self.notes))

    @classmethod
    def from_dict(cls, data: Any, origin: str = "the given data") -> Workload:
        """Validate plain data; `origin` names it in errors."""
        version = data.get("schema") if isinstance(data, dict) else None
        if version != SCHEMA:
            raise InputError(f"{origin} has schema {version!r}; expected a workload of schema {SCHEMA!r}.")
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the top level"
            raise InputError(f"{origin} is no valid workload: {first['msg']} at {place}; mend that entry.") from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; give a workload.json or a run directory.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a workload.json.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); give a workload.json.") from error


def _read_arrays(path: Path) -> dict[str, npt.NDArray[np.int64]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path} is damaged or cannot be read ({error}); remove it to load the workload without counts by "
            "channel, or profile again."
        ) from error
