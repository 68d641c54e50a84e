"""The software side of a study: what a network does for the values of the axes that concern it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from hardware_models.errors import InputError, unknown_name
from hardware_models.inputs import read_workload
from hardware_models.layer_table import LayerTable, layer_table
from hardware_models.studies.rates import at_firing_rate, at_rates
from hardware_models.workload import Workload

PREFIX: Final = "software."
"""What names of axes of the software side begin with."""

Band = tuple[float, float, float]
"""A value with the low and high end of its band."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What the software side says of one point.

    Attributes:
        table: the network's operations, for the hardware to cost.
        figures: what it knows of the network itself, such as `accuracy` or `spikes`.
    """

    table: LayerTable
    figures: Mapping[str, Band] = field(default_factory=dict)


class Software(Protocol):
    """Answers for networks."""

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes that it reads, without `software.`."""
        ...

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures that every answer has."""
        ...

    def answer(self, point: Mapping[str, Any]) -> Answer:
        """Return the network at `point`, the active axes that it reads by name.

        Raises:
            InputError: there is no such network; the point is infeasible, for the reason that is said.
        """
        ...


class GivenNetworks:
    """Networks that were measured or written down, and what their operations are at other rates, T and widths.

    Axes: `network`, one of the names; `timesteps`, T; `rate`, spikes per neuron and timestep (or `rate_scale`, a
    factor); `weight_bits`, and `bits` of weights and activations alike. An axis that is left out keeps what was
    measured.

    Args:
        networks: workloads by name.

    Raises:
        InputError: no networks.
    """

    axes = ("network", "timesteps", "rate", "rate_scale", "weight_bits", "bits")
    figures = ("spikes", "synaptic_operations", "macs")

    def __init__(self, networks: Mapping[str, Workload]) -> None:
        if not networks:
            raise InputError("a study was given no networks; give at least one workload by name.")
        self._networks = dict(networks)

    @classmethod
    def from_document(cls, document: Mapping[str, Any], folder: Path) -> GivenNetworks:
        """Read `networks: {NAME: FILE}`; files that are not absolute lie in `folder`."""
        files = document.get("networks")
        if not isinstance(files, Mapping) or not files:
            raise InputError(
                f"software.networks is {files!r}; give names with files, as in {{spiking: workload.json}}."
            )
        return cls({str(name): read_workload(folder / str(file)) for name, file in files.items()})

    def answer(self, point: Mapping[str, Any]) -> Answer:
        """Return the network that `point` names, changed as it says."""
        workload = self._changed(self._network(point.get("network")), point)
        table = layer_table(workload)
        if "bits" in point:
            table = table.with_bits(int(point["bits"]))
        if "weight_bits" in point:
            table = table.with_weight_bits(int(point["weight_bits"]))
        values = (workload.spikes, workload.synaptic_operations, workload.macs)
        return Answer(table, {name: (value,) * 3 for name, value in zip(self.figures, values, strict=True)})

    def _network(self, name: str | None) -> Workload:
        if name is None:
            if len(self._networks) > 1:
                raise InputError(
                    f"the study has the networks {', '.join(self._networks)}; give an axis software.network."
                )
            return next(iter(self._networks.values()))
        if name not in self._networks:
            raise unknown_name("network of the study", name, self._networks)
        return self._networks[name]

    def _changed(self, workload: Workload, point: Mapping[str, Any]) -> Workload:
        timesteps = point.get("timesteps")
        if "rate" in point and "rate_scale" in point:
            raise InputError("both software.rate and software.rate_scale are active; leave out one of them.")
        if "rate" in point:
            return at_firing_rate(workload, point["rate"], timesteps)
        if "rate_scale" in point:
            return at_rates(workload, timesteps, point["rate_scale"])
        if timesteps is None:
            return workload
        return workload.until(timesteps) if timesteps <= workload.timesteps else at_rates(workload, timesteps)
