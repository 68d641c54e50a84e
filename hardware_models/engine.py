"""What every engine shares: the figures it reads, how a run is executed, and the cost that it returns."""

from __future__ import annotations

import fnmatch
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from hardware_models.errors import unknown_name

Array = npt.NDArray[Any]

ENGINES: Mapping[str, str] = {
    "systolic": "hardware_models.systolic",
    "row_stationary": "hardware_models.row_stationary",
    "spatial": "hardware_models.spatial",
    "event_driven": "hardware_models.event_driven",
    "roofline": "hardware_models.roofline",
    "crossbar": "hardware_models.crossbar",
}
"""The engines by name. A module of an engine has `FIGURES`, `Settings` and `evaluate(table, hardware, run)`."""

LARGEST_SIZE: Final = 2**48
"""Largest size of a chip and of a layer: counts of bits and of timesteps still are exact in 64 bits."""

Question = Literal["energy", "latency"]
"""What a chip can be asked; it may refuse one where the public record is too thin."""

Execution = Literal["time-batched", "step-by-step"]
"""time-batched: a layer runs all T timesteps before the next one starts, so that its weights are fetched once.
step-by-step: the whole network runs T times."""


@dataclass(frozen=True)
class FigureSpec:
    """A figure that an engine reads from a chip.

    Attributes:
        name: dotted; `*` stands for one part (`memory.*.capacity`).
        unit: base unit, for example `J/bit`.
        meaning: what it is, for people.
        kind: `cost` (energy, time, power: cheaper when lower), `rate` (bandwidth, clock: cheaper when higher),
            `size` (structure: a whole number, whose band takes no part in a corner).
    """

    name: str
    unit: str
    meaning: str
    kind: Literal["cost", "rate", "size"] = "cost"

    def matches(self, name: str) -> bool:
        """Whether a chip's figure called `name` is this one."""
        return self.name.count(".") == name.count(".") and fnmatch.fnmatchcase(name, self.name)


@dataclass(frozen=True)
class Run:
    """How a workload is executed on a chip."""

    execution: Execution = "time-batched"


@dataclass(frozen=True)
class Narrowed:
    """A layer whose operands are wider than the chip takes: it runs as if it were quantized.

    Attributes:
        given: bits of the input and of the weight (or second operand) in the network.
        run: those that the chip runs the layer at; at least one of them is fewer.
    """

    given: tuple[int, int]
    run: tuple[int, int]


@dataclass(frozen=True)
class Cost:
    """What an engine computes for one inference of one sample.

    Arrays broadcast to `[S, H, L]`: draws of the uncertain figures, hardware variants, layers.

    Attributes:
        energy_j: joules by component: `compute`, one for each memory level, `network`, `neurons`, `static`;
            `device` where only the power of the whole is known.
        latency_s: seconds that each layer takes (on a chip whose layers work at once: is busy).
        total_latency_s: seconds of one inference, `[S, H]`; None means the sum over layers.
        cycles: clock cycles of each layer.
        utilization: share of the arithmetic units that work, in [0, 1].
        traffic_bytes: bytes moved by memory level.
        cores: cores, arrays or tiles that a layer occupies.
        assumptions: one sentence each; what `narrowed` says is no part of them.
        narrowed: layers whose operands the chip narrows.
        left_out: layers that the chip does not run, with the reason.
    """

    energy_j: Mapping[str, Array] = field(default_factory=dict)
    latency_s: Array | None = None
    total_latency_s: Array | None = None
    cycles: Array | None = None
    utilization: Array | None = None
    traffic_bytes: Mapping[str, Array] = field(default_factory=dict)
    cores: Array | None = None
    assumptions: tuple[str, ...] = ()
    narrowed: Mapping[str, Narrowed] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)


def engine(name: str) -> ModuleType:
    """Return the module of the engine called `name`; an unknown name is an `InputError`."""
    if name not in ENGINES:
        raise unknown_name("engine", name, ENGINES)
    return importlib.import_module(ENGINES[name])


def scatter(values: Array, rows: npt.NDArray[np.bool_], fill: float = 0.0) -> Array:
    """Return `values`, computed for the layers where `rows` is true, with `fill` for all others.

    Args:
        values: `[..., L']` with L' = number of true `rows`; a last axis of 1 serves every row.
        rows: `[L]`.
        fill: the value elsewhere.
    """
    whole = np.full((*values.shape[:-1], len(rows)), fill, dtype=np.result_type(values.dtype, type(fill)))
    whole[..., rows] = values
    return whole
