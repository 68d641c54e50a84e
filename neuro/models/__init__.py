"""Published architectures, one file each; `catalogue` says what there is, `registry` builds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuro.models.catalogue import architecture, model_names

if TYPE_CHECKING:
    from neuro.models.registry import create_model, merge_model

__all__ = ["architecture", "create_model", "merge_model", "model_names"]


def __getattr__(name: str) -> Any:
    # Building needs torch, which takes seconds to import; listing does not.
    if name in ("create_model", "merge_model"):
        from neuro.models import registry

        return getattr(registry, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
