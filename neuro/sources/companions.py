"""torchvision and torchaudio that were built for another build of torch, such as CUDA's beside torch for the CPU.

Their compiled parts then cannot load. torchvision fails on import because the schemas of two of its operators are
missing, and with it timm; torchaudio fails because of its library, and with it transformers, which uses it only for
sound. Here is what lets both be imported; without such a pair it does nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

_declared: list[torch.library.Library] = []
"""Declarations last as long as their library object."""


def import_timm() -> Any:
    """Return the module `timm`.

    Raises:
        ImportError: timm is not installed.
    """
    import_torchvision()
    return importlib.import_module("timm")


def import_torchvision() -> None:
    """Import torchvision where it is installed, declaring the operators that its compiled part would bring."""
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        for name in [one for one in sys.modules if one.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for schema in _SCHEMAS:
            library.define(schema)
        _declared.append(library)
        importlib.import_module("torchvision")


def import_transformers() -> Any:
    """Return the module `transformers`, which does without torchaudio where that cannot be loaded.

    Raises:
        ImportError: transformers is not installed.
    """
    import_torchvision()
    if importlib.util.find_spec("torchaudio") is not None and not _loads("torchaudio"):
        before = sys.modules.get("torchaudio")
        sys.modules["torchaudio"] = None  # type: ignore[assignment]  # what Python takes for: is not there
        try:
            importlib.import_module("transformers.utils").is_torchaudio_available()  # it remembers the answer
        finally:
            del sys.modules["torchaudio"]
            if before is not None:
                sys.modules["torchaudio"] = before
    return importlib.import_module("transformers")


def _loads(name: str) -> bool:
    try:
        importlib.import_module(name)
    except (ImportError, OSError):
        return False
    return True
