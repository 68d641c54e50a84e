"""Read SCALE-Sim's topology files (CSV): convolutions, or matrix products, one line a layer.

    Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,
    Layer, M, N, K,

Either may carry a column Sparsity with N:M, N non-zero weights of every M; the first may give Stride Height and
Stride Width. As SCALE-Sim 3.0.0 reads them (`topology_utils.py`):

    output = ceil((H - R + s) / s) = ceil((H - R) / s) + 1

which counts a last window that the stride leaves incomplete, as if the input were padded at its end; where
(H - R) mod s = 0 it is the usual floor((H - R) / s) + 1. A convolution with `DP` in its name is depthwise: each
channel is a layer of its own, with all of the row's filters.

Files hold sizes only: widths are an option, operands are dense, and nothing says which layer reads which.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hardware_models.errors import InputError
from hardware_models.inputs.csv_text import csv_lines, csv_rows, header
from hardware_models.inputs.entries import Entries
from hardware_models.inputs.operands import Signal, activation, dense, weight, weight_elements
from hardware_models.whole_numbers import ceil_divide
from hardware_models.workload import Bounds, Layer, Workload

DEFAULT_BITS: Final = 8

_CONV = ("ifmap", "ifmap", "filter", "filter", "channel", "num filter")
_GEMM = ["m", "n", "k"]
_RATIO = re.compile(r"(\d{1,9}):(\d{1,9})")
_INT64 = np.iinfo(np.int64).max


@dataclass(frozen=True)
class TopologyRow:
    """One layer as SCALE-Sim reads it; a product [M, K] x [K, N] is M rows, K channels and N filters.

    Attributes:
        name: the layer's name.
        ifmap: height and width of the input; of a matrix product M and 1.
        kernel: height and width of the filter.
        channels: input channels of one group.
        filters: output channels of one group.
        stride: vertical and horizontal.
        groups: the channels of a depthwise row, else 1.
        density: share of weights that are not zero.
        gemm: whether the row was given as M, N, K.
    """

    name: str
    ifmap: tuple[int, int]
    kernel: tuple[int, int]
    channels: int
    filters: int
    stride: tuple[int, int]
    groups: int
    density: float
    gemm: bool

    @property
    def ofmap(self) -> tuple[int, int]:
        """Height and width of the output, in SCALE-Sim's counting."""
        high, wide = (
            ceil_divide(size - taps, step) + 1
            for size, taps, step in zip(self.ifmap, self.kernel, self.stride, strict=True)
        )
        return high, wide

    @property
    def incomplete(self) -> bool:
        """Whether the last window reaches beyond the input."""
        return any((size - k) % s for size, k, s in zip(self.ifmap, self.kernel, self.stride, strict=True))

    @property
    def mnk(self) -> tuple[int, int, int]:
        """(M, N, K) of each group's matrix product."""
        return self.ofmap[0] * self.ofmap[1], self.filters, self.kernel[0] * self.kernel[1] * self.channels


