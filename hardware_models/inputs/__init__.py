"""Workloads from files: measured, written by hand, SCALE-Sim topologies, ONNX graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from hardware_models.collector import collector_paused
from hardware_models.errors import InputError
from hardware_models.inputs.csv_text import csv_lines, header
from hardware_models.inputs.handwritten import is_layer_header, read_layers_csv, read_layers_yaml
from hardware_models.inputs.onnx_graph import read_onnx
from hardware_models.inputs.scalesim_topology import is_topology_header, read_topology, read_topology_workload
from hardware_models.workload import Workload

__all__ = [
    "input_format",
    "read_layers_csv",
    "read_layers_yaml",
    "read_onnx",
    "read_topology",
    "read_topology_workload",
    "read_workload",
]

Format = Literal["workload", "layers-yaml", "layers-csv", "topology", "operation-table", "onnx"]

_SUFFIXES: Final[dict[str, Format]] = {
    ".json": "workload",
    ".yaml": "layers-yaml",
    ".yml": "layers-yaml",
    ".onnx": "onnx",
}
_KINDS: Final = (
    "a run directory, a workload (.json), layers by hand (.yaml or .csv), a SCALE-Sim topology (.csv), an ONNX graph "
    "(.onnx)"
)


def input_format(path: Path) -> Format:
    """Return what kind of file `path` is: by its suffix, and a CSV by its column names.

    Raises:
        InputError: it is missing, or of no known kind.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; give {_KINDS}.")
    if path.is_dir():
        return "workload"
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    if path.suffix.lower() not in (".csv", ".txt", ""):
        raise InputError(f"{path} has the suffix {path.suffix!r}; give {_KINDS}.")
    columns, _ = header(path, csv_lines(path))
    if is_layer_header(columns):
        return "layers-csv"
    if is_topology_header(columns):
        return "topology"
    if {"layer", "dense_ops"} <= set(columns):
        return "operation-table"
    raise InputError(
        f"{path} has the columns {', '.join(columns)[:200]}; expected layers by hand (name, kind, ...), a SCALE-Sim "
        "topology (Layer name, IFMAP Height, ... or Layer, M, N, K) or an operation table (layer, dense_ops, ...)."
    )


def read_workload(
    path: Path, *, bits: int | None = None, input_shapes: Mapping[str, Sequence[int]] | None = None
) -> Workload:
    """Read a Workload from a file of any known kind, or the main one of a run directory.

    Args:
        path: a run directory, `.json`, `.yaml`, `.csv` or `.onnx`.
        bits: width of every operand, of a SCALE-Sim topology only, which states none; 8 where None.
        input_shapes: sizes of the inputs by name, of an ONNX graph only, where it leaves them open.

    Raises:
        InputError: the file is missing, of no known kind, damaged, or holds something that cannot be; an option
            that its kind does not take.
    """
    kind = input_format(path)
    if bits is not None and kind != "topology":
        raise InputError(f"bits is for SCALE-Sim topologies; {path} is none and states its own widths.")
    if input_shapes and kind != "onnx":
        raise InputError(f"input shapes are for ONNX graphs; {path} is none and states its own sizes.")
    with collector_paused():
        return _read(path, kind, bits, input_shapes)


def _read(path: Path, kind: Format, bits: int | None, input_shapes: Mapping[str, Sequence[int]] | None) -> Workload:
    if kind == "workload":
        return Workload.load(_main_workload(path) if path.is_dir() else path)
    if kind == "layers-yaml":
        return read_layers_yaml(path)
    if kind == "layers-csv":
        return read_layers_csv(path)
    if kind == "topology":
        return read_topology_workload(path, bits)
    if kind == "onnx":
        return read_onnx(path, input_shapes)
    raise InputError(
        f"{path} is an operation table, which has no sizes; a chip needs {_KINDS} (conventions price the table as it "
        "is)."
    )


def _main_workload(directory: Path) -> Path:
    path = directory / "workload.json"
    if not path.exists():
        raise InputError(f"{directory} holds no workload.json; give {_KINDS}.")
    return path
