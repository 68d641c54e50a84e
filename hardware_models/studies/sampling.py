"""Drawing points of a space by rejection, a bounded number of times."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from hardware_models.studies.axis import Axis
from hardware_models.studies.columns import Array, Columns, concat
from hardware_models.studies.rejections import Rejections
from hardware_models.whole_numbers import whole_numbers

BATCH: Final = 8192
"""Points drawn at once. Always as many, so that a longer sample begins with the shorter one."""

FREE_DRAWS: Final = 100_000
DRAWS_FOR_ONE: Final = 1000
"""Sampling gives up after `FREE_DRAWS` draws and `DRAWS_FOR_ONE` more for each point that was found."""


def draw(
    axes: Mapping[str, Axis],
    masked: Callable[[Mapping[str, Array]], Columns],
    broken: Callable[[Columns], npt.NDArray[np.int16]],
    rejections: Rejections,
    count: int,
    seed: int,
) -> Columns:
    """Return `count` points that are not `broken`; see `Space.sample`.

    Each axis has its own stream of random numbers, so that a new axis leaves the values of the others alone.
    """
    count, seed = int(whole_numbers("count", count)), int(whole_numbers("seed", seed, least=0))
    found: list[Columns] = []
    while rejections.kept < count:
        if rejections.tried > FREE_DRAWS + DRAWS_FOR_ONE * rejections.kept:
            raise rejections.error(f"only {rejections.kept} of {count} points were found in {rejections.tried} draws")
        streams = {
            name: np.random.default_rng([seed, rejections.tried // BATCH, zlib.crc32(name.encode())]) for name in axes
        }
        columns = masked({name: axis.draw(streams[name], BATCH) for name, axis in axes.items()})
        kept = rejections.note(broken(columns))
        found.append(columns.take(kept))
    return concat(found).take(np.arange(count))
