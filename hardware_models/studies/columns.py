"""Points of a space as columns: one array for each axis, so that a million points are a few arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_models.errors import InputError

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Columns:
    """N points.

    Attributes:
        values: by axis, `[N]`; where the axis is inactive the entry means nothing.
        active: by axis, `[N]`; an axis that is not among them is active everywhere.

    Raises:
        InputError: no axis, arrays that are not one-dimensional or of several lengths, a mask without its axis.
    """

    values: Mapping[str, Array]
    active: Mapping[str, Bools] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shapes = {array.shape for array in (*self.values.values(), *self.active.values())}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise InputError(f"columns have shapes {sorted(shapes)}; give at least one array, all of one shape [N].")
        if not set(self.active) <= set(self.values):
            raise InputError(f"masks name {sorted(set(self.active) - set(self.values))}; give only names of columns.")

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def point(self, index: int) -> dict[str, Any]:
        """Return the point at `index` as Python values by axis; None where the axis is inactive."""
        return {
            name: _plain(array[index]) if name not in self.active or self.active[name][index] else None
            for name, array in self.values.items()
        }

    def is_active(self, name: str) -> Bools:
        """Return where the axis called `name` has a value, `[N]`."""
        return self.active.get(name, np.ones(len(self), dtype=bool))

    def take(self, rows: npt.ArrayLike) -> Columns:
        """Return the points at `rows`: a mask `[N]` or indices."""
        chosen = np.asarray(rows)
        if not chosen.size:
            chosen = chosen.astype(np.int64)
        return Columns(
            {name: array[chosen] for name, array in self.values.items()},
            {name: mask[chosen] for name, mask in self.active.items()},
        )

    def keys(self) -> list[bytes]:
        """Return what names each point in every run: SHA-256 of the JSON of its active values, in order of names."""
        fragments = [self._fragments(name) for name in sorted(self.values)]
        texts = ("{" + ",".join(filter(None, row)) + "}" for row in zip(*fragments, strict=True))
        return [hashlib.sha256(text.encode()).digest() for text in texts]

    def _fragments(self, name: str) -> list[str]:
        """Return `"name":value` for each point, empty where the axis is inactive."""
        head, values = f"{json.dumps(name)}:", self.values[name].tolist()
        texts = {value: head + json.dumps(value, allow_nan=False) for value in set(values)}
        return [texts[value] if active else "" for value, active in zip(values, self.is_active(name), strict=True)]


def concat(parts: Sequence[Columns]) -> Columns:
    """Return the points of `parts` one after the other; no parts, or other axes among them, are an `InputError`."""
    if not parts:
        raise InputError("there are no columns to join; give at least one.")
    names = list(parts[0].values)
    for part in parts:
        if set(part.values) != set(names):
            raise InputError(f"columns name {sorted(part.values)} and {sorted(names)}; join only those of one space.")
    masked = [name for name in names if any(name in part.active for part in parts)]
    return Columns(
        {name: np.concatenate([part.values[name] for part in parts]) for name in names},
        {name: np.concatenate([part.is_active(name) for part in parts]) for name in masked},
    )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
