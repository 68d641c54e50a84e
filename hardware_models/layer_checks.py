"""What must hold in a Workload before a chip's cost can follow from it, beyond what each entry's own type says.

A file may be well formed and still contradict itself: two layers of one name, a stride for one axis of two, spikes of
five timesteps in a layer that runs two. An engine would take the one or the other without a word.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_models.engine import LARGEST_SIZE
from hardware_models.errors import InputError
from hardware_models.workload import Bounds, Layer, Operand, Workload

LARGEST_COUNT = 2**62
"""Largest size times timesteps: twice as much still is a 64-bit integer."""

WIDEST_BITS = 128


def check_layers(workload: Workload) -> None:
    """Refuse a workload that contradicts itself; the message names layer and entry.

    Raises:
        InputError: a name given twice, bounds of uneven dimensions, driving spikes of no operand, counts that are
            not one for each timestep.
    """
    names = [layer.name for layer in workload.layers]
    if len(set(names)) < len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise InputError(f"{workload.name!r} has two layers called {twice!r}; give each layer a name of its own.")
    for layer in workload.layers:
        if layer.bounds is not None:
            _check_dimensions(layer, layer.bounds)
        if (
            layer.driven_by is not None
            and layer.operands
            and all(layer.driven_by != operand.name for operand in layer.operands)
        ):
            _refuse(layer, f"is driven by {layer.driven_by!r}, which is none of its operands")
        for operand in layer.operands:
            _check_counts(layer, operand)
        if layer.output is not None and layer.output.density:  # by hand a width may stand alone
            _check_counts(layer, layer.output)
        _check_channels(layer, workload)


def check_sizes(names: Collection[str], columns: dict[str, npt.NDArray[Any]]) -> None:
    """Refuse sizes `[L]` beyond which counts would not be exact, as floating-point numbers from before their cast.

    Args:
        names: of the layers.
        columns: sizes by name; `timesteps` and widths, whose names end in `bits`, among them.

    Raises:
        InputError: a size above `LARGEST_SIZE`, a width above `WIDEST_BITS`, a size times timesteps above
            `LARGEST_COUNT`.
    """
    for name, values in columns.items():
        limit = WIDEST_BITS if name.endswith("bits") else LARGEST_SIZE
        over = values > limit
        if not over.any():
            over, limit = values * columns["timesteps"] > LARGEST_COUNT, LARGEST_COUNT
        if over.any():
            row = int(np.argmax(over))
            what = f"{name} {values[row]:g}" + (" over all timesteps" if limit == LARGEST_COUNT else "")
            raise InputError(f"layer {list(names)[row]!r} has {what}; expected at most {limit:g}, so mend that size.")


def _check_dimensions(layer: Layer, bounds: Bounds) -> None:
    sizes = len(bounds.out_size)
    alike = len(bounds.in_size) == sizes > 0
    # One value is the default that says: a point, no stride, no padding.
    for values, nothing in (
        (bounds.kernel, (1,)),
        (bounds.stride, (1,)),
        (bounds.padding, (0,)),
        (bounds.dilation, (1,)),
    ):
        alike = alike and (len(values) == sizes or values == nothing)
    if not alike:
        _refuse(layer, "has bounds of uneven dimensions, which in_size, out_size, kernel, stride, padding must share")


def _check_counts(layer: Layer, operand: Operand) -> None:
    steps = len(operand.density)
    if steps not in ((1,) if operand.role == "weight" else (1, layer.timesteps)):
        _refuse(layer, f"runs {layer.timesteps} timesteps and has {steps} densities of its {operand.name}")
    if len(operand.nonzero) != steps or len(operand.magnitude) not in (0, steps):
        _refuse(layer, f"has {steps} densities of its {operand.name} and not as many counts of what is not zero")


def _check_channels(layer: Layer, workload: Workload) -> None:
    for operand in (*layer.operands, layer.output):
        counts = None if operand is None or operand.channels is None else workload.arrays.get(operand.channels)
        if counts is not None and (counts.ndim != 2 or len(counts) != layer.timesteps or not counts.shape[1]):
            shape = f"of shape {counts.shape}; expected a row for each of {layer.timesteps} timesteps"
            _refuse(layer, f"has counts by channel {shape}")


def _refuse(layer: Layer, what: str) -> None:
    raise InputError(f"layer {layer.name!r} {what}; mend the workload.")
