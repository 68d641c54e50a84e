"""How many cores, and chips, a network's populations occupy, and how evenly their work falls on the cores.

    cores = max( ceil(neurons / neurons of a core),
                 ceil(synapse bytes / synapse memory of a core),
                 ceil(synapses / synapses of a core),
                 ceil(axons in / axons in of a core),
                 ceil(axons out / axons out of a core) )

The limits are taken as limits on totals: a packing that wastes no place. A limit that a chip does not have does
not bind. Populations are laid on contiguous cores in execution order; a core serves one population.

The neurons of a population either fill one core after the other, so that only the last has room left, or are split
evenly over its cores. When cores are filled, a larger population never has less on its fullest core.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_models.whole_numbers import ceil_divide

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Split:
    """How populations are cut into cores: every core but the last holds `room` of what a population `needs`.

    Attributes:
        needs: of what decides the number of cores, exact integers, at least `room`.
        room: how much of it one core holds.
    """

    needs: Array
    room: Array

    @property
    def cores(self) -> Array:
        """Cores that each population takes."""
        return np.asarray(ceil_divide(self.needs, self.room))

    @property
    def filled(self) -> Array:
        """How many times over each fills a core: its fullest core holds 1 / that of it."""
        return np.asarray(self.needs / self.room)

    def evenly(self) -> Split:
        """Return the split of as many cores that holds as much on each."""
        return Split(self.cores, np.ones_like(self.room))

    def select(self, population: Array) -> Split:
        """Return the split of other populations, `population` indices along the last axis."""
        return Split(self.needs[..., population], self.room[..., population])

    def touched(self, parts: Array) -> Array:
        """Return how many of `parts` equal, contiguous parts a core touches, on average.

        A core that begins inside a part touches one more: (parts + cores - a) / cores, where a cores begin with
        a part. Core i begins at `i room / needs` of the population.
        """
        cores = self.cores
        every = self.needs // np.gcd(self.needs, parts * self.room)
        return np.asarray((parts + cores - ceil_divide(cores, every)) / cores)


def cores_needed(needs: Mapping[str, Array], limits: Mapping[str, Array]) -> tuple[Split, Array]:
    """Return how populations fill cores, and the limit that decides it.

    Args:
        needs: what each population needs of everything that is limited, `[P]` or `[U, P]` for U chips at once.
        limits: what one core has of it, `[U, 1]`, under the same names.

    Returns:
        The split, `[U, P]`, and indices `[U, P]` into `list(limits)` (0 where one core is enough).
    """
    pairs = [np.broadcast_arrays(needs[name], limit) for name, limit in limits.items()]
    needed, room = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
    decided = (needed / room).argmax(axis=0)
    needed, room = (np.take_along_axis(amount, decided[None], axis=0)[0] for amount in (needed, room))
    return Split(np.maximum(needed, room), room), decided


@dataclass(frozen=True)
class Placement:
    """Where populations lie.

    Attributes:
        cores: `[U, P]` cores of each population.
        first: `[U, P]` first core of each, counted through all chips.
        total: `[U]` cores of the network.
        chips: `[U]` chips that hold it.
    """

    cores: Array
    first: Array
    total: Array
    chips: Array


def place(cores: Array, cores_per_chip: Array | None) -> Placement:
    """Lay populations on contiguous cores, in execution order, chip after chip.

    Args:
        cores: `[U, P]`.
        cores_per_chip: `[U]`; None for a chip without such a limit.
    """
    end = np.cumsum(cores, axis=1)
    total = end[:, -1] if cores.shape[1] else np.zeros(len(cores), dtype=np.int64)
    chips = np.ones_like(total) if cores_per_chip is None else np.maximum(1, ceil_divide(total, cores_per_chip))
    return Placement(cores, end - cores, total, chips)


def input_seen(split: Split, channels: Array, out_h: Array, in_h: Array, kernel_h: Array, stride_h: Array) -> Array:
    """Return the share of an input map that one core of a population reads, on average.

    Cores hold contiguous channels, row by row. A core that holds a part of a channel touches some of its `out_h`
    rows and reads `rows * stride + kernel - stride` of the `in_h` input rows, where that is fewer than all.

    Args:
        split: of the population.
        channels: output channels.
        out_h: rows of one channel's map.
        in_h, kernel_h, stride_h: input rows and kernel.
    """
    rows = np.minimum(split.touched(out_h * channels), out_h)
    return np.asarray(np.clip((rows * stride_h + kernel_h - stride_h) / np.maximum(in_h, 1), 0.0, 1.0))


def busiest_share(counts: Array, start: Array, channels: Array, cores: Array) -> Array:
    """Return the share of spikes that falls on the busiest of a population's cores, in each timestep.

    Channels are laid contiguously on cores, each core having channels / cores of them but for the last, which has
    what is left; a channel that lies on several cores gives each its part.

    Args:
        counts: `[sum C, T]` spikes by channel.
        start: `[N]` first row of each population in `counts`.
        channels: `[N]` its rows, at least 1.
        cores: `[N]` how many times over it fills a core (`Split.filled`).

    Returns:
        `[N, T]`, at least 1 / cores; 1 / cores where nothing fires.
    """
    total = np.zeros((counts.shape[0] + 1, counts.shape[1]))
    np.cumsum(counts, axis=0, out=total[1:])
    whole = total[start + channels] - total[start]
    # Cores narrower than half a channel: one of them lies inside the busiest channel and holds its part.
    narrow = cores >= 2 * channels
    peak = np.empty_like(whole)
    for chosen in (np.flatnonzero(narrow), np.flatnonzero(~narrow)):
        if not len(chosen):
            continue
        width = 1.0 / (channels if narrow[chosen[0]] else cores)[chosen]
        parts = channels[chosen] if narrow[chosen[0]] else np.ceil(cores[chosen] - 1e-9).astype(np.int64)
        item = np.repeat(np.arange(len(chosen)), parts)
        begin = np.cumsum(parts) - parts
        part = np.arange(len(item)) - begin[item]
        where = (total, start[chosen][item], channels[chosen][item])
        low, high = (_interpolated(*where, np.minimum((part + end) * width[item], 1.0)) for end in (0, 1))
        scale = (channels[chosen] / cores[chosen] if narrow[chosen[0]] else np.ones(len(chosen)))[:, None]
        peak[chosen] = np.maximum.reduceat(high - low, begin, axis=0) * scale
    even = 1.0 / cores[:, None]
    share = np.divide(peak, whole, out=np.broadcast_to(even, whole.shape).copy(), where=whole > 0)
    return np.clip(share, even, 1.0)


def _interpolated(total: Array, start: Array, channels: Array, at: Array) -> Array:
    """Return the running total at the fraction `at` of each population's channels, `[K, T]`."""
    place = at * channels
    whole = np.minimum(place.astype(np.int64), channels - 1)
    part = (place - whole)[:, None]
    return total[start + whole] * (1.0 - part) + total[start + whole + 1] * part
