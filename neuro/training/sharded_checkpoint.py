"""Checkpoints of which every process writes its own part, for networks that no process holds whole.

    FOLDER/latest               the name of the newest whole checkpoint
    FOLDER/step-00000420/       state.json: all but the tensors, with their names in their places
                                part-0-of-2.safetensors: the rows that process 0 holds of each tensor

Rows are told by their first index, so that any number of processes can read what any other number wrote. Nothing is
unpickled. A checkpoint gets its name when all parts are written, and `latest` is replaced after that.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from hardware_models.errors import InputError, RunError
from hardware_models.files import write_atomically
from neuro.training.parallel import Processes

SCHEMA = "neuro.sharded-checkpoint/1"


def save_sharded(folder: Path, step: int, state: dict[str, Any], processes: Processes) -> None:
    """Write a checkpoint; all processes call this together.

    Args:
        folder: of all checkpoints of the training.
        step: of the whole training, its name.
        state: nested dicts and lists of plain values and tensors, whole ones or cut along their first axis.
        processes: that hold it.

    Raises:
        RunError: it cannot be written; the one before stays.
    """
    name = f"step-{step:08d}"
    unfinished = folder / f".{name}.part"
    tensors: dict[str, Tensor] = {}
    plain = _flattened({"schema": SCHEMA, **state}, "", tensors)
    try:
        if processes.is_first:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
        processes.wait()
        parts, offsets = _own_rows(tensors, processes)
        part = unfinished / f"part-{processes.rank}-of-{processes.count}.safetensors"
        save_file(parts, str(part), {"offsets": json.dumps(offsets)})
        processes.wait()
        if processes.is_first:
            with write_atomically(unfinished / "state.json") as file:
                json.dump(plain, file)
            shutil.rmtree(folder / name, ignore_errors=True)
            unfinished.rename(folder / name)
            with write_atomically(folder / "latest") as file:
                file.write(name)
            for old in folder.glob("step-*"):
                if old.name != name:
                    shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise RunError(f"could not write the checkpoint {folder / name}: {error}; the one before is kept.") from error
    processes.wait()


def load_sharded(folder: Path) -> dict[str, Any]:
    """Return the newest whole checkpoint, its tensors whole.

    Raises:
        InputError: there is none, or it is damaged or of another schema.
    """
    advice = "delete the folder to start this training anew"
    try:
        newest = folder / (folder / "latest").read_text(encoding="utf-8").strip()
        plain = json.loads((newest / "state.json").read_text(encoding="utf-8"))
        if plain.pop("schema", None) != SCHEMA:
            raise InputError(f"{newest} is no checkpoint of schema {SCHEMA!r}; {advice}.")
        pieces: dict[str, list[tuple[int, Tensor]]] = {}
        found = sorted(newest.glob("part-*.safetensors"))
        if not found or len(found) != int(found[0].stem.rpartition("-")[2]):
            raise InputError(f"{newest} lacks parts, it holds {len(found)}; {advice}.")
        for part in found:
            with safe_open(str(part), framework="pt") as file:
                offsets = json.loads(file.metadata()["offsets"])
                for name in file.keys():  # noqa: SIM118 (no mapping)
                    pieces.setdefault(name, []).append((offsets[name], file.get_tensor(name)))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise InputError(f"{folder} cannot be read as a sharded checkpoint ({error}); {advice}.") from error
    return _nested(plain, {name: _joined(rows) for name, rows in pieces.items()})


def like(whole: Tensor, held: Tensor) -> Tensor:
    """Return a whole tensor as `held` is: cut over the same processes, or as it is."""
    if isinstance(held, DTensor):
        return distribute_tensor(whole.to(held.device), held.device_mesh, held.placements)
    return whole


_TENSOR = "@tensor"


def _flattened(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[path] = value
        return {_TENSOR: path}
    if isinstance(value, dict):
        return {str(key): _flattened(one, f"{path}/{key}", tensors) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_flattened(one, f"{path}/{index}", tensors) for index, one in enumerate(value)]
    return value


def _nested(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_TENSOR}:
            return tensors[value[_TENSOR]]
        return {key: _nested(one, tensors) for key, one in value.items()}
    return [_nested(one, tensors) for one in value] if isinstance(value, list) else value


def _own_rows(tensors: dict[str, Tensor], processes: Processes) -> tuple[dict[str, Tensor], dict[str, int]]:
    """The rows that this process writes, and the index of the first of each."""
    rows, offsets = {}, {}
    for name, tensor in tensors.items():
        if isinstance(tensor, DTensor):
            held = tensor.to_local()
            _, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
            if held.numel():
                rows[name], offsets[name] = held.detach().cpu().contiguous(), int(offset[0]) if offset else 0
        elif processes.is_first:
            rows[name], offsets[name] = tensor.detach().cpu().contiguous(), 0
    return rows, offsets


def _joined(rows: list[tuple[int, Tensor]]) -> Tensor:
    parts = [tensor for _, tensor in sorted(rows, key=lambda one: one[0])]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