@dataclass(frozen=True)
class Topology:
    """A topology file: its name and rows."""

    name: str
    rows: tuple[TopologyRow, ...]

    def mnk(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
        """Return M, N, K and groups, `[L]` each; int64, or Python integers where that could overflow."""
        sizes = [(*row.mnk, row.groups) for row in self.rows]
        dtype = np.int64 if max(max(row) for row in sizes) <= _INT64 else object
        m, n, k, groups = np.array(sizes, dtype=dtype).T
        return m, n, k, groups


def is_topology_header(columns: list[str]) -> bool:
    """Return whether the columns of a CSV are those of a topology."""
    named = bool(columns) and columns[0].startswith("layer")
    return named and (columns[1:4] == _GEMM or any(column.startswith("ifmap") for column in columns))


def read_topology(path: Path) -> Topology:
    """Read a topology file, in SCALE-Sim's own terms.

    Raises:
        InputError: the file is missing, no topology, or a row cannot be; the message names file, line and column.
    """
    columns, body = header(path, csv_lines(path))
    if not is_topology_header(columns):
        raise InputError(
            f"{path} has the columns {', '.join(columns)}; expected a SCALE-Sim topology, 'Layer name, IFMAP Height, "
            "...' or 'Layer, M, N, K'."
        )
    names = _gemm_columns(path, columns) if columns[1:4] == _GEMM else _conv_columns(path, columns)
    return Topology(path.stem, tuple(_row(path, number, names, cells) for number, cells in csv_rows(path, body)))


def read_topology_workload(path: Path, bits: int | None = None) -> Workload:
    """Return the Workload of a topology file: dense integers of `bits` bits (8 where None), no edges.

    Raises:
        InputError: as `read_topology`, or `bits` is no width.
    """
    width = DEFAULT_BITS if bits is None else bits
    if not 1 <= width <= 64:
        raise InputError(f"{bits} bits are no width of a word; give 1 to 64.")
    topology = read_topology(path)
    names = _unique([row.name for row in topology.rows])
    layers = tuple(_layer(name, row, width) for name, row in zip(names, topology.rows, strict=True))
    notes = _notes(topology, width, bits is None)
    return Workload(name=topology.name, timesteps=1, batch=1, layers=layers, notes=notes)


def _conv_columns(path: Path, columns: list[str]) -> list[str]:
    for position, word in enumerate(_CONV, start=1):
        found = columns[position] if position < len(columns) else ""
        if not found.startswith(word):
            raise InputError(
                f"{path}: column {position + 1} is {found!r}; a topology has Layer name, IFMAP Height, IFMAP Width, "
                "Filter Height, Filter Width, Channels, Num Filter, Strides, in this order."
            )
    names = ["name", "ifmap height", "ifmap width", "filter height", "filter width", "channels", "num filter"]
    rest = columns[len(names) :]
    if rest[:2] == ["stride height", "stride width"]:
        names, rest = [*names, *rest[:2]], rest[2:]
    elif rest and rest[0] in ("stride", "strides"):
        names, rest = [*names, "stride height"], rest[1:]
    else:
        raise InputError(f"{path}: the column Strides is missing after Num Filter; add it.")
    return names + _sparsity(path, rest)


def _gemm_columns(path: Path, columns: list[str]) -> list[str]:
    return ["name", *_GEMM, *_sparsity(path, columns[4:])]


def _sparsity(path: Path, rest: list[str]) -> list[str]:
    odd = rest[1:] if rest and rest[0].startswith("sparsity") else rest
    if odd:
        column = f"the column {odd[0]!r}" if odd[0] else "a column without a name"
        raise InputError(f"{path}: {column} is unknown to a topology; remove it.")
    return ["sparsity"] * len(rest)


def _row(path: Path, number: int, names: list[str], cells: list[str]) -> TopologyRow:
    place = f"{path}, line {number}"
    # SCALE-Sim drops what follows a row's last comma; only nothing or a comment is dropped here.
    while len(cells) > len(names) and (not cells[-1] or cells[-1].startswith("#")):
        cells = cells[:-1]
    if names[-1] == "sparsity" and len(cells) == len(names) - 1:
        cells = [*cells, ""]
    if len(cells) != len(names):
        raise InputError(f"{place}: {len(cells)} cells for {len(names)} columns; give one for each column.")
    entries = Entries(place, {key: cell for key, cell in zip(names, cells, strict=True) if cell}, {})
    name = entries.text("name") or f"line {number}"
    if names[1] == "m":
        m, n, k = (_size(entries, key) for key in _GEMM)
        return TopologyRow(name, (m, 1), (1, 1), k, n, (1, 1), 1, _density(entries), True)
    high, wide, tall, broad, channels, filters, step = (_size(entries, key) for key in names[1:8])
    if tall > high or broad > wide:
        entries.refuse(f"its filter of {tall}x{broad} is larger than its input of {high}x{wide}; mend one of them.")
    depthwise = "DP" in name
    return TopologyRow(
        name=name,
        ifmap=(high, wide),
        kernel=(tall, broad),
        channels=1 if depthwise else channels,
        filters=filters,
        stride=(step, entries.size("stride width") or step),
        groups=channels if depthwise else 1,
        density=_density(entries),
        gemm=False,
    )


def _size(entries: Entries, key: str) -> int:
    size = entries.size(key)
    if size is None:
        entries.refuse(f"{key} is empty; give a whole number.")
    return size


def _density(entries: Entries) -> float:
    text = entries.text("sparsity")
    if text is None:
        return 1.0
    match = _RATIO.fullmatch(text)
    if match is None or not 0 < int(match[1]) <= int(match[2]):
        entries.refuse(f"sparsity is {text!r}; give N:M, N non-zero weights of every M, for example 2:4.")
    return int(match[1]) / int(match[2])


def _unique(names: list[str]) -> list[str]:
    """Return the names with a number behind those that stand above already."""
    seen: dict[str, int] = {}
    unique: list[str] = []
    taken = set(names)
    for name in names:
        seen[name] = count = seen.get(name, 0) + 1
        while count > 1 and f"{name}#{count}" in taken:
            count += 1
        unique.append(name if count == 1 else f"{name}#{count}")
        taken.add(unique[-1])
    return unique


def _layer(name: str, row: TopologyRow, bits: int) -> Layer:
    sizes: dict[str, Any] = {"in_size": (row.ifmap[0],), "out_size": (row.ifmap[0],)}
    if not row.gemm:
        zero, one = (0, 0), (1, 1)
        sizes = {"in_size": row.ifmap, "out_size": row.ofmap, "kernel": row.kernel}
        sizes |= {"stride": row.stride, "padding": zero, "dilation": one}
    bounds = Bounds(
        groups=row.groups, in_channels=row.groups * row.channels, out_channels=row.groups * row.filters, **sizes
    )
    m, n, _ = row.mnk
    signal = dense(bits)
    return Layer(
        name=name,
        operator="linear" if row.gemm else "conv",
        op="gemm" if row.gemm else "conv",
        timesteps=1,
        bounds=bounds,
        operands=(
            activation("input", signal, bounds.in_channels * row.ifmap[0] * row.ifmap[1], 1),
            weight(Signal("integer", bits, True, (row.density,)), weight_elements(bounds)),
        ),
        out_elements=row.groups * m * n,
        macs=bounds.macs,
    )


def _notes(topology: Topology, bits: int, by_default: bool) -> tuple[str, ...]:
    said = " (by default; a topology states no widths)" if by_default else ""
    notes = [
        f"Read from a SCALE-Sim topology: every operand is taken as dense {bits}-bit integers{said}.",
        "A topology names no edges and tells no activations from weights: each layer stands alone, its second operand "
        "is a weight.",
    ]
    if beyond := _named(row.name for row in topology.rows if row.incomplete):
        notes.append(f"As SCALE-Sim counts, the last window may reach beyond the input (it does in {beyond}).")
    if deep := _named(row.name for row in topology.rows if row.groups > 1):
        notes.append(f"As SCALE-Sim reads the letters DP, these are depthwise, all filters on each channel: {deep}.")
    if sparse := _named(row.name for row in topology.rows if row.density < 1):
        notes.append(f"Weights are N:M sparse in {sparse}.")
    return tuple(notes)


def _named(names: Any, most: int = 10) -> str:
    found = list(names)
    return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")
