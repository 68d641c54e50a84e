"""What all formats share: what they take, what they refuse, and how a file is judged."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Literal

import torch
from torch import Tensor, nn

from hardware_models.errors import InputError
from hardware_models.files import write_atomically
from quant.network import QuantizedNetwork, check_finite

Format = Literal["qcdq", "qonnx", "program", "safetensors"]

BATCH = "batch"
"""Name of the axis whose size stays open."""


def library(name: str) -> ModuleType:
    """Import what is not needed for anything but export.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise InputError(f"{package} is not installed; pip install neuro[export].") from error


def checked(network: nn.Module, example: Tensor | tuple[Tensor, ...]) -> tuple[QuantizedNetwork, tuple[Tensor, ...]]:
    """Return the network and its inputs as a tuple, if they can be exported.

    Raises:
        InputError: a network that is not quantized, or whose scales are zero or not finite, or inputs that it does
            not take.
    """
    if not isinstance(network, QuantizedNetwork):
        raise InputError(f"a {type(network).__name__} was to be exported; quantize it first (quant.quantize).")
    check_finite(network)
    inputs = (example,) if isinstance(example, Tensor) else tuple(example)
    wanted = len(network.layers.graph.find_nodes(op="placeholder"))
    if len(inputs) != wanted or not all(isinstance(x, Tensor) and x.dim() and len(x) for x in inputs):
        raise InputError(f"the network takes {wanted} inputs of [B, ...] each; give as many tensors with B >= 1.")
    return network, inputs


def twice(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the inputs with two samples at least: tracing takes a batch of one for a constant."""
    return tuple(torch.cat([x, x]) if len(x) == 1 else x for x in inputs)


@torch.no_grad()
def answer(network: QuantizedNetwork, inputs: tuple[Tensor, ...]) -> Tensor:
    """Return what the network answers in evaluation mode, and leave it in the mode it is in."""
    training = network.training
    network.eval()
    try:
        output: Tensor = network(*inputs)
    finally:
        network.train(training)
    return output


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """Return |found - wanted| / |wanted|."""
    return float((found - wanted).norm() / wanted.norm().clamp_min(1e-30))


def readers(network: QuantizedNetwork, quantizer: str) -> str:
    """Return the layers that read what a quantizer makes, in words, with its name."""
    paths = [one.path for one in network.operators if quantizer == one.weight or quantizer in one.inputs]
    return f"{' and '.join(dict.fromkeys(paths)) or 'the network'} ({quantizer})"


def refusal(network: QuantizedNetwork, quantizer: str, what: str, form: str, others: str) -> InputError:
    """Return the error for a layer that a format cannot hold.

    Args:
        network: the network.
        quantizer: name of the quantizer.
        what: it makes, such as `binary values`.
        form: the format.
        others: the formats that can hold it.
    """
    return InputError(
        f"{readers(network, quantizer)} reads {what}, which {form} cannot hold; export as {others} instead, or keep "
        "the layer out of the recipe."
    )


def write(path: Path, content: bytes) -> None:
    """Put the file into its place.

    Raises:
        RunError: it cannot be written.
    """
    with write_atomically(path, "wb") as file:
        file.write(content)
