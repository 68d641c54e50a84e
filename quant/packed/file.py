"""Packed networks as files: safetensors with bit planes, and a header that says what is what.

A weight of k bits takes k bits, a ternary one 2, and a scale for each output channel where there are several;
BatchNorm takes a scale and a shift. All other tensors lie there as they are. Nothing in the file is executed; the graph
is that of the network which `load` is given.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, Literal

import safetensors.torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hardware_models.errors import InputError
from hardware_models.files import write_atomically
from quant.export.header import Settings
from quant.network import QuantizedNetwork, check_finite
from quant.packed.content import Content, content_of, restored
from quant.packed.network import PackedNetwork, assemble
from quant.packed.weights import PackedWeight

SCHEMA: Final = "neuro.packed-network/1"
_KEY: Final = "neuro"


class Weight(BaseModel):
    """A packed weight: name of its tensor, form, bits and shape with the output channels first."""

    model_config = ConfigDict(extra="forbid")

    parameter: str
    form: str
    bits: int
    shape: list[int]


class Header(BaseModel):
    """What the file says beside its tensors; see `Content`."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal["neuro.packed-network/1"] = SCHEMA
    recipe: str
    timesteps: int
    quantizers: dict[str, Settings]
    weights: dict[str, Weight]
    norms: list[str]
    same: dict[str, str] = {}


def save(network: QuantizedNetwork | PackedNetwork, path: str | Path) -> int:
    """Write a network with its weights bit-packed.

    Args:
        network: a quantized network, or what `pack` made of it.
        path: the file; its folder must exist.

    Returns:
        The bytes of the file.

    Raises:
        InputError: another network, or a scale that is zero or not finite.
        RunError: the file cannot be written.
    """
    if isinstance(network, PackedNetwork):
        content = network.content
    elif isinstance(network, QuantizedNetwork):
        check_finite(network)
        content = content_of(network)
    else:
        raise InputError(f"a {type(network).__name__} was to be written; quantize it first (quant.quantize).")
    header, tensors = _written(content)
    data = safetensors.torch.save(tensors, {_KEY: header.model_dump_json()})
    with write_atomically(Path(path), "wb") as file:
        file.write(data)
    return len(data)


def load(path: str | Path, network: QuantizedNetwork, batch: int = 1) -> PackedNetwork:
    """Make a packed network from a file and the architecture that it was made of.

    Args:
        path: what `save` wrote.
        network: the same model quantized by the same recipe, with any weights and ranges; left as it is.
        batch: see `pack`.

    Raises:
        InputError: no such file, one of another kind, or a network of another architecture or recipe.
    """
    content = _read(Path(path))
    if not isinstance(network, QuantizedNetwork):
        raise InputError(f"a {type(network).__name__} was given; quantize it first (quant.quantize).")
    return assemble(restored(network, content, str(path)), content, batch)


def _written(content: Content) -> tuple[Header, dict[str, Tensor]]:
    tensors, same = _once(content.tensors)
    weights: dict[str, Weight] = {}
    for name, weight in content.weights.items():
        found = weight.tensors()
        scale = found["scale"]
        tensors |= {
            f"{name}.planes": found["planes"],
            f"{name}.scale": scale[:1] if bool((scale == scale[0]).all()) else scale,
        }
        weights[name] = Weight(parameter=content.parameters[name], **weight.header())
    for name, (scale, shift) in content.norms.items():
        tensors |= {f"{name}.scale": scale, f"{name}.shift": shift}
    header = Header(
        recipe=content.recipe,
        timesteps=content.timesteps,
        quantizers=content.quantizers,
        weights=weights,
        norms=list(content.norms),
        same=same,
    )
    return header, {name: value.detach().contiguous().clone() for name, value in tensors.items()}


def _once(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, each once, and the names of those that are another one's."""
    found: dict[str, Tensor] = {}
    same: dict[str, str] = {}
    names: dict[tuple[Any, ...], str] = {}
    for name, value in tensors.items():
        place = (value.data_ptr(), value.shape, value.stride(), value.dtype)
        if value.numel() and place in names:
            same[name] = names[place]
        else:
            names[place], found[name] = name, value
    return found, same


def _read(path: Path) -> Content:
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be read ({error}); give a file that quant.packed.save wrote.") from error
    if text is None:
        raise InputError(f"{path} holds tensors alone; give a file that quant.packed.save wrote.")
    try:
        header = Header.model_validate(json.loads(text))
        return _content(header, tensors)
    except (ValidationError, json.JSONDecodeError, KeyError) as error:
        problem = str(error).splitlines()[-1].strip()
        raise InputError(f"{path} cannot be understood ({problem}); write it again with quant.packed.save.") from error


def _content(header: Header, tensors: dict[str, Tensor]) -> Content:
    """Sort the tensors of a file; each is taken once."""
    weights, parameters, norms = {}, {}, {}
    for name, one in header.weights.items():
        found = {key: tensors.pop(f"{name}.{key}") for key in ("planes", "scale")}
        weights[name] = PackedWeight.read(one.model_dump(), found)
        parameters[name] = one.parameter
    for name in header.norms:
        norms[name] = (tensors.pop(f"{name}.scale"), tensors.pop(f"{name}.shift"))
    tensors |= {name: tensors[there] for name, there in header.same.items()}
    return Content(header.recipe, header.timesteps, header.quantizers, weights, parameters, norms, tensors)
