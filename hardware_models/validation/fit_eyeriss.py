"""Fit the three constants of the Eyeriss model on VGG-16 and score them on layers that were not used.

    python -m hardware_models.validation.fit_eyeriss

Fitted, on the 13 measured VGG-16 convolutions only:

    pass overhead  the cycles a pass takes beyond arithmetic and sums: least mean absolute relative error of the
                   processing latency
    unit           the energy that ISCA 2016 calls 1 (a multiplication; an access of a register file), and
    static power   least squares of the relative error of power * total latency = static power * latency
                   + unit * (5 non-zero MACs + 1 zero MACs + 6 buffer accesses)

The weights 5, 1 and 6 are those of ISCA 2016, table IV, and not fitted: a multiply-accumulate costs 1 and four accesses
of the register file (input, weight, sum read, sum written); a zero input is read and gates the rest; an access of the
global buffer costs 6. Measured power is that of the chip, without its memory. The latency is the model's own.

Scored: each layer left out, each block of layers of one size left out (refitted without them), and AlexNet, which no
constant has seen. Mapping, active PEs and accesses have no fitted constant; but the rules of the mapping that
`row_stationary.mapping` marks as inferred, the 128 columns and the 96 KiB of the buffer were found with both tables in
view. Those rows show that one structure explains all 18 layers, not that it was foreseen.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hardware_models.row_stationary import latency_with_link
from hardware_models.row_stationary.counts import RowStationaryCounts, row_stationary
from hardware_models.row_stationary.mapping import compressed

Floats = npt.NDArray[np.float64]

DATA: Final = Path(__file__).parent / "data"
CORE_HZ: Final = 200e6
LINK_BYTES_S: Final = 60e6 * 8
WORD_BYTES: Final = 2
BUFFER_WORDS: Final = 96 * 1024 // WORD_BYTES
MAC_UNITS, ZERO_UNITS, BUFFER_UNITS = 5.0, 1.0, 6.0


@dataclass(frozen=True)
class Constants:
    """What is fitted: cycles, joules, watts."""

    pass_overhead: float
    unit_j: float
    static_w: float


@dataclass(frozen=True)
class Measured:
    """One network on the chip: names and columns `[L]`, and what the model counts for it."""

    names: tuple[str, ...]
    columns: dict[str, Floats]
    counts: RowStationaryCounts

    @property
    def energy_j(self) -> Floats:
        """Joules of the chip: power * total latency."""
        return self.columns["power_mw"] * self.columns["total_ms"] * 1e-6

    @property
    def processing_s(self) -> Floats:
        return self.columns["processing_ms"] * 1e-3

    @property
    def density(self) -> Floats:
        return 1 - self.columns["zeros_percent"] / 100

    @property
    def activation_bytes(self) -> Floats:
        """Compressed bytes of inputs and outputs; an output is as dense as the next layer's input."""
        following = np.append(self.density[1:], self.density[-1])
        inputs = self.counts.input_words * compressed(self.density)
        return (inputs + self.counts.output_words * compressed(following)) * WORD_BYTES

    @property
    def dram_bytes(self) -> Floats:
        return self.counts.weight_words * WORD_BYTES + self.activation_bytes

    @property
    def energy_units(self) -> Floats:
        """Energy that depends on activity, in units of ISCA 2016."""
        per_mac = MAC_UNITS * self.density + ZERO_UNITS * (1 - self.density)
        return self.counts.macs * per_mac + BUFFER_UNITS * self.counts.buffer_words


