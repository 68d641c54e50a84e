"""Sums over groups along one axis: from wires or synaptic layers to the populations that they belong to."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def summed_by(group: Array, count: int, values: Array, axis: int = -1) -> Array:
    """Return `values` with `axis` replaced by `count` groups, each the sum of its members.

    Args:
        group: `[W]`, the group of each position along `axis`.
        count: number of groups; one without members sums to 0.
        values: `[..., W, ...]`.
        axis: the axis of length W.
    """
    members = np.moveaxis(values, axis, 0)
    totals = np.zeros((count, *members.shape[1:]), dtype=values.dtype)
    np.add.at(totals, group, members)
    return np.moveaxis(totals, 0, axis)
