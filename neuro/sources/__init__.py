"""From a name or a file to a network that can be captured, with an input and what it expects of images.

    timm:NAME            an architecture of timm, with random weights
    hf:NAME              a local folder with config.json, or an architecture of transformers, such as hf:vit
    module.path:factory  a function without arguments that returns a module, or a module and its example inputs
    FILE.pt2             a program that torch.export.save wrote

Nothing is downloaded, and nothing is unpickled.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch.export import ExportedProgram

from hardware_models.errors import InputError
from neuro.sources.imported import from_factory
from neuro.sources.saved_program import from_program
from neuro.sources.source import Size, Source
from neuro.sources.timm_networks import from_timm
from neuro.sources.transformers_networks import from_transformers
from neuro.weights import load_weights

__all__ = ["Source", "load_source"]


def load_source(
    source: str,
    *,
    weights: str | Path | None = None,
    weights_by_order: bool = False,
    input_size: int | tuple[int, ...] | None = None,
    seed: int = 0,
) -> Source:
    """Load a network in evaluation mode and float32.

    Args:
        source: see the head of this module.
        weights: a safetensors file or torch checkpoint of its state; None keeps what the source brings.
        weights_by_order: match the file's tensors with the network's by their order, not by their names.
        input_size: of one sample: the side of square images, or its whole shape such as (3, 224, 224) or, for tokens,
            128; None takes the network's own.
        seed: of random weights and of the example input.

    Raises:
        InputError: an unknown source or name (with the nearest ones), a library that is not installed, a factory that
            gives no module, a size the network does not take, or weights that do not fit.
    """
    size = (input_size,) if isinstance(input_size, int) else input_size
    if size is not None and (not size or min(size) < 1):
        raise InputError(f"the input size was {size}; give whole numbers of at least 1.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found = _found(source, size)
    if weights is None:
        return found
    if isinstance(found.model, ExportedProgram):
        raise InputError(f"{source} brings its weights; leave out --weights {weights}.")
    load_weights(Path(weights), found.model, by_order=weights_by_order)
    return dataclasses.replace(found, trained=True)


def _found(source: str, size: Size) -> Source:
    kind, _, name = source.partition(":")
    if source.endswith(".pt2"):
        return from_program(Path(source), size)
    if kind == "timm":
        return from_timm(name, size)
    if kind == "hf":
        return from_transformers(name, size)
    if kind and name:
        return from_factory(source, size)
    raise InputError(
        f"cannot tell what network {source!r} is; give timm:NAME, hf:NAME, module.path:factory or a saved program "
        "FILE.pt2."
    )
