"""Published architectures, one file each; `catalogue` says what there is, `registry` builds it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from neuro.models.catalogue import architecture, model_names

if TYPE_CHECKING:
    from neuro.models.inference import for_inference
    from neuro.models.registry import create_model, merge_model

__all__ = ["architecture", "create_model", "for_inference", "merge_model", "model_names"]

_ROOMS = {"create_model": "registry", "for_inference": "inference", "merge_model": "registry"}


def __getattr__(name: str) -> Any:
    # Building needs torch, which takes seconds to import; listing does not.
    if name in _ROOMS:
        return getattr(importlib.import_module(f"neuro.models.{_ROOMS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
