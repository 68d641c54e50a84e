"""What is known of each architecture, as data: `configs/models/<name>.yaml`. Needs no torch."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hardware_models.errors import unknown_name
from hardware_models.shipped import shipped_configs


@dataclass(frozen=True)
class Variant:
    """One size of an architecture, as its file in `configs/models` gives it."""

    name: str
    config: dict[str, Any]
    description: str = ""
    published: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Architecture:
    """What `configs/models/<name>.yaml` says of an architecture."""

    name: str
    title: str
    paper: str
    source: str
    default_variant: str
    default_attention: str
    variants: dict[str, Variant]

    def variant(self, name: str | None = None) -> Variant:
        """Return the named variant, or the default one; an unknown name is an `InputError`."""
        name = name or self.default_variant
        if name not in self.variants:
            raise unknown_name(f"variant of {self.name}", name, self.variants)
        return self.variants[name]

    def to_document(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        return dataclasses.asdict(self)


def model_names() -> list[str]:
    """Return the names of all architectures, sorted."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


@functools.cache
def architecture(name: str) -> Architecture:
    """Return what is known of the architecture called `name`; an unknown name is an `InputError`."""
    if name not in model_names():
        raise unknown_name("model", name, model_names())
    data = yaml.safe_load((_folder() / f"{name}.yaml").read_text(encoding="utf-8"))
    variants = {key: Variant(key, **value) for key, value in data["variants"].items()}
    fields = {f.name: data[f.name] for f in dataclasses.fields(Architecture) if f.name != "variants"}
    return Architecture(**fields, variants=variants)


def _folder() -> Path:
    return shipped_configs("neuro", "models")
