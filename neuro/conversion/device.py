"""The torch device that a run asks for."""

from __future__ import annotations

import torch

from hardware_models.errors import InputError


def find_device(name: str) -> torch.device:
    """Return the device; one that this machine does not have is refused before any work."""
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InputError(f"device {name!r} is unknown; give cpu, cuda or cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise InputError(f"device {name!r} was asked for but torch finds {found} GPUs here; use --device cpu.")
    return device
