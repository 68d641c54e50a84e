"""`estimate(workload, chip)`: what one inference costs on a chip, layer by layer, with bands and assumptions."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, get_args

import numpy as np

from hardware_models.chip import Chip
from hardware_models.engine import Array, Cost, Execution, Narrowed, Question, Run, engine
from hardware_models.errors import InputError, unknown_name
from hardware_models.hardware import Hardware
from hardware_models.layer_table import LayerTable, layer_table
from hardware_models.quantity import GRADES, Grade, Quantity
from hardware_models.totals import PERCENTILES, Floats, band, total_energy, total_latency
from hardware_models.workload import Workload

SCHEMA: Final = "neuro.chip-estimate/1"


@dataclass(frozen=True, eq=False)
class Estimate:
    """Cost of one inference of one sample on one chip.

    A first axis of 3 holds the value and the low and high ends of its band.

    Attributes:
        subject: the network's name.
        chip: the chip.
        run: how the network is executed.
        band: how the bands were made, in words.
        names, operators: of the layers.
        energy_j: joules by component, `[3, L]`; empty where the chip refuses the question.
        total_energy_j: joules of all layers and components, `[3]`.
        latency_s: seconds by layer, `[3, L]`. On a chip whose layers work at once they do not add up.
        total_latency_s: seconds of one inference, `[3]`.
        cycles, utilization, cores: `[L]`, where the engine knows them.
        traffic_bytes: bytes moved by memory level, `[L]`.
        assumptions: one sentence each.
        narrowed: layers that the chip is taken to run at fewer bits than they were given with.
        left_out: layers that the chip does not run, with the reason.
        covered: share of the network's dense multiply-accumulates in layers that are not left out.
        refused: questions that the chip does not answer, with the reason.
        figures: the chip's figures that were read.
    """

    subject: str
    chip: Chip
    run: Run
    band: str
    names: tuple[str, ...]
    operators: tuple[str, ...]
    energy_j: Mapping[str, Floats]
    total_energy_j: Floats | None
    latency_s: Floats | None
    total_latency_s: Floats | None
    cycles: Floats | None
    utilization: Floats | None
    cores: Floats | None
    traffic_bytes: Mapping[str, Floats]
    assumptions: tuple[str, ...]
    narrowed: Mapping[str, Narrowed]
    left_out: Mapping[str, str]
    covered: float
    refused: Mapping[Question, str]
    figures: Mapping[str, Quantity]

    @property
    def grade(self) -> Grade:
        """The weakest evidence among the figures that were read."""
        return max((figure.grade for figure in self.figures.values()), key=GRADES.index)

    def to_document(self) -> dict[str, Any]:
        """Return the estimate as plain data, the JSON that `neuro energy --json` prints."""
        layers = [self._layer(index) for index in range(len(self.names))]
        figures = {name: figure.model_dump(exclude_none=True) for name, figure in self.figures.items()}
        return {**self.summary(), "layers": layers, "figures": figures}

    def summary(self) -> dict[str, Any]:
        """Return everything but layers and figures as plain data."""
        return {
            "schema": SCHEMA,
            "subject": self.subject,
            "chip": self.chip.name,
            "title": self.chip.title,
            "engine": self.chip.engine,
            "execution": self.run.execution,
            "band": self.band,
            "weakest_evidence": self.grade,
            "total": {
                "energy_j": _figure(self.total_energy_j),
                "latency_s": _figure(self.total_latency_s),
                "energy_by_component_j": {name: _figure(values.sum(axis=1)) for name, values in self.energy_j.items()},
                "traffic_bytes": {name: float(values.sum()) for name, values in self.traffic_bytes.items()},
            },
            "assumptions": list(self.assumptions),
            "narrowed": {name: asdict(widths) for name, widths in self.narrowed.items()},
            "covered": self.covered,
            "left_out": dict(self.left_out),
            "refused": dict(self.refused),
            "sources": list(self.chip.sources),
        }

    def to_json(self) -> str:
        """Return `to_document` as JSON text."""
        import json

        return json.dumps(self.to_document(), indent=1, ensure_ascii=False)

    def to_csv(self) -> str:
        """Return one line a layer and a last one with the totals; SI units stand in the heads of the columns."""
        columns = self._columns()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["chip", "layer", "operator", *columns])
        rows = zip(self.names, self.operators, *(values for values, _ in columns.values()), strict=True)
        writer.writerows([self.chip.name, *row] for row in rows)
        writer.writerow([self.chip.name, "total", "", *(total for _, total in columns.values())])
        return text.getvalue()

    def _columns(self) -> dict[str, tuple[list[float], float | str]]:
        """Return the columns of the CSV by name: values by layer, and the total."""
        columns: dict[str, tuple[list[float], float | str]] = {}
        if self.total_energy_j is not None:
            whole = sum(self.energy_j.values())
            for index, end in enumerate(("energy_j", "energy_low_j", "energy_high_j")):
                columns[end] = (np.asarray(whole)[index].tolist(), float(self.total_energy_j[index]))
            for name, values in self.energy_j.items():
                columns[f"{name}_j"] = (values[0].tolist(), float(values[0].sum()))
        if self.latency_s is not None and self.total_latency_s is not None:
            for index, end in enumerate(("latency_s", "latency_low_s", "latency_high_s")):
                columns[end] = (self.latency_s[index].tolist(), float(self.total_latency_s[index]))
        for name in ("cycles", "utilization", "cores"):
            values = getattr(self, name)
            if values is not None:
                columns[name] = (values.tolist(), "" if name == "utilization" else float(values.sum()))
        for name, values in self.traffic_bytes.items():
            columns[f"{name}_bytes"] = (values.tolist(), float(values.sum()))
        return columns

    def _layer(self, index: int) -> dict[str, Any]:
        layer: dict[str, Any] = {"name": self.names[index], "operator": self.operators[index]}
        if self.energy_j:
            layer["energy_j"] = {name: _figure(values[:, index]) for name, values in self.energy_j.items()}
        if self.latency_s is not None:
            layer["latency_s"] = _figure(self.latency_s[:, index])
        for name in ("cycles", "utilization", "cores"):
            if getattr(self, name) is not None:
                layer[name] = float(getattr(self, name)[index])
        if self.traffic_bytes:
            layer["traffic_bytes"] = {name: float(values[index]) for name, values in self.traffic_bytes.items()}
        return layer


def estimate(
    workload: Workload | LayerTable, chip: Chip, run: Run | None = None, samples: int = 0, seed: int = 0
) -> Estimate:
    """Estimate what one inference of `workload` costs on `chip`.

    Args:
        workload: the network, or its columns where several chips are asked.
        chip: the chip; its engine does the work.
        run: how the network is executed; None for timesteps in batches.
        samples: Monte Carlo draws for the band (their 5th to 95th percentile and the value); 0 for the corners, the
            widest band that the figures allow.
        seed: of the draws.

    Raises:
        InputError: a figure is missing, the network does not fit the chip, or the chip can run none of it.
    """
    table = layer_table(workload) if isinstance(workload, Workload) else workload
    run = run or Run()
    hardware = Hardware(chip, samples=samples, seed=seed)
    cost = evaluate(table, hardware, run)
    draws, layers = hardware.draw_count, len(table)

    def by_layer(values: Array) -> Floats:
        whole = np.broadcast_to(values, (draws, 1, layers))[:, 0, :]
        return band(whole.astype(np.float64), samples)

    def nominal(values: Array | None) -> Floats | None:
        if values is None:
            return None
        first: Floats = np.broadcast_to(values, (draws, 1, layers))[0, 0].astype(np.float64)
        return first

    energy, latency = total_energy(cost, hardware, layers), total_latency(cost, hardware, layers)
    return Estimate(
        subject=table.subject,
        chip=chip,
        run=run,
        band=_band_in_words(samples),
        names=table.names,
        operators=table.operators,
        energy_j={name: by_layer(values) for name, values in cost.energy_j.items()},
        total_energy_j=None if energy is None else band(energy[:, 0], samples),
        latency_s=None if cost.latency_s is None else by_layer(cost.latency_s),
        total_latency_s=None if latency is None else band(latency[:, 0], samples),
        cycles=nominal(cost.cycles),
        utilization=nominal(cost.utilization),
        cores=nominal(cost.cores),
        traffic_bytes={name: np.asarray(nominal(values)) for name, values in cost.traffic_bytes.items()},
        assumptions=(*cost.assumptions, *chip.notes),
        narrowed=cost.narrowed,
        left_out=cost.left_out,
        covered=_covered(table, cost),
        refused=chip.refuses,
        figures=hardware.used,
    )


def evaluate(table: LayerTable, hardware: Hardware, run: Run) -> Cost:
    """Return the engine's cost of `table`, after checking that there is something to run, in a known way.

    What it narrows is said among its assumptions, in the same words for every engine.
    """
    if run.execution not in get_args(Execution):
        raise unknown_name("execution", run.execution, get_args(Execution))
    if not table.synaptic.any():
        raise InputError(f"{table.subject!r} has no convolution, linear layer or matrix product; there is no cost.")
    if not len(hardware.chip.figures):
        raise InputError(f"chip {hardware.chip.name!r} has no figures; add them to its file.")
    cost: Cost = engine(hardware.chip.engine).evaluate(table, hardware, run)
    left = sum(name in cost.left_out for name, synaptic in zip(table.names, table.synaptic, strict=True) if synaptic)
    if left == int(table.synaptic.sum()):
        reason = next(iter(cost.left_out.values()))
        raise InputError(
            f"chip {hardware.chip.name!r} can run no layer of {table.subject!r} ({reason}); give it a network that "
            "it can run, or another chip."
        )
    return replace(cost, assumptions=(*_narrowing(cost.narrowed), *cost.assumptions))


def _narrowing(narrowed: Mapping[str, Narrowed]) -> Iterator[str]:
    """Yield what was narrowed in words: widths of input x weight, and how many layers share them."""
    if narrowed:
        cuts = ", ".join(
            f"{_by(cut.given)} to {_by(cut.run)} in {count} layer{'s' if count > 1 else ''}"
            for cut, count in Counter(narrowed.values()).items()
        )
        yield (
            "Operands wider than the chip's are taken as quantized to its width, and what that does to accuracy is not "
            f"known here; bits of input x weight: {cuts}."
        )


def _by(widths: tuple[int, int]) -> str:
    return f"{widths[0]} x {widths[1]}"


def _covered(table: LayerTable, cost: Cost) -> float:
    kept = np.array([name not in cost.left_out for name in table.names])
    return float(table.macs_dense[kept].sum() / table.macs_dense.sum())


def _band_in_words(samples: int) -> str:
    if not samples:
        return "every uncertain figure at the cheap, or at the dear, end of its band at once"
    low, high = PERCENTILES
    draws = f"{samples} Monte Carlo draws, every figure drawn by itself"
    return f"{low:g}th to {high:g}th percentile of {draws}, widened to hold the value"


def _figure(values: Floats | None) -> dict[str, float] | None:
    if values is None:
        return None
    return dict(zip(("value", "low", "high"), values.tolist(), strict=True))