def measured(network: str) -> Measured:
    """Return `vgg16` or `alexnet` as measured, with the model's counts."""
    with (DATA / f"eyeriss_{network}.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    names = tuple(row.pop("layer") for row in rows)
    columns = {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}
    size = {name: column.astype(np.int64) for name, column in columns.items()}
    counts = row_stationary(
        **{name: size[name] for name in ("groups", "channels", "filters")},
        **dict.fromkeys(("out_h", "out_w"), size["out_size"]),
        **dict.fromkeys(("kernel_h", "kernel_w"), size["kernel"]),
        **dict.fromkeys(("stride_h", "stride_w"), size["stride"]),
        images=size["batch"],
        plain=compressed(1 - columns["zeros_percent"] / 100) == 1.0,
        rows=12,
        cols=14,
        buffer_words=BUFFER_WORDS,
    )
    return Measured(names, columns, counts)


def fit(data: Measured, rows: npt.NDArray[np.bool_] | None = None) -> Constants:
    """Return the constants fitted on the layers `rows` of `data`; None for all."""
    rows = np.ones(len(data.names), dtype=bool) if rows is None else rows
    overhead = _fit_overhead(data, rows)
    latency = total_latency(data, overhead)
    design = np.stack([latency, data.energy_units], axis=1)[rows] / data.energy_j[rows, None]
    scale = design.max(axis=0)
    solved = np.linalg.lstsq(design / scale, np.ones(len(design)), rcond=None)[0] / scale
    return Constants(overhead, unit_j=float(solved[1]), static_w=float(solved[0]))


def _fit_overhead(data: Measured, rows: npt.NDArray[np.bool_]) -> float:
    """Return the overhead of least mean absolute relative error; one layer is then exact, so each is tried."""
    trials = (data.processing_s * CORE_HZ - data.counts.processing_cycles(0)) / data.counts.passes
    trials = trials[rows & (trials > 0)]
    loss = [np.abs(_errors(processing(data, trial), data.processing_s))[rows].mean() for trial in trials]
    return float(trials[int(np.argmin(loss))])


def processing(data: Measured, overhead: float) -> Floats:
    """Return seconds of processing by layer."""
    return np.asarray(data.counts.processing_cycles(overhead) / CORE_HZ, dtype=np.float64)


def total_latency(data: Measured, overhead: float) -> Floats:
    """Return seconds by layer, transfers included."""
    weights = data.counts.weight_words * WORD_BYTES
    return latency_with_link(processing(data, overhead), weights, data.activation_bytes, np.array(LINK_BYTES_S))


def energy(data: Measured, constants: Constants) -> Floats:
    """Return joules of the chip by layer."""
    latency = total_latency(data, constants.pass_overhead)
    return np.asarray(constants.static_w * latency + constants.unit_j * data.energy_units)


def held_out(data: Measured, groups: Iterable[npt.NDArray[np.bool_]]) -> tuple[Floats, Floats]:
    """Return relative errors `[L]` of processing latency and energy, each layer with constants fitted without its
    group."""
    latency_error, energy_error = np.zeros(len(data.names)), np.zeros(len(data.names))
    for group in groups:
        constants = fit(data, ~group)
        latency_error[group] = _errors(processing(data, constants.pass_overhead), data.processing_s)[group]
        energy_error[group] = _errors(energy(data, constants), data.energy_j)[group]
    return latency_error, energy_error


def one_by_one(data: Measured) -> list[npt.NDArray[np.bool_]]:
    """Return each layer as a group."""
    return list(np.eye(len(data.names), dtype=bool))


def blocks(data: Measured) -> list[npt.NDArray[np.bool_]]:
    """Return the layers of each plane size as a group (CONV1 .. CONV5 of VGG-16)."""
    sizes = data.columns["out_size"]
    return [sizes == size for size in np.unique(sizes)]


def _errors(model: Any, truth: Any) -> Floats:
    return np.asarray(model / truth - 1, dtype=np.float64)


@dataclass(frozen=True)
class Line:
    """One line of the score: relative errors by layer, and what the constants were fitted on."""

    quantity: str
    errors: Floats
    fitted: str

    def __str__(self) -> str:
        size = 100 * np.abs(self.errors)
        return f"{self.quantity:58} {size.mean():6.2f} {size.max():6.2f} {len(size):4d}  {self.fitted}"


def score() -> list[Line]:
    """Return the errors of the model against the measured chip."""
    vgg, alexnet = measured("vgg16"), measured("alexnet")
    constants, reverse = fit(vgg), fit(alexnet)
    rows: list[Line] = []
    for how, groups in (("layer", one_by_one(vgg)), ("block", blocks(vgg))):
        for name, errors in zip(("processing latency", "energy"), held_out(vgg, groups), strict=True):
            rows.append(Line(f"VGG-16 {name}, each {how} left out", errors, f"other {how}s"))
    rows += [Line(f"VGG-16 {name}", errors, by) for name, errors, by in _in_full(vgg, constants, "these layers")]
    rows += [Line(f"AlexNet {name}", errors, by) for name, errors, by in _in_full(alexnet, constants, "VGG-16 only")]
    for name in ("processing latency", "energy"):
        alone = [
            line.errors for line in rows if line.quantity in (f"VGG-16 {name}, each layer left out", f"AlexNet {name}")
        ]
        rows.append(Line(f"both networks, {name}, no layer fitted", np.concatenate(alone), "other VGG-16 layers"))
    for name, errors, by in _in_full(vgg, reverse, "AlexNet only")[:2]:
        rows.append(Line(f"VGG-16 {name}, the other way round", errors, by))
    return rows


def _in_full(data: Measured, constants: Constants, fitted: str) -> list[tuple[str, Floats, str]]:
    """Return name, relative errors and what was fitted on, of each measured quantity."""
    overhead, counts, column = constants.pass_overhead, data.counts, data.columns
    buffer = counts.buffer_words * WORD_BYTES
    return [
        ("processing latency", _errors(processing(data, overhead), data.processing_s), fitted),
        ("energy", _errors(energy(data, constants), data.energy_j), fitted),
        ("total latency", _errors(total_latency(data, overhead), column["total_ms"] * 1e-3), fitted),
        ("active PEs", _errors(counts.active_pes, column["active_pes"]), "no constant"),
        ("global buffer accesses", _errors(buffer, column["buffer_mb"] * 2**20), "no constant"),
        ("DRAM accesses", _errors(data.dram_bytes, column["dram_mb"] * 2**20), "no constant"),
    ]


def main() -> None:
    """Print the constants, their spread over the fits, and the score."""
    vgg, alexnet = measured("vgg16"), measured("alexnet")
    fits = [fit(vgg), *(fit(vgg, ~group) for group in blocks(vgg)), fit(alexnet)]
    for name in ("pass_overhead", "unit_j", "static_w"):
        values = [getattr(constants, name) for constants in fits]
        print(f"{name:14} {values[0]:.4g}  without one block {min(values[:-1]):.4g}..{max(values[:-1]):.4g}", end="")
        print(f"  on AlexNet {values[-1]:.4g}")
    print(f"\n{'relative error, %':58} {'mean':>6} {'worst':>6} {'n':>4}  fitted on")
    for row in score():
        print(row)


if __name__ == "__main__":
    main()
