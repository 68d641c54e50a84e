"""Weights from and to files, without ever unpickling code."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from hardware_models.errors import InputError
from hardware_models.files import write_atomically


def save_weights(path: Path, model: nn.Module, metadata: dict[str, str]) -> None:
    """Write the model's state as safetensors, whole or not at all."""
    save_tensors(path, model.state_dict(), metadata)


def save_tensors(path: Path, state: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors by name as safetensors, whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with write_atomically(path, "wb") as file:
        file.write(save_safetensors(tensors, metadata))


def load_weights(path: Path, model: nn.Module, by_order: bool = False) -> None:
    """Load a safetensors file or a torch checkpoint into `model`.

    A checkpoint may hold the tensors directly or under `model`, `state_dict` or `module`; a `module.` prefix of
    every name (data-parallel training) is dropped.

    Args:
        path: the file.
        model: loaded in place.
        by_order: take the tensors in the file's order for those of the network in its own, whatever their names: for
            another author's code of the same network. Every shape must fit.

    Raises:
        InputError: missing, truncated or foreign files, pickled code, names or shapes that do not fit.
    """
    state = _read(path)
    if state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    if by_order:
        state = _in_order(path, state, model.state_dict())
    _check_fit(path, state, model.state_dict())
    _check_values(path, state, model.state_dict())
    model.load_state_dict(state)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read weights {path}: {error.strerror}; give a safetensors file or torch checkpoint."
        ) from error
    if path.suffix == ".safetensors" or _looks_like_safetensors(content):
        try:
            return load_safetensors(content)
        except (SafetensorError, json.JSONDecodeError, ValueError) as error:
            raise InputError(f"{path} is damaged or truncated ({error}); get the safetensors file again.") from error
    return _read_checkpoint(path)


def _looks_like_safetensors(content: bytes) -> bool:
    """A safetensors file starts with the length of its JSON header, then `{`."""
    return len(content) > 9 and content[8:9] == b"{"


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on foreign pickle protocols; whether the file fits is checked below
            loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # the unpickler raises anything on foreign bytes
        raise _unreadable(path, error) from error
    for key in ("model", "state_dict", "module"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not (isinstance(loaded, dict) and loaded and all(map(_is_named_tensor, loaded.items()))):
        raise InputError(f"{path} holds no state dict; save model.state_dict() and give that file.")
    return loaded


def _unreadable(path: Path, error: Exception) -> InputError:
    if isinstance(error, pickle.UnpicklingError) and "global" in str(error).lower():
        return InputError(
            f"{path} holds pickled Python objects beside tensors, which are never loaded because they can run "
            "code; save the state dict alone, or as safetensors."
        )
    return InputError(
        f"{path} is no torch checkpoint, or a damaged or truncated one; give a safetensors file or a state dict "
        "saved by torch."
    )


def _is_named_tensor(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


_COUNTER = "num_batches_tracked"
"""BatchNorm's count of batches in training, which no result depends on and some formats leave out."""


def _in_order(path: Path, given: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors of a file the names of the network's, one after the other."""
    theirs = [name for name in given if not name.endswith(_COUNTER)]
    ours = [name for name in wanted if not name.endswith(_COUNTER)]
    for number, (their, our) in enumerate(zip(theirs, ours, strict=False), 1):
        if given[their].shape != wanted[our].shape:
            raise InputError(
                f"{path} does not fit this network by order: tensor {number} is {their} {list(given[their].shape)}, "
                f"expected {our} {list(wanted[our].shape)}; order its tensors as the network's, or match them by name."
            )
    if len(theirs) != len(ours):
        raise InputError(
            f"{path} does not fit this network by order: it holds {len(theirs)} tensors, expected {len(ours)}; check "
            "the model and the number of classes."
        )
    named = {our: given[their] for their, our in zip(theirs, ours, strict=True)}
    return named | {name: tensor for name, tensor in wanted.items() if name.endswith(_COUNTER)}


def _check_fit(path: Path, given: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Say in one sentence what does not fit, with an example of each kind."""
    missing = [name for name in wanted if name not in given]
    extra = [name for name in given if name not in wanted]
    shapes = [name for name in wanted if name in given and given[name].shape != wanted[name].shape]
    if not (missing or extra or shapes):
        return
    faults = []
    if shapes:
        name = shapes[0]
        faults.append(
            f"{len(shapes)} of other shapes ({name}: {list(given[name].shape)}, expected {list(wanted[name].shape)})"
        )
    if missing:
        faults.append(f"{len(missing)} missing ({missing[0]})")
    if extra:
        faults.append(f"{len(extra)} unknown ({extra[0]})")
    raise InputError(
        f"{path} does not fit this network: of {len(wanted)} tensors {', '.join(faults)}; check --model, --variant, "
        "--neuron, --attention and the number of classes."
    )


def _check_values(path: Path, given: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Refuse numbers that would be loaded without a complaint and make no network."""
    for name, tensor in given.items():
        if tensor.is_floating_point() != wanted[name].is_floating_point():
            raise InputError(
                f"{path} holds {name} as {tensor.dtype}, expected {wanted[name].dtype}; give weights that are not "
                "quantized."
            )
        if not tensor.isfinite().all():
            raise InputError(
                f"{path} holds NaN or infinite values in {name}; give the weights of a training that converged."
            )
