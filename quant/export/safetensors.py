"""Quantized networks as safetensors: tensors, with recipe and quantizers in the header, and nothing that is executed.

The file holds what `quant.quantize` cannot know from the network it was made of: the trained tensors, and which
quantizer each value got, which depends on data. `load_quantized` quantizes the same architecture again, with any
weights, and puts both in.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from hardware_models.errors import InputError
from quant.capture import Captured
from quant.export.common import answer, checked, relative_error, write
from quant.export.header import Header, Input, make, settings
from quant.network import QuantizedNetwork
from quant.observe import CalibrationWarning
from quant.quantize import quantize
from quant.quantizers import ShiftedPReLU

_KEY: Final = "neuro"


def export_safetensors(network: nn.Module, path: str | Path, example: Tensor | tuple[Tensor, ...]) -> float:
    """Write tensors, recipe and quantizers of a network; `load_quantized` makes it again.

    Args:
        network: what `quant.quantize` made.
        path: the file; its folder must exist.
        example: inputs, `[B, ...]` each, whose shapes and types are noted.

    Returns:
        |y - y'| / |y| for what the network answers to `example`, and what a copy that took its tensors and quantizers
        from the file does.

    Raises:
        InputError: a network that is not quantized, or a quantizer of an unknown kind.
        RunError: the file cannot be written.
    """
    found, inputs = checked(network, example)
    tensors, same = _tensors(found)
    header = Header(
        recipe=found.recipe,
        timesteps=found.timesteps,
        keep=_kept(found),
        trainable=any(isinstance(one, nn.modules.batchnorm._BatchNorm) for one in found.modules()),
        inputs=[Input(shape=list(x.shape[1:]), dtype=str(x.dtype).removeprefix("torch.")) for x in inputs],
        quantizers={name: settings(one) for name, one in found.quantizers().items()},
        same=same,
    )
    content = safetensors.torch.save(tensors, {_KEY: header.model_dump_json(by_alias=True)})
    again = _restored(path, copy.deepcopy(found), header, safetensors.torch.load(content))
    error = relative_error(answer(again, inputs), answer(found, inputs))
    write(Path(path), content)
    return error


def load_quantized(path: str | Path, model: nn.Module | Captured) -> QuantizedNetwork:
    """Make a network again from a file and the architecture that it was made of.

    Args:
        path: what `export_safetensors` wrote.
        model: in evaluation mode, with any weights; left as it is. Or what `quant.capture` made of it, with BatchNorm
            folded or not as it was.

    Returns:
        The network, in evaluation mode, with the file's quantizers and tensors.

    Raises:
        InputError: no such file, one of another kind, or a network of another architecture.
    """
    header, tensors = _read(Path(path))
    device = _device(model.graph if isinstance(model, Captured) else model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        network = quantize(
            model,
            header.recipe,
            tuple(_any(one).to(device) for one in header.inputs),
            timesteps=header.timesteps,
            keep=header.keep,
            trainable=header.trainable,
        )
    return _restored(path, network, header, tensors)


def _kept(network: QuantizedNetwork) -> list[str]:
    """What `keep` was: names and paths of which every operator was kept."""
    takes = [one for one in network.operators if one.kind != "norm" and one.operator != ShiftedPReLU.__name__]
    keys = {key for one in takes if one.kind == "kept" for key in (one.operator, one.path)}
    return sorted(key for key in keys if all(one.kind == "kept" for one in takes if key in (one.operator, one.path)))


def _tensors(network: QuantizedNetwork) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, each once and without repetitions, and the names of those that are another one's."""
    found: dict[str, Tensor] = {}
    same: dict[str, str] = {}
    names: dict[tuple[Any, ...], str] = {}
    for name, value in network.state_dict().items():
        place = (value.data_ptr(), value.shape, value.stride(), value.dtype)
        if value.numel() and place in names:
            same[name] = names[place]
            continue
        names[place] = name
        found[name] = _once(value).clone(memory_format=torch.contiguous_format)
    return found, same


def _once(value: Tensor) -> Tensor:
    """A view without the repetitions of an expanded tensor."""
    return value[tuple(slice(1) if step == 0 else slice(None) for step in value.stride())]


def _read(path: Path) -> tuple[Header, dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be read ({error}); give a file that export_safetensors wrote.") from error
    if text is None:
        raise InputError(f"{path} holds tensors alone; give a file that export_safetensors wrote.")
    try:
        return Header.model_validate(json.loads(text)), tensors
    except (ValidationError, json.JSONDecodeError) as error:
        problem = str(error).splitlines()[-1].strip()
        raise InputError(f"{path} has a header that cannot be read ({problem}); write the file again.") from error


def _device(module: nn.Module) -> torch.device:
    return next((one.device for one in module.parameters()), torch.device("cpu"))


def _any(found: Input) -> Tensor:
    """An input of the right form: it only has to run, since every range comes from the file."""
    dtype = getattr(torch, found.dtype, None)
    if not isinstance(dtype, torch.dtype):
        raise InputError(f"the file has an input of type {found.dtype!r}, which is not known.")
    shape = (2, *found.shape)
    if not dtype.is_floating_point:
        return torch.zeros(shape, dtype=dtype)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


@torch.no_grad()
def _restored(
    path: str | Path, network: QuantizedNetwork, header: Header, tensors: dict[str, Tensor]
) -> QuantizedNetwork:
    """Put the file's quantizers and tensors, every one, into a network of the same architecture."""
    device = _device(network)
    _same_names(path, network.quantizers(), header.quantizers)
    for name, one in header.quantizers.items():
        network.layers.set_submodule(name, make(one).to(device).train(network.training))
    own = network.state_dict()
    tensors = tensors | {name: tensors[there] for name, there in header.same.items() if there in tensors}
    _same_names(path, own, tensors)
    for name, value in own.items():
        there, given = _once(value), tensors[name]
        if there.shape != given.shape or there.dtype != given.dtype:
            raise _other(path, name)
        there.copy_(given)
    return network


def _same_names(path: str | Path, own: Iterable[str], given: Iterable[str]) -> None:
    differing = sorted(set(own) ^ set(given))
    if differing:
        raise _other(path, differing[0])


def _other(path: str | Path, name: str) -> InputError:
    return InputError(
        f"{path} was made of another architecture, which has another {name}; give the network that it was made of."
    )
