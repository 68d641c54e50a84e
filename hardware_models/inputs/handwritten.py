"""Read a Workload that was written by hand: YAML or CSV, one line a layer.

    schema: neuro.layers/1
    name: small
    timesteps: 4
    defaults: {weights: integer, weight_bits: 8}
    layers:
      - {name: stem, kind: conv, in: [2, 32, 32], filters: 16, kernel: 3, padding: 1, input: binary, density: 0.1,
         neuron: lif, rate: 0.15}
      - {name: head, kind: linear, filters: 10}

The same as CSV, where a comment `# key = value` gives a default, or the name or timesteps of the network:

    # timesteps = 4
    # weights = integer
    # weight_bits = 8
    name,kind,in,filters,kernel,padding,input,density,neuron,rate
    stem,conv,2x32x32,16,3,1,binary,0.1,lif,0.15
    head,linear,,10,,,,,,
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from hardware_models.errors import InputError, unknown_name
from hardware_models.inputs.csv_text import csv_lines, csv_rows, header
from hardware_models.inputs.entries import Entries
from hardware_models.inputs.layer_kinds import ALIASES, ALL_KEYS, DEFAULTABLE
from hardware_models.inputs.layer_lines import workload_from_lines
from hardware_models.workload import Workload
from hardware_models.yaml_files import read_yaml

SCHEMA: Final = "neuro.layers/1"

_TOP = ("schema", "name", "timesteps", "defaults", "layers", "notes")
_SETTING = re.compile(r"#\s*([A-Za-z_]+)\s*=\s*(.*)")


def read_layers_yaml(path: Path) -> Workload:
    """Read layers written as YAML of schema `neuro.layers/1`.

    Raises:
        InputError: the file is missing, no YAML or of another schema; a key is unknown; a layer does not hold
            together. The message names file, layer and key.
    """
    data = read_yaml(path, "list of layers", SCHEMA)
    for key in data:
        if key not in _TOP:
            raise InputError(f"{path}: {unknown_name('key', key, _TOP)}")
    layers, defaults, notes = data.get("layers"), data.get("defaults") or {}, data.get("notes") or []
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise InputError(f"{path}: layers is no list of mappings; write one line '- {{name: ..., kind: ...}}' a layer.")
    if not isinstance(defaults, dict):
        raise InputError(f"{path}: defaults is no mapping; write 'key: value' lines below it.")
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise InputError(f"{path}: notes is no list of sentences; write one line '- ...' a note.")
    lines = ((_place(path, index, layer), layer) for index, layer in enumerate(layers, start=1))
    return _workload(path, data, defaults, lines, tuple(notes))


def _place(path: Path, index: int, layer: Mapping[str, object]) -> str:
    return f"{path}, layer {layer.get('name', index)!r}"


def _workload(
    path: Path,
    top: Mapping[str, object],
    defaults: Mapping[str, object],
    lines: Iterator[tuple[str, Mapping[str, object]]],
    notes: tuple[str, ...] = (),
) -> Workload:
    head = Entries(str(path), {key: top.get(key) for key in ("name", "timesteps")}, {})
    rest = Entries(f"{path}, defaults", defaults, {})
    name, timesteps = head.text("name") or path.stem, head.timesteps() or 1
    return workload_from_lines(name, timesteps, rest, _text_keys(lines), notes)


def _text_keys(lines: Iterator[tuple[str, Mapping[str, object]]]) -> Iterator[tuple[str, Mapping[str, object]]]:
    for place, layer in lines:
        odd = next((key for key in layer if not isinstance(key, str)), None)
        if odd is not None:
            raise InputError(f"{place}: the key {odd!r} is no word; put it in quotes, or mend it.")
        yield place, layer


def is_layer_header(columns: list[str]) -> bool:
    """Return whether the columns of a CSV are those of hand-written layers."""
    return {"name", "kind"} <= set(columns)


def read_layers_csv(path: Path) -> Workload:
    """Read layers written as CSV: a header with the keys, one line a layer; an empty cell is the default.

    Raises:
        InputError: the file is missing or no text; a column is unknown; a line does not hold together. The
            message names file, line and key.
    """
    lines = csv_lines(path)
    settings = _settings(path, lines)
    top: dict[str, object] = {key: settings.pop(key) for key in ("name", "timesteps") if key in settings}
    columns, body = header(path, lines)
    known = {*ALL_KEYS, *ALIASES}
    for column in columns:
        if column not in known:
            raise InputError(f"{path}: {unknown_name('column', column, known)}")
    if len(set(columns)) < len(columns):
        twice = next(column for column in columns if columns.count(column) > 1)
        raise InputError(f"{path}: the column {twice} stands twice; remove one.")
    return _workload(path, top, settings, _rows(path, columns, body))


def _settings(path: Path, lines: list[tuple[int, str]]) -> dict[str, object]:
    """Return what comments of the form `# key = value` say; others are prose."""
    known = {"name", "timesteps", *DEFAULTABLE, *ALIASES}
    settings: dict[str, object] = {}
    for number, line in lines:
        if match := _SETTING.fullmatch(line.strip().rstrip(",").rstrip()):
            key = match[1].lower()
            if key not in known:
                raise InputError(f"{path}, line {number}: {unknown_name('setting', key, known)}")
            if key in settings:
                raise InputError(f"{path}, line {number}: {key} is set twice; keep one.")
            settings[key] = match[2].strip()
    return settings


def _rows(path: Path, columns: list[str], body: list[tuple[int, str]]) -> Iterator[tuple[str, Mapping[str, object]]]:
    for number, cells in csv_rows(path, body):
        place = f"{path}, line {number}"
        while len(cells) > len(columns) and not cells[-1]:
            cells.pop()
        if len(cells) != len(columns):
            raise InputError(f"{place}: {len(cells)} cells for {len(columns)} columns; give one for each column.")
        yield place, {key: cell for key, cell in zip(columns, cells, strict=True) if cell}
