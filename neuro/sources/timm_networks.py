"""Architectures of timm by their names there, with random weights; nothing is downloaded."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from torch import nn

from hardware_models.errors import InputError
from neuro.sources.companions import import_timm
from neuro.sources.source import BATCH, Size, Source, image_settings, in_evaluation, not_installed
from quant.capture.complaints import said


def from_timm(name: str, size: Size) -> Source:
    """Make an architecture.

    Args:
        name: such as `resnet18` or, with the settings of certain weights, `resnet18.a1_in1k`.
        size: the side of square images or their shape `(C, H, W)`; None takes the architecture's own.

    Raises:
        InputError: timm is not installed, it has no such architecture (with the nearest names), or the architecture
            does not take images of this size.
    """
    try:
        timm = import_timm()
    except ImportError as error:
        raise not_installed("timm") from error
    if "/" in name or ":" in name or not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), 3, 0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() in Python lists all."
        raise InputError(f"timm {timm.__version__} has no architecture {name!r}; {hint}")
    if size is not None and len(size) not in (1, 3):
        raise InputError(f"timm:{name} takes images, and the input size was {size}; give a side or (C, H, W).")
    try:
        model, shape = _made(timm, name, size)
        with torch.no_grad():
            made, notes = in_evaluation(model)
            made(torch.zeros(1, *shape))
    except Exception as error:
        wanted = f" for images of {'x'.join(map(str, size))}" if size else ""
        raise InputError(
            f"timm cannot make {name}{wanted} ({said(error)}); give another --input-size, or none."
        ) from error
    settings = image_settings(made)
    if "normalise" in settings and len(settings["normalise"].mean) != shape[0]:
        del settings["normalise"]
        notes = (*notes, f"Its images have {shape[0]} channels, its normalisation has others and was left out.")
    return Source(name, made, (torch.randn(BATCH, *shape),), trained=False, notes=notes, **settings)


def _made(timm: Any, name: str, size: Size) -> tuple[nn.Module, tuple[int, ...]]:
    """The network and the shape of its images."""
    if size is None:
        model = timm.create_model(name, pretrained=False)
        return model, tuple(model.pretrained_cfg["input_size"])
    channels = {"in_chans": size[0]} if len(size) == 3 else {}
    sides = size[-2:] if len(size) == 3 else size * 2
    try:
        model = timm.create_model(name, pretrained=False, img_size=sides, **channels)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        model = timm.create_model(name, pretrained=False, **channels)  # its layers do not depend on the size
    return model, (channels.get("in_chans", model.pretrained_cfg["input_size"][0]), *sides)
