"""`Source`: a network that can be captured, with an input and what it expects of images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from hardware_models.errors import InputError
from neuro.data.batching import Normalise
from quant.capture.export import check_inputs

Size = tuple[int, ...] | None
"""Of one sample: the side of square images, or its whole shape; None for the network's own."""

BATCH = 2
"""Samples of an example input."""


@dataclass(frozen=True)
class Source:
    """A network to convert.

    Attributes:
        name: how to call it.
        model: a module in evaluation mode, or an exported program.
        example: inputs it takes, each `[B, ...]`; noise, or tokens at random.
        normalise: what it expects to be done with pixels in 0..1; None where it does not say.
        interpolation: how its authors resize images, such as `bicubic`; empty where it does not say.
        crop: side of the centre crop over the shorter side of the resized image; None where it does not say.
        trained: whether it has weights of its own, and not random ones.
        notes: what was done to it, as sentences.
    """

    name: str
    model: nn.Module | ExportedProgram
    example: tuple[Tensor, ...]
    normalise: Normalise | None = None
    interpolation: str = ""
    crop: float | None = None
    trained: bool = True
    notes: tuple[str, ...] = field(default=())

    @classmethod
    def of_module(cls, model: nn.Module, example: tuple[Tensor, ...], name: str = "") -> Source:
        """Describe a module that is there already; it is left as it is.

        Args:
            model: in evaluation mode.
            example: its inputs, each `[B, ...]`.
            name: empty takes its class.
        """
        check_inputs(example)
        return cls(name or type(model).__name__, model, example, **image_settings(model))

    @property
    def parameters(self) -> int:
        """How many numbers it has learned."""
        return sum(one.numel() for one in self.model.parameters())


def image_settings(model: nn.Module) -> dict[str, Any]:
    """Return what a network that timm made says of its images: `normalise`, `interpolation` and `crop`."""
    settings = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    if not isinstance(settings, dict) or "mean" not in settings:
        return {}
    normalise = Normalise(tuple(settings["mean"]), tuple(settings["std"]))
    return {
        "normalise": normalise,
        "interpolation": settings.get("interpolation", ""),
        "crop": settings.get("crop_pct"),
    }


def in_evaluation(model: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """Put a module into evaluation mode and float32; return it with a note where its numbers changed."""
    types = {one.dtype for one in [*model.parameters(), *model.buffers()] if one.is_floating_point()}
    others = sorted(str(one).removeprefix("torch.") for one in types - {torch.float32})
    note = (f"Its {' and '.join(others)} weights are computed with in float32.",) if others else ()
    return model.eval().float(), note


def noise(name: str, model: nn.Module, size: Size) -> Tensor:
    """Return a random input, `[B, ...]`, of a size that was asked for.

    Args:
        name: of the network, for the complaint.
        model: its first convolution says how many channels images have, where `size` is one number.
        size: the side of square images, or the shape of a sample.

    Raises:
        InputError: there is no telling how large its input is.
    """
    if size is None:
        raise InputError(f"{name} does not say how large its input is; give --input-size, or an example input.")
    if len(size) == 1:
        first = next((one for one in model.modules() if isinstance(one, nn.Conv2d)), None)
        if first is None:
            return torch.randn(BATCH, *size)
        size = (first.in_channels, size[0], size[0])
    return torch.randn(BATCH, *size)


def not_installed(library: str) -> InputError:
    """Return the error to raise where a library of networks is missing."""
    return InputError(f"{library} is not installed; pip install neuro[hosts] brings it.")
